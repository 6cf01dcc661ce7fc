"""What of the sources is new, as their files and topics say it and the ledger knows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from glob import has_magic
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.files.follow import SETTLE, KnownEventFile, follow_event_files
from m2cli.files.tape import PlannedRows
from m2cli.kafka import OffsetRule, follow_topic
from m2cli.ledger import RowOfFile
from m2cli.logs.follow import (
    FollowRule,
    KnownFile,
    RangeReader,
    follow_logs,
)
from m2cli.logs.listing import list_logs
from m2cli.pipeline.rule import LATEST
from m2cli.runs.batch.broker import find_positions, name_partitions
from m2cli.runs.batch.contents import look_into, make_file_rule, make_log_rule
from m2cli.runs.batch.known_parts import Parts, Sizes
from m2cli.runs.batch.plan import PlannedInput
from m2cli.runs.batch.work import Notes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from m2cli.kafka import KnownOffsets, PlannedOffsets
    from m2cli.ledger import Ledger
    from m2cli.logs.follow import PlannedRange
    from m2cli.pipeline import AccessLogSource, EventsSource, KafkaSource, PipelineRule, TapeSource
    from m2cli.runs.batch.broker import Broker


class Found(NamedTuple):
    """What is new of sources of one type."""

    inputs: tuple[PlannedInput, ...]
    """In the order in which to read."""
    sources: frozenset[str]
    """The partitions that have input in the plan."""
    unread: frozenset[str]
    """Those that have input which the plan leaves."""
    files: list[RowOfFile]
    notes: Notes
    declared: tuple[str, ...] = ()
    """Partitions that are there, with input or without."""


@dataclass(frozen=True, kw_only=True)
class PlanRule:
    """How much of what is new a plan takes.

    With `until`, of logs and topics only what is before the first event at or after it, of event files only those that
    hold nothing at or after it. `most_ranges` of logs, the oldest; event files at a path of `without` are left out;
    `most_messages` of each topic. `accepts_gap` goes on where messages of a topic are lost.
    """

    is_flush: bool = False
    until: datetime | None = None
    most_ranges: int | None = None
    without: frozenset[str] = frozenset()
    most_messages: int | None = None
    accepts_gap: bool = False


class Standing(NamedTuple):
    """How far a pipeline has come, where it is further than its ledger says: a batch that is done in steps."""

    partitions: pl.DataFrame
    positions: Mapping[str, KnownOffsets]
    """By the name of a topic's partition."""


