"""What a person sees: each verb's stdout, stderr and exit code, when all is well and when it is not."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.cli.command import AS_ANYBODY, ON_A_FULL_DISK, ROOT, can_run, compare_with_golden, run_m2, show

LOG = (ROOT / "sample_data" / "access.log").read_bytes()
Prepare = Callable[[Path], None]


def nothing(_folder: Path) -> None:
    pass


def write(name: str, content: bytes) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / name).write_bytes(content)
        os.utime(folder / name, (1_767_225_600, 1_767_225_600))  # events arrive no later than their file was changed

    return prepare


def cut_parquet(folder: Path) -> None:
    whole = (ROOT / "sample_data" / "events.parquet").read_bytes()
    (folder / "events.parquet").write_bytes(whole[: len(whole) // 2])


def cut_gzip(folder: Path) -> None:
    packed = gzip.compress(LOG, mtime=0)
    (folder / "access.log.gz").write_bytes(packed[: len(packed) * 2 // 3])


def unreadable_log(folder: Path) -> None:
    (folder / "access.log").write_bytes(LOG)
    (folder / "access.log").chmod(0)


def unwritable_folder(folder: Path) -> None:
    (folder / "locked").mkdir(mode=0o555)


def folder_without_events(folder: Path) -> None:
    (folder / "empty").mkdir()


def clicks(folder: Path) -> None:
    rows = {"ts": ["2026-10-01 00:00:00 UTC", "1790812860"], "user": ["a", "a"], "action": ["page", "click"]}
    pl.DataFrame(rows).write_csv(folder / "clicks.csv")


def lake_there(folder: Path) -> None:
    (folder / "access.log").write_bytes(LOG)
    run_m2("sessionize", "access.log", "-o", "lake", folder=folder)


def filled_folder(folder: Path) -> None:
    (folder / "access.log").write_bytes(LOG)
    (folder / "lake").mkdir()
    (folder / "lake" / "holiday.jpg").write_bytes(b"not a lake")


GROUPED = "GROUP BY ALL ORDER BY ALL"
SAMPLE = str(ROOT / "sample_data" / "events.parquet")
MAPS = ("--map", "event_time=ts", "--map", "visitor_id=user", "--map", "event_type=action")
CASES: dict[str, tuple[Prepare, tuple[str, ...]]] = {
    "no_arguments": (nothing, ()),
    "help": (nothing, ("--help",)),
    "version": (nothing, ("--version",)),
    "an_unknown_verb": (nothing, ("sesionize",)),
    "sessionize_events": (nothing, ("sessionize", SAMPLE, "-o", "lake")),
    "sessionize_a_log": (write("access.log", LOG), ("sessionize", "access.log", "-o", "lake")),
    "sessionize_quietly": (write("access.log", LOG), ("sessionize", "access.log", "-o", "lake", "--quiet")),
    "sessionize_mapped_columns": (clicks, ("sessionize", "clicks.csv", "-o", "lake", *MAPS)),
    "sessionize_nothing": (nothing, ("sessionize",)),
    "no_such_file": (nothing, ("sessionize", "acces.log", "-o", "lake")),
    "a_folder_without_events": (folder_without_events, ("sessionize", "empty", "-o", "lake")),
    "a_parquet_file_cut_short": (cut_parquet, ("sessionize", "events.parquet", "-o", "lake")),
    "a_gzip_file_cut_short": (cut_gzip, ("sessionize", "access.log.gz", "-o", "lake")),
    "a_duration_without_a_unit": (clicks, ("sessionize", "clicks.csv", "-o", "lake", "--inactivity", "30")),
    "an_unknown_log_format": (nothing, ("sessionize", "access.log", "-o", "lake", "--log-format", "combind")),
    "an_unknown_visitor_rule": (clicks, ("sessionize", "clicks.csv", "-o", "lake", "--visitor", "ipp")),
    "a_map_to_a_missing_column": (clicks, ("sessionize", "clicks.csv", "-o", "lake", "--map", "event_time=tss")),
    "a_map_of_no_event_column": (clicks, ("sessionize", "clicks.csv", "-o", "lake", "--map", "event_tim=ts")),
    "a_map_without_equals": (clicks, ("sessionize", "clicks.csv", "-o", "lake", "--map", "ts")),
    "an_empty_file": (write("access.log", b""), ("sessionize", "access.log", "-o", "lake")),
    "output_on_a_file": (write("lake", b"x"), ("sessionize", SAMPLE, "-o", "lake")),
    "output_on_a_lake": (lake_there, ("sessionize", "access.log", "-o", "lake")),
    "output_on_a_folder_of_holidays": (filled_folder, ("sessionize", "access.log", "-o", "lake", "--replace")),
    "replacing_a_lake": (lake_there, ("sessionize", "access.log", "-o", "lake", "--replace")),
    "too_many_rejects": (
        write("access.log", b"no log line\n" + LOG),
        ("sessionize", "access.log", "-o", "lake", "--max-rejects", "0"),
    ),
    "a_limit_of_rejects_that_is_none": (nothing, ("sessionize", "x", "-o", "lake", "--max-rejects", "many")),
    "ingest_a_log": (write("access.log", LOG), ("ingest", "access-log", "access.log", "-o", "events")),
    "ingest_into_a_pipe": (
        write("one.log", LOG.splitlines(keepends=True)[0]),
        ("ingest", "access-log", "one.log", "-o", "-"),
    ),
    "trace_an_unknown_event": (lake_there, ("trace", "no-such-event", "--lake", "lake")),
    "trace_without_a_lake": (nothing, ("trace", "x", "--lake", "nowhere")),
    "query_as_csv": (
        lake_there,
        (
            "query",
            "SELECT event_type, count(*) AS n FROM events GROUP BY ALL ORDER BY ALL",
            "--lake",
            "lake",
            "--format",
            "csv",
        ),
    ),
    "query_as_a_table": (
        lake_there,
        ("query", "SELECT end_reason, count(*) AS n FROM visits " + GROUPED, "--lake", "lake"),
    ),
    "query_with_a_mistake": (lake_there, ("query", "SELECT contry FROM visits", "--lake", "lake")),
    "completion_for_no_shell": (nothing, ("completion", "tcsh")),
}


# What needs a system that is not as it should be.
HINDERED: dict[str, tuple[tuple[str, ...], Prepare, tuple[str, ...]]] = {
    "no_right_to_read": (AS_ANYBODY, unreadable_log, ("sessionize", "access.log", "-o", "lake")),
    "no_right_to_write": (AS_ANYBODY, unwritable_folder, ("sessionize", SAMPLE, "-o", "locked/lake")),
    "a_full_disk": (ON_A_FULL_DISK, nothing, ("sessionize", SAMPLE, "-o", "full/lake")),
    "a_full_disk_for_ingest": (
        ON_A_FULL_DISK,
        write("access.log", LOG),
        ("ingest", "access-log", "access.log", "-o", "full/x"),
    ),
}


@pytest.mark.parametrize("name", HINDERED)
def test_a_hindered_person_sees(name: str, tmp_path: Path) -> None:
    prefix, prepare, args = HINDERED[name]
    if not can_run(prefix, tmp_path):
        pytest.skip(f"`{prefix[0]}` is not here, or not allowed to do this")
    prepare(tmp_path)
    compare_with_golden(name, show(run_m2(*args, folder=tmp_path, prefix=prefix), tmp_path))


@pytest.mark.parametrize("name", CASES)
def test_a_person_sees(name: str, tmp_path: Path) -> None:
    prepare, args = CASES[name]
    prepare(tmp_path)
    compare_with_golden(name, show(run_m2(*args, folder=tmp_path), tmp_path))
