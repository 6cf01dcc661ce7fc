"""What batches cost: a day by the quarter of an hour against the day at once, an empty batch, the thousandth batch."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.pipeline import load_pipeline
from m2cli.runs.run import run_pipeline
from tests.bench.spent import Spent, spend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH_COUNT = 96  # of a day
QUARTER = timedelta(minutes=15)
DAY = datetime(2025, 10, 1, tzinfo=UTC)  # on which the sample's visits begin
MEMORY = 2 << 30
LOAD_COUNT = 1_000
_MEBI = 1 << 20
_M2 = str(Path(sys.executable).with_name("m2"))
_PIPELINE = """
[pipeline]
name = "bench"
lake = "lake"
memory = "2GiB"

[[source]]
type = "events"
paths = ["events/*.parquet"]
"""
_LOG = """
[[source]]
type = "access_log"
paths = ["logs/access.log*"]
"""


def make_day(event_count: int, cache: Path) -> Path:
    """A folder with a shop's day as it arrived, a Parquet file for each quarter of an hour; made once."""
    day = cache / f"day-{event_count}"
    if day.exists():
        return day
    made, sample = cache / f"day-{event_count}.unfinished", cache / f"day-{event_count}.sample"
    for folder in (made, sample):
        shutil.rmtree(folder, ignore_errors=True)
    made.mkdir()
    arguments = ("--events", str(event_count), "--start", f"{DAY:%Y-%m-%d}", "--quiet")
    subprocess.run([_M2, "sample", str(sample), *arguments], check=True, stdout=subprocess.DEVNULL)
    arrived = pl.col("arrival_time")
    events = pl.scan_parquet(sample / "events" / "*.parquet")
    for number in range(BATCH_COUNT):
        begin, end = DAY + number * QUARTER, DAY + (number + 1) * QUARTER
        from_here = arrived >= begin if number else pl.lit(value=True)
        to_here = arrived < end if number < BATCH_COUNT - 1 else pl.lit(value=True)
        events.filter(from_here & to_here).collect().write_parquet(made / f"{begin:%H%M}.parquet")
    shutil.rmtree(sample)
    made.rename(day)
    return day


def bench_batches(folder: Path, cache: Path, event_count: int) -> None:
    """All that is to be known of batches, printed."""
    day = make_day(event_count, cache)
    _bench_day(folder / "day", day, event_count)
    _bench_empty(folder / "empty")
    _bench_age(folder / "age")


def _bench_day(folder: Path, day: Path, event_count: int) -> None:
    print(f"\na day of {event_count:,} events, a batch for every quarter of an hour, and --flush")
    begin(folder)
    at_once = spend(_M2, "sessionize", str(day), "-o", "at_once", folder=folder)
    batches = []
    for file in sorted(day.iterdir()):
        (folder / "events" / file.name).hardlink_to(file)
        batches.append(spend(_M2, "run", "bench.toml", folder=folder))
    batches.append(spend(_M2, "run", "bench.toml", "--flush", folder=folder))
    total, limit = sum(each.cpu for each in batches), 2 * at_once.cpu + 0.5 * len(batches)
    peak = max(each.peak for each in batches)
    _print_row("m2 sessionize, at once", at_once.cpu, at_once.wall, at_once.peak)
    _print_row(f"m2 run, {len(batches)} times", total, sum(each.wall for each in batches), peak)
    _print_row("  of these the median", *map(statistics.median, zip(*batches, strict=True)))
    _print_limit("2 x the one run + 0.5 s a batch of CPU", total / limit, f"{limit:.1f} s")
    _print_limit("memory", peak / MEMORY, f"{MEMORY / _MEBI:,.0f} MiB")
    beyond = (total - at_once.cpu) / len(batches)
    print(f"  {total / at_once.cpu:.2f} x the CPU of the one run; {beyond:.2f} s a batch beyond it")
    print(f"  lake {size_of(folder / 'lake') / _MEBI:,.0f} MiB, at once {size_of(folder / 'at_once') / _MEBI:,.0f} MiB")


def _bench_empty(folder: Path) -> None:
    print("\nan empty batch")
    begin(folder)
    for _ in range(2):
        spend(_M2, "run", "bench.toml", folder=folder)
    floor = [spend(sys.executable, "-c", "import polars", folder=folder) for _ in range(5)]
    empty = [spend(_M2, "run", "bench.toml", folder=folder) for _ in range(5)]
    _print_row("floor: import polars", *map(statistics.median, zip(*floor, strict=True)))
    _print_row("m2 run", *map(statistics.median, zip(*empty, strict=True)))
    _print_limit("0.5 s", statistics.median(each.wall for each in empty) / 0.5, "0.5 s")


