"""Journeys become events: when each happens, when and where it arrives, and what is late by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.sample.draws import below, draw, high, low, make_key
from m2cli.sample.scenes import DELAYS, MINUTE, SLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from m2cli.sample.library import Library
    from m2cli.sample.rule import SampleRule

MAX_OUT_OF_ORDERNESS = 5 * MINUTE
SLICE = 400_000
"""Events made at a time, which bounds the memory; what arrives after them waits as a few integers."""

_AHEAD = 3 * MINUTE  # more than an event may arrive before it happens


class Slice(NamedTuple):
    """Some journeys that begin one after the other."""

    played: pl.DataFrame
    """`journey`, `scene` (row), `event`, `source` (numbers), `time`, `arrival` (µs), in order of journeys."""
    journeys: pl.DataFrame
    """The plan's rows."""
    until: int | None
    """No event of a later slice arrives before this; None for the last."""


def play_slices(plan: pl.DataFrame, library: Library, rule: SampleRule) -> Iterator[Slice]:
    """The whole plan, about `SLICE` events at a time."""
    groups = plan["first_event"] // SLICE
    begins = [int(n) for n in (groups.diff().fill_null(1) > 0).arg_true()]
    for begin, end in zip(begins, [*begins[1:], plan.height], strict=True):
        journeys = plan.slice(begin, end - begin).with_columns(journey=pl.int_range(begin, end, dtype=pl.UInt32))
        until = int(plan["start"][end]) - _AHEAD if end < plan.height else None
        yield Slice(_play(journeys, library, rule), journeys, until)


def _play(journeys: pl.DataFrame, library: Library, rule: SampleRule) -> pl.DataFrame:
    shared = ("journey", "start", "first_event", "begin", "home")
    first = pl.col("first_event") - pl.col("first_event").first()
    rows = journeys.select(
        *shared, first=first, scene=pl.int_ranges("begin", pl.col("begin") + pl.col("length"))
    ).explode("scene")
    about = library.scenes.select(
        "same_as", "gap_from", "gap_range", "delay_from", "delay_range", "is_prompt", "shift"
    )[rows["scene"]]
    number = pl.col("first_event") + pl.col("scene") - pl.col("begin")
    gap = pl.col("gap_from") + below(high(pl.col("drawn")), pl.col("gap_range"))
    passed = pl.col("gap").cum_sum()
    return (
        pl.concat([rows, about], how="horizontal")
        .with_columns(drawn=draw(number, make_key(rule.seed, "play")))
        .with_columns(gap=gap // rule.tick * rule.tick)
        .with_columns(time=pl.col("start") + passed - passed.gather("first"))  # a first scene's gap is zero
        .select(
            "journey",
            pl.col("scene").cast(pl.UInt32),
            "time",
            event=pl.col("first_event") + pl.col("same_as"),
            arrival=pl.col("time") + _delay(),
            source=((pl.col("home") + pl.col("shift")) % rule.sources).cast(pl.UInt8),
        )
    )


def _delay() -> pl.Expr:
    """Most are prompt; one in 64 of these is slow without any script saying so."""
    half, (slow, longest) = low(pl.col("drawn")), DELAYS[SLOW]
    is_slow = pl.col("is_prompt") & (half % 16 == 0) & (high(pl.col("drawn")) % 4 == 0)
    return (
        pl.when(is_slow)
        .then(slow + below(half, longest - slow))
        .otherwise(pl.col("delay_from") + below(half, pl.col("delay_range")))
    )


class Arrivals:
    """The partitions: hands out positions, and says what is late (DESIGN 4.4, 4.5)."""

    def __init__(self, sources: int) -> None:
        self._waiting: list[pl.DataFrame] = []
        self._partitions = pl.DataFrame(
            {"source": range(sources), "count": [0] * sources, "reached": None, "latest": None},
            schema={"source": pl.UInt8, "count": pl.Int64, "reached": pl.Int64, "latest": pl.Int64},
        )

    def take(self, played: pl.DataFrame, until: int | None) -> pl.DataFrame:
        """What arrives before `until`, in that order, with `place`, `is_late` and `is_out_of_order`."""
        waiting = pl.concat([*self._waiting, played])
        is_due = pl.lit(value=True) if until is None else pl.col("arrival") < until
        self._waiting = [] if until is None else [waiting.filter(~is_due)]
        due = waiting.filter(is_due).sort("arrival", maintain_order=True)
        return self._place(due)

    def _place(self, due: pl.DataFrame) -> pl.DataFrame:
        before = due.join(self._partitions, on="source", how="left", maintain_order="left")
        reach = pl.min_horizontal("time", "arrival")

        def earlier(value: pl.Expr, carried: str) -> pl.Expr:
            return pl.max_horizontal(value.cum_max().shift(1).over("source"), carried)

        placed = before.with_columns(
            place=pl.col("count") + pl.int_range(pl.len()).over("source"),
            is_late=pl.col("time") < earlier(reach, "reached") - MAX_OUT_OF_ORDERNESS,
            is_out_of_order=pl.col("time") < earlier(pl.col("time"), "latest"),
        ).with_columns(pl.col("is_late", "is_out_of_order").fill_null(value=False))
        self._partitions = (
            pl.concat(
                [self._partitions, due.select("source", count=1, reached=reach, latest="time")],
                how="vertical_relaxed",
            )
            .group_by("source")
            .agg(pl.col("count").sum(), pl.col("reached", "latest").max())
            .sort("source")
        )
        return placed.drop("count", "reached", "latest")

    @property
    def watermark(self) -> int:
        """The smallest watermark of the partitions that anything came through."""
        reached = self._partitions["reached"].min()
        return int(reached) - MAX_OUT_OF_ORDERNESS if isinstance(reached, int) else 0

    @property
    def latest(self) -> int:
        """The latest time of any event."""
        latest = self._partitions["latest"].max()
        return int(latest) if isinstance(latest, int) else 0
