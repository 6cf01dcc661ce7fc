"""Whatever is killed whenever: the old lake is there or the new one, and the next run clears up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from m2cli.lake import scan_lake, stage_lake, swap
from tests.twins.lake_twin import make_whole

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = make_whole([(0, 2)]), make_whole([(0, 5), (40, 1)])

SCRIPT = """
import os, signal, sys
from pathlib import Path
from m2cli.lake import stage_lake, swap
from tests.twins.lake_twin import make_whole

target, deadly, replace, can_exchange = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "1", sys.argv[4] == "1"
if not can_exchange:
    swap._exchange = lambda one, other: False

def at(step):
    if step == deadly:
        os.kill(os.getpid(), signal.SIGKILL)

new = make_whole([(0, 5), (40, 1)])
with stage_lake(target, replace=replace, at=at) as lake:
    lake.write_events(new.events, new.visits)
    at("events written")
    lake.write_visits(new.visits)
    at("visits written")
    lake.commit()
"""

BEFORE = (
    "folder made",
    "events written",
    "visits written",
    "files named",
    "snapshot written",
    "folders synced",
)
AFTER = ("swapped",)


def run_until(target: Path, step: str, *, replace: bool, can_exchange: bool = True) -> int:
    arguments = [str(target), step, str(int(replace)), str(int(can_exchange))]
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], cwd=ROOT, check=False).returncode


def write(target: Path, *, replace: bool = False) -> None:
    with stage_lake(target, replace=replace) as lake:
        lake.write_events(OLD.events, OLD.visits)
        lake.write_visits(OLD.visits)
        lake.commit()


def events_of(target: Path) -> list[str]:
    return scan_lake(target).events.select("event_id").collect()["event_id"].to_list()


def visits_of(target: Path) -> int:
    return scan_lake(target).visits.select(pl.len()).collect().item()


@pytest.mark.parametrize("step", BEFORE)
def test_killed_before_the_swap_the_old_lake_is_there(tmp_path: Path, step: str) -> None:
    target = tmp_path / "lake"
    write(target)
    assert run_until(target, step, replace=True) == -signal.SIGKILL
    assert (events_of(target), visits_of(target)) == (OLD.events["event_id"].to_list(), 1)
    _the_next_run_clears_up(target)


@pytest.mark.parametrize("step", AFTER)
@pytest.mark.parametrize("is_there", [False, True], ids=["a new place", "a lake replaced"])
def test_killed_after_the_swap_the_new_lake_is_there(tmp_path: Path, step: str, is_there: bool) -> None:
    target = tmp_path / "lake"
    if is_there:
        write(target)
    assert run_until(target, step, replace=is_there) == -signal.SIGKILL
    assert (events_of(target), visits_of(target)) == (NEW.events["event_id"].to_list(), 2)
    _the_next_run_clears_up(target)


@pytest.mark.parametrize("step", BEFORE[::2])
def test_killed_in_a_new_place_nothing_is_there(tmp_path: Path, step: str) -> None:
    target = tmp_path / "lake"
    assert run_until(target, step, replace=False) == -signal.SIGKILL
    assert not target.exists()
    _the_next_run_clears_up(target)


def test_killed_between_two_renames_the_next_run_puts_the_old_lake_back(tmp_path: Path) -> None:
    target = tmp_path / "lake"
    write(target)
    assert run_until(target, "set aside", replace=True, can_exchange=False) == -signal.SIGKILL
    assert not target.exists()
    with stage_lake(target, replace=True):
        assert events_of(target) == OLD.events["event_id"].to_list()
    _the_next_run_clears_up(target)


def test_where_folders_can_be_exchanged_there_is_no_moment_between_two_renames(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    if not swap._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system or file system cannot exchange folders")
    write(tmp_path / "lake")
    assert run_until(tmp_path / "lake", "set aside", replace=True) == 0
    assert events_of(tmp_path / "lake") == NEW.events["event_id"].to_list()


def test_the_script_that_is_killed_ends_well_when_it_is_not(tmp_path: Path) -> None:
    assert run_until(tmp_path / "lake", "never", replace=False) == 0
    assert events_of(tmp_path / "lake") == NEW.events["event_id"].to_list()


def _the_next_run_clears_up(target: Path) -> None:
    write(target, replace=True)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert events_of(target) == OLD.events["event_id"].to_list()
