"""What a person sees who mends a pipeline's lake: `rebuild` and `compact`, when all is well and when it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.command import compare_with_golden, run_m2, show

Prepare = Callable[[Path], None]
TOML = """
[pipeline]
name = "shop"
lake = "lake"

[[source]]
type = "access_log"
paths = ["logs/*.log"]
"""


def new(folder: Path) -> None:
    """A pipeline that has not run."""
    (folder / "shop.toml").write_text(TOML)
    (folder / "logs").mkdir()


def ran(folder: Path) -> None:
    """A pipeline whose visits have ended, with a late log."""
    new(folder)
    for hour in (9, 11, 13):
        add(folder, "access.log", [f"{hour}:{minute:02}" for minute in range(0, 50, 10)])
        run_m2("run", "shop.toml", "--flush", folder=folder)
    add(folder, "late.log", ["09:45", "13:20"])
    run_m2("run", "shop.toml", folder=folder)


def add(folder: Path, name: str, times: list[str]) -> None:
    path = folder / "logs" / name
    with path.open("a") as log:
        for time in times:
            log.write(
                f'192.0.2.1 - - [02/Jan/2026:{time:0>5}:00 +0000] "GET /{time} HTTP/1.1" 200 7 "-" "Firefox/130.0"\n'
            )
    os.utime(path, (1_767_366_000, 1_767_366_000))


def forgotten(folder: Path) -> None:
    add(folder, "web2.gone", ["09:05", "11:05"])
    (folder / "logs" / "web2.gone").rename(folder / "web2")


def beyond(folder: Path) -> None:
    add(folder, "web2.gone", ["09:05", "15:05"])
    (folder / "logs" / "web2.gone").rename(folder / "web2")


def sessionized(folder: Path) -> None:
    new(folder)
    add(folder, "access.log", ["09:00"])
    run_m2("sessionize", "logs/access.log", "-o", "lake", folder=folder)


DAY = ("--from", "2026-01-02", "--to", "2026-01-02")
ONE = ("--date", "2026-01-02", "--lake", "lake")
CASES: dict[str, tuple[tuple[Prepare, ...], tuple[str, ...]]] = {
    "rebuild_with_late_events": ((ran,), ("rebuild", "shop.toml", *DAY, "--with-late")),
    "rebuild_that_is_tried": ((ran,), ("rebuild", "shop.toml", *DAY, "--with-late", "--dry-run")),
    "rebuild_quietly": ((ran,), ("rebuild", "shop.toml", *DAY, "--with-late", "--quiet")),
    "rebuild_with_nothing_to_do": (
        (ran,),
        ("rebuild", "shop.toml", "--from", "2026-01-01", "--to", "2026-01-01", "--with-late"),
    ),
    "rebuild_without_a_log": ((ran,), ("rebuild", "shop.toml", *DAY, "--without", "logs/access.log")),
    "rebuild_without_a_log_never_taken": ((ran, forgotten), ("rebuild", "shop.toml", *DAY, "--without", "web2")),
    "rebuild_with_a_log": ((ran, forgotten), ("rebuild", "shop.toml", *DAY, "--with", "web2")),
    "rebuild_with_a_log_that_goes_on": ((ran, beyond), ("rebuild", "shop.toml", *DAY, "--with", "web2")),
    "rebuild_with_a_log_that_was_taken": ((ran,), ("rebuild", "shop.toml", *DAY, "--with", "logs/late.log")),
    "rebuild_with_a_file_that_is_not_there": ((ran,), ("rebuild", "shop.toml", *DAY, "--with", "web3")),
    "rebuild_without_dates": ((new,), ("rebuild", "shop.toml", "--with-late")),
    "rebuild_of_nothing": ((new,), ("rebuild", "shop.toml", *DAY)),
    "rebuild_in_the_wrong_order": (
        (new,),
        ("rebuild", "shop.toml", "--from", "2026-01-02", "--to", "2026-01-01", "--rejects"),
    ),
    "rebuild_before_the_first_run": ((new,), ("rebuild", "shop.toml", *DAY, "--with-late")),
    "compact_a_day": ((ran,), ("compact", *ONE)),
    "compact_another_day": ((ran,), ("compact", "--date", "2026-01-01", "--lake", "lake")),
    "compact_without_a_date": ((new,), ("compact", "--lake", "lake")),
    "compact_a_date_and_more": ((new,), ("compact", *ONE, "--from", "2026-01-01")),
    "compact_no_lake": ((new,), ("compact", *ONE)),
    "compact_a_lake_made_at_once": ((sessionized,), ("compact", *ONE)),
}


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Prepare], Path]]:
    """Folders that were prepared once, for their runs take longer than all else here."""
    made: dict[Prepare, Path] = {}

    def make(prepare: Prepare) -> Path:
        if prepare not in made:
            made[prepare] = tmp_path_factory.mktemp(prepare.__name__)
            prepare(made[prepare])
        return made[prepare]

    yield make
    for folder in made.values():
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", CASES)
def test_a_person_who_mends_sees(name: str, tmp_path: Path, shops: Callable[[Prepare], Path]) -> None:
    (first, *more), args = CASES[name]
    subprocess.run(["cp", "-a", f"{shops(first)}/.", str(tmp_path)], check=True)  # files with two names keep them
    for prepare in more:
        prepare(tmp_path)
    compare_with_golden(name, show(run_m2(*args, folder=tmp_path), tmp_path))
