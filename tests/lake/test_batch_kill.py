"""Killed at any step, a batch is taken back or brought to its end; by glob no visit is ever seen in part."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.lake import (
    LakeFile,
    compact_date,
    drop_files,
    open_batch,
    read_snapshot,
    remove_batch,
    show_files,
    verify_files,
)
from tests.forks import CONTEXT
from tests.lake.pipelines import batch_id_of, list_all, make_batch, publish_batch, take_in, write_batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from m2cli.lake.swap import At
    from tests.twins.lake_twin import Whole

    Files = tuple[LakeFile, ...]
    Work = Callable[[Path, Files, At], None]

OLD, NEW = [(0, 2), (1, 1)], [(0, 5), (40, 1)]
SECOND = "second "

WRITTEN = ("events written", "visits written", "files named", "files finished")
SHOWN = ("file shown", "second file shown", "files shown")
PUBLISHED = ("manifests written", "snapshot replaced", "manifests swept")
HIDDEN = ("file hidden", "second file hidden", "files hidden")
DROPPED = ("file hidden", "files hidden", "file dropped", "second file dropped", "files dropped")


def write_new(lake: Path, _files: Files, at: At) -> None:
    write_batch(lake, 2, make_batch(2, NEW), at)


def publish_new(lake: Path, files: Files, at: At) -> None:
    at("committed")
    publish_batch(lake, 2, files, at=at)


def replace_old(lake: Path, files: Files, at: At) -> None:
    publish_batch(lake, 2, files[4:], files[:4], at)


def drop_old(lake: Path, files: Files, at: At) -> None:
    drop_files(lake, files, at=at)


def remove_new(lake: Path, _files: Files, at: At) -> None:
    remove_batch(lake, batch_id_of(2), at=at)


def compact_all(lake: Path, files: Files, at: At) -> None:
    with open_batch(lake, batch_id_of(3), at=at) as batch:
        compact_date(lake, [file for file in files if file.kind == "visits"], batch, max_rows=100)
        at("table written")
        compact_date(lake, [file for file in files if file.kind == "events"], batch, max_rows=100)
        batch.finish()


def _do(work: Work, lake: Path, files: Files, deadly: str) -> None:
    seen: list[str] = []

    def at(step: str) -> None:
        seen.append(step)
        wanted = 2 if deadly.startswith(SECOND) else 1
        if step == deadly.removeprefix(SECOND) and seen.count(step) == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    work(lake, files, at)


def run_until(step: str, work: Work, lake: Path, files: Files = ()) -> None:
    """Do `work` in a process that is killed at `step`."""
    process = CONTEXT.Process(target=_do, args=(work, lake, files, step))
    process.start()
    process.join()
    assert process.exitcode == (0 if step == "never" else -signal.SIGKILL)


def seen_by_glob(lake: Path) -> dict[str, int]:
    """The visits that a reader by glob finds, and how many events of each."""
    paths = sorted(lake.glob("events/*/*.parquet"))
    if not paths:
        return {}
    return dict(pl.concat([pl.read_parquet(path) for path in paths])["visit_id"].value_counts().rows())


def count_events(*wholes: Whole) -> dict[str, int]:
    return {visit_id: count for whole in wholes for visit_id, count in whole.visits["visit_id", "event_count"].rows()}


def is_subset(some: dict[str, int], whole: dict[str, int]) -> bool:
    return some.items() <= whole.items()


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    take_in(tmp_path / "lake", 1, make_batch(1, OLD))
    return tmp_path / "lake"


@pytest.mark.parametrize("step", WRITTEN)
def test_killed_before_its_commit_a_batch_is_nowhere_and_can_be_done_again(lake: Path, step: str) -> None:
    before, old = list_all(lake), count_events(make_batch(1, OLD))
    run_until(step, write_new, lake)
    assert list_all(lake) > before
    assert seen_by_glob(lake) == old
    remove_batch(lake, batch_id_of(2))
    assert list_all(lake) == before
    assert verify_files(lake, read_snapshot(lake).files, deep=True) == []


@pytest.mark.parametrize("step", ["committed", *SHOWN, *PUBLISHED])
def test_killed_after_its_commit_a_batch_is_shown_by_the_next_run(lake: Path, step: str) -> None:
    files = write_batch(lake, 2, make_batch(2, NEW))
    run_until(step, publish_new, lake, files)
    both = count_events(make_batch(1, OLD), make_batch(2, NEW))
    assert is_subset(seen_by_glob(lake), both)
    publish_batch(lake, 2, files)
    assert seen_by_glob(lake) == both
    _is_as_undisturbed(lake, files)


@pytest.mark.parametrize("step", [*HIDDEN, *SHOWN, *PUBLISHED])
def test_killed_while_files_are_replaced_the_next_run_ends_it(tmp_path: Path, step: str) -> None:
    old = take_in(tmp_path, 1, make_batch(1, [(0, 2), (40, 1)]))
    new = write_batch(tmp_path, 2, make_batch(2, NEW))
    run_until(step, replace_old, tmp_path, (*old, *new))
    assert is_subset(seen_by_glob(tmp_path), count_events(make_batch(1, [(0, 2), (40, 1)]), make_batch(2, NEW)))
    assert all(path.exists() for path in read_snapshot(tmp_path).paths(tmp_path))
    replace_old(tmp_path, (*old, *new), lambda _step: None)
    assert seen_by_glob(tmp_path) == count_events(make_batch(2, NEW))
    assert verify_files(tmp_path, new, hidden=old, deep=True) == []


@pytest.mark.parametrize("step", DROPPED)
def test_killed_while_files_are_dropped_the_next_run_drops_the_rest(lake: Path, step: str) -> None:
    files = take_in(lake, 2, make_batch(2, NEW))
    run_until(step, drop_old, lake, files)
    assert seen_by_glob(lake).keys() >= count_events(make_batch(1, OLD)).keys()
    drop_files(lake, files)
    assert not [name for name in list_all(lake) if batch_id_of(2) in name]
    assert seen_by_glob(lake) == count_events(make_batch(1, OLD))


@pytest.mark.parametrize("step", ["file hidden", "second file hidden", "file dropped", "second file dropped"])
def test_killed_while_a_batch_is_removed_the_next_run_removes_the_rest(lake: Path, step: str) -> None:
    before = list_all(lake)
    files = write_batch(lake, 2, make_batch(2, NEW))
    show_files(lake, files)
    run_until(step, remove_new, lake)
    assert list_all(lake) > before
    remove_batch(lake, batch_id_of(2))
    assert list_all(lake) == before


@pytest.mark.parametrize("step", ["table written", "files named", "files finished"])
def test_killed_during_a_compaction_nothing_has_changed(lake: Path, step: str) -> None:
    files = (*read_snapshot(lake).files, *take_in(lake, 2, make_batch(2, [(0, 3)])))
    before, visits = list_all(lake), seen_by_glob(lake)
    run_until(step, compact_all, lake, files)
    assert list_all(lake) > before
    assert seen_by_glob(lake) == visits
    remove_batch(lake, batch_id_of(3))
    assert list_all(lake) == before


def test_the_processes_that_are_killed_end_well_when_they_are_not(lake: Path) -> None:
    run_until("never", write_new, lake)
    remove_batch(lake, batch_id_of(2))
    files = write_batch(lake, 2, make_batch(2, NEW))
    run_until("never", publish_new, lake, files)
    _is_as_undisturbed(lake, files)
    run_until("never", drop_old, lake, files)


def _is_as_undisturbed(lake: Path, files: Files) -> None:
    other = lake.with_name("undisturbed")
    take_in(other, 1, make_batch(1, OLD))
    take_in(other, 2, make_batch(2, NEW))
    assert (lake / "_m2/snapshot").read_bytes() == (other / "_m2/snapshot").read_bytes()
    for file in files:
        assert (lake / file.path).read_bytes() == (other / file.path).read_bytes()
    assert verify_files(other, read_snapshot(other).files) == []
    assert verify_files(lake, read_snapshot(lake).files, deep=True) == []
