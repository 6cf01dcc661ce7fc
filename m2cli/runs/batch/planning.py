"""Making the plan of a batch: what of the sources is new, which partitions are active, how far to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, overload

import polars as pl

from m2cli.files.follow import SETTLE, KnownEventFile, follow_event_files
from m2cli.ledger import RowOfFile
from m2cli.logs.follow import (
    FollowRule,
    KnownFile,
    KnownPart,
    Mark,
    RangeReader,
    declared_sources,
    follow_logs,
)
from m2cli.pipeline import AccessLogSource
from m2cli.runs.batch.contents import look_into, make_file_rule, make_log_rule
from m2cli.runs.batch.lost import describe_lost
from m2cli.runs.batch.plan import Plan, PlannedInput
from m2cli.runs.batch.work import Notes
from m2cli.visits import declare_partitions, plan_partitions

if TYPE_CHECKING:
    from datetime import datetime

    from m2cli.ledger import Ledger
    from m2cli.logs.follow import PlannedRange
    from m2cli.pipeline import EventsSource, PipelineRule


class NewPlan(NamedTuple):
    """A plan, the files that it saw, to be remembered with its commit, and what there is to say of it."""

    plan: Plan
    files: list[RowOfFile]
    notes: Notes


class Found(NamedTuple):
    """What is new of one source."""

    planned: PlannedInput
    sources: frozenset[str]
    """The partitions that have input in the plan."""
    unread: frozenset[str]
    """Those that have input which the plan leaves."""
    files: list[RowOfFile]
    notes: Notes


def make_plan(
    pipeline: PipelineRule, ledger: Ledger, now: datetime, *, is_flush: bool = False, until: datetime | None = None
) -> NewPlan:
    """The plan of the next batch, made at `now`, of all that is new in the sources of `pipeline`.

    With `until`, of logs only the lines before the first one at or after it, of event files only those that hold
    nothing at or after it. Raises `UnreadableSourceError` for a source that cannot be read on.
    """
    known = Known(ledger)
    found = [
        known.follow_logs(source, now, is_flush=is_flush, until=until)
        if isinstance(source, AccessLogSource)
        else known.follow_events(source, now, is_flush=is_flush, until=until)
        for source in pipeline.sources
    ]
    logs = (source for source in pipeline.sources if isinstance(source, AccessLogSource))
    declared = [name for source in logs for name in declared_sources(source.paths)]
    partitions = declare_partitions(ledger.read_progress().partitions, declared, now)
    unread = frozenset().union(*(each.unread for each in found))
    plan = Plan(
        inputs=tuple(each.planned for each in found if each.planned.ranges or each.planned.files),
        partitions=plan_partitions(
            partitions,
            frozenset().union(*(each.sources for each in found)),
            now,
            pipeline.visit,
            unread=unread,
        ),
        visit=pipeline.visit,
        max_ahead=pipeline.max_ahead,
        is_flush=is_flush,
    )
    warnings = (text for each in found for text in each.notes.warnings)
    notes = Notes(
        warnings=(*warnings, *describe_lost(ledger, plan, unread)),
        passed_over=tuple(name for each in found for name in each.notes.passed_over),
    )
    return NewPlan(plan, [row for each in found for row in each.files], notes)


class _Marks(Sequence[Mark]):
    """The marks of a part, read when they are looked at: of most parts they never are."""

    def __init__(self, ledger: Ledger, part_id: str) -> None:
        self._ledger, self._part_id = ledger, part_id

    @cached_property
    def _marks(self) -> tuple[Mark, ...]:
        return tuple(Mark(*mark) for part in self._ledger.find_parts(part_ids=[self._part_id]) for mark in part.marks)

    @overload
    def __getitem__(self, index: int) -> Mark: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mark]: ...
    def __getitem__(self, index: int | slice) -> Mark | Sequence[Mark]:
        return self._marks[index]

    def __len__(self) -> int:
        return len(self._marks)


class Known:
    """What the ledger knows of the sources, and what one source's plan says to the next."""

    def __init__(self, ledger: Ledger) -> None:
        self._files = ledger.read_files()
        self._parts = {
            part.part_id: KnownPart(
                part_id=part.part_id,
                name=part.name,
                source=part.source,
                position=part.position,
                line_count=part.line_count,
                marks=_Marks(ledger, part.part_id),
                is_excluded=part.is_excluded,
            )
            for part in ledger.list_parts()
        }
        self._taken: set[str] = set()

    def follow_logs(self, source: AccessLogSource, now: datetime, *, is_flush: bool, until: datetime | None) -> Found:
        """What is new of access logs: ranges of whole lines."""
        followed = follow_logs(
            source.paths,
            self._parts,
            {row.path: KnownFile(*row[1:]) for row in self._files if row.source_name == source.name},
            now=now,
            rule=FollowRule(),
            is_flush=is_flush,
            taken_ids=self._taken,
        )
        self._taken |= {each.part_id for each in followed.ranges}
        ranges, unread = followed.ranges, set(followed.unread)
        if until is not None:
            ranges = tuple(_cut_range(each, source, until) for each in ranges)
            unread |= {cut.source for cut, each in zip(ranges, followed.ranges, strict=True) if cut.end < each.end}
            ranges = tuple(each for each in ranges if each.start < each.end)
        return Found(
            PlannedInput(source.name, ranges=ranges),
            frozenset(each.source for each in ranges),
            frozenset(unread),
            [RowOfFile(source.name, *file) for file in followed.files],
            Notes(followed.warnings, followed.passed_over),
        )

    def follow_events(self, source: EventsSource, now: datetime, *, is_flush: bool, until: datetime | None) -> Found:
        """What is new of event files; each is taken whole."""
        followed = follow_event_files(
            source.paths,
            {part_id: part.position for part_id, part in self._parts.items()} | dict.fromkeys(self._taken, 0),
            {row.path: KnownEventFile(*row[1:7]) for row in self._files if row.source_name == source.name},
            now=now,
            rule=make_file_rule(source),
            settle=timedelta(0) if is_flush else SETTLE,
        )
        contents = {file.part_id: look_into(file, source) for file in followed.planned}
        files = followed.planned
        if until is not None:
            files = tuple(file for file in files if not contents[file.part_id].reaches(until))
        self._taken |= {file.part_id for file in files}
        left = {file.part_id for file in followed.planned} - {file.part_id for file in files}
        # What waits may not be read yet, and is taken to be of the source's own partition.
        unread = [frozenset({source.name} if followed.waiting else ()), *(contents[part].sources for part in left)]
        return Found(
            PlannedInput(source.name, files=files),
            frozenset().union(*(contents[file.part_id].sources for file in files)),
            frozenset().union(*unread),
            [RowOfFile(source.name, *file, None) for file in followed.files if file.part_id not in left],
            Notes(followed.warnings, followed.passed_over),
        )


def _cut_range(planned: PlannedRange, source: AccessLogSource, until: datetime) -> PlannedRange:
    """`planned` up to its first event at or after `until`."""
    reader = RangeReader([planned], make_log_rule(source))
    for piece in reader.read():
        beyond = piece.events.filter(pl.col("event_time") >= until)["position_in_source"]
        if len(beyond):
            return replace(planned, end=beyond[0], fault=None)
    return planned
