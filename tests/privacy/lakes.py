"""Lakes to anonymize, and what is compared of a lake before and after."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.lake.scan import scan_lake
from m2cli.privacy.fields import FIELDS, normalize
from m2cli.privacy.rule import PrivacyRule
from m2cli.runs.sessionize import SessionizeRule, sessionize
from m2cli.runs.trace import trace_events

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path(__file__).parents[2] / "sample_data" / "events.parquet"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
RULE = PrivacyRule(paths=("/", "/p/{id}/*", "/c/{kind}/{style}"), own_hosts=frozenset({"shop.example"}))


def make_lake(folder: Path, source: Path = SAMPLE) -> Path:
    sessionize([str(source)], folder, SessionizeRule(), now=NOW)
    return folder


def shapes(lake: Path) -> list[Any]:
    """The traces of all purchases without what a pseudonym is in the place of."""
    return sorted(map(repr, _shapes(lake)))


def _shapes(lake: Path) -> Iterator[Any]:
    for frame in trace_events(lake):
        for row in frame.iter_rows(named=True):
            steps = [
                (step["event_type"], step["event_time"], step["hook"], step["competitor_count"])
                for step in row["chain"]
            ]
            yield row["event_time"], row["is_orphan"], row["is_cycle"], row["root_id"] is None, steps


def group_sizes(lake: Path) -> dict[tuple[str, int], list[int]]:
    """Of each identifier and year: how many rows each value has, sorted."""
    events, visits = (table.collect() for table in (scan_lake(lake).events, scan_lake(lake).visits))
    starts = visits.select("visit_id", start_time="start_time")
    joined = events.join(starts, on="visit_id", how="left")
    sizes = {}
    for table, frame in (("events", joined), ("visits", visits)):
        for name, field in FIELDS.items():
            if name in frame.columns:
                normal = frame.with_columns(normalize(frame[name], field, PrivacyRule()))
                for year in (2025, 2026):
                    of_year = normal.filter(pl.col("start_time").dt.year() == year).drop_nulls(name)
                    sizes[f"{table}.{name}", year] = sorted(of_year.group_by(name).len()["len"].to_list())
    return sizes


def rows(lake: Path, without: str = "attributes") -> set[tuple[Any, ...]]:
    """All events and visits of a lake, as a set; a row that is there twice is told from one that is there once."""
    found: set[tuple[Any, ...]] = set()
    for table in (scan_lake(lake).events, scan_lake(lake).visits):
        frame = table.drop("attributes", "revenue_by_currency", without, strict=False).collect()
        counted = frame.group_by(pl.all()).len()
        found |= set(counted.iter_rows())
    return found
