"""When each event can be read: as it was when it ran live, or as faults will have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import TIME
from m2cli.visits.rules import microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from m2cli.runs.replay.rule import FaultRule
    from m2cli.visits import VisitRule

# A source is read in order: no event is taken before those that stand before it.
PLACE = ("source", "part_id", "position_in_source")
READ_TIME = "read_time"
_KEY_BITS = 63
_FAR_BEFORE = -(1 << 62)


def derive_arrival(events: pl.DataFrame) -> pl.DataFrame:
    """`events` with the `arrival_time` that nobody recorded: the largest event time up to it in its partition."""
    ordered = gather_rows(events, order_places(events))
    return ordered.with_columns(arrival_time=pl.col("event_time").cum_max().over("source"))


def order_places(events: pl.DataFrame) -> pl.Series:
    """The rows of `events` by source, and in the order of each; rows of one place as they stand.

    Sorted is one integer, not the frame and its texts: that takes a sixth of the time.
    """
    sources, parts = rank_texts(events["source"]), rank_texts(events["part_id"])
    position = events["position_in_source"].fill_null(-1)
    least, most = find_bounds(position)
    width, part_count, source_count = most - least + 1, find_bounds(parts)[1] + 1, find_bounds(sources)[1] + 1
    is_small = (source_count * part_count * width).bit_length() < _KEY_BITS
    key = pl.lit(sources) * part_count + pl.lit(parts)
    keys = [key * width + (pl.lit(position) - least)] if is_small else [key, pl.lit(position)]
    frame = pl.select(*(each.alias(f"{place}") for place, each in enumerate(keys))).with_row_index("row")
    return frame.sort(frame.columns[1:], maintain_order=True)["row"]


def rank_texts(texts: pl.Series) -> pl.Series:
    """For each of `texts`, of which few differ, the place of its value in their order (Int64); null is an empty one."""
    named = texts.fill_null("")
    return named.cast(pl.Enum(named.unique().sort())).to_physical().cast(pl.Int64)


def find_bounds(numbers: pl.Series) -> tuple[int, int]:
    """The least and the largest of integers; zeros where there are none."""
    first, last = numbers.min(), numbers.max()
    return (first, last) if isinstance(first, int) and isinstance(last, int) else (0, 0)


def gather_rows(events: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """`events` in the order of `rows`, which are all of them."""
    return events if rows.is_sorted() else events.rechunk().select(pl.all().gather(pl.lit(rows)))


class Arrivals:
    """Says of each event when it is read, piece by piece of arrival; a piece has all events of a span of it."""

    def __init__(self, faults: FaultRule, visit: VisitRule, lags: dict[str, timedelta]) -> None:
        self._faults, self._visit, self._lags = faults, visit, lags
        self._reached: dict[str, tuple[int, ...]] = {}
        """Of each partition, in µs, the largest arrival time, smaller of event and arrival time, and event time."""

    def date(self, events: pl.DataFrame) -> pl.DataFrame:
        """For each of `events`, partition by partition in its order: its `row` there, and its `read_time` (TIME)."""
        rows = order_places(events)
        placed = events.select(*PLACE, "event_time", "arrival_time").select(pl.all().gather(pl.lit(rows)))
        dated = self._reach(placed.with_columns(row=rows))
        last = dated.group_by("source").agg(pl.col("_arrived", "_seen", "_latest").last())
        self._reached |= {source: tuple(times) for source, *times in last.iter_rows()}
        read = self._shuffle() + self._lag()
        return dated.select("row", read.cast(TIME).alias(READ_TIME))

    def find_earliest(self, sources: Iterable[str]) -> int:
        """Before when, in µs, nothing of these partitions is read that is yet to come, however it is moved.

        What is on time has no time more than B before the furthest of its partition, and is never read before that.
        """
        reached = [self._reached[source][1] if source in self._reached else _FAR_BEFORE for source in sources]
        return min(reached, default=-_FAR_BEFORE) - microseconds(self._visit.max_out_of_orderness)

    def _reach(self, placed: pl.DataFrame) -> pl.DataFrame:
        """`placed` with how far its partition has come with each event, in each sense of it."""
        arrived, latest = pl.col("arrival_time").to_physical(), pl.col("event_time").to_physical()
        if not self._faults.shuffle:  # then nothing else is asked
            known = {source: times[0] for source, times in self._reached.items()}
            before = pl.col("source").replace_strict(known, default=None, return_dtype=pl.Int64)
            farthest = pl.max_horizontal(arrived.cum_max().over("source"), before)
            return placed.with_columns(_arrived=farthest, _seen=farthest, _latest=farthest)
        reached = pl.DataFrame(
            [(source, *times) for source, times in self._reached.items()],
            schema={"source": pl.String, "_arrived": pl.Int64, "_seen": pl.Int64, "_latest": pl.Int64},
            orient="row",
        )
        seen = pl.min_horizontal(arrived, latest)
        return placed.join(reached, on="source", how="left", maintain_order="left").with_columns(
            _arrived=pl.max_horizontal(arrived.cum_max().over("source"), "_arrived"),
            _seen=pl.max_horizontal(seen.cum_max().over("source"), "_seen"),
            _latest=pl.max_horizontal(latest.cum_max().over("source"), "_latest"),
            _seen_before=pl.max_horizontal(seen.cum_max().shift(1).over("source"), "_seen"),
        )

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
