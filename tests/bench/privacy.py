"""What pseudonyms cost: a lake anonymized against reading, writing and hashing it; a pipeline with a second lake."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from tests.bench.batches import begin, make_day, spend

_HERE = Path(__file__).parent
_M2 = str(Path(sys.executable).with_name("m2"))
_ROUNDS = 3
# A ratio that is meant to hold: 1.5 x the floor, and a quarter on top of a run.
_OF_FLOOR, _OF_RUN = 1.5, 1.25
_DAY_EVENTS = 2_000_000
_BATCHES = 12
_ALLOW = [
    f"--allow={text}"
    for text in ("path=/p/{id}/*", "path=/c/{kind}/{style}", "path=/search", "path=/static/**", "own-host=shop.example")
]


def bench_privacy(folder: Path, cache: Path, event_count: int) -> None:
    """Both, printed."""
    _bench_lake(folder, cache, event_count)
    _bench_pipeline(folder, cache)


def _bench_lake(folder: Path, cache: Path, event_count: int) -> None:
    lake = cache / f"privacy-{event_count}"
    if not lake.exists():
        sample = [
            _M2,
            "sample",
            str(folder / "sample"),
            "--events",
            str(event_count),
            "--days",
            "1",
            "--seed",
            "7",
            "-q",
        ]
        subprocess.run(sample, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([_M2, "sessionize", str(folder / "sample" / "events"), "-o", str(lake), "-q"], check=True)
    _make_salts(folder / "salts")
    anonymize = [_M2, "anonymize", "--lake", str(lake), "-o", "out", "--salts", "salts", "-q", *_ALLOW]
    commands = {
        "floor: read, write, hash distinct": [sys.executable, str(_HERE / "floor_privacy.py"), str(lake), "out"],
        "m2 anonymize": anonymize,
    }
    print(f"\n{event_count:,} events anonymized")
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(_ROUNDS):
        for name, command in commands.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            spent = spend(*command, folder=folder)
            cpu[name].append(spent.cpu)
            print(f"  {name:<36} {spent.cpu:7.2f} s CPU {spent.wall:7.2f} s  {spent.peak / (1 << 20):6,.0f} MiB")
    floor, made = (statistics.median(values) for values in cpu.values())
    _tell("of the floor's CPU", made / floor, _OF_FLOOR)


def _bench_pipeline(folder: Path, cache: Path) -> None:
    day = make_day(_DAY_EVENTS, cache)
    print(f"\na day of {_DAY_EVENTS:,} events in {_BATCHES} batches, each with a second lake and without")
    ratios = []
    for _ in range(_ROUNDS):
        totals = _run_in_turn(folder, sorted(day.iterdir()))
        ratios.append(totals["with"] / totals["without"])
        print("  " + ", ".join(f"{name} {total:.2f} s CPU" for name, total in totals.items()))
    _tell("of the CPU without it", statistics.median(ratios), _OF_RUN)


def _run_in_turn(folder: Path, files: list[Path]) -> dict[str, float]:
    """Seconds of the processor that the day takes with and without; a machine that slows down slows both."""
    sections = {"without": "", "with": '[anonymize]\nlake = "anonymous"\nsalts = "../salts"\n'}
    for name, section in sections.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        begin(folder / name)
        path = folder / name / "bench.toml"
        path.write_text(path.read_text(encoding="utf-8") + section, encoding="utf-8")
    totals = dict.fromkeys(sections, 0.0)
    size = len(files) // _BATCHES
    for first in range(0, len(files), size):
        for name in sections:
            for file in files[first : first + size]:
                (folder / name / "events" / file.name).hardlink_to(file)
            is_last = ["--flush"] if first + size >= len(files) else []
            totals[name] += spend(_M2, "run", "bench.toml", *is_last, folder=folder / name).cpu
    return totals


def _make_salts(folder: Path) -> None:
    for year in ("2025", "2026"):
        subprocess.run([_M2, "salt", "new", year, "--salts", str(folder), "-q"], check=True)


def _tell(what: str, ratio: float, limit: float) -> None:
    print(f"  {ratio:.2f} x {what}; at most {limit} is meant: {'ok' if ratio <= limit else 'OVER'}")
