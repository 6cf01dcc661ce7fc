"""What the system refuses: a full disk, a failed fsync, no right to write; signals; and a clock that jumps back."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import ExitCode, UnwritableSinkError
from m2cli.ledger import hold_lock
from tests.cli.command import AS_ANYBODY, M2, can_run, run_m2
from tests.crash.killing import Survivor, Target
from tests.pipelines_runs.shop import MINUTE, Shop, assert_sound, line, list_lake, list_rows, walk

if TYPE_CHECKING:
    from pathlib import Path

# A mount of the process's own: the lake of what it runs cannot be written.
ON_A_READ_ONLY_DISK = (
    "unshare",
    "--mount",
    "--map-root-user",
    "sh",
    "-c",
    'mount --bind lake lake && mount -o remount,bind,ro lake && "$0" "$@"',
)


# ---------------------------------------------------------------- a full disk


@pytest.mark.parametrize(("name", "budget"), [("growing", None), ("arriving", 20_000)], ids=["logs", "by the disk"])
def test_after_a_full_disk_the_next_run_goes_on(tmp_path: Path, name: str, budget: int | None) -> None:
    survivor = Survivor(tmp_path / "shop", name, budget)
    survivor.live_to(1)
    for size in (0, 100, 3_000, 9_000, 40_000):
        assert survivor.fail_with_files_of(size, 2) == ExitCode.UNREACHABLE
    survivor.finish()
    assert_sound(survivor.shop)
    survivor.assert_as_undisturbed()


def test_a_first_run_on_a_full_disk_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    survivor = Survivor(tmp_path / "shop", "growing")
    for size in (0, 2_000, 5_000, 20_000):
        assert survivor.fail_with_files_of(size, 0) == ExitCode.UNREACHABLE
    survivor.finish()
    assert_sound(survivor.shop)
    survivor.assert_as_undisturbed()


# ---------------------------------------------------------------- a failed fsync


def test_a_failed_fsync_is_an_error_and_the_next_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, sync = Shop(tmp_path), os.fsync
    syncs, failing = 0, 0

    def sync_or_fail(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync_or_fail)
    failures = 0
    for number in range(1, 40):
        shop.pass_time(45)
        shop.log(*walk(shop.now - 12 * MINUTE, 10, number))
        syncs, failing = 0, number
        with suppress(UnwritableSinkError):
            shop.run()
        failures += syncs >= failing
        if syncs < failing:
            break
        failing = 0
        shop.run()
        assert_sound(shop)
    failing = 0
    assert failures > 6
    shop.run(is_flush=True)
    assert_sound(shop)
    facts = [batch.facts for batch in shop.batches()]
    assert sum(each["event_count"] for each in facts) == 10 * number
    assert shop.count("events") + shop.count("late") == 10 * number


def test_all_that_a_commit_names_is_on_the_disk_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, sync, synced = Shop(tmp_path), os.fsync, set()
    unsynced: list[str] = []

    def note(descriptor: int) -> None:
        sync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def look(step: str) -> None:
        if step == "committed":
            with shop.ledger() as ledger:
                places = [file.path for file in ledger.read_progress().carried]
            places += [f"_m2/files/{path.name}" for path in (shop.lake / "_m2" / "files").iterdir()]
            folders = ["_m2/files", "_m2/carried"]
            unsynced.extend(place for place in places + folders if (shop.lake / place).stat().st_ino not in synced)
            unsynced.append("looked")

    monkeypatch.setattr(os, "fsync", note)
    for number in range(3):
        shop.log(*walk(shop.now - 12 * MINUTE, 30, number))
        synced -= {path.stat().st_ino for path in shop.lake.glob("_m2/*")}
        shop.run(is_flush=number == 1, at=look)
        shop.pass_time(40)
    assert unsynced == ["looked"] * 3


# ---------------------------------------------------------------- no right to write


@pytest.mark.parametrize("prefix", [AS_ANYBODY, ON_A_READ_ONLY_DISK], ids=["a folder", "a file system"])
def test_what_is_read_only_is_said_so_and_nothing_is_lost(tmp_path: Path, prefix: tuple[str, ...]) -> None:
    shop = Shop(tmp_path)
    (tmp_path / "lake").mkdir()
    if not can_run(prefix, tmp_path):
        pytest.skip("this system lets nobody take rights away or mount a disk that is read only")
    shop.write_toml()
    shop.log(*walk(shop.now - 12 * MINUTE, 10, 1))
    shop.run()
    before = list_lake(shop)
    shop.log(*walk(shop.now, 10, 2))
    rights = [(path, path.stat().st_mode) for path in (shop.lake, *shop.lake.rglob("*"))]
    try:
        for path, mode in rights:
            path.chmod(mode & ~0o222)
        done = run_m2("run", "shop.toml", folder=tmp_path, prefix=prefix)
    finally:
        for path, mode in rights:
            path.chmod(mode)
    assert done.returncode == ExitCode.UNREACHABLE
    assert done.stderr.decode().count("\n") == 1
    assert b"cannot write `" in done.stderr
    assert list_lake(shop) == before
    shop.run()
    shop.run(is_flush=True)
    assert_sound(shop)
    assert shop.count("events") + shop.count("late") == 20


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_in_any_phase_ends_with_130_and_the_next_run_goes_on(tmp_path: Path, by: int) -> None:
    survivor = Survivor(tmp_path / "shop", "growing")
    survivor.live_to(0)
    for step in ("planned", "input taken in", "visits written", "files finished", "committed", "files shown", "shown"):
        survivor.die_at(Target(1, step), by)
    survivor.finish()
    assert_sound(survivor.shop)
    survivor.assert_as_undisturbed()


def test_a_run_that_is_told_to_end_leaves_no_unfinished_file(tmp_path: Path) -> None:
    survivor = Survivor(tmp_path / "shop", "growing")
    survivor.live_to(0)
    before = {name for name in list_lake(survivor.shop) if "/carried/" not in name}
    survivor.die_at(Target(1, "visits written"), signal.SIGTERM)
    assert {name for name in list_lake(survivor.shop) if "/carried/" not in name} == before


def test_a_run_of_the_command_ends_within_seconds_of_a_signal(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.write_toml()
    shop.log(*walk(shop.now - 12 * MINUTE, 10, 1))
    shop.run()
    with hold_lock(shop.lake / "_m2" / "lake.lock", "the lake"):
        process = subprocess.Popen([M2, "run", "-v", "shop.toml"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("waiting for what else works on")
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (ExitCode.INTERRUPTED, "error: interrupted; nothing half-done is left\n")


# ---------------------------------------------------------------- one at a time


def test_a_second_run_says_so_and_ends_at_once_with_its_own_code(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.write_toml()
    shop.log(*walk(shop.now - 12 * MINUTE, 10, 1))
    shop.run()
    before = list_lake(shop)
    with hold_lock(shop.lake / "_m2" / "run.lock", "the pipeline"):
        done = run_m2("run", "shop.toml", folder=tmp_path)
    assert done.returncode == ExitCode.LOCKED
    holder = f"the pipeline `shop` is held by another run (process {os.getpid()}); nothing was done"
    assert done.stderr.decode() == f"error: {holder}\n"
    assert list_lake(shop) == before


def test_while_a_run_works_another_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    shop, refused = Shop(tmp_path), []
    shop.log(*walk(shop.now - 12 * MINUTE, 10, 1))

    def try_another(step: str) -> None:
        if step in ("planned", "visits written", "committed"):
            try:
                Shop(tmp_path, shop.now).run()
            except Exception as error:  # noqa: BLE001  # looked at below
                refused.append(type(error).__name__)

    shop.run(at=try_another)
    assert refused == ["LockedError"] * 3
    assert_sound(shop)


# ---------------------------------------------------------------- a clock that jumps back


def test_a_clock_that_jumps_back_breaks_nothing_and_takes_no_watermark_back(tmp_path: Path) -> None:
    shop, seen = Shop(tmp_path), []
    for number, minutes in enumerate((30, 30, -90, 5, 5, 30, 90)):
        shop.log(*walk(shop.now, 20, number))  # what the server writes goes on: its clock is right
        shop.now += 30 * MINUTE
        now, shop.now = shop.now, shop.now + (minutes - 30) * MINUTE
        shop.run()
        seen.append(shop.batches()[-1].facts["W"])
        shop.now = now
    assert seen == sorted(seen)
    shop.run(is_flush=True)
    assert_sound(shop)
    facts = [batch.facts for batch in shop.batches()]
    rows = list_rows(shop)
    assert sum(each["event_count"] for each in facts) == len(rows["events"]) + len(rows["late"])


def test_a_partition_that_is_idle_stays_idle_when_the_clock_jumps_back(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("access.log"), shop.log_source("other.log", name="other")))
    shop.log(line(shop.now), name="other.log")
    shop.log(line(shop.now))
    shop.run()
    shop.pass_time(61)
    shop.log(line(shop.now))
    shop.run()
    idle = shop.batches()[-1].facts["W"]
    assert idle == (shop.now - 5 * MINUTE).isoformat()
    shop.pass_time(-30)
    with (tmp_path / "logs" / "access.log").open("a") as stream:
        stream.write(line(shop.now + 35 * MINUTE))
    shop.run()
    with shop.ledger() as ledger:
        active = dict(ledger.read_progress().partitions.select("source", "is_active").iter_rows())
    assert sorted(active.values()) == [False, True]
    assert shop.batches()[-1].facts["W"] >= idle
