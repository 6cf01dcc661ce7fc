"""The process around a verb: pipes that close, streams that are not there, signals, encodings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m2cli.runs.sample import make_sample
from m2cli.sample.rule import SampleRule
from tests.cli.command import M2, ROOT, run_m2

LOG = str(ROOT / "sample_data" / "access.log")
PURCHASE = "a5a1d93c25f20e75"
QUERY = "query 'FROM events' --lake lake --format"
PIPED = {
    **{f"query as {name}": f"{QUERY} {name}" for name in ("table", "csv", "json", "ndjson", "parquet")},
    "one trace": f"trace {PURCHASE} --lake lake",
    "many traces": "trace --type page --lake lake",
    "ingest": f"ingest access-log {LOG} -o - --quiet",
    "help": "--help",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("process")
    run_m2("sessionize", str(ROOT / "sample_data" / "events.parquet"), "-o", "lake", folder=made)
    return made


def run_shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, check=False, env=os.environ | environment
    )


@pytest.mark.parametrize("call", PIPED.values(), ids=PIPED)
def test_a_reader_that_has_read_enough_is_no_error(call: str, folder: Path) -> None:
    done = run_shell(f"{M2} {call} | true; exit ${{PIPESTATUS[0]}}", folder)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("call", [call for name, call in PIPED.items() if name != "help"])
def test_a_closed_stdout_is_said_in_one_line(call: str, folder: Path) -> None:
    done = run_shell(f"{M2} {call} >&-", folder)
    assert (done.returncode, done.stderr) == (3, b"error: cannot write `stdout`: it is closed\n")


@pytest.mark.parametrize("call", [f"{QUERY} csv".replace("'FROM events'", "-"), "sessionize - -o new"])
def test_a_closed_stdin_is_said_in_one_line(call: str, folder: Path) -> None:
    done = run_shell(f"{M2} {call} <&-", folder)
    assert (done.returncode, done.stderr) == (3, b"error: cannot read `-`: stdin is closed\n")


def test_a_closed_stderr_hinders_nothing(folder: Path) -> None:
    done = run_shell(f"{M2} sessionize {LOG} -o unheard 2>&-", folder)
    assert (done.returncode, (folder / "unheard" / "visits").is_dir()) == (0, True)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_trace_can_be_shown_in_any_encoding(encoding: str, folder: Path) -> None:
    done = run_shell(f"{M2} trace {PURCHASE} --lake lake", folder, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "purchase product P00366" in done.stdout.decode(encoding, errors="replace")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_run_and_leaves_nothing_half_done(number: signal.Signals, tmp_path: Path) -> None:
    make_sample(tmp_path / "sample", SampleRule(events=300_000))
    process = subprocess.Popen([M2, "sessionize", "sample/events", "-o", "lake"], cwd=tmp_path, stderr=subprocess.PIPE)
    while not any(path.name.startswith(".lake") for path in tmp_path.iterdir()):
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate()
    assert (process.returncode, said) == (130, b"error: interrupted; nothing half-done is left\n")
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


CALLED_BACK = """
import os, signal, time
import polars as pl
from m2cli.process import run_and_exit

def called_back(frame):
    os.kill(os.getpid(), signal.SIGINT)
    print("called back, to the end", flush=True)
    return frame

def body():
    pl.LazyFrame({"a": [1]}).map_batches(called_back).collect()
    time.sleep(60)
    print("never interrupted")

run_and_exit(body)
"""


def test_an_interrupt_waits_until_polars_has_called_back() -> None:
    done = subprocess.run([sys.executable, "-c", CALLED_BACK], capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (130, b"called back, to the end\n")
    assert done.stderr == b"error: interrupted; nothing half-done is left\n"


def test_bash_completes_verbs_options_values_and_files(folder: Path) -> None:
    script = f"""
PATH={Path(M2).parent}:$PATH
eval "$(m2 completion bash)"
complete_words() {{
COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _m2_completion m2; echo "${{COMPREPLY[@]}}"; }}
complete_words m2 sess
complete_words m2 query --format nd
complete_words m2 sessionize --visitor se
"""
    done = run_shell(script, folder)
    assert done.stdout.decode().split() == ["sessionize", "ndjson", "session"]
