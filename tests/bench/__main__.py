"""Measures m2 as a user runs it, beside a named floor and named peers in the same run, and prints the ratios.

`make bench` runs all; `python -m tests.bench events logs trace help avro kafka memory privacy replay` some, and
`python -m tests.bench batches --events 2000000` batches of a smaller day. Commands are interleaved, A B C A B C ...,
and the medians of five rounds compared: machines wobble. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.avro import bench_avro
from tests.bench.batches import bench_batches
from tests.bench.formats import bench_formats
from tests.bench.kafka import bench_kafka
from tests.bench.memory import bench_memory
from tests.bench.narrow import make_narrow_events
from tests.bench.privacy import bench_privacy
from tests.bench.replay import bench_replay
from tests.bench.topics import bench_topics

ROUNDS = 5
PRIVACY_EVENTS = 5_000_000
HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "build" / "bench"
PYTHON = sys.executable
M2 = str(Path(PYTHON).with_name("m2"))


def time_command(command: list[str], made: Path | None) -> float:
    if made is not None:
        shutil.rmtree(made, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def compare(
    title: str, commands: dict[str, list[str]], made: Path | None = None, work: tuple[int, str] | None = None
) -> None:
    """Print the median of each command and its ratio to that of the first, the floor."""
    print(f"\n{title}")
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        time_command(command, made)  # a round to warm caches, not counted
    for _ in range(ROUNDS):
        for name, command in commands.items():
            seconds[name].append(time_command(command, made))
    floor = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        median = statistics.median(values)
        rate = f"  {work[0] / median:>12,.0f} {work[1]}/s" if work else ""
        print(f"  {name:<32} {median:7.2f} s ({min(values):.2f} to {max(values):.2f})  {median / floor:6.2f} x{rate}")


def bench_events(folder: Path) -> None:
    events = CACHE / "narrow.parquet"
    if not events.exists():
        make_narrow_events(5_000_000, events)
    out = folder / "out"
    commands = {
        "floor: hand-written Polars": [PYTHON, str(HERE / "floor_events.py"), str(events), str(out)],
        "m2 sessionize": [M2, "sessionize", str(events), "-o", str(out)],
        "peer: DuckDB SQL": [PYTHON, str(HERE / "duckdb_events.py"), str(events), str(out)],
    }
    compare("5 million narrow events, Parquet in and out", commands, out, (5_000_000, "events"))


def bench_logs(folder: Path) -> None:
    logs = CACHE / "logs"
    if not logs.exists():
        sample = [M2, "sample", str(logs), "--events", "1000000", "--days", "1", "--seed", "7", "--as", "access-log"]
        subprocess.run(sample, check=True)
    whole = CACHE / "access.log"
    if not whole.exists():
        with whole.open("wb") as joined:
            for log in sorted((logs / "logs").iterdir()):
                joined.write(log.read_bytes())
    out = folder / "out"
    commands = {
        "floor: hand-written Polars": [PYTHON, str(HERE / "floor_logs.py"), str(whole), str(out)],
        "m2 sessionize": [M2, "sessionize", str(whole), "-o", str(out)],
    }
    if shutil.which("goaccess"):
        page = str(folder / "report.json")
        commands["peer: GoAccess, a report only"] = ["goaccess", str(whole), "--log-format=COMBINED", "-o", page]
    size = whole.stat().st_size / 1e6
    compare(f"1 million combined lines ({size:.0f} MB)", commands, out, (1_000_000, "lines"))


def bench_trace(folder: Path) -> None:
    """One purchase traced in a lake of 5 million events with causes."""
    lake = CACHE / "lake"
    if not lake.exists():
        sample = [M2, "sample", str(folder / "sample"), "--events", "5000000", "--days", "1", "--seed", "7"]
        subprocess.run(sample, check=True)
        subprocess.run([M2, "sessionize", str(folder / "sample" / "events"), "-o", str(lake)], check=True)
    query = "SELECT event_id FROM purchases WHERE NOT is_robot ORDER BY event_time DESC LIMIT 1 OFFSET 1000"
    answer = subprocess.run(
        [M2, "query", query, "--lake", str(lake), "--format", "csv"], check=True, capture_output=True
    )
    event_id = answer.stdout.decode().split()[-1]
    compare("one purchase traced in 5 million events", {"m2 trace": [M2, "trace", event_id, "--lake", str(lake)]})


def bench_help(_folder: Path) -> None:
    commands = {"floor: import click": [PYTHON, "-c", "import click"], "m2 --help": [M2, "--help"]}
    compare("help", commands)


BENCHES = {
    "events": bench_events,
    "logs": bench_logs,
    "formats": lambda folder: bench_formats(folder, CACHE),
    "trace": bench_trace,
    "help": bench_help,
    "kafka": bench_kafka,
    "avro": bench_avro,
    "topics": lambda folder: bench_topics(folder, CACHE),
    "memory": lambda folder: bench_memory(folder, CACHE),
    "privacy": lambda folder: bench_privacy(folder, CACHE, PRIVACY_EVENTS),
    "replay": lambda _folder: bench_replay(CACHE),
}
BATCHES = "batches"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, BATCHES, []], metavar="NAME")
    parser.add_argument("--events", type=int, default=20_000_000, help="of the day that is cut into batches")
    asked = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    benches = BENCHES | {BATCHES: lambda folder: bench_batches(folder, CACHE, asked.events)}
    for name in asked.names or benches:
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            benches[name](Path(folder))


if __name__ == "__main__":
    main()