class Known:
    """What the ledger knows of the sources, and what one source's plan says to the next."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._files = ledger.read_files()
        self._partitions = frozenset(ledger.read_progress().partitions["source"])
        self._taken: set[str] = set()

    def follow_logs(self, sources: Sequence[AccessLogSource], now: datetime, rule: PlanRule) -> Found:
        """What is new of access logs: ranges of whole lines, older parts first whatever source they are of.

        All sources are looked at together, so that a log which two of them name is one log.
        """
        names = {source.name for source in sources}
        followed = follow_logs(
            [path for source in sources for path in source.paths],
            Parts(self._ledger),
            {row.path: KnownFile(*row[1:]) for row in self._files if row.source_name in names},
            now=now,
            rule=FollowRule(),
            is_flush=rule.is_flush,
            taken_ids=self._taken,
        )
        owners = _Owners(sources)
        ranges = list(followed.ranges[: rule.most_ranges])
        if rule.until is not None:
            ranges = [_cut_range(each, owners.find(each.inode), rule.until) for each in ranges]
            ranges = [each for each in ranges if each.start < each.end]
        ends = {each.part_id: each.end for each in ranges}
        cut = [each for each in followed.ranges if ends.get(each.part_id) != each.end]
        left = {each.part_id for each in cut} - ends.keys()
        self._taken |= ends.keys()
        by_owner = groupby(ranges, key=lambda each: owners.find(each.inode).name)
        return Found(
            tuple(PlannedInput(name, ranges=tuple(group)) for name, group in by_owner),
            frozenset(each.source for each in ranges),
            frozenset(followed.unread) | {each.source for each in cut},
            # What is left is looked at anew, as if it had not been seen.
            [RowOfFile(owners.find(file.inode).name, *file) for file in followed.files if file.part_id not in left],
            Notes(followed.warnings, followed.passed_over),
        )

    def follow_events(self, source: EventsSource, now: datetime, rule: PlanRule) -> Found:
        """What is new of event files; each is taken whole, in the order in which they arrived."""
        followed = follow_event_files(
            source.paths,
            Sizes(self._ledger, self._taken),
            {row.path: KnownEventFile(*row[1:7]) for row in self._files if row.source_name == source.name},
            now=now,
            rule=make_file_rule(source),
            settle=timedelta(0) if rule.is_flush else SETTLE,
        )
        whole = [file for file in followed.planned if file.path not in rule.without]
        contents = {file.part_id: look_into(file, source) for file in whole}
        files = sorted(whole, key=lambda file: (file.arrival_time, file.path))
        if rule.until is not None:
            files = [file for file in files if not contents[file.part_id].reaches(rule.until)]
        taken = {file.part_id for file in files}
        self._taken |= taken
        left = {file.part_id for file in followed.planned} - taken
        # What waits may not be read yet: it is taken to be of the source's own partition, if there is one.
        waiting = {source.name} & self._partitions if followed.waiting else set()
        unread = [frozenset(waiting), *(contents[part].sources for part in left if part in contents)]
        return Found(
            (PlannedInput(source.name, files=tuple(files)),) if files else (),
            frozenset().union(*(contents[part].sources for part in taken)),
            frozenset().union(*unread),
            [RowOfFile(source.name, *file, None) for file in followed.files if file.part_id not in left],
            Notes(followed.warnings, followed.passed_over),
        )

    def follow_tape(self, source: TapeSource, now: datetime, standing: Standing | None = None) -> Found:
        """What of a tape can be read at `now` and was not yet read."""
        known = self._find_positions([source.name], standing)
        rows = PlannedRows(first=known[0].position if known else 0, end=source.tape.find_end(now))
        has_rows = rows.first < rows.end
        return Found(
            (PlannedInput(source.name, rows=(rows,)),) if has_rows else (),
            source.tape.find_sources(rows) if has_rows else frozenset(),
            frozenset(),
            [],
            Notes(),
            source.tape.partitions,
        )

    def follow_topic(
        self,
        source: KafkaSource,
        pipeline: PipelineRule,
        rule: PlanRule,
        broker: Broker,
        standing: Standing | None = None,
    ) -> Found:
        """What is new of a topic: ranges of offsets, partition by partition."""
        facts = broker.describe(source.topic)
        names = name_partitions(facts)
        positions = self._find_positions(names, standing)
        facts = broker.wait_for(facts, positions)
        offset_rule = OffsetRule(
            is_latest=source.start == LATEST, most_count=rule.most_messages, accepts_gap=rule.accepts_gap
        )
        followed = follow_topic(facts, positions, offset_rule)
        planned = followed.planned
        if rule.until is not None:
            planned = tuple(
                cut_offsets(each, source, broker, rule.until, pipeline.max_ahead) for each in followed.planned
            )
        cut = {each.source for each, whole in zip(planned, followed.planned, strict=True) if each.end < whole.end}
        return Found(
            (PlannedInput(source.name, offsets=planned),) if planned else (),
            frozenset(each.source for each in planned if each.start < each.end),
            followed.unread | cut,
            [],
            Notes(followed.warnings),
            tuple(names),
        )

    def _find_positions(self, names: Sequence[str], standing: Standing | None) -> dict[int, KnownOffsets]:
        since = standing.positions if standing else {}
        positions = find_positions(self._ledger, names)
        return positions | {number: since[name] for number, name in enumerate(names) if name in since}

    def describe_empty(self, pipeline: PipelineRule, files: Sequence[RowOfFile]) -> Iterator[str]:
        """A warning for each source that has no file and never had one: a typo on the first day would stay unseen.

        Of one whose folder is not there that has been said already.
        """
        there = {row.source_name for row in (*files, *self._files)}
        for source in pipeline.file_sources:
            is_new = source.name not in there and not self._ledger.has_parts(source.name)
            if is_new and any(map(_has_folder, source.paths)):
                paths = ", ".join(f"`{path}`" for path in source.paths)
                yield f"the source `{source.name}` has no file yet: nothing is at {paths}"


def _has_folder(pattern: str) -> bool:
    """Whether there is the folder in which a path or a glob begins."""
    named = takewhile(lambda part: not has_magic(part), Path(pattern).parent.parts)
    return Path(*named).is_dir()


class _Owners:
    """Which source a log is read by: the first that names it."""

    def __init__(self, sources: Sequence[AccessLogSource]) -> None:
        self._sources = sources

    @cached_property
    def _by_inode(self) -> dict[int, AccessLogSource]:
        found: dict[int, AccessLogSource] = {}
        for source in self._sources if len(self._sources) > 1 else ():
            for file in list_logs(source.paths).files:
                found.setdefault(file.inode[1], source)
        return found

    def find(self, inode: int) -> AccessLogSource:
        """The source of the file with that inode."""
        return self._by_inode.get(inode, self._sources[0])


def cut_offsets(
    planned: PlannedOffsets, source: KafkaSource, broker: Broker, until: datetime, max_ahead: timedelta
) -> PlannedOffsets:
    """`planned` up to its first event at or after `until`, which cannot have arrived long before that time."""
    first = broker.client.find_offsets(source.topic, until - max_ahead).get(planned.partition, planned.end)
    start = min(max(planned.start, first), planned.end)
    for piece in broker.read([replace(planned, start=start)], source):
        beyond = piece.events.filter(pl.col("event_time") >= until)["position_in_source"]
        if len(beyond):
            return replace(planned, end=beyond[0])
    return planned


def _cut_range(planned: PlannedRange, source: AccessLogSource, until: datetime) -> PlannedRange:
    """`planned` up to its first event at or after `until`."""
    reader = RangeReader([planned], make_log_rule(source))
    for piece in reader.read():
        beyond = piece.events.filter(pl.col("event_time") >= until)["position_in_source"]
        if len(beyond):
            return replace(planned, end=beyond[0], fault=None)
    return planned
