"""The events of a lake that lie on the way to a root, read in few scans.

A visit's rows are adjacent in one file, so that a found event brings its whole visit, read by row numbers;
most causes are in it. Only what is not takes a scan of all `event_id`s. On 5 million events: a scan of
`event_id` 0.12 s, one visit by its row numbers 0.01 s.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import SHOW
from m2cli.lake.layout import EVENTS
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import BrokenLakeError, read_snapshot
from m2cli.stages.trace import Paths, find_causes, unfold_causes

if TYPE_CHECKING:
    from pathlib import Path

# What is told of an event in a trace.
SHOWN = (
    "event_id",
    "event_time",
    "event_type",
    "url",
    "entity_type",
    "entity_id",
    "cause_id",
    "hook",
    "reason",
    "position",
    "quantity",
    "amount",
    "currency",
    "visitor_id",
    "visit_id",
)
ROW = "lake_row"

# Rows read around an event to find its visit's ends; few visits are longer.
_REACH = 4096
# Reading this many visits one by one costs about as much as a scan for them all.
_FEW_VISITS = 16


class Traced(NamedTuple):
    """Events of a lake, the row of each one's cause among them, and the paths that were asked for."""

    events: pl.DataFrame
    cause_row: pl.Series
    paths: Paths


class EventReader:
    """Reads the events of one lake by what is known of them; `lake_row` numbers the rows of all its files.

    What reads raises `BrokenLakeError` where a file is not as the snapshot says.
    """

    def __init__(self, lake: Path) -> None:
        self.lake = lake
        snapshot = read_snapshot(lake)
        self._paths = snapshot.paths(lake, EVENTS.name)
        self._offsets = [0, *accumulate(file.row_count for file in snapshot.files if file.kind == EVENTS.name)]

    def find(self, condition: pl.Expr) -> pl.DataFrame:
        """The events that fulfil `condition`, with the columns `SHOWN` and `lake_row`."""
        return self._collect(self._scan_all().filter(condition).select(*SHOWN, ROW))

    def locate(self, condition: pl.Expr) -> pl.DataFrame:
        """Only `event_time`, `visit_id` and `lake_row` of those events; half the cost."""
        columns = ("event_time", "visit_id", ROW)
        return self._collect(self._scan_all().filter(condition).select(columns))

    def list_types(self) -> list[str]:
        """The types of all events."""
        types = self._collect(self._scan_all().select(pl.col("event_type").unique()))
        return types["event_type"].drop_nulls().sort().to_list()

    def read_visits(self, events: pl.DataFrame) -> pl.DataFrame:
        """All events of the visits that `events` belong to."""
        some = events.unique("visit_id", maintain_order=True).sort(ROW)
        if some.is_empty():
            return pl.DataFrame(schema={name: EVENTS.schema[name] for name in SHOWN} | {ROW: pl.UInt32})
        if some.height <= _FEW_VISITS:
            return pl.concat([self._read_visit(*place) for place in some.select(ROW, "visit_id").iter_rows()])
        first, last = self._file_of(some[ROW][0]), self._file_of(some[ROW][-1])
        visits = self._scan(first, last + 1).filter(is_in("visit_id", some["visit_id"]))
        return self._collect(visits.select(*SHOWN, ROW))

    def _collect(self, rows: pl.LazyFrame) -> pl.DataFrame:
        try:
            return rows.collect()
        except (OSError, pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
            raise BrokenLakeError(self.lake, error) from error

    def _scan_all(self) -> pl.LazyFrame:
        return self._scan(0, len(self._paths))

    def _scan(self, first: int, after: int) -> pl.LazyFrame:
        """The events of the files from number `first` to before number `after`."""
        rows = scan_files(self._paths[first:after], EVENTS, row=ROW)
        return rows.with_columns(pl.col(ROW) + self._offsets[first]) if self._offsets[first] else rows

    def _file_of(self, row: int) -> int:
        return bisect_right(self._offsets, row) - 1

    def _read_visit(self, row: int, visit_id: str) -> pl.DataFrame:
        number = self._file_of(row)
        first, after = self._offsets[number : number + 2]
        reach = _REACH
        while True:
            low, high = max(row - reach, first), min(row + reach, after)
            rows = self._scan(number, number + 1).slice(low - first, high - low)
            part = self._collect(rows.select(*SHOWN, ROW))
            is_of_visit = part["visit_id"] == visit_id
            if (low == first or not is_of_visit[0]) and (high == after or not is_of_visit[-1]):
                return part.filter(is_of_visit)
            reach *= 8


def is_in(name: str, values: pl.Series) -> pl.Expr:
    """Whether the column `name` has one of `values`."""
    return pl.col(name).is_in(values.implode())


def gather_causes(reader: EventReader, starts: pl.DataFrame) -> Traced:
    """The paths from `starts`, events of the lake, to their ends; `events` has the visits on the way."""
    events = reader.read_visits(starts)
    whole, searched = events["visit_id"].unique(), pl.Series(dtype=pl.String)
    while True:
        traced = _walk(events, starts)
        on_path = traced.paths.steps["row"].unique()
        path = events.gather(on_path)
        broken = path.filter(~is_in("visit_id", whole))
        unsure = _doubt_causes(path, events, traced.cause_row.gather(on_path)).filter(~is_in("cause_id", searched))
        if broken.height:
            found = reader.read_visits(broken)
            whole = pl.concat([whole, broken["visit_id"].unique()])
        elif unsure.height:
            ids = unsure["cause_id"].unique()
            found = reader.find(is_in("event_id", ids))
            searched = pl.concat([searched, ids])
        else:
            return traced
        events = merge(events, found)


def gather_competitors(reader: EventReader, traced: Traced, starts: pl.DataFrame) -> Traced:
    """`traced` with the shows that name a cause on the paths, wherever they lie, linked to their causes."""
    ids = traced.events.gather(traced.paths.steps["row"].unique())["cause_id"].drop_nulls().unique()
    shows = reader.find(is_in("cause_id", ids) & (pl.col("event_type") == SHOW))
    events = merge(traced.events, shows)
    if events is not traced.events:
        traced = _walk(events, starts)
    cause_row = traced.cause_row.gather(events[ROW].search_sorted(shows[ROW]))
    unsure = _doubt_causes(shows, events, cause_row)
    if unsure.is_empty():
        return traced
    return _walk(merge(events, reader.find(is_in("event_id", unsure["cause_id"].unique()))), starts)


def merge(events: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """Both, each event once, in the lake's order; `events` itself if there are no more."""
    new = more.filter(~is_in(ROW, events[ROW])).unique(ROW)
    return pl.concat([events, new]).sort(ROW) if new.height else events


def _walk(events: pl.DataFrame, starts: pl.DataFrame) -> Traced:
    cause_row = find_causes(events)
    rows = events[ROW].search_sorted(starts[ROW])
    return Traced(events, cause_row, unfold_causes(events, cause_row, rows))


def _doubt_causes(path: pl.DataFrame, events: pl.DataFrame, cause_row: pl.Series) -> pl.DataFrame:
    """Those events of `path` whose cause may be another event than the one found so far.

    A cause in the same visit that is not after its effect is the right one: visits of a visitor do not
    overlap, so none of another visit is later and before the effect.
    """
    causes = events.select("visit_id", "event_time").gather(cause_row)
    is_sure = (causes["visit_id"] == path["visit_id"]) & (causes["event_time"] <= path["event_time"])
    return path.filter(path["cause_id"].is_not_null() & ~is_sure.fill_null(value=False))
