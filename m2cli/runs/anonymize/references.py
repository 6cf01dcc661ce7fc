"""What leads from a visit into one of another year: its causes, and the visit that it continues, looked up in the lake.

An id does not tell its year. Nearly all causes are in the effect's own visit or year; the rest is looked for among the
visits of other years that start no more than `cause_reach` before, so that from spring on nothing is looked for at all.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import TIME
from m2cli.lake.layout import EVENTS, VISITS, Schema, Table
from m2cli.lake.scan import scan_files
from m2cli.stages.trace import find_causes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date
    from pathlib import Path

    from m2cli.lake.lists import LakeFile

    Files = Callable[[], Iterable[tuple[LakeFile, Path]]]
    """Lists the files of a lake, and where each is read."""

_KEYS = ("event_id", "event_time", "visitor_id")
_CANDIDATES: Schema = {"event_id": pl.String, "event_time": TIME, "visitor_id": pl.String, "start_time": TIME}


class References:
    """Looks for causes and continued visits of visits that start on one date, in the files of a lake."""

    def __init__(self, files: Files, first_date: date, last_date: date, reach: timedelta) -> None:
        """Look in `files`, of a lake of identified data, for visits that start from `first_date` to `last_date`.

        Both dates are of one year. Where no visit of another year can be near, `files` is not called.
        """
        first, last = first_date - min(reach, first_date - first_date.min), last_date + timedelta(days=1)
        self._year = first_date.year
        self._near: list[tuple[LakeFile, Path]] = []
        if (first.year, last.year) != (self._year, self._year):
            self._near = [each for each in files() if each[0].start_date and first <= each[0].start_date <= last]
        self._causes = pl.DataFrame(schema=_CANDIDATES)

    @property
    def has_other_years(self) -> bool:
        """Whether any visit of another year is near enough."""
        return any(file.start_date.year != self._year for file, _ in self._near if file.start_date)

    def look_for_causes(self, wanted: pl.Series) -> None:
        """Find the events with the ids `wanted` that lie in other years' visits; and where one does, all of its id."""
        there = self._find(EVENTS, "event_id", wanted, is_own_year=False)
        here = self._find(EVENTS, "event_id", there["event_id"].unique(), is_own_year=True)
        self._causes = pl.concat([here, there])

    def start_causes(self, events: pl.DataFrame) -> pl.DataFrame:
        """`events` with `cause_start_time`: a time in the year of the visit that the cause lies in; null for its own.

        Which event is the cause where several have its id is decided as `m2 trace` does.
        """
        if self._causes.is_empty() or "cause_id" not in events.columns:
            return events
        is_asked = events["cause_id"].is_in(self._causes["event_id"].implode()).fill_null(value=False)
        asked = events.filter(is_asked).select(*_KEYS, "cause_id", start_time=pl.lit(None, TIME))
        both = pl.concat([asked, self._causes.with_columns(cause_id=pl.lit(None, pl.String))], how="diagonal")
        causes = find_causes(both).head(asked.height)
        starts = both["start_time"].gather(causes)
        rows = is_asked.cast(pl.UInt32).cum_sum() * is_asked.cast(pl.UInt32)
        return events.with_columns(cause_start_time=starts.clear(1).append(starts).gather(rows))

    def start_continued(self, visits: pl.DataFrame) -> pl.DataFrame:
        """`visits` with `continues_start_time`: the start of the visit that each continues; null where it is near."""
        if not self.has_other_years or "continues_visit_id" not in visits.columns:
            return visits
        found = self._find(VISITS, "visit_id", visits["continues_visit_id"].drop_nulls(), is_own_year=False)
        starts = found.select(continues_visit_id="visit_id", continues_start_time="start_time").unique(
            "continues_visit_id"
        )
        return visits.join(starts, on="continues_visit_id", how="left", maintain_order="left")

    def _find(self, table: Table, key: str, ids: pl.Series, *, is_own_year: bool) -> pl.DataFrame:
        schema: Schema = _CANDIDATES if table is EVENTS else {"visit_id": pl.String, "start_time": TIME}
        found = [pl.DataFrame(schema=schema)]
        by_date: dict[date, list[Path]] = {}
        for file, path in self._near if len(ids) else ():
            if file.kind == table.name and file.start_date and (file.start_date.year == self._year) == is_own_year:
                by_date.setdefault(file.start_date, []).append(path)
        for start_date, paths in by_date.items():
            rows = scan_files(paths, table).filter(pl.col(key).is_in(ids.implode()))
            if table is EVENTS:
                start = datetime.combine(start_date, time(), UTC)
                rows = rows.select(*_KEYS, start_time=pl.lit(start, TIME))
            found.append(rows.select(list(schema)).collect())
        return pl.concat(found)
