"""What is new in a topic: ranges of offsets, from where the pipeline has come to what is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from m2cli.kafka.client import Range, TopicPartition
from m2cli.kafka.errors import OffsetsLostError, TopicReplacedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from m2cli.kafka.client import PartitionFacts, TopicFacts


@dataclass(frozen=True, kw_only=True)
class PlannedOffsets:
    """Messages of one partition that a batch takes: those from `start` to before `end`."""

    topic: str
    topic_id: str
    partition: int
    start: int
    end: int

    @property
    def source(self) -> str:
        """What the partition is called."""
        return name_partition(self.topic, self.partition)

    @property
    def range(self) -> Range:
        """The offsets alone."""
        return Range(self.start, self.end)

    @property
    def place(self) -> TopicPartition:
        """Where they are."""
        return TopicPartition(self.topic, self.partition)


class KnownOffsets(NamedTuple):
    """How far a partition has been read, and the id that its topic had then."""

    topic_id: str
    position: int


@dataclass(frozen=True, kw_only=True)
class OffsetRule:
    """How much of a topic is taken.

    `is_latest`: a topic of which nothing was ever read begins at its end. `most_count`: no more offsets than this,
    each partition its share. `accepts_gap`: messages that are lost are passed over, and told of.
    """

    is_latest: bool = False
    most_count: int | None = None
    accepts_gap: bool = False


class FollowedTopic(NamedTuple):
    """What is new in a topic."""

    planned: tuple[PlannedOffsets, ...]
    """In order; an empty range where a partition has only been found, and begins at its end."""
    unread: frozenset[str]
    """Partitions with messages that are left for a later plan."""
    warnings: tuple[str, ...] = ()


def name_partition(topic: str, partition: int) -> str:
    """What a partition of a topic is called as a `source`.

    >>> name_partition("measurements", 3)
    'measurements-3'
    """
    return f"{topic}-{partition}"


def follow_topic(facts: TopicFacts, known: Mapping[int, KnownOffsets], rule: OffsetRule) -> FollowedTopic:
    """The ranges that are new in the topic of `facts`; `known` says how far its partitions have been read.

    A partition that was added to a topic is read from its beginning. Raises `OffsetsLostError` where retention has
    overtaken the position or the cluster lost what was read, `TopicReplacedError` for a topic that was made anew;
    with `accepts_gap` both are warnings, and reading goes on with what is there.
    """
    warnings: list[str] = []
    found = []
    for partition in facts.partitions:
        start = _find_start(facts, partition, known, rule, warnings)
        is_new = partition.partition not in known
        if start < partition.end_offset or is_new:
            found.append(
                PlannedOffsets(
                    topic=facts.topic,
                    topic_id=facts.topic_id,
                    partition=partition.partition,
                    start=start,
                    end=partition.end_offset,
                )
            )
    planned = tuple(_cut(found, rule.most_count))
    unread = {each.source for each, cut in zip(found, planned, strict=True) if cut.end < each.end}
    return FollowedTopic(planned, frozenset(unread), tuple(warnings))


def _find_start(
    facts: TopicFacts,
    partition: PartitionFacts,
    known: Mapping[int, KnownOffsets],
    rule: OffsetRule,
    warnings: list[str],
) -> int:
    before = known.get(partition.partition)
    if before is None:
        return partition.end_offset if rule.is_latest and not known else partition.first_offset
    error: OffsetsLostError | TopicReplacedError | None = None
    if before.topic_id != facts.topic_id:
        error = TopicReplacedError(facts.topic, before.topic_id, facts.topic_id)
    elif not partition.first_offset <= before.position <= partition.end_offset:
        # What is not stable yet counts as not there: a position beyond it was never read.
        where = (partition.partition, before.position, partition.first_offset, partition.end_offset)
        error = OffsetsLostError(facts.topic, *where)
    if error is None:
        return before.position
    if not rule.accepts_gap:
        raise error
    warnings.append(error.said)
    return partition.first_offset if isinstance(error, TopicReplacedError) else _nearest(before.position, partition)


def _nearest(position: int, partition: PartitionFacts) -> int:
    return min(max(position, partition.first_offset), partition.end_offset)


def _cut(found: Sequence[PlannedOffsets], most_count: int | None) -> Iterator[PlannedOffsets]:
    """`found`, of each its share of `most_count`, so that no partition runs ahead of the others."""
    count = sum(each.end - each.start for each in found)
    for each in found:
        if most_count is None or count <= most_count:
            yield each
        else:
            share = -(-(each.end - each.start) * most_count // count)
            yield replace(each, end=each.start + share)
