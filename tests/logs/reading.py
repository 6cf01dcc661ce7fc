"""What the tests of access logs share: lines to begin with, and short ways to read them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import strategies as st

from m2cli.logs.formats import find_format
from m2cli.logs.parse import Origin, Place, parse_block

if TYPE_CHECKING:
    from m2cli.events import Intake

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
PLANNED = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORIGIN = Origin(source="/logs/access.log", part_id="20261122T120000Z-0", file="access.log", arrival_time=PLANNED)

COMBINED = (
    b'192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512 "http://shop.example/" "Agent/5"',
    b'host.example - joe [29/Feb/2016:23:59:60 -0130] "POST /a?b=c.js HTTP/2.0" 304 - "-" "-"',
    b'::1 - - [01/Jan/2000:00:00:00 +1345] "GET /.JS HTTP/1.0" 404 0 "" " \\"b\\" \\\\ \\xe9 \\xc3\\xa9 \\t"',
    b'10.0.0.1 - - [31/Dec/1999:12:00:00 +0000] "\\x16\\x03\\x01" 400 226 "-" "-"',
    b'10.0.0.1 id joe [31/Dec/1999:12:00:00 +0000] "GET / HTTP/1.1" 200 7 "-" "x"',
    b'#10.0.0.1 - - [31/Dec/1999:12:00:00 +0000] "GET / HTTP/1.1" 200 7 "-" "x"',
    b'10.0.0.1  -  a b  [31/Dec/1999:12:00:00 +0000]  "-" 408 - "-" "-" ',
    b'10.0.0.1 - a b [31/Dec/1999:12:00:00 +0000] "GET /a b/c.d HTTP/1.1" 200 5 "-" "caf\xc3\xa9 \xe9"',
    b'10.0.0.1 - - [31/Feb/1999:12:00:00 +0000] "FOO * ICY/9" - 7 "-" "x"',
)
COMMON = tuple(line.split(b' "http')[0].split(b' "-" "')[0].split(b' "" "')[0] for line in COMBINED)


def shared(path: str) -> Path:
    found = SHARED_DATA / path
    if not found.exists():
        pytest.skip(f"shared/data/{path} is not here")
    return found


def read(data: bytes, log_format: str = "combined", *, position: int = 0, max_line_size: int = 1 << 24) -> Intake:
    """What a block that holds `data` becomes."""
    return parse_block(data, Place(find_format(log_format), ORIGIN, position), max_line_size=max_line_size)


def read_event(line: bytes, log_format: str = "combined") -> dict[str, object]:
    """The one event of one line."""
    intake = read(line, log_format)
    assert intake.rejects.is_empty(), intake.rejects.to_dicts()
    (event,) = intake.events.to_dicts()
    return {"attributes": None, **event}


def read_reason(line: bytes, log_format: str = "combined") -> str:
    """Why one line is a reject."""
    intake = read(line, log_format)
    assert intake.events.is_empty(), intake.events.to_dicts()
    return str(intake.rejects.get_column("reason").item())


def assert_adds_up(intakes: list[Intake]) -> None:
    for intake in intakes:
        assert intake.read_count == len(intake.events) + len(intake.rejects) + intake.ignored_count


def gather(intakes: list[Intake]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All events and all rejects."""
    assert_adds_up(intakes)
    return (
        pl.concat([intake.events for intake in intakes], how="diagonal"),
        pl.concat([intake.rejects for intake in intakes]),
    )


def splice(line: bytes, at: int, cut: int, insert: bytes) -> bytes:
    at %= len(line) + 1
    return line[:at] + insert + line[at + cut :]


def lines_of(examples: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Lines of a log, whole, mutated, or any bytes."""
    telling = st.sampled_from(
        [
            b'"',
            b" ",
            b"\\",
            b"-",
            b"[",
            b"]",
            b"\r",
            b"\n",
            b"\0",
            b"\xff",
            b"#",
            b"9",
            b'\\"',
            b"\\x",
            b"",
            b" - ",
        ]
    )
    whole = st.sampled_from(examples)
    mutated = st.builds(
        splice, whole, st.integers(0, 200), st.integers(0, 3), st.one_of(telling, st.binary(max_size=3))
    )
    twice = st.builds(splice, mutated, st.integers(0, 200), st.integers(0, 30), telling)
    return st.one_of(whole, mutated, twice, st.binary(max_size=40))


def logs_of(examples: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Logs of such lines, with either end of line, and with or without one at the last."""
    ends = st.sampled_from([b"\n", b"\r\n"])
    lines = st.lists(st.builds(bytes.__add__, lines_of(examples), ends), max_size=8).map(b"".join)
    return st.builds(bytes.__add__, lines, st.one_of(st.just(b""), lines_of(examples)))
