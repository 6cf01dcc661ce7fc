"""A log that is written and rotated all the time while batches follow it: every line is once in the lake.

By `copytruncate` the rotator loses what is appended between its copy and its cut. Nobody who reads the files can
know of these lines, unless a batch read them before the cut: so none but they may be missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.lake import scan_lake
from m2cli.ledger import open_ledger
from tests.cli.command import M2, ROOT
from tests.load.writer import VISITOR_COUNT, WAYS, Written

if TYPE_CHECKING:
    from pathlib import Path

PIPELINE = """
[pipeline]
name = "shop"
lake = "lake"

[[source]]
type = "access_log"
paths = ["logs/access.log*"]
"""
COUNTS = ("read_count", "event_count", "late_count", "reject_count", "ignored_count", "duplicate_count")
# What a batch says that a rotation has overtaken again and again; the next one goes on where it began.
GIVEN_UP = ("changed 5 times while it was read", "another file has taken its place")


@dataclass(frozen=True)
class Pace:
    """Lines a second, for how many seconds; seconds from one rotation to the next, and from one batch to the next."""

    rate: int
    seconds: float
    rotate_every: float
    run_every: float

    @property
    def rotation_count(self) -> int:
        """How often the log is rotated; then no more, so that batches of a busy machine come to an end."""
        return int(self.seconds / self.rotate_every)


FEW_SECONDS = Pace(rate=3_000, seconds=5, rotate_every=0.9, run_every=0.5)
A_MINUTE = Pace(rate=20_000, seconds=60, rotate_every=3, run_every=1)
LEAST_BATCHES, MOST_TRIES = 3, 100


def run_batch(folder: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([M2, "run", "shop.toml", *options], cwd=folder, capture_output=True, check=False)


def run_batches(folder: Path, pace: Pace) -> None:
    """Again and again until the time is over; those that give up do not count."""
    begin, done_count = time.monotonic(), 0
    for _ in range(MOST_TRIES):
        start = time.monotonic()
        if start > begin + pace.seconds and done_count >= LEAST_BATCHES:
            return
        done = run_batch(folder)
        assert done.returncode == 0 or any(text in done.stderr.decode() for text in GIVEN_UP), done.stderr.decode()
        done_count += done.returncode == 0
        time.sleep(max(0.0, start + pace.run_every - time.monotonic()))
    pytest.fail(f"only {done_count} batches were committed")


def follow(folder: Path, way: str, pace: Pace) -> Written:
    """Batch after batch while the log is written, then one that closes all."""
    (folder / "logs").mkdir()
    (folder / "shop.toml").write_text(PIPELINE)
    arguments = [str(folder / "logs"), way, str(pace.rate), str(pace.rotate_every), str(pace.rotation_count)]
    command = [sys.executable, "-m", "tests.load.writer", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        run_batches(folder, pace)
        said, _ = writer.communicate(b"")  # the end of its input is the end of its work
    assert writer.returncode == 0
    last = run_batch(folder, "--flush")
    assert last.returncode == 0, last.stderr.decode()
    return Written(**json.loads(said))


def count_numbers(lake: Path) -> Counter[int]:
    """How often each line is in the lake, as an event on time or late."""
    frames = scan_lake(lake)
    urls = pl.concat([frames.events.select("url"), frames.late.select("url")]).collect()["url"]
    return Counter(int(url[1:]) for url in urls)


def assert_every_line_is_there_once(folder: Path, written: Written) -> None:
    found = count_numbers(folder / "lake")
    missing = set(range(written.line_count)) - set(found)
    assert [number for number, count in found.items() if count > 1] == []
    assert missing <= set(written.lost)
    assert found.keys() <= set(range(written.line_count))
    frames = scan_lake(folder / "lake")
    rejects = frames.rejects.collect()
    assert rejects.height <= len(written.cut)
    places = pl.concat([table.select("part_id", "position_in_source") for table in (frames.events, frames.late)])
    assert places.collect().is_duplicated().sum() == 0
    with open_ledger(folder / "lake" / "_m2" / "ledger.sqlite") as ledger:
        sums = ledger.sum_facts(COUNTS)
    assert sums["event_count"] == found.total()
    assert sums["read_count"] == found.total() + rejects.height + sums["ignored_count"]
    assert sums["duplicate_count"] == 0


def assert_all_visits_are_whole(folder: Path) -> None:
    """Every visitor was there all the time, so it was one visit each."""
    frames = scan_lake(folder / "lake")
    visits = dict(frames.visits.select("visit_id", "event_count").collect().rows())
    assert len(visits) == VISITOR_COUNT
    assert dict(frames.events.group_by("visit_id").len().collect().rows()) == visits


def check(folder: Path, way: str, pace: Pace) -> None:
    written = follow(folder, way, pace)
    assert written.rotation_count >= 2
    assert written.line_count > pace.rate * pace.seconds / 2
    assert_every_line_is_there_once(folder, written)
    assert_all_visits_are_whole(folder)


@pytest.mark.parametrize("way", WAYS)
def test_every_line_of_a_rotating_log_is_in_the_lake_once(tmp_path: Path, way: str) -> None:
    check(tmp_path, way, FEW_SECONDS)


@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS)
def test_every_line_of_a_fast_log_is_in_the_lake_once(tmp_path: Path, way: str) -> None:
    check(tmp_path, way, A_MINUTE)
