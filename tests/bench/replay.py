"""What a replay costs: a generated day through 96 batches and the verdict, by its size, beside DuckDB's SQL at once."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from tests.bench.spent import spend

DAY = datetime(2025, 10, 1, tzinfo=UTC)
SIZES = (1_000_000, 5_000_000, 20_000_000)
MEMORY = "6GiB"
FULL_DAY = 200_000_000
# Days that are made by themselves; a larger one is one of them many times, which takes a tenth of the memory.
_MADE = (1_000_000, 5_000_000, 20_000_000)
_EVENTS_A_VISIT = 12
_PARTITIONS = 4
_SECOND = 1_000_000
_PIECE = 2_000_000
_MEBI = 1 << 20
_ROOT = Path(__file__).parents[2]
_M2 = str(Path(sys.executable).with_name("m2"))

# The same visits, but for what only a walk from event to event can cut: where 12 hours are over.
_SQL = """
    COPY (
        SELECT *, sum(CASE WHEN gap IS NULL OR gap > INTERVAL 30 MINUTE THEN 1 ELSE 0 END)
            OVER (PARTITION BY visitor_id ORDER BY event_time, source, position_in_source) AS visit
        FROM (
            SELECT *, event_time - lag(event_time) OVER (
                PARTITION BY visitor_id ORDER BY event_time, source, position_in_source) AS gap
            FROM read_parquet('{files}')
        )
    ) TO '{out}' (FORMAT parquet)
"""


def make_day(event_count: int, folder: Path) -> Path:
    """A day of visits of twelve events, spread over it, in files in the order in which they arrived; made once."""
    day = folder / f"replay-{event_count}"
    if day.exists():
        return day
    made = folder / f"replay-{event_count}.unfinished"
    made.mkdir(parents=True, exist_ok=True)
    smaller = next((size for size in sorted(_MADE, reverse=True) if not event_count % size), event_count)
    if smaller < event_count:
        _multiply(make_day(smaller, folder), event_count // smaller, made)
    else:
        _make(event_count, made)
    made.rename(day)
    return day


def _multiply(day: Path, times: int, made: Path) -> None:
    """A day of so many times as many visitors, who do at the same moments what those of `day` do."""
    number = 0
    for path in sorted(day.glob("*.parquet")):
        for piece in pl.read_parquet(path).iter_slices(_PIECE // times):
            rows = pl.int_range(piece.height, dtype=pl.UInt32, eager=True).repeat_by(times).explode()
            nth = pl.int_range(piece.height * times, eager=True) % times
            many = piece.select(pl.all().gather(pl.lit(rows))).with_columns(
                *(pl.format("{}-{}", nth, name).alias(name) for name in ("visitor_id", "event_id", "cause_id")),
                position_in_source=pl.col("position_in_source") * times + nth,
            )
            many.write_parquet(made / f"{number:05}.parquet", compression="lz4")
            number += 1


def _make(event_count: int, made: Path) -> None:
    nth = pl.int_range(event_count, dtype=pl.Int64)
    visit, place = nth // _EVENTS_A_VISIT, nth % _EVENTS_A_VISIT
    begin = (visit.hash(1) % (86_000 * _SECOND)).cast(pl.Int64)
    after = place * 40 * _SECOND + (nth.hash(2) % (30 * _SECOND)).cast(pl.Int64)
    visitor = visit.hash(3) % max(1, event_count * 3 // _EVENTS_A_VISIT // 4)
    first = int(DAY.timestamp()) * _SECOND
    events = pl.select(
        event_time=(first + begin + after).cast(pl.Datetime("us", "UTC")),
        arrival_time=(first + begin + after + (nth.hash(4) % (20 * _SECOND)).cast(pl.Int64)).cast(
            pl.Datetime("us", "UTC")
        ),
        visitor_id=pl.format("visitor-{}", visitor),
        event_id=nth.cast(pl.String),
        event_type=pl.when(place % 4 == 0).then(pl.lit("page")).otherwise(pl.lit("show")),
        cause_id=pl.when(place > 0).then((nth - 1).cast(pl.String)),
        source=pl.format("web-{}", visitor % _PARTITIONS),
    )
    arrived = events.sort("arrival_time").with_columns(position_in_source=pl.int_range(pl.len()).over("source"))
    for number, piece in enumerate(arrived.iter_slices(_PIECE)):
        piece.write_parquet(made / f"{number:05}.parquet", compression="lz4")


def bench_replay(cache: Path, sizes: tuple[int, ...] = SIZES) -> None:
    """Each size, printed; and what a day of 200 million would take at the cost of the largest."""
    print("\na day through 96 batches: tape, batches, and the verdict (kernel at once, DuckDB)")
    cost = 0.0
    for size in sizes:
        day = cache / f"replay-{size}"
        # In a process of its own: what that takes at most would be counted for all that this one starts.
        make = (
            f"from pathlib import Path; from tests.bench.replay import make_day; make_day({size}, Path({str(cache)!r}))"
        )
        spend(sys.executable, "-c", make, folder=_ROOT)
        with tempfile.TemporaryDirectory(prefix="m2-bench-") as folder:
            place = Path(folder)
            spent = spend(_M2, "replay", str(day), "--every", "15m", "--memory", MEMORY, folder=place)
            cost = spent.wall / size
            print(
                f"  {size:>11,} events {spent.wall:8.1f} s {spent.cpu:8.1f} s CPU {spent.peak / _MEBI:>7,.0f} MiB  "
                f"{1e6 * cost:.2f} µs an event, {1e6 * spent.cpu / size:.2f} µs of CPU"
            )
            script = f"import duckdb; duckdb.sql({_SQL.format(files=day / '*.parquet', out=place / 'out.parquet')!r})"
            beside = spend(sys.executable, "-c", script, folder=place)
            peak = f"{beside.peak / _MEBI:>7,.0f} MiB"
            print(f"  {'DuckDB at once':>18} {beside.wall:8.1f} s {beside.cpu:8.1f} s CPU {peak}")
    if size != FULL_DAY:
        print(f"  {FULL_DAY:,} events at the last cost: {cost * FULL_DAY / 60:.1f} minutes (not measured)")


def main() -> None:
    """`python -m tests.bench.replay --events 1000000,5000000`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", default=",".join(map(str, SIZES)))
    sizes = tuple(int(size) for size in parser.parse_args().events.split(","))
    bench_replay(_ROOT / "build" / "bench", sizes)


if __name__ == "__main__":
    main()
