"""Events of a day with few columns, for measuring the kernel and not the generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

_DAY = 86_400_000_000  # in µs
_START = 1_795_132_800_000_000  # 2026-11-20
_PER_VISIT = 12


def make_narrow_events(count: int, path: Path) -> None:
    """`count` events in order of time, twelve a visit, two minutes apart."""
    number = pl.int_range(count, eager=True)
    visit = number // _PER_VISIT
    draw = visit.hash(7)
    visitor = draw // 1_048_576 % (count // _PER_VISIT * 8 // 10 + 1)
    time = (
        (draw % _DAY).cast(pl.Int64) + number % _PER_VISIT * 120_000_000 + (number.hash(3) % 60_000_000).cast(pl.Int64)
    )
    frame = pl.DataFrame({"id": number.hash(11), "visitor": visitor, "time": time + _START, "nth": number % _PER_VISIT})
    frame.sort("time").select(
        event_id=pl.format("e{}", "id"),
        visitor_id=pl.format("visitor-{}", "visitor"),
        event_time=pl.col("time").cast(pl.Datetime("us", "UTC")),
        event_type=pl.when(pl.col("nth") % 3 == 0).then(pl.lit("page")).otherwise(pl.lit("show")),
        url=pl.format("/product/{}", pl.col("id") % 5_000),
    ).write_parquet(path)
