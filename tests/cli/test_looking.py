"""What a person sees of a pipeline: `status`, `check` and `query --pipeline`, when all is well and when it is not."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.cli.command import M2, ROOT, compare_with_golden, run_m2, show

Prepare = Callable[[Path], None]
TOML = """
[pipeline]
name = "shop"
lake = "lake"

[[source]]
type = "access_log"
paths = ["logs/access.log*"]
"""


def new(folder: Path) -> None:
    """A pipeline that has not run."""
    (folder / "shop.toml").write_text(TOML)
    (folder / "logs").mkdir()
    log = folder / "logs" / "access.log"
    shutil.copy(ROOT / "sample_data" / "access.log", log)
    os.utime(log, (1_767_350_000, 1_767_350_000))


def ran(folder: Path) -> None:
    new(folder)
    run_m2("run", "shop.toml", folder=folder)


def grown(folder: Path) -> None:
    """A pipeline with more to read, and a batch that was planned and not done."""
    ran(folder)
    with (folder / "logs" / "access.log").open("a") as log:
        log.write("no line\n")
    (folder / "lake" / "events").rename(folder / "lake" / "away")
    (folder / "lake" / "events").touch()
    run_m2("run", "shop.toml", "--flush", folder=folder)
    (folder / "lake" / "events").unlink()
    (folder / "lake" / "away").rename(folder / "lake" / "events")


def damaged(folder: Path) -> None:
    ran(folder)
    next((folder / "lake" / "events").rglob("*.parquet")).unlink()
    (folder / "lake" / "visits" / "notes.txt").touch()


def misspelt(folder: Path) -> None:
    new(folder)
    (folder / "shop.toml").write_text(TOML.replace("paths", "path"))


def of_another_format(folder: Path) -> None:
    new(folder)
    (folder / "shop.toml").write_text(TOML + 'format = "common"\n')


OPEN = "SELECT landing_url, event_count, open_until FROM open_visits ORDER BY ALL LIMIT 3"
CASES: dict[str, tuple[Prepare, tuple[str, ...]]] = {
    "status_before_the_first_run": (new, ("status", "shop.toml")),
    "status": (ran, ("status", "shop.toml")),
    "status_of_an_unfinished_batch": (grown, ("status", "shop.toml")),
    "status_as_xml": (new, ("status", "shop.toml", "--format", "xml")),
    "status_watched_by_a_name": (new, ("status", "--watch", "shop.toml")),
    "status_watched_without_a_pause": (new, ("status", "shop.toml", "--watch", "0")),
    "status_of_no_pipeline": (new, ("status", "shop.tml")),
    "check_before_the_first_run": (new, ("check", "shop.toml")),
    "check": (ran, ("check", "shop.toml")),
    "check_deep": (ran, ("check", "shop.toml", "--deep")),
    "check_quietly": (ran, ("check", "shop.toml", "--quiet")),
    "check_a_damaged_lake": (damaged, ("check", "shop.toml")),
    "check_a_misspelt_setting": (misspelt, ("check", "shop.toml")),
    "check_another_format": (of_another_format, ("check", "shop.toml")),
    "query_a_pipeline": (ran, ("query", OPEN, "--pipeline", "shop.toml")),
    "query_a_pipeline_before_its_first_run": (new, ("query", OPEN, "--pipeline", "shop.toml")),
    "query_what_is_open_in_a_lake": (ran, ("query", OPEN, "--lake", "lake")),
    "query_a_lake_and_a_pipeline": (ran, ("query", OPEN, "--lake", "lake", "--pipeline", "shop.toml")),
    "query_nothing": (ran, ("query", OPEN)),
}


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Prepare], Path]:
    """Makes a folder of each kind once: all who look leave nothing."""

    @cache
    def make(kind: Prepare) -> Path:
        folder = tmp_path_factory.mktemp(kind.__name__)
        kind(folder)
        return folder

    return make


def settle(text: str) -> str:
    """`text` without when the test was run and for how long, and as wide as if all paths were short."""
    text = re.sub(r"-{3,}", "---", re.sub(" {2,}", "  ", text))
    text = re.sub(rf"{time.strftime('%Y-%m-%d', time.gmtime())} \d\d:\d\d:\d\d", "<today, at a time>", text)
    return re.sub(r"(?m)^(shop-\d+ .*) +\d+\.\d$", r"\1 <seconds>", text)


@pytest.mark.parametrize("name", CASES)
def test_a_person_sees(name: str, prepare: Callable[[Prepare], Path]) -> None:
    kind, args = CASES[name]
    folder = prepare(kind)
    compare_with_golden(name, settle(show(run_m2(*args, folder=folder), folder)))


def test_status_as_json_says_all_that_the_table_says(prepare: Callable[[Prepare], Path]) -> None:
    folder = prepare(ran)
    done = run_m2("status", "shop.toml", "--format", "json", folder=folder)
    found = json.loads(done.stdout)
    [partition], [source], [batch] = found["partitions"], found["sources"], found["batches"]
    assert (found["pipeline"], found["lake"], found["is_running"]) == ("shop", str(folder / "lake"), False)
    assert (found["W"], partition["watermark"], partition["holds_back"]) == (*["2026-01-01T13:07:13Z"] * 2, True)
    assert found["totals"]["read_count"] == batch["facts"]["read_count"] == 3007
    assert (source["behind_bytes"], source["read_bytes"]) == (0, (folder / "logs" / "access.log").stat().st_size)


def test_watching_goes_on_until_it_is_interrupted_which_is_no_failure(tmp_path: Path) -> None:
    ran(tmp_path)
    called = [M2, "status", "shop.toml", "--watch", "0.1", "--format", "json"]
    process = subprocess.Popen(called, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline())["batch_count"] for _ in range(2)]
    run_m2("run", "shop.toml", folder=tmp_path)
    while seen[-1] < 2:
        seen.append(json.loads(process.stdout.readline())["batch_count"])
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert (process.returncode, said, seen[:2]) == (0, b"", [1, 1])


def test_on_a_terminal_what_is_watched_is_drawn_anew_and_fits(prepare: Callable[[Prepare], Path]) -> None:
    folder = prepare(ran)
    main, terminal = pty.openpty()
    environment = os.environ | {"LINES": "8", "COLUMNS": "80"}
    called = [M2, "status", "shop.toml", "--watch", "0.1"]
    process = subprocess.Popen(called, cwd=folder, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    seen = b""
    while seen.count(b"\x1b[H\x1b[2J") < 3:
        seen += os.read(main, 65536)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    os.close(main)
    _, first, *_ = seen.split(b"\x1b[H\x1b[2J")
    assert first.startswith(b"pipeline    shop, into ")
    assert first.count(b"\n") == 7
