"""What another parser, apachelogs, was tested with: all of it.

Of the lines: every directive says what it has to, and all times of a line together are the instant they have to be.
What apachelogs splits in two, `%{%D %T}t` for instance, m2 has as one field with the same elements; such a field is
compared by the elements that both have, and by the instant. A time that names no zone is UTC here and of no zone there.

Of the time stamps: all, in a combined line. apachelogs takes one with either bracket missing; a line has both.

Of the formats that are none: all, each with a caret below the place.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from m2cli.errors import UsageError
from m2cli.logs.fields.days import find_day, find_offset, names_a_day
from m2cli.logs.fields.times import parse_times
from m2cli.logs.formats import find_format
from m2cli.logs.formats.apache import compile_apache
from m2cli.logs.parsers.explain import take_apart
from m2cli.logs.parsers.fast import split_fast
from m2cli.logs.parsers.grammar import split_exact
from tests.logs.reading import SHARED_DATA, gather, read, read_event, read_reason, shared

PATH = SHARED_DATA / "apachelogs" / "cases.json"
CASES = json.loads(PATH.read_text()) if PATH.exists() else {}
needs_cases = pytest.mark.skipif(not CASES, reason="shared/data/apachelogs/cases.json is not here")

OF_VHOST = [case for case in CASES.get("parse", ()) if case["format"].startswith("%v:%p ")]
TIME_FAULT = "the time in brackets is not like 17/May/2015:10:05:03 +0000"
# Their names of the elements of time, and m2's.
ELEMENTS = {
    "%Y": "year",
    "%m": "month",
    "%d": "day_of_month",
    "%H": "hour",
    "%M": "minute",
    "%S": "second",
    "%I": "hour12",
    "%p": "half",
    "%a": "weekday_name",
    "%A": "weekday_name",
    "%b": "month_name",
    "%B": "month_name",
    "%w": "weekday0",
    "%u": "weekday",
    "%G": "iso_year",
    "%V": "iso_week",
    "%s": "epoch",
    "%Z": "zone_name",
}


def as_text(value: object) -> object:
    """Their values are bytes, one character each; m2's are text."""
    if not isinstance(value, str) or max(map(ord, value), default=0) > 0xFF:
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


@needs_cases
def test_there_are_as_many_cases_as_there_should_be() -> None:
    assert [len(CASES[name]) for name in ("parse", "timestamps", "bad_formats")] == [82, 71, 21]


@pytest.mark.parametrize("case", CASES.get("parse", ()), ids=lambda case: f"{case['format']} {case['line']}"[:70])
def test_a_line_says_what_it_has_to(case: dict[str, object]) -> None:
    log_format = compile_apache(case["format"])
    taken = take_apart(case["line"], log_format)
    assert taken.fault is None
    expected = case["expected"]
    values = {found.field.directive: found.value for found in taken.fields}
    for directive, wanted in expected["directives"].items():
        if directive in values and not isinstance(wanted, dict):
            assert typed(values[directive], wanted, directive) == as_text(wanted), directive
    assert taken.time == expected_time(expected)
    assert elements_of(case["line"], log_format).items() >= expected_elements(expected["directives"]).items()


def typed(value: str | None, wanted: object, directive: str) -> object:
    if value is not None and isinstance(wanted, int):
        if "hextid" in directive:
            return int(value, 16)
        scale = 1000 if "{ms}" in directive.lower() else 1  # durations are seconds
        return round(float(value) * scale)
    # An empty text says nothing; `""` is how Apache writes an empty user.
    return "" if wanted == "" and value in (None, '""') else value


def expected_time(expected: dict[str, object]) -> datetime | None:
    found = [expected[name] for name in expected if name.endswith("request_time") and expected[name]]
    if not found:
        return None
    time = datetime.fromisoformat(found[0]["datetime"])
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def expected_elements(directives: dict[str, object]) -> dict[str, object]:
    """The elements of time that single conversions of strftime write, as their directives are called."""
    found = {}
    for directive, value in directives.items():
        conversion = directive[directive.find("{") + 1 : directive.find("}")].split(":")[-1]
        if directive.endswith("t") and conversion in ELEMENTS and value is not None:
            found[ELEMENTS[conversion]] = value
    return found


