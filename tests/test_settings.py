"""What people write: durations, sizes, limits of rejects, column maps."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import UsageError
from m2cli.settings import (
    RejectLimit,
    format_duration,
    format_size,
    parse_duration,
    parse_mapping,
    parse_reject_limit,
    parse_size,
)

DURATIONS = {
    "30m": timedelta(minutes=30),
    "12h": timedelta(hours=12),
    "1h30m": timedelta(minutes=90),
    "90s": timedelta(seconds=90),
    "2d": timedelta(days=2),
    "1us": timedelta(microseconds=1),
    "500ms": timedelta(milliseconds=500),
    " 30m ": timedelta(minutes=30),
}


@pytest.mark.parametrize("text", DURATIONS)
def test_a_duration_is_read_as_it_is_written(text: str) -> None:
    assert parse_duration(text) == DURATIONS[text]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("30", "did you mean `30m`"),
        ("", "write it as"),
        ("m", "write it as"),
        ("1.5h", "write it as"),
        ("-1h", "write it as"),
    ],
)
def test_a_duration_without_a_unit_or_a_number_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        parse_duration(text)


def test_a_duration_longer_than_can_be_counted_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        parse_duration("99999999999999d")


@given(st.timedeltas(min_value=timedelta(0)))
def test_a_duration_that_is_written_is_read_again(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


SIZES = {
    "2GiB": 2 << 30,
    "512MiB": 512 << 20,
    "1GB": 10**9,
    "1.5GiB": 3 << 29,
    "64 KiB": 64 << 10,
    "100B": 100,
    "2gib": 2 << 30,
    "0.5KB": 500,
    "0.0001KB": 0,
}


@pytest.mark.parametrize("text", SIZES)
def test_a_size_is_read_as_it_is_written(text: str) -> None:
    assert parse_size(text) == SIZES[text]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2G", "did you mean `2GiB`"),
        ("512m", "did you mean `512MiB`"),
        ("2147483648", "write it as"),
        ("", "write it as"),
        ("GiB", "write it as"),
        ("-1GiB", "write it as"),
        ("2GiBs", "write it as"),
        ("1e3MB", "write it as"),
        ("9" * 5000 + "GiB", "write it as"),
    ],
)
def test_a_size_without_a_unit_that_has_one_meaning_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        parse_size(text)


@given(st.integers(0, 2**60))
def test_a_size_that_is_written_is_read_again(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_a_size_is_written_in_the_largest_unit_that_is_exact() -> None:
    assert [format_size(size) for size in (0, 2 << 30, 1536 << 20, 10**9, 1025)] == [
        "0B",
        "2GiB",
        "1536MiB",
        "1GB",
        "1025B",
    ]


@pytest.mark.parametrize(
    ("text", "rejects", "read", "is_exceeded"),
    [
        pytest.param("1%", 1, 100, False, id="exactly the share"),
        pytest.param("1%", 2, 100, True, id="above the share"),
        pytest.param("0", 0, 100, False, id="none, and none allowed"),
        pytest.param("0", 1, 100, True, id="one, and none allowed"),
        pytest.param("0.5 %", 1, 100, True, id="half a per cent"),
    ],
)
def test_a_limit_is_exceeded_by_more_than_it(text: str, rejects: int, read: int, is_exceeded: bool) -> None:
    assert parse_reject_limit(text).is_exceeded(rejects, read) is is_exceeded


@pytest.mark.parametrize("text", ["many", "-1", "101%", "%", "1e3", "²"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no limit of rejects"):
        parse_reject_limit(text)


def test_a_limit_is_shown_as_it_is_written() -> None:
    assert [str(RejectLimit(count=100)), str(RejectLimit(share=0.01))] == ["100", "1%"]


def test_a_map_names_each_column_once() -> None:
    assert parse_mapping(["event_time=ts", "url=a=b"]) == {"event_time": "ts", "url": "a=b"}
    with pytest.raises(UsageError, match="mapped twice"):
        parse_mapping(["event_time=ts", "event_time=time"])
