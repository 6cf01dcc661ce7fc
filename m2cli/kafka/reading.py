"""What both clients do alike: which ranges can be read, and what is said of those that cannot."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from m2cli.kafka.client import PIECES, Range
from m2cli.kafka.errors import NoTopicError, OffsetsLostError, TopicReplacedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from m2cli.kafka.client import Piece, PieceRule, TopicFacts
    from m2cli.kafka.rule import KafkaRule

_LOOKED_EVERY = 0.1  # seconds


class BaseClient(ABC):
    """A `Client` but for what its library does."""

    def __init__(self, rule: KafkaRule) -> None:
        self.rule = rule

    @abstractmethod
    def describe_topic(self, topic: str) -> TopicFacts | None:
        """See `Client`."""

    @abstractmethod
    def _read(self, topic: str, ranges: Mapping[int, Range], pieces: PieceRule) -> Iterator[Piece]:
        """The messages in `ranges`, none of which is empty, all of which are there."""

    @abstractmethod
    def close(self) -> None:
        """See `Client`."""

    def read_ranges(
        self,
        topic: str,
        ranges: Mapping[int, Range],
        *,
        topic_id: str | None = None,
        pieces: PieceRule = PIECES,
    ) -> Iterator[Piece]:
        """See `Client`."""
        wanted = {partition: Range(*each) for partition, each in ranges.items() if each[0] < each[1]}
        found = self._await_ranges(topic, wanted, topic_id)
        if wanted:
            yield from self._read(topic, wanted, pieces)
            # Messages are fetched by the topic's name: one that was replaced meanwhile has given others.
            self._await_ranges(topic, {}, found.topic_id)

    def _await_ranges(self, topic: str, ranges: Mapping[int, Range], topic_id: str | None) -> TopicFacts:
        """Wait until the ends of `ranges` are stable, as they were when they were planned; raise if they cannot be.

        A broker that has just come back may know for a moment of less than it has.
        """
        deadline = time.monotonic() + self.rule.timeout.total_seconds()
        while True:
            facts = self.describe_topic(topic)
            if facts is None:
                raise NoTopicError(topic)
            if topic_id is not None and facts.topic_id != topic_id:
                raise TopicReplacedError(topic, topic_id, facts.topic_id)
            if self._is_there(facts, ranges, is_last_look=time.monotonic() > deadline):
                return facts
            time.sleep(_LOOKED_EVERY)

    @staticmethod
    def _is_there(facts: TopicFacts, ranges: Mapping[int, Range], *, is_last_look: bool) -> bool:
        partitions = {each.partition: each for each in facts.partitions}
        for partition, wanted in ranges.items():
            found = partitions.get(partition)
            if found is None:
                raise NoTopicError(facts.topic, partition)
            if wanted.start < found.first_offset:
                raise OffsetsLostError(facts.topic, partition, wanted.start, *found[1:])
            if wanted.end > found.end_offset:
                if is_last_look:
                    raise OffsetsLostError(facts.topic, partition, wanted.end, *found[1:])
                return False
        return True

    def _explain_loss(self, topic: str, ranges: Mapping[int, Range]) -> None:
        """Raise for what of `ranges` is no longer there."""
        self._await_ranges(topic, ranges, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
