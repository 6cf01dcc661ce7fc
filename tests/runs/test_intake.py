"""What comes in: inputs told apart and expanded, stdin told by its content, secrets gone before all else."""

from __future__ import annotations

import gzip
import io
import sys
import tempfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import ExitCode, UnreadableSourceError, UsageError
from m2cli.runs.intake import IntakeRule, Reading, open_input

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LINE = '10.0.0.1 - - [01/Oct/2025:10:00:0{} +0000] "GET / HTTP/1.1" 200 1 "-" "x"\n'
LOG = "".join(LINE.format(second) for second in range(3)).encode()
NDJSON = b'{"event_time":1,"url":"/a"}\n{"event_time":2,"url":"/b"}\n'
FRAME = pl.DataFrame({"event_time": [1, 2], "url": ["/a", "/b"]})


def open_(*inputs: Path | str, rule: IntakeRule | None = None) -> Reading:
    return open_input([str(name) for name in inputs], rule or IntakeRule(), now=NOW)


def read_events(reading: Reading) -> pl.DataFrame:
    return pl.concat([piece.events for piece in reading.pieces], how="diagonal")


def write(path: Path, data: bytes = LOG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pipe_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def parquet_bytes() -> bytes:
    buffer = io.BytesIO()
    FRAME.write_parquet(buffer)
    return buffer.getvalue()


PIPED = {
    "a log": (LOG, 3, True),
    "a log that is packed": (gzip.compress(LOG), 3, True),
    "objects": (NDJSON, 2, False),
    "Parquet": (parquet_bytes(), 2, False),
}


@pytest.mark.parametrize(("data", "count", "is_log"), PIPED.values(), ids=PIPED)
def test_content_tells_what_stdin_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes, count: int, is_log: bool
) -> None:
    pipe_in(monkeypatch, data)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reading = open_("-")
    events = read_events(reading)
    assert (events.height, reading.is_all_logs) == (count, is_log)
    assert events.select("source", "arrival_time").unique().rows() == [("-", NOW)]
    assert list(tmp_path.iterdir()) == []


def test_stdin_that_holds_nothing_is_a_log_without_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, b"")
    assert sum(piece.read_count for piece in open_("-").pieces) == 0


def test_stdin_is_a_log_where_a_format_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, NDJSON)
    (piece,) = open_("-", rule=IntakeRule(log_format="combined")).pieces
    assert (piece.events.height, piece.rejects.height) == (0, 2)


def test_columns_of_stdin_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe_in(monkeypatch, b'{"ts":1}\n')
    assert read_events(open_("-", rule=IntakeRule(mapping={"event_time": "ts"}))).height == 1


def test_events_on_stdin_come_with_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipe_in(monkeypatch, NDJSON)
    assert read_events(open_("-", write(tmp_path / "a.log"), write(tmp_path / "a.ndjson", NDJSON))).height == 7


def test_a_log_on_stdin_is_the_only_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pipe_in(monkeypatch, LOG)
    with pytest.raises(UsageError, match="`-` reads stdin, alone"):
        open_("-", write(tmp_path / "a.log"))
    with pytest.raises(UsageError, match="`-` reads stdin, alone"):
        open_("-", "-")


def test_stdin_that_is_closed_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UnreadableSourceError, match=r"^cannot read `-`: stdin is closed$"):
        open_("-")


def test_an_empty_input_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^an input is empty; name a file, a folder, a glob, or - for stdin$"
    ) as caught:
        open_("")
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_folder_without_event_files_is_its_logs(tmp_path: Path) -> None:
    write(tmp_path / "access.log")
    write(tmp_path / "access.log.1", LOG.replace(b"Oct", b"Sep"))
    for name in (".hidden.log", "older/access.log"):
        write(tmp_path / name, LOG.replace(b"Oct", b"Aug"))
    reading = open_(tmp_path)
    assert (read_events(reading).height, reading.is_all_logs) == (6, True)
    assert read_events(open_(tmp_path, rule=IntakeRule(log_format="combined"))).height == 6


def test_a_folder_with_event_files_is_these(tmp_path: Path) -> None:
    write(tmp_path / "access.log")
    write(tmp_path / "deep" / "a.ndjson", NDJSON)
    reading = open_(tmp_path)
    assert (read_events(reading).height, reading.is_all_logs) == (2, False)


def test_a_folder_of_neither_is_said(tmp_path: Path) -> None:
    write(tmp_path / ".hidden")
    with pytest.raises(UnreadableSourceError, match="the folder has no event files; event files end in"):
        open_(tmp_path)
    with pytest.raises(UnreadableSourceError, match="it is a folder; name the log files in it"):
        open_(tmp_path, rule=IntakeRule(log_format="combined"))


def test_a_glob_does_not_follow_links_back(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "access.log")
    for name in ("b", "c", "d"):
        (tmp_path / "deep" / name).symlink_to(".")
    reading = open_(f"{tmp_path}/**/*.log")
    assert (read_events(reading).height, reading.passed_over) == (3, ())


def test_event_files_that_are_named_twice_are_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path / "a.ndjson", NDJSON)
    link = tmp_path / "b.ndjson"
    link.symlink_to(file)
    reading = open_(file, link, file)
    assert reading.passed_over == (str(file), str(link))
    assert read_events(reading).height == 2


def test_secrets_are_gone_from_rejects_of_a_csv(tmp_path: Path) -> None:
    body = b"event_time,url,password,note\nbad,/,SECRET,x\n2025-10-01,/,SECRET,SECRET,1\n"
    (piece,) = open_(write(tmp_path / "a.csv", body)).pieces
    assert piece.rejects["raw"].to_list() == ["bad,/,[redacted],x", "2025-10-01,/,[redacted]"]
