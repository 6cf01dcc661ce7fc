"""Lines of every format, broken in any way: each is an event, a reject or ignored, and none raises anything."""

from __future__ import annotations

import json
import random

import pytest

from m2cli.logs.formats import FORMATS, find_format
from m2cli.logs.formats.options import FieldRule, parse_client
from m2cli.logs.parse import Place, parse_block
from m2cli.logs.parsers.detect import detect_format
from tests.logs.lines_of_formats import LINES
from tests.logs.reading import ORIGIN

PIECES = [
    *(b'"', b" ", b"\\", b"-", b"[", b"]", b"\r", b"\0", b"\xff", b"#", b"9", b'\\"', b"\\x", b"", b" - ", b"|", b"\t"),
    *(b",", b"{", b"}", b":", b'":', b"null", b"1e999", b"\\ud800", b"\\u0000", b"\xc3\xa9", b"%25", b"+", b'""', b"/"),
    *(b"#Fields: date time c-ip\n", b"\n", b"99999999999999999999", b"-1", b"2026-02-30", b"31/Feb/2026", b"[[", b"}}"),
]
_BROKEN_HEADS = 0.02
WRAPPED = ("syslog+combined", "docker+combined", "cri+caddy", "syslog+haproxy", "combined\nvhost_combined\ncaddy")
OPTIONS = FieldRule(
    keep=("all",),
    cookies={"session_id": "sid"},
    queries={"product": "x"},
    client=parse_client("x_forwarded_for"),
    time_zone="Europe/Amsterdam",
)


def lines_of(name: str) -> list[bytes]:
    inner = name.splitlines()[0].split("+")
    lines = LINES[inner[-1]].splitlines()
    if inner[0] == "syslog":
        return [b"Nov 20 10:00:00 web1 haproxy[77]: " + line for line in lines]
    if inner[0] == "docker":
        return [json.dumps({"log": line.decode() + "\n", "stream": "stdout"}).encode() for line in lines]
    if inner[0] == "cri":
        return [b"2026-11-20T00:00:00.1Z stdout F " + line for line in lines]
    return lines


def mutate(line: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3, 8])):
        at = draw.randrange(len(line) + 1)
        cut = draw.choice([0, 0, 1, 2, 5, 40])
        insert = draw.choice(PIECES) if draw.random() < 0.9 else draw.randbytes(draw.randrange(4))
        line = line[:at] + insert + line[at + cut :]
    return line


def assert_all_are_accounted_for(name: str, count: int, seed: int) -> None:
    draw = random.Random(seed)
    lines = lines_of(name)
    heads = [line for line in lines if line.startswith(b"#")]
    bodies = [line for line in lines if line not in heads]
    # Every header that is broken in a way of its own is a format of its own: a few of them show what all would.
    drawn = (heads if heads and draw.random() < _BROKEN_HEADS else bodies for _ in range(count))
    mutated = [*heads, *(mutate(draw.choice(some), draw) for some in drawn)]
    data = b"\n".join(mutated)
    log_format = find_format(name)
    for each in (log_format, log_format.with_options(OPTIONS)):
        intake = parse_block(data, Place(each, ORIGIN, 0), max_line_size=1 << 20)
        assert intake.read_count == data.count(b"\n") + (not data.endswith(b"\n"))
        assert intake.read_count == len(intake.events) + len(intake.rejects) + intake.ignored_count
        assert intake.events.get_column("position_in_source").is_sorted()
        assert not intake.events.get_column("event_time").has_nulls()
        assert intake.events.get_column("position_in_source").is_unique().all()
    detect_format(data[: 1 << 14])


@pytest.mark.parametrize("name", [*FORMATS, *WRAPPED], ids=lambda name: name.replace("\n", " "))
def test_a_broken_line_is_an_event_a_reject_or_ignored(name: str) -> None:
    assert_all_are_accounted_for(name, 2_200, seed=7)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", [*FORMATS, *WRAPPED], ids=lambda name: name.replace("\n", " "))
def test_a_million_broken_lines_are_events_rejects_or_ignored(name: str, seed: int) -> None:
    assert_all_are_accounted_for(name, 2_200, seed)
