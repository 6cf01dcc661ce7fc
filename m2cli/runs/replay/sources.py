"""What a replay is made of: the events of a lake as they arrived, or logs and event files as they were written."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA, TIME
from m2cli.lake.layout import DUPLICATES, EVENTS, LATE, OWN_FOLDER, TABLES, VISITS, has_ledger
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import BrokenLakeError, read_snapshot
from m2cli.ledger import open_ledger
from m2cli.runs.batch.plan import Plan
from m2cli.runs.batch.site import LEDGER
from m2cli.runs.intake import open_input
from m2cli.runs.progress import Step, tell_nobody
from m2cli.runs.replay.arrivals import derive_arrival
from m2cli.stages.visitors import DEFAULT, VisitorRule, assign_visitors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from m2cli.lake.snapshot import Snapshot
    from m2cli.runs.intake import IntakeRule, Tally
    from m2cli.runs.progress import Tell
    from m2cli.visits import VisitRule

# What decides visits, and what is told of them; all else of an event would only be carried along.
COLUMNS = (
    *("event_id", "event_time", "event_type"),
    *("source", "part_id", "position_in_source", "arrival_time", "visitor_id"),
)
# And what is asked of causes besides.
CAUSE_COLUMNS = (*COLUMNS, "cause_id")
_OF_VISITOR = ("session_id", "ip", "user_agent")
# What arrives so long after the end of the dates still says what of them was late.
_AFTERWARDS = timedelta(hours=1)
# As which the readers of files know an arrival that nobody recorded.
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class LiveRule(NamedTuple):
    """By what a lake was made."""

    visit: VisitRule
    max_ahead: timedelta


def read_live_rule(lake: Path) -> LiveRule | None:
    """The rule of the last batch of the pipeline that writes `lake`; None where none does."""
    if not has_ledger(lake):
        return None
    with open_ledger(lake / OWN_FOLDER / LEDGER) as ledger:
        batches = ledger.list_batches(1, kinds=["run"])
        plan = Plan.from_json(batches[0].plan) if batches else None
    return LiveRule(plan.visit, plan.max_ahead) if plan else None


def _was_rebuilt(lake: Path) -> bool:
    with open_ledger(lake / OWN_FOLDER / LEDGER) as ledger:
        return bool(ledger.list_batches(1, kinds=["rebuild"]))


class LakeInput:
    """The events of a lake that a replay takes: of all visits that touch the dates, and what was late or twice then."""

    def __init__(self, lake: Path, day: date | None, visit: VisitRule) -> None:
        """Raises `UnreadableSourceError` where there is no lake."""
        self.lake, self.day = lake, day
        self.snapshot: Snapshot = read_snapshot(lake)
        self.has_arrival = has_ledger(lake)
        self.is_rebuilt = self.has_arrival and _was_rebuilt(lake)
        self._afterwards = visit.max_out_of_orderness + _AFTERWARDS

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """From when to before when the date lasts; None for all that there is."""
        if self.day is None:
            return None
        start = datetime.combine(self.day, time(), UTC)
        return start, start + timedelta(days=1)

    def touches(self, first: str, last: str, *, afterwards: timedelta = timedelta(0)) -> pl.Expr:
        """Whether what lasts from column `first` to `last` touches the date."""
        if self.span is None:
            return pl.lit(value=True)
        start, end = self.span
        return (pl.col(last) >= pl.lit(start, TIME)) & (pl.col(first) < pl.lit(end + afterwards, TIME))

    def read_visits(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows of the visits that touch the date, file by file."""
        for path in self.snapshot.paths(self.lake, VISITS.name):
            rows = scan_files([path], VISITS).filter(self.touches("start_time", "end_time"))
            yield self._collect(rows.select(columns))

    def scan_late(self) -> pl.LazyFrame:
        """The late events of the date."""
        return self._scan(LATE.name).filter(self.touches("event_time", "event_time"))

    def scan_duplicates(self) -> pl.LazyFrame:
        """The copies of events of the date."""
        return self._scan(DUPLICATES.name).filter(self.touches("event_time", "event_time"))

    def read_events(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The events of the visits that touch the date, file by file; the rows of a visit are together."""
        yield from self._read_events(timedelta(0), columns)

    def read_arrived(self, columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
        """All that is replayed: these, what was late and twice, and what came in the hour after the date.

        The last is what says of events of the date that they were late.
        """
        yield from self._read_events(self._afterwards, columns)
        for table in (self.scan_late(), self.scan_duplicates()):
            rows = self._collect(table if columns is None else table.select(columns))
            yield rows.drop("late_reason", "late_by", strict=False)

    def _read_events(self, afterwards: timedelta, columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
        for file in self.snapshot.files:
            if file.kind != EVENTS.name or not self._may_touch(file.min_event_time, file.max_event_time, afterwards):
                continue
            rows = scan_files([self.lake / file.path], EVENTS)
            part = self._collect(rows if columns is None else rows.select(*columns, "visit_id"))
            if self.span is not None:  # the rows of a visit are together, and all here
                time, visit = pl.col("event_time"), pl.col("visit_id").rle_id()
                spanned = part.with_columns(_start=time.min().over(visit), _end=time.max().over(visit))
                part = spanned.filter(self.touches("_start", "_end", afterwards=afterwards)).drop("_start", "_end")
            yield part

    def _may_touch(self, first: datetime | None, last: datetime | None, afterwards: timedelta) -> bool:
        if self.span is None or first is None or last is None:
            return True
        return last >= self.span[0] and first < self.span[1] + afterwards

    def _scan(self, name: str) -> pl.LazyFrame:
        table = next(each for each in TABLES if each.name == name)
        return scan_files(self.snapshot.paths(self.lake, name), table)

    def _collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        try:
            return rows.collect()
        except (OSError, pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
            raise BrokenLakeError(self.lake, error) from error


def read_lake(
    taken: LakeInput, visitor: VisitorRule, columns: Sequence[str] | None = COLUMNS, *, tell: Tell = tell_nobody
) -> Iterator[pl.DataFrame]:
    """`columns` of the events of a lake, with `visitor_id` and `arrival_time`, in no order; None: all they have."""
    extra = _OF_VISITOR if visitor.by != DEFAULT else ()
    asked = columns if columns is None else (*columns, *extra)
    total = sum(file.row_count for file in taken.snapshot.files if file.kind == EVENTS.name)
    done = 0

    def read() -> Iterator[pl.DataFrame]:
        nonlocal done
        for rows in taken.read_arrived(asked):
            done += rows.height
            tell(Step("reading", done, max(total, done), "events"))
            named = assign_visitors(rows, visitor).events if visitor.by != DEFAULT else rows
            yield _complete(named, columns)

    if taken.has_arrival:
        yield from read()
    else:
        yield from _derive(list(read()))


def read_inputs(  # noqa: PLR0913  # what is read, and how it is told
    inputs: Sequence[str],
    intake: IntakeRule,
    visitor: VisitorRule,
    columns: Sequence[str] | None = COLUMNS,
    *,
    tally: Tally,
    tell: Tell = tell_nobody,
) -> Iterator[pl.DataFrame]:
    """The events of logs and event files, as `read_lake`; what is none is counted in `tally`.

    Event files that say when their events arrived are believed; a line of a log arrives with the largest event time
    up to it.
    """
    reading = open_input(inputs, intake, now=_NEVER, tell=tell)
    unknown = []
    for piece in reading.pieces:
        tally.add(piece)
        named = assign_visitors(piece.events, visitor)
        tally.reject(named.rejects)
        rows = _complete(named.events, columns)
        is_known = rows["arrival_time"] != _NEVER
        if is_known.all():
            yield rows
        else:
            yield rows.filter(is_known)
            unknown.append(rows.filter(~is_known))
    yield from _derive(unknown)


def _complete(events: pl.DataFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    """`columns` of `events`, or all of them with COLUMNS: what an input does not say is null."""
    absent = [name for name in columns or COLUMNS if name not in events.columns]
    complete = events.with_columns(pl.lit(None, LAKE_EVENT_SCHEMA[name]).alias(name) for name in absent)
    return complete if columns is None else complete.select(columns)


def _derive(frames: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    if any(frame.height for frame in frames):
        yield derive_arrival(pl.concat(frames, how="diagonal"))