def _bench_age(folder: Path) -> None:
    """Batches of the same small input in one process, so that what grows is not hidden behind the imports."""
    print(f"\n{LOAD_COUNT:,} batches of a small constant load, event files that stay and a log that rotates daily")
    begin(folder, log=True)
    pipeline = load_pipeline(folder / "bench.toml", environment={})
    batches, sizes = [], {}
    for number in range(LOAD_COUNT):
        now = load(folder, number)
        usage, start = time.process_time(), time.perf_counter()
        run_pipeline(pipeline, now=now)
        batches.append(Spent(time.process_time() - usage, time.perf_counter() - start, 0))
        if number + 1 in (20, 100, LOAD_COUNT):
            sizes[number + 1] = describe_sizes(folder / "lake")
    early, late = batches[10:20], batches[-10:]
    for name, some in (("batches 11 to 20, median", early), (f"the last 10 of {LOAD_COUNT:,}, median", late)):
        _print_row(name, *map(statistics.median, zip(*some, strict=True)))
    ratio = statistics.median(each.cpu for each in late) / statistics.median(each.cpu for each in early)
    print(f"  {ratio:.2f} x the CPU")
    for number, text in sizes.items():
        print(f"  after {number:,}: {text}")


def begin(folder: Path, *, log: bool = False) -> None:
    """A pipeline in a folder of its own."""
    for name in ("events", "logs"):
        (folder / name).mkdir(parents=True)
    (folder / "bench.toml").write_text(_PIPELINE + (_LOG if log else ""))


def load(folder: Path, number: int) -> Callable[[], datetime]:
    """Put in place what came in a quarter of an hour, and return a clock that stands at its end."""
    begin = DAY + number * QUARTER
    end = begin + QUARTER
    events = folder / "events" / f"{number:06}.parquet"
    _make_events(number, begin).write_parquet(events)
    log = folder / "logs" / "access.log"
    if number % BATCH_COUNT == 0 and log.exists():
        log.rename(log.with_name("access.log.1"))
    with log.open("a") as stream:
        stream.writelines(_make_lines(number, begin))
    for changed in (events, log):
        os.utime(changed, (end.timestamp(),) * 2)
    return lambda: end


def _make_events(number: int, begin: datetime) -> pl.DataFrame:
    nth = pl.int_range(600)
    return pl.select(
        event_id=pl.format("{}-{}", pl.lit(number), nth),
        event_time=pl.lit(begin, pl.Datetime("us", "UTC")) + pl.duration(milliseconds=nth * 1_500),
        event_type=pl.lit("page"),
        visitor_id=pl.format("visitor-{}", _visitor(number, nth)),
        url=pl.format("/{}", nth % 20),
    )


def _make_lines(number: int, begin: datetime) -> Iterator[str]:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
    for nth in range(300):
        time, visitor = begin + timedelta(seconds=3 * nth), _visitor(number, nth)
        ip = f"10.{visitor >> 16}.{visitor >> 8 & 255}.{visitor & 255}"
        yield f'{ip} - - [{time:%d/%b/%Y:%H:%M:%S +0000}] "GET /{nth % 20} HTTP/1.1" 200 1 "-" "{agent}"\n'


def _visitor(number: int, nth: Any) -> Any:
    """Who made the `nth` event of a batch: one of fifty, each of whom is there for three batches, then another."""
    place = nth % 50
    return (number + place) // 3 * 50 + place


def describe_sizes(lake: Path) -> str:
    """What of a lake is not its files."""
    own = lake / "_m2"
    parts = {"ledger": size_of(*own.glob("ledger*")), "carried": size_of(own / "carried")}
    parts["list of files"] = size_of(own / "snapshot", own / "manifests")
    return ", ".join(f"{name} {size / 1024:,.0f} KiB" for name, size in parts.items())


def size_of(*paths: Path) -> int:
    """Bytes of files and of all that is in folders; what has two names counts once."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return sum({(status.st_dev, status.st_ino): status.st_size for status in map(os.stat, files)}.values())


def _print_row(name: str, cpu: float, wall: float, peak: float) -> None:
    of_memory = f"  {peak / _MEBI:>8,.0f} MiB" if peak else ""
    print(f"  {name:<32} {cpu:9.3f} s CPU  {wall:9.3f} s{of_memory}")


def _print_limit(name: str, share: float, limit: str) -> None:
    print(f"  limit: {name:<41} {limit:>10}; {share:.0%} of it {'is used' if share <= 1 else 'IS USED'}")
