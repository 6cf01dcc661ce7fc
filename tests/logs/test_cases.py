"""What another parser, apachelogs, was tested with, as far as it concerns the formats that m2 has.

Of the lines: those whose format is the layout of a format in the table, field by field. Those of
vhost_combined, which differ from combined by a virtual host in front and the bytes sent with headers, once as
they are (they are no combined lines, and must not be taken for some) and once without that host (they are).
The other formats write only one or two directives, or times of their own making, and concern neither.

Of the time stamps: all, in a combined line. apachelogs takes one with either bracket missing; a line has
both.
"""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from m2cli.errors import UnknownNameError
from m2cli.logs.formats import FORMATS, find_format
from tests.logs.reading import SHARED_DATA, gather, read, read_event, read_reason, shared

PATH = SHARED_DATA / "apachelogs" / "cases.json"
CASES = json.loads(PATH.read_text()) if PATH.exists() else {}
needs_cases = pytest.mark.skipif(not CASES, reason="shared/data/apachelogs/cases.json is not here")

LAYOUTS = {log_format.layout: name for name, log_format in FORMATS.items()}
VHOST = '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"'
OF_A_FORMAT = [case for case in CASES.get("parse", ()) if case["format"] in LAYOUTS]
OF_VHOST = [case for case in CASES.get("parse", ()) if case["format"] == VHOST]
TIME_FAULT = "the time in brackets is not like 17/May/2015:10:05:03 +0000"


def expected_event(directives: dict[str, object]) -> dict[str, object]:
    return {
        "ip": directives["%h"],
        "customer_id": directives["%u"],
        "event_time": datetime.fromisoformat(directives["%t"]["datetime"]),
        "status": directives["%>s"],
        "bytes": directives.get("%b", directives.get("%O")),
        "referrer": directives["%{Referer}i"],
        "method": directives["%r"].split(" ")[0],
        "url": directives["%r"].split(" ")[1],
    }


def as_text(value: str) -> str:
    """Their values are bytes, one character each; m2's are text."""
    return value.encode("latin-1").decode()


@needs_cases
def test_some_cases_were_chosen() -> None:
    assert (len(OF_A_FORMAT), len(OF_VHOST)) == (1, 7)


@pytest.mark.parametrize("case", OF_A_FORMAT, ids=str)
def test_a_line_of_a_known_format_has_the_expected_fields(case: dict[str, object]) -> None:
    event = read_event(case["line"].encode(), LAYOUTS[case["format"]])
    directives = case["expected"]["directives"]
    expected = expected_event(directives)
    assert {name: event[name] for name in expected} == expected
    assert event["user_agent"] == as_text(directives["%{User-Agent}i"])


@pytest.mark.parametrize("case", OF_VHOST, ids=lambda case: case["line"][-40:])
def test_a_line_with_a_virtual_host_has_the_expected_fields_without_it(case: dict[str, object]) -> None:
    line = case["line"].encode()
    assert read_reason(line) == "the user is not followed by a time"
    event = read_event(line.split(b" ", 1)[1])
    directives = case["expected"]["directives"]
    expected = expected_event(directives)
    assert {name: event[name] for name in expected} == expected
    assert event["user_agent"] == as_text(directives["%{User-Agent}i"])


def test_a_log_with_virtual_hosts_is_no_combined_log() -> None:
    events, rejects = gather([read(shared("apachelogs/vhost_combined.log").read_bytes())])
    assert events.is_empty()
    assert set(rejects.get_column("reason")) == {
        "the user is not followed by a time",
        "the line ends before the user",
    }


@pytest.mark.parametrize("case", CASES.get("timestamps", ()), ids=lambda case: case["timestamp"])
def test_a_time_stamp_is_the_expected_instant_or_a_reject(case: dict[str, object]) -> None:
    stamp = case["timestamp"].strip("[]")
    line = b'10.0.0.1 - - [%s] "GET / HTTP/1.1" 200 5 "-" "x"' % stamp.encode()
    if case.get("error"):
        assert read_reason(line) == TIME_FAULT
    else:
        assert read_event(line)["event_time"] == datetime.fromisoformat(case["expected"]["datetime"])


@pytest.mark.parametrize("stamp", [b"31/Dec/1969:19:00:00 +0500]", b"[31/Dec/1969:19:00:00 +0500"])
def test_a_time_stamp_without_one_of_its_brackets_is_a_reject(stamp: bytes) -> None:
    line = b'10.0.0.1 - - %s "GET / HTTP/1.1" 200 5 "-" "x"' % stamp
    assert read_reason(line) in {TIME_FAULT, "no time in brackets after the user"}


@pytest.mark.parametrize("case", CASES.get("bad_formats", ()), ids=lambda case: repr(case["format"]))
def test_a_format_that_is_none_is_refused(case: dict[str, object]) -> None:
    with pytest.raises(UnknownNameError, match="unknown log format"):
        find_format(case["format"])


def test_a_user_that_is_an_empty_text_is_nobody() -> None:
    """apachelogs has the empty text for %u written `""`; no customer is called that."""
    line = b'10.0.0.1 - "" [01/Nov/2017:07:28:29 +0000] "GET / HTTP/1.1" 200 5 "-" "x"'
    assert read_event(line)["customer_id"] is None
