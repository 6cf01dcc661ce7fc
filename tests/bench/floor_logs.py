"""The floor of `m2 sessionize` for access logs: a Polars script that only splits, types, sorts, cuts and writes.

No rejects, no escapes, no ids, no robots, no countries, no causes: one regular expression and what follows from it.
"""

import sys
from datetime import timedelta
from pathlib import Path

import polars as pl

COMBINED = (
    r'^(?P<ip>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<method>\S+) (?P<url>\S+) [^"]*" '
    r'(?P<status>\d+) (?P<bytes>\S+) "(?P<referrer>[^"]*)" "(?P<user_agent>[^"]*)"'
)


def main(source: str, target: Path) -> None:
    is_new = (pl.col("visitor") != pl.col("visitor").shift(1)) | (pl.col("event_time").diff() > timedelta(minutes=30))
    events = (
        pl.read_lines(source)
        .select(pl.col("line").str.extract_groups(COMBINED).struct.unnest())
        .with_columns(
            event_time=pl.col("time").str.to_datetime("%d/%b/%Y:%H:%M:%S %z", time_unit="us", time_zone="UTC"),
            status=pl.col("status").cast(pl.Int32),
            bytes=pl.col("bytes").replace("-", None).cast(pl.Int64),
            visitor=pl.struct("ip", "user_agent").hash(),
        )
        .drop("time")
        .sort("visitor", "event_time")
        .with_columns(visit=is_new.fill_null(value=True).cum_sum())
    )
    visits = events.group_by("visit", maintain_order=True).agg(
        pl.col("visitor").first(),
        start_time=pl.col("event_time").first(),
        end_time=pl.col("event_time").last(),
        event_count=pl.len(),
    )
    target.mkdir(parents=True)
    events.write_parquet(target / "events.parquet")
    visits.write_parquet(target / "visits.parquet")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
