"""A lake takes its place whole or not at all, and only a place that is free for it."""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import ExitCode, UnreadableSourceError, UnwritableSinkError, UsageError
from m2cli.lake import scan_lake, stage_lake, swap
from m2cli.lake.layout import SNAPSHOT
from m2cli.lake.snapshot import DamagedSnapshotError
from tests.twins.lake_twin import Whole, make_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD, NEW = make_whole([(0, 2)]), make_whole([(0, 5), (40, 1)])


def make_lake(target: Path, whole: Whole = OLD, *, replace: bool = False, pipeline: str | None = None) -> None:
    with stage_lake(target, replace=replace) as lake:
        lake.write_events(whole.events, whole.visits)
        lake.write_visits(whole.visits)
        lake.commit(pipeline=pipeline)


def count_events(target: Path) -> int:
    return scan_lake(target).events.select(pl.len()).collect().item()


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_nothing_is_seen_before_the_commit_and_all_after_it(tmp_path: Path) -> None:
    target = tmp_path / "lake"
    with stage_lake(target) as lake:
        lake.write_events(OLD.events, OLD.visits)
        assert not target.exists()
        assert not list(tmp_path.rglob("*.parquet"))
        lake.commit()
        assert target.exists()
    assert hidden(tmp_path) == []


def test_every_file_and_every_name_is_on_the_disk_before_the_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set[int]()
    sync = os.fsync

    def record(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    make_lake(tmp_path / "lake", NEW)
    assert {path.stat().st_ino for path in (tmp_path, *tmp_path.rglob("*"))} <= synced


def test_without_a_commit_nothing_is_left(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as lake:
        lake.write_events(OLD.events, OLD.visits)
    assert list(tmp_path.iterdir()) == []


def _break_off(target: Path, error: type[BaseException]) -> None:
    with stage_lake(target, replace=True) as lake:
        lake.write_events(NEW.events, NEW.visits)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError], ids=["Ctrl-C", "a bug"])
def test_what_breaks_off_a_run_leaves_the_old_lake_alone(tmp_path: Path, error: type[BaseException]) -> None:
    make_lake(tmp_path / "lake")
    with pytest.raises(error):
        _break_off(tmp_path / "lake", error)
    assert count_events(tmp_path / "lake") == 2
    assert hidden(tmp_path) == []


def test_missing_parents_are_made(tmp_path: Path) -> None:
    make_lake(tmp_path / "a" / "b" / "lake")
    assert count_events(tmp_path / "a" / "b" / "lake") == 2


def test_an_empty_folder_is_taken_and_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir(mode=0o750)
    make_lake(tmp_path / "lake")
    assert count_events(tmp_path / "lake") == 2
    assert (tmp_path / "lake").stat().st_mode & 0o777 == 0o750


