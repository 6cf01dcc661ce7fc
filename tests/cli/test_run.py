"""`m2 run` as cron and people call it: the shipped pipelines, silence, exit codes, overrides."""

from __future__ import annotations

import configparser
import fcntl
import os
import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.cli.command import ROOT, run_m2

LOGS = """
[pipeline]
name = "shop"
lake = "lake"

[[source]]
type = "access_log"
paths = ["logs/access.log*"]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a fresh clone has."""
    for name in ("pipelines", "sample_data"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a pipeline and a log."""
    (tmp_path / "shop.toml").write_text(LOGS)
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "access.log"
    shutil.copy(ROOT / "sample_data" / "access.log", log)
    os.utime(log, (1_767_350_000, 1_767_350_000))
    return tmp_path


def count(lake: Path, table: str) -> int:
    return pl.scan_parquet(lake / table / "**/*.parquet").select(pl.len()).collect().item()


@pytest.mark.parametrize(
    ("name", "lake", "table"),
    [("shop.toml", "build/shop-lake", "visits"), ("logs.toml", "build/logs-lake", "visits")],
)
def test_the_shipped_pipelines_run_in_a_fresh_clone(checkout: Path, name: str, lake: str, table: str) -> None:
    for _ in range(2):
        done = run_m2("run", f"pipelines/{name}", folder=checkout)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    before = count(checkout / lake, table)
    assert run_m2("run", f"pipelines/{name}", "--flush", folder=checkout).returncode == 0
    assert count(checkout / lake, table) >= before > 100


def test_the_commands_of_crontab_and_service_are_ones_that_run(checkout: Path) -> None:
    service = configparser.ConfigParser(interpolation=None, strict=False)
    service.optionxform = str  # type: ignore[assignment]  # keys keep their case
    service.read(checkout / "pipelines" / "m2-shop.service")
    lines = (checkout / "pipelines" / "crontab").read_text().splitlines()
    commands = [line.split(maxsplit=5)[5] for line in lines if line.startswith("*/15")]
    for command in [*commands, service["Service"]["ExecStart"]]:
        program, *arguments = shlex.split(command)
        assert Path(program).name == "m2"
        there = [argument.replace("/etc/m2", "pipelines") for argument in arguments]
        assert run_m2(*there, folder=checkout).returncode == 0


def test_a_run_without_a_terminal_says_nothing_and_with_verbose_what_it_did(shop: Path) -> None:
    done = run_m2("run", "shop.toml", "-v", folder=shop)
    assert done.stdout == b""
    assert b"visits      382 ended, whole" in done.stderr
    assert b"open        1 visit, 4 events; the last ends by 2026-01-01 13:42:13 UTC" in done.stderr
    assert run_m2("run", "shop.toml", folder=shop).stderr == b""


def test_a_second_run_ends_at_once_with_an_exit_code_of_its_own(shop: Path) -> None:
    assert run_m2("run", "shop.toml", folder=shop).returncode == 0
    with (shop / "lake" / "_m2" / "run.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_m2("run", "shop.toml", folder=shop)
    assert done.returncode == 4
    assert b"the pipeline `shop` is held by another run" in done.stderr


def test_flags_override_the_settings_of_the_file(shop: Path) -> None:
    assert run_m2("run", "shop.toml", "--lake", "other", "--set", "visit.inactivity=5m", folder=shop).returncode == 0
    assert run_m2("run", "shop.toml", folder=shop).returncode == 0
    assert count(shop / "other", "visits") > count(shop / "lake", "visits")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "visit.inactivty=20m"], b"did you mean `visit.inactivity`?"),
        (["--set", "visit.inactivity"], b"write it as `visit.inactivity=20m`"),
        (["--until", "noon"], b"`noon` is no time"),
        (["--memory", "1MiB"], b"memory"),
    ],
    ids=["a misspelt setting", "a setting without a value", "a time that is none", "too little memory"],
)
def test_a_wrong_flag_is_refused_with_its_remedy(shop: Path, arguments: list[str], said: bytes) -> None:
    done = run_m2("run", "shop.toml", *arguments, folder=shop)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (shop / "lake").exists()


def test_a_misspelt_key_is_told_with_its_line(shop: Path) -> None:
    (shop / "shop.toml").write_text(LOGS + '\n[visit]\ninactivty = "30m"\n')
    done = run_m2("run", "shop.toml", folder=shop)
    assert done.returncode == 2
    assert b"shop.toml:11: unknown key `inactivty` in [visit]; did you mean `inactivity`?" in done.stderr


def test_a_log_that_turns_up_late_is_told_of_with_its_remedy(shop: Path) -> None:
    run_m2("run", "shop.toml", "--flush", folder=shop)
    lines = (shop / "logs" / "access.log").read_text().splitlines(keepends=True)
    (shop / "logs" / "access.log.of_web2").write_text("".join(lines[100:400]))
    done = run_m2("run", "shop.toml", folder=shop)
    assert done.returncode == 0
    assert b"came late" in done.stderr
    assert b"m2 rebuild shop.toml" in done.stderr


def test_a_lake_of_sessionize_is_not_taken_for_a_pipelines(shop: Path) -> None:
    run_m2("sessionize", "logs/access.log", "-o", "lake", folder=shop)
    done = run_m2("run", "shop.toml", folder=shop)
    assert done.returncode == 2
    assert b"is a lake that `m2 sessionize` made" in done.stderr