def elements_of(line: str, log_format: object) -> dict[str, object]:
    lines = pl.DataFrame({"line": [line], "line_number": [1], "position_in_source": [0], "is_odd_text": [False]})
    (row,) = split_exact(lines, log_format)[0].to_dicts()
    found: dict[str, object] = {}
    for field in log_format.fields:
        for element, column in zip(field.kind.groups, field.columns, strict=True):
            text = row[column]
            if element and text is not None:
                found[element] = int(text) if text.isdecimal() else text
    return found


@pytest.mark.parametrize("case", OF_VHOST, ids=lambda case: case["line"][-40:])
def test_a_line_with_a_virtual_host_is_no_combined_line(case: dict[str, object]) -> None:
    assert read_reason(case["line"].encode()) == "the user is not followed by a time"
    event = read_event(case["line"].encode(), "vhost_combined")
    directives = case["expected"]["directives"]
    assert event["ip"] == directives["%h"]
    assert event["bytes"] == directives["%O"]
    assert event["user_agent"] == as_text(directives["%{User-Agent}i"])


def test_a_log_with_virtual_hosts_is_read_whole_with_its_own_format_and_not_as_combined() -> None:
    data = shared("apachelogs/vhost_combined.log").read_bytes()
    events, rejects = gather([read(data, "vhost_combined")])
    assert (len(events), len(rejects)) == (6, 1)
    events, rejects = gather([read(data)])
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
def test_a_format_that_is_none_is_refused_with_a_caret_under_the_place(case: dict[str, object]) -> None:
    with pytest.raises(UsageError) as refused:
        find_format(case["format"])
    message, shown, caret = str(refused.value).splitlines()
    assert message
    assert case["format"] in shown
    assert shown[caret.index("^") :][:1] in ("%", "{")


THEIR_ELEMENTS = {
    "year": "year",
    "century": "century",
    "abbrev_year": "year2",
    "iso_year": "iso_year",
    "abbrev_iso_year": "iso_year2",
    "iso_weeknum": "iso_week",
    "sunday_weeknum": "sunday_week",
    "monday_weeknum": "monday_week",
    "mon": "month",
    "full_mon": "month_name",
    "abbrev_mon": "month_name",
    "mday": "day_of_month",
    "yday": "day_of_year",
    "iso_wday": "weekday",
    "wday": "weekday0",
    "full_wday": "weekday_name",
    "abbrev_wday": "weekday_name",
}
OF_DAYS = [
    case for case in CASES.get("assemble_datetime", ()) if set(case["fields"]) & (set(THEIR_ELEMENTS) | {"date"})
]


@pytest.mark.parametrize("case", OF_DAYS, ids=lambda case: str(case["fields"])[:70])
def test_elements_of_a_day_name_the_expected_day_or_none(case: dict[str, object]) -> None:
    elements = {THEIR_ELEMENTS[name]: str(value) for name, value in case["fields"].items() if name in THEIR_ELEMENTS}
    if "date" in case["fields"]:
        elements["day"] = case["fields"]["date"]["date"]
    if case["expected"] is None:
        has_clock = {"hour", "min", "sec"} <= set(case["fields"])
        assert not (names_a_day(set(elements)) and has_clock)
    else:
        assert names_a_day(set(elements))
        assert find_day(elements) == datetime.fromisoformat(case["expected"]["datetime"]).date()


def test_a_zone_by_name_is_known_only_if_it_means_one_thing() -> None:
    assert find_offset({"zone_name": "EST"}) == -timedelta(hours=5) / timedelta(minutes=1)
    assert find_offset({"zone_name": "XXX"}) is None
    assert find_offset({"zone": "+0530"}) == 330


@needs_cases
def test_what_the_fast_parser_takes_of_them_it_takes_as_the_exact_one() -> None:
    took = 0
    for case in CASES["parse"]:
        log_format = compile_apache(case["format"])
        lines = pl.DataFrame(
            {"line": [case["line"]], "line_number": [1], "position_in_source": [0], "is_odd_text": [False]}
        )
        taken, _ = split_fast(lines, log_format)
        if len(taken):
            took += 1
            exact, _ = split_exact(lines, log_format)
            assert exact.select(taken.columns).equals(taken), case["format"]
            assert parse_times(exact, log_format).equals(parse_times(taken, log_format))
    assert took > 50


def test_a_user_that_is_an_empty_text_is_nobody() -> None:
    """apachelogs has the empty text for %u written `""`; no customer is called that."""
    line = b'10.0.0.1 - "" [01/Nov/2017:07:28:29 +0000] "GET / HTTP/1.1" 200 5 "-" "x"'
    assert read_event(line)["customer_id"] is None
