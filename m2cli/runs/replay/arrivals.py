"""When each event can be read: as it was when it ran live, or as faults will have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import TIME
from m2cli.visits.rules import microseconds

if TYPE_CHECKING:
    from datetime import timedelta

    from m2cli.runs.replay.rule import FaultRule
    from m2cli.visits import VisitRule

# A source is read in order: no event is taken before those that stand before it.
PLACE = ("source", "part_id", "position_in_source")
READ_TIME = "read_time"


def derive_arrival(events: pl.DataFrame) -> pl.DataFrame:
    """`events` with the `arrival_time` that nobody recorded: the largest event time up to it in its partition."""
    ordered = events.sort(PLACE, maintain_order=True)
    return ordered.with_columns(arrival_time=pl.col("event_time").cum_max().over("source"))


class Arrivals:
    """Gives each event its `read_time`, piece by piece of arrival; a piece has all events of a span of it."""

    def __init__(self, faults: FaultRule, visit: VisitRule, lags: dict[str, timedelta]) -> None:
        self._faults, self._visit, self._lags = faults, visit, lags
        self._reached: dict[str, tuple[int, ...]] = {}
        """Of each partition, in µs, the largest arrival time, smaller of event and arrival time, and event time."""

    def date(self, events: pl.DataFrame) -> pl.DataFrame:
        """`events`, in the order in which they are read, with `read_time` (TIME)."""
        reached = pl.DataFrame(
            [(source, *times) for source, times in self._reached.items()],
            schema={"source": pl.String, "_arrived": pl.Int64, "_seen": pl.Int64, "_latest": pl.Int64},
            orient="row",
        )
        placed = events.sort(PLACE, maintain_order=True).join(reached, on="source", how="left", maintain_order="left")
        arrived, latest = pl.col("arrival_time").to_physical(), pl.col("event_time").to_physical()
        seen = pl.min_horizontal(arrived, latest)
        dated = placed.with_columns(
            _arrived=pl.max_horizontal(arrived.cum_max().over("source"), "_arrived"),
            _seen=pl.max_horizontal(seen.cum_max().over("source"), "_seen"),
            _latest=pl.max_horizontal(latest.cum_max().over("source"), "_latest"),
            _seen_before=pl.max_horizontal(seen.cum_max().shift(1).over("source"), "_seen"),
        )
        last = dated.group_by("source").agg(pl.col("_arrived", "_seen", "_latest").last())
        self._reached |= {source: tuple(times) for source, *times in last.iter_rows()}
        read = self._shuffle() + self._lag()
        return dated.with_columns(read.cast(TIME).alias(READ_TIME)).drop("_arrived", "_seen", "_latest", "_seen_before")

    def _shuffle(self) -> pl.Expr:
        """Arrival, or with a shuffle the time to which each event is moved.

        An event that was on time goes to within `shuffle` after its own time, so that with a shuffle within B it stays
        on time: whatever comes before it is less than B later. One that was late comes after all that made it late.
        """
        width = microseconds(self._faults.shuffle)
        if not width:
            return pl.col("_arrived")
        bound = microseconds(self._visit.max_out_of_orderness)
        draw = pl.struct(*PLACE, "event_time").hash(self._faults.seed) % (width + 1)
        time = pl.col("event_time").to_physical()
        is_late = (time < pl.col("_seen_before") - bound).fill_null(value=False)
        return pl.when(is_late).then(pl.col("_latest") + width + 1).otherwise(time + draw.cast(pl.Int64))

    def _lag(self) -> pl.Expr:
        lags = {source: microseconds(lag) for source, lag in self._lags.items()}
        if not lags:
            return pl.lit(0, pl.Int64)
        return pl.col("source").replace_strict(list(lags), list(lags.values()), default=0, return_dtype=pl.Int64)