def test_replace_makes_a_lake_anew(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake")
    make_lake(tmp_path / "lake", NEW, replace=True)
    assert count_events(tmp_path / "lake") == 6
    assert len(list((tmp_path / "lake").glob("events/*/*.parquet"))) == 2
    assert hidden(tmp_path) == []


def test_replace_makes_a_lake_anew_whose_snapshot_is_damaged(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake")
    (tmp_path / "lake" / SNAPSHOT).write_text("{")
    make_lake(tmp_path / "lake", NEW, replace=True)
    assert count_events(tmp_path / "lake") == 6


def test_a_lake_whose_snapshot_is_damaged_is_not_taken_without_replace(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake")
    (tmp_path / "lake" / SNAPSHOT).write_text("{")
    with pytest.raises(DamagedSnapshotError, match="with `--replace`"), stage_lake(tmp_path / "lake"):
        pytest.fail("it was taken")


def test_a_lake_of_a_newer_m2_is_not_taken_by_replace(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake")
    (tmp_path / "lake" / SNAPSHOT).write_text('{"format_version": 99}')
    with pytest.raises(UnreadableSourceError, match="format 99"), stage_lake(tmp_path / "lake", replace=True):
        pytest.fail("it was taken")


def test_replace_takes_a_place_where_nothing_is(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake", replace=True)
    assert count_events(tmp_path / "lake") == 2


def test_a_link_to_a_lake_stays_a_link(tmp_path: Path) -> None:
    make_lake(tmp_path / "real")
    (tmp_path / "lake").symlink_to("real")
    make_lake(tmp_path / "lake", NEW, replace=True)
    assert (tmp_path / "lake").is_symlink()
    assert count_events(tmp_path / "real") == 6


def test_a_file_system_that_cannot_exchange_gets_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_lake(tmp_path / "lake")
    monkeypatch.setattr(swap, "_exchange", lambda *_: False)
    make_lake(tmp_path / "lake", NEW, replace=True)
    assert count_events(tmp_path / "lake") == 6
    assert hidden(tmp_path) == []


def test_the_system_exchanges_two_folders_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not swap._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this system or file system cannot exchange folders; two renames are used here")
    assert (tmp_path / "one" / "other").exists()
    assert (tmp_path / "other" / "one").exists()


def _a_file(target: Path) -> None:
    target.touch()


def _a_filled_folder(target: Path) -> None:
    target.mkdir()
    (target / "thesis.txt").touch()


def _a_lake(target: Path) -> None:
    make_lake(target)


def _a_lake_with_a_guest(target: Path) -> None:
    make_lake(target)
    (target / "thesis.txt").touch()


def _a_pipelines_lake(target: Path) -> None:
    make_lake(target, pipeline="shop")


def _a_lake_with_a_ledger(target: Path) -> None:
    make_lake(target)
    (target / "_m2" / "ledger.sqlite").touch()


def _a_damaged_lake_with_a_guest(target: Path) -> None:
    _a_lake_with_a_guest(target)
    (target / SNAPSHOT).write_text("{")


def _a_damaged_lake_with_a_ledger(target: Path) -> None:
    _a_lake_with_a_ledger(target)
    (target / SNAPSHOT).write_text("{")


@pytest.mark.parametrize(
    ("make", "replace", "message"),
    [
        pytest.param(_a_file, False, "is a file", id="a file"),
        pytest.param(_a_file, True, "is a file", id="a file to be replaced"),
        pytest.param(_a_filled_folder, False, "not empty and not a lake", id="a folder with something in it"),
        pytest.param(_a_filled_folder, True, "`--replace` replaces lakes only", id="a folder that is no lake"),
        pytest.param(_a_lake, False, "is a lake already.*--replace", id="a lake without replace"),
        pytest.param(_a_lake_with_a_guest, True, "thesis.txt", id="a lake with a file that is not of m2"),
        pytest.param(_a_pipelines_lake, True, "a pipeline writes", id="the lake of a pipeline"),
        pytest.param(_a_pipelines_lake, False, "a pipeline writes", id="the lake of a pipeline without replace"),
        pytest.param(_a_lake_with_a_ledger, True, "a pipeline writes", id="a lake with a ledger"),
        pytest.param(_a_damaged_lake_with_a_guest, True, "thesis.txt", id="a damaged lake with a file not of m2"),
        pytest.param(_a_damaged_lake_with_a_ledger, True, "a pipeline writes", id="a damaged lake with a ledger"),
    ],
)
def test_not_taken_is(tmp_path: Path, make: Callable[[Path], None], replace: bool, message: str) -> None:
    make(tmp_path / "lake")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=message) as caught, stage_lake(tmp_path / "lake", replace=replace):
        pytest.fail("it was taken")
    assert caught.value.exit_code is ExitCode.USAGE
    assert sorted(tmp_path.rglob("*")) == before


def test_the_working_folder_is_not_taken_from_under_ones_feet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="working folder"), stage_lake(tmp_path):
        pytest.fail("it was taken")


def test_a_place_that_fills_while_the_lake_is_made_is_left_alone(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as lake:
        lake.write_events(OLD.events, OLD.visits)
        _a_filled_folder(tmp_path / "lake")
        with pytest.raises(UsageError, match="not empty"):
            lake.commit()
    assert [path.name for path in (tmp_path / "lake").iterdir()] == ["thesis.txt"]


def test_a_parent_that_is_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableSinkError) as caught, stage_lake(tmp_path / "file" / "lake"):
        pytest.fail("it was taken")
    assert caught.value.exit_code is ExitCode.UNREACHABLE


def test_remains_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    dead, alive, other = (tmp_path / f".{name}.m2-0123456{n}" for n, name in enumerate(("lake", "lake", "lakes")))
    for folder in (dead, alive, other):
        folder.mkdir()
    lock = os.open(alive, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_lake(tmp_path / "lake")
    finally:
        os.close(lock)
    assert [dead.exists(), alive.exists(), other.exists()] == [False, True, True]


def test_a_lake_that_was_set_aside_and_not_replaced_is_put_back(tmp_path: Path) -> None:
    make_lake(tmp_path / "lake")
    shutil.move(tmp_path / "lake", tmp_path / ".lake.m2-01234567-old")
    with pytest.raises(UsageError, match="is a lake already"), stage_lake(tmp_path / "lake"):
        pytest.fail("it was taken")
    assert count_events(tmp_path / "lake") == 2
    assert hidden(tmp_path) == []
