"""The floor of `m2 sessionize` for event files: a hand-written Polars script that only sorts, cuts, orders and writes.

No ids, no duplicates, no ties, no maximum duration, no totals but a count, no date folders, no fsync.
"""

import sys
from datetime import timedelta
from pathlib import Path

import polars as pl


def main(source: str, target: Path) -> None:
    is_new = (pl.col("visitor_id") != pl.col("visitor_id").shift(1)) | (
        pl.col("event_time").diff() > timedelta(minutes=30)
    )
    events = (
        pl.read_parquet(source)
        .sort("visitor_id", "event_time")
        .with_columns(visit=is_new.fill_null(value=True).cum_sum())
    )
    visits = (
        events.group_by("visit", maintain_order=True)
        .agg(
            pl.col("visitor_id").first(),
            start_time=pl.col("event_time").first(),
            end_time=pl.col("event_time").last(),
            event_count=pl.len(),
        )
        .with_columns(end=pl.col("event_count").cum_sum())
        .sort("start_time")
    )
    rows = visits.select(pl.int_ranges(pl.col("end") - pl.col("event_count"), "end").explode()).to_series()
    target.mkdir(parents=True)
    events.select(pl.all().gather(rows)).write_parquet(target / "events.parquet")
    visits.drop("end").write_parquet(target / "visits.parquet")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
