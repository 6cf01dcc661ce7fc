"""What visits would be by other rules: measured side by side, in one pass over the events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.errors import UnknownNameError, UsageError
from m2cli.events import PURCHASE
from m2cli.runs.progress import Step, tell_nobody
from m2cli.runs.shards import Spill, budget_events
from m2cli.settings import format_duration, parse_duration
from m2cli.stages.trace import ROOT, find_causes, unfold_causes
from m2cli.visits import VisitRule, sessionize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from m2cli.runs.progress import Tell

SWEPT = ("inactivity", "max_duration")
_READ = ("visitor_id", "event_time", "event_id", "event_type", "cause_id", "source", "part_id", "position_in_source")
_ROW = "event_row"


@dataclass
class Measures:
    """What one rule makes of the events; lengths from a visit's first event to its last."""

    name: str
    visit: VisitRule
    visit_count: int = 0
    event_count: int = 0
    purchase_count: int = 0
    """Purchases whose root is in the data."""
    cut_off_count: int = 0
    """Of these, those whose root is in another visit."""
    _lengths: list[pl.Series] = field(default_factory=list)

    def add(self, events: pl.DataFrame, visits: pl.DataFrame, purchases: pl.DataFrame) -> None:
        """Count visits, and those of `purchases` (rows of one and of its root) that are in two visits."""
        self.visit_count += visits.height
        self.event_count += events.height
        self._lengths.append((visits["end_time"] - visits["start_time"]).dt.total_microseconds())
        of_row = events.select(_ROW, "visit_id")
        both = purchases.join(of_row, left_on="row", right_on=_ROW).join(
            of_row, left_on="top", right_on=_ROW, suffix="_top"
        )
        self.purchase_count += both.height
        self.cut_off_count += both.filter(pl.col("visit_id") != pl.col("visit_id_top")).height

    def describe(self) -> dict[str, Any]:
        """In numbers: lengths in seconds."""
        lengths = pl.concat(self._lengths) if self._lengths else pl.Series(dtype=pl.Int64)
        limits = {name: format_duration(getattr(self.visit, name)) for name in SWEPT}
        return {
            "rule": self.name,
            **limits,
            "visit_count": self.visit_count,
            "events_per_visit": round(self.event_count / self.visit_count, 3) if self.visit_count else None,
            "mean_seconds": _seconds(lengths.mean()),
            "median_seconds": _seconds(lengths.median()),
            "purchase_count": self.purchase_count,
            "cut_off_count": self.cut_off_count,
        }


def parse_sweep(text: str, visit: VisitRule) -> list[Measures]:
    """A rule for each of the values that `text` names of one limit of `visit`.

    >>> [each.name for each in parse_sweep("inactivity=10m,1h", VisitRule())]
    ['inactivity=10m', 'inactivity=1h']
    """
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not values:
        raise UsageError(f"`{text}` is no sweep; write it as `inactivity=10m,20m,30m`")
    if name not in SWEPT:
        raise UnknownNameError("limit", name, SWEPT)
    limits = sorted({parse_duration(value) for value in values.split(",")})
    return [Measures(f"{name}={format_duration(limit)}", replace(visit, **{name: limit})) for limit in limits]


def measure(
    pieces: Iterable[pl.DataFrame], rules: Sequence[Measures], memory: int, scratch: Path, tell: Tell = tell_nobody
) -> list[dict[str, Any]]:
    """What each of `rules` makes of all the events of `pieces`, cut at once, visitor by visitor where memory says so.

    Roots are looked for in the events of the same shard: what caused a purchase is its visitor's own.
    """
    spill = Spill(scratch, budget_events(memory))
    count = 0
    for piece in pieces:
        spill.add(piece.select(name for name in _READ if name in piece.columns))
        count += piece.height
    done = 0
    for shard in spill.drain():
        events = shard.events.with_row_index(_ROW)
        purchases = find_roots(events)
        for rule in rules:
            made = sessionize(events, rule.visit)
            rule.add(made.events, made.visits, purchases)
        done += events.height
        tell(Step("measuring", done, count, "events"))
    return [rule.describe() for rule in rules]


def find_roots(events: pl.DataFrame) -> pl.DataFrame:
    """A row for each purchase whose root is among `events`: the rows of the two, `row` and `top` (UInt32)."""
    if not {"event_id", "event_type", "cause_id"} <= set(events.columns):
        return pl.DataFrame(schema={"row": pl.UInt32, "top": pl.UInt32})
    starts = (events["event_type"] == PURCHASE).fill_null(value=False).arg_true()
    ends = unfold_causes(events, find_causes(events), starts).ends
    return ends.filter(pl.col("end") == ROOT).select("row", "top")


def _seconds(microseconds: Any) -> float | None:
    return None if microseconds is None else round(microseconds / 1e6, 3)
