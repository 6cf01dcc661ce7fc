"""How much memory `m2 sessionize` takes under a setting, and what that costs in time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from m2cli.settings import parse_size
from tests.bench.narrow import make_narrow_events

SETTINGS = ("64GiB", "2GiB", "1GiB", "512MiB", "256MiB")  # the first is more than it takes


def bench_memory(folder: Path, cache: Path) -> None:
    events = cache / "narrow.parquet"
    if not events.exists():
        make_narrow_events(5_000_000, events)
    print("\nmemory: 5 million narrow events, Parquet in and out, by `--memory`")
    unbounded = 0.0
    for setting in SETTINGS:
        seconds, peak = measure([str(events), "--memory", setting], folder / "out")
        unbounded = unbounded or seconds
        share = f"{100 * peak / parse_size(setting):5.0f} % of it"
        print(f"  {setting:<8} {seconds:7.2f} s  {seconds / unbounded:6.2f} x  peak {peak >> 20:>6,} MiB  {share}")


def measure(arguments: list[str], lake: Path) -> tuple[float, int]:
    """The wall time of `m2 sessionize`, and the most that it had in memory, in bytes."""
    shutil.rmtree(lake, ignore_errors=True)
    m2 = str(Path(sys.executable).with_name("m2"))
    start = time.perf_counter()
    process = subprocess.Popen([m2, "sessionize", *arguments, "-o", str(lake), "--quiet"])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, used.ru_maxrss * unit
