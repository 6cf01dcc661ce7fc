"""Which visits a change touches: chains, in which no silence between events is longer than `inactivity`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import VISIT_SCHEMA
from m2cli.lake.layout import VISITS
from m2cli.runs.batch.carry import OPEN_VISITS, PENDING, SEGMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from m2cli.lake.lists import LakeFile
    from m2cli.ledger import Progress
    from m2cli.visits import VisitRule

# By so much the look at the lake is widened while chains lead out of it; few do, and those are robots'.
_STEP = timedelta(days=1)
_SPAN = ("visit_id", "visitor_id", "start_time", "end_time")


class Stream(NamedTuple):
    """Where the pipeline stands: what is open, how far time has come, and what ends a visit."""

    opened: OpenVisits
    W: datetime
    rule: VisitRule


class Touched(NamedTuple):
    """What is to be cut anew, and what cannot be yet."""

    visits: pl.DataFrame
    """Closed visits to be cut anew: `visit_id`, `visitor_id`, `start_time`, `end_time`."""
    is_open: pl.Series
    """Of each added event, whether its chain leads into a visit that is open, so that it has to wait."""


class LakeVisits:
    """The closed visits of a lake, looked at by visitor and time."""

    def __init__(self, files: Sequence[tuple[LakeFile, Path]]) -> None:
        self._files = [(file, path) for file, path in files if file.kind == VISITS.name]

    def read(self, visitors: pl.Series, first: datetime, last: datetime) -> pl.DataFrame:
        """The visits of `visitors` that have any event from `first` to `last`."""
        frames = [
            _scan(path)
            .select(_SPAN)
            .filter(pl.col("visitor_id").is_in(visitors.implode()))
            .filter((pl.col("start_time") <= last) & (pl.col("end_time") >= first))
            .collect()
            for file, path in self._files
            if _may_overlap(file, first, last)
        ]
        return pl.concat(frames) if frames else pl.DataFrame(schema={name: VISIT_SCHEMA[name] for name in _SPAN})


class OpenVisits:
    """What is open in a pipeline, looked at without its being held in memory."""

    def __init__(self, lake: Path, progress: Progress) -> None:
        self._files = [(file.kind, lake / file.path) for file in progress.carried]

    def find_spans(self, visitors: pl.Series) -> pl.DataFrame:
        """What is open of `visitors`: open visits and pending events, as `visitor_id`, `start_time`, `end_time`."""
        is_asked = pl.col("visitor_id").is_in(visitors.implode())
        names = {OPEN_VISITS: ("start_time", "end_time"), PENDING: ("event_time", "event_time")}
        frames = [
            _scan(path).filter(is_asked).select("visitor_id", start_time=names[kind][0], end_time=names[kind][1])
            for kind, path in self._files
            if kind in names
        ]
        empty = pl.DataFrame(schema={name: VISIT_SCHEMA[name] for name in _SPAN if name != "visit_id"})
        return pl.concat([empty, *(frame.collect() for frame in frames)])

    def count_events(self, parts: pl.Series) -> int:
        """How many events of these parts are open: pending, or in visits that are open."""
        is_asked = pl.col("part_id").is_in(parts.implode())
        numbers = pl.concat([pl.Series(dtype=pl.UInt64), *self._read(OPEN_VISITS, "visit_number")])
        is_alive = pl.col("visit_number").is_in(numbers.implode())
        found = [
            _scan(path).filter(is_asked & is_alive if kind == SEGMENT else is_asked).select(pl.len()).collect().item()
            for kind, path in self._files
            if kind in {PENDING, SEGMENT} and "part_id" in _scan(path).collect_schema()
        ]
        return sum(found)

    def _read(self, kind: str, column: str) -> Iterator[pl.Series]:
        return (_scan(path).select(column).collect().to_series() for each, path in self._files if each == kind)


def _scan(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _may_overlap(file: LakeFile, first: datetime, last: datetime) -> bool:
    if file.min_event_time is None or file.max_event_time is None:
        return True
    return file.min_event_time <= last and file.max_event_time >= first


def find_touched(added: pl.DataFrame, changed: pl.DataFrame, lake: LakeVisits, stream: Stream) -> Touched:
    """The chains of visits that `added` events join, or that have a visit of which events are taken out.

    `added` has `visitor_id` and `event_time`; `changed` the visits (as `Touched.visits`). A chain that reaches W, or
    an open visit of the stream, is not over: its added events wait, and its visits are left alone (DESIGN 4.9).
    """
    points = added.select("visitor_id", start_time="event_time", end_time="event_time", row=pl.int_range(pl.len()))
    visitors = pl.concat([points["visitor_id"], changed["visitor_id"]]).unique()
    if visitors.is_empty():
        return Touched(changed, pl.Series(dtype=pl.Boolean))
    times = pl.concat([points.select("start_time", "end_time"), changed.select("start_time", "end_time")])
    first: datetime = times["start_time"].min() - _STEP  # type: ignore[assignment,operator]  # a TIME column's min
    last: datetime = times["end_time"].max() + _STEP  # type: ignore[assignment,operator]  # and its max
    opened = stream.opened.find_spans(visitors)
    while True:
        visits = lake.read(visitors, first, last)
        chains = _chain(visits, points, opened, stream.rule)
        is_touched = pl.col("row").is_not_null() | pl.col("visit_id").is_in(changed["visit_id"].implode())
        touched = chains.filter(is_touched.any().over("chain"))
        reach = touched.select(pl.col("start_time").min(), pl.col("end_time").max()).row(0)
        leads_out = (reach[0] - stream.rule.inactivity < first, reach[1] + stream.rule.inactivity > last)
        if not any(leads_out):
            break
        first, last = first - _STEP if leads_out[0] else first, last + _STEP if leads_out[1] else last
    reaches_W = pl.col("end_time").max() + stream.rule.inactivity >= stream.W
    is_over = (~pl.col("is_open").any() & ~reaches_W).over("chain")
    judged = touched.with_columns(is_over=is_over)
    waiting = judged.filter(pl.col("row").is_not_null()).sort("row")
    return Touched(judged.filter("is_over", pl.col("visit_id").is_not_null()).select(_SPAN), ~waiting["is_over"])


def _chain(visits: pl.DataFrame, points: pl.DataFrame, opened: pl.DataFrame, rule: VisitRule) -> pl.DataFrame:
    """All spans with their `chain`: a new one begins after a silence of more than `inactivity`."""
    spans = pl.concat([visits, points, opened.with_columns(is_open=pl.lit(value=True))], how="diagonal").sort(
        "visitor_id", "start_time"
    )
    reached = pl.col("end_time").cum_max().over("visitor_id").shift(1)
    begins = (pl.col("visitor_id") != pl.col("visitor_id").shift(1)) | (
        pl.col("start_time") - reached > rule.inactivity
    )
    has_all = spans.with_columns(
        pl.lit(None, dtype).alias(name)
        for name, dtype in (("row", pl.Int64), ("visit_id", pl.String), ("is_open", pl.Boolean))
        if name not in spans.columns
    )
    return has_all.with_columns(
        chain=begins.fill_null(value=True).cum_sum(), is_open=pl.col("is_open").fill_null(value=False)
    )
