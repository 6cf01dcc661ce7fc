"""A line that is no log line is a reject whose reason says where it stops being one."""

from __future__ import annotations

import pytest

from m2cli.logs.formats import FORMATS
from m2cli.logs.parsers.grammar import reasons
from tests.logs.reading import COMBINED, COMMON, read, read_reason

GOOD = b'10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512 "-" "x"'
TIME = "the time in brackets is not like 17/May/2015:10:05:03 +0000"
NO_SUCH_TIME = "there is no such time from 1900 to 2199"

CASES = {
    "a space in front": (b" " + GOOD, "the line ends before the address"),
    "one word": (b"\x00\xff\x16\x03", "the line ends before the identity"),
    "two words": (b"a b", "the line ends before the user"),
    "words without a time": (b"one word after another", "no time in brackets after the user"),
    "a time that is not closed": (GOOD.replace(b"]", b""), TIME),
    "a time without a zone": (GOOD.replace(b" +0000", b""), TIME),
    "a zone with a colon": (GOOD.replace(b"+0000", b"+00:00"), TIME),
    "a month of another language": (GOOD.replace(b"May", b"Mai"), TIME),
    "a month in capitals": (GOOD.replace(b"May", b"MAY"), TIME),
    "an hour too many": (GOOD.replace(b":10:", b":24:"), NO_SUCH_TIME),
    "a year before there were logs": (GOOD.replace(b"2015", b"1066"), NO_SUCH_TIME),
    "a year that no zone brings back": (GOOD.replace(b"2015", b"9999").replace(b"+0000", b"-1200"), NO_SUCH_TIME),
    "a zone beyond all others": (GOOD.replace(b"+0000", b"+9999"), NO_SUCH_TIME),
    "a zone of five digits": (GOOD.replace(b"+0000", b"+00000"), TIME),
    "a day too many": (GOOD.replace(b"17/May", b"31/Jun"), NO_SUCH_TIME),
    "a day that no month has": (GOOD.replace(b"17/May", b"00/May"), NO_SUCH_TIME),
    "a virtual host in front": (b"shop.example:80 " + GOOD, "the user is not followed by a time"),
    "cut after the time": (GOOD.split(b' "')[0], "the line ends before the request"),
    "a request without quotes": (
        GOOD.replace(b'"GET / HTTP/1.1"', b"GET"),
        "the request is not opened by a quote",
    ),
    "cut in the request": (GOOD[:55], "the request is not closed by a quote"),
    "a backslash at the end": (GOOD[:55] + b'\\"', "the request is not closed by a quote"),
    "a quote in the request": (
        GOOD.replace(b"GET /", b'GET /"a"'),
        "the request has a quote in it that is not escaped",
    ),
    "cut after the request": (GOOD.split(b" 200")[0], "the line ends before the status"),
    "a status of four digits": (GOOD.replace(b"200", b"2000"), "the status is not a number of three digits"),
    "no status": (GOOD.replace(b"200 ", b""), "the size is not a number"),
    "cut after the status": (GOOD.split(b" 512")[0], "the line ends before the size"),
    "a negative size": (GOOD.replace(b"512", b"-512"), "the size is not a number"),
    "a size with a point": (GOOD.replace(b"512", b"5.12"), "the size is not a number"),
    "a size of nineteen digits": (GOOD.replace(b"512", b"1" * 19), "the size is not a number"),
    "a common line": (GOOD[:-8], "the line ends before the referrer"),
    "a referrer without quotes": (GOOD.replace(b'"-"', b"-"), "the referrer is not opened by a quote"),
    "cut in the user agent": (GOOD[:-1], "the user agent is not closed by a quote"),
    "a field too many": (GOOD + b' "z"', "the line goes on after the user agent"),
}


@pytest.mark.parametrize(("line", "reason"), CASES.values(), ids=CASES.keys())
def test_the_reason_says_where_a_line_stops_being_one(line: bytes, reason: str) -> None:
    assert read_reason(line) == reason


def test_a_combined_line_is_no_common_one() -> None:
    assert read_reason(GOOD, "common") == "the line goes on after the size"


def test_every_reason_of_every_format_is_in_its_vocabulary() -> None:
    said = {read_reason(line) for line, _ in CASES.values()}
    assert said <= set(reasons(FORMATS["combined"]))


def test_a_line_cut_anywhere_has_a_reason_and_never_two_events() -> None:
    for log_format, examples in (("combined", COMBINED), ("common", COMMON)):
        for line in examples:
            intake = read(b"\n".join(line[:size] for size in range(len(line))), log_format)
            assert intake.events.is_empty() or len(intake.events) <= 4
            assert intake.rejects.get_column("reason").is_in(list(reasons(FORMATS[log_format]))).all()


def test_the_raw_text_of_a_reject_is_the_line() -> None:
    assert read(GOOD[:-1]).rejects.get_column("raw").item() == GOOD[:-1].decode()
