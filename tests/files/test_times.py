"""Times of every kind that files hold, against a table of known instants and against the plain loop."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m2cli.files.times import parse_times
from tests.twins.files_twin import parse_time

OCTOBER = datetime(2019, 10, 1, tzinfo=UTC)
RECENT, NEAR = datetime(1970, 1, 2), datetime(2037, 1, 1)  # noqa: DTZ001  (local times are the subject)
ZONES = ["UTC", "Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]


def micros(count: int) -> datetime:
    return OCTOBER + timedelta(microseconds=count)


def parse_one(value: object, time_zone: str = "UTC", dtype: pl.DataType | None = None) -> datetime | None:
    parsed = parse_times(pl.Series("t", [value], dtype=dtype), time_zone)
    assert parsed.dtype == pl.Datetime("us", "UTC")
    return parsed.item()


TEXTS = {
    "Z": ("2019-10-01T00:00:00Z", OCTOBER),
    "a space and UTC": ("2019-10-01 00:00:00 UTC", OCTOBER),
    "GMT": ("2019-10-01 00:00:00 GMT", OCTOBER),
    "no zone": ("2019-10-01T00:00:00", OCTOBER),
    "an offset with a colon": ("2019-10-01T02:00:00+02:00", OCTOBER),
    "an offset without one": ("2019-10-01T02:00:00+0200", OCTOBER),
    "an offset of hours": ("2019-09-30T19:00:00-05", OCTOBER),
    "an offset of half hours": ("2019-10-01 05:30:00 +05:30", OCTOBER),
    "one digit of a fraction": ("2019-10-01T00:00:00.5Z", micros(500_000)),
    "three digits": ("2019-10-01T00:00:00.123Z", micros(123_000)),
    "six digits": ("2019-10-01T00:00:00.123456Z", micros(123_456)),
    "nine digits are cut, not rounded": ("2019-10-01T00:00:00.123456999Z", micros(123_456)),
    "a comma": ("2019-10-01T00:00:00,5Z", micros(500_000)),
    "to the minute": ("2019-10-01T00:00Z", OCTOBER),
    "to the minute without a zone": ("2019-10-01 00:00", OCTOBER),
    "a date": ("2019-10-01", OCTOBER),
    "blanks around": ("  2019-10-01T00:00:00Z ", OCTOBER),
    "seconds": ("1569888000", OCTOBER),
    "seconds with a fraction": ("1569888000.123456", micros(123_456)),
    "milliseconds": ("1569888000123", micros(123_000)),
    "microseconds": ("1569888000123456", micros(123_456)),
    "nanoseconds": ("1569888000123456999", micros(123_456)),
    "before 1970": ("-1", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
}
NO_TIMES = {
    "text": "yesterday",
    "nothing": "",
    "blanks": "  ",
    "a day that no month has": "2019-02-30T00:00:00Z",
    "hour 24": "2019-10-01T24:00:00Z",
    "second 60": "2016-12-31T23:59:60Z",
    "ten digits of a fraction": "2019-10-01T00:00:00.1234567890Z",
    "a point without a fraction": "2019-10-01T00:00:00.Z",
    "single digits": "2019-1-1T0:0:0Z",
    "a zone by name": "2019-10-01T00:00:00 CET",
    "an exponent": "1.56989E+12",
    "an offset of a day": "2019-10-01T00:00:00+24:00",
    "the year 0": "0000-01-01T00:00:00Z",
    "more digits than there is time": "99999999999999999999",
    "digits of another script": "\u0662019-10-01",
    "something behind it": "2019-10-01T00:00:00Z!",
    "two lines": "2019-10-01\n2019-10-02",
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_a_text_is_the_instant_it_names(text: str, expected: datetime) -> None:
    assert parse_one(text) == expected == parse_time(text)


@pytest.mark.parametrize("text", NO_TIMES.values(), ids=NO_TIMES)
def test_a_text_that_names_no_instant_is_null(text: str) -> None:
    assert parse_one(text) is None
    assert parse_time(text) is None


NUMBERS = {
    "seconds": (1_569_888_000, OCTOBER),
    "float seconds": (1_569_888_000.25, micros(250_000)),
    "milliseconds": (1_569_888_000_001, micros(1_000)),
    "float milliseconds": (1_569_888_000_000.5, micros(500)),
    "microseconds": (1_569_888_000_000_001, micros(1)),
    "nanoseconds": (1_569_888_000_000_001_999, micros(1)),
    "the last second told as seconds": (10**11 - 1, datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),
    "the first told as milliseconds": (10**11, datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
    "the first told as microseconds": (10**14, datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
    "the first told as nanoseconds": (10**17, datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
    "not a number": (float("nan"), None),
    "infinity": (float("-inf"), None),
    "a float beyond all time": (1e300, None),
    "the smallest integer": (-(2**63), datetime(1677, 9, 21, 0, 12, 43, 145224, tzinfo=UTC)),
}


@pytest.mark.parametrize(("number", "expected"), NUMBERS.values(), ids=NUMBERS)
def test_the_unit_of_an_epoch_is_told_by_its_magnitude(number: float, expected: datetime | None) -> None:
    assert parse_one(number) == expected == parse_time(number)


def test_an_unsigned_number_beyond_the_signed_ones_is_no_time() -> None:
    assert parse_one(2**64 - 1, dtype=pl.UInt64()) is None


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_a_timestamp_of_any_unit_and_zone_keeps_its_instant(unit: str, zone: str | None) -> None:
    column = pl.Series("t", [OCTOBER.replace(tzinfo=None)], dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    column = column.dt.convert_time_zone(zone) if zone else column.dt.replace_time_zone(None)
    assert parse_times(column.cast(pl.Datetime(unit, zone)), "UTC").item() == OCTOBER  # type: ignore[arg-type]  # a str


def test_timestamps_of_other_units_that_no_datetime_can_hold_are_null() -> None:
    far = pl.Series("t", [2**63 - 1, 0, -(2**62), None])
    assert parse_times(far.cast(pl.Datetime("ms")), "UTC").is_null().to_list() == [True, False, True, True]
    assert parse_times(far.cast(pl.Datetime("us", "UTC")), "UTC").is_null().to_list() == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("dtype", [pl.Boolean(), pl.Time(), pl.List(pl.Int64)], ids=str)
def test_a_column_of_a_kind_that_is_no_time_is_null_throughout(dtype: pl.DataType) -> None:
    column = pl.Series("t", [None, None], dtype=dtype)
    assert parse_times(column, "UTC").to_list() == [None, None]


def test_a_boolean_is_no_time() -> None:
    assert parse_times(pl.Series("t", [True]), "UTC").to_list() == [None]


def test_a_date_is_its_midnight_in_the_zone() -> None:
    assert parse_one(date(2019, 10, 1), "Europe/Amsterdam") == datetime(2019, 9, 30, 22, tzinfo=UTC)


def test_without_a_zone_the_rule_s_zone_holds() -> None:
    assert parse_one("2019-10-01T02:00:00", "Europe/Amsterdam") == OCTOBER
    assert parse_one(datetime(2019, 10, 1, 2), "Europe/Amsterdam") == OCTOBER  # noqa: DTZ001  (the case itself)


def test_a_zone_in_the_text_wins_over_the_rule_s() -> None:
    assert parse_one("2019-10-01T00:00:00Z", "Europe/Amsterdam") == OCTOBER


def test_an_hour_that_occurs_twice_is_its_first() -> None:
    assert parse_one("2019-10-27T02:30:00", "Europe/Amsterdam") == datetime(2019, 10, 27, 0, 30, tzinfo=UTC)


def test_an_hour_that_is_skipped_is_no_time() -> None:
    assert parse_one("2019-03-31T02:30:00", "Europe/Amsterdam") is None


def test_what_stands_beside_a_value_does_not_matter() -> None:
    values = [text for text, _ in TEXTS.values()] + list(NO_TIMES.values())
    together = parse_times(pl.Series("t", [*values, None]), "UTC").to_list()
    assert together == [*(parse_one(value) for value in values), None]


def texts_like_times() -> st.SearchStrategy[str]:
    offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    # From 1970 on: of the years before, the zone tables of the system and of Polars tell different stories.
    written = st.datetimes(RECENT, NEAR, timezones=st.none() | offsets).map(str) | st.datetimes(RECENT, NEAR).map(
        datetime.isoformat
    )
    pieces = st.sampled_from([*"0123456789", "-", ":", "T", " ", "Z", "UTC", ".", "+", "2019", "10", "01", "00:00"])
    return written | st.lists(pieces, max_size=16).map("".join) | st.text(max_size=6) | st.integers().map(str)


@given(st.lists(st.none() | texts_like_times(), max_size=8), st.sampled_from(ZONES))
def test_texts_agree_with_the_plain_loop(texts: list[str | None], zone: str) -> None:
    parsed = parse_times(pl.Series("t", texts, dtype=pl.String), zone)
    assert parsed.to_list() == [parse_time(text, zone) for text in texts]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**12), 10**12), max_size=8))
def test_integers_agree_with_the_plain_loop(numbers: list[int | None]) -> None:
    parsed = parse_times(pl.Series("t", numbers, dtype=pl.Int64), "UTC")
    assert parsed.to_list() == [parse_time(number) for number in numbers]


@given(st.lists(st.none() | st.floats() | st.floats(-1e12, 1e12), max_size=8))
@example([None, 2.8899775785015185e19])
@example([None, *(1.76e18 + number * 1_001_237.0 for number in range(200))])
def test_floats_agree_with_the_plain_loop(numbers: list[float | None]) -> None:
    parsed = parse_times(pl.Series("t", numbers, dtype=pl.Float64), "UTC")
    assert parsed.to_list() == [parse_time(number) for number in numbers]


@given(st.lists(st.datetimes(RECENT, NEAR), max_size=8), st.sampled_from(ZONES))
def test_local_timestamps_agree_with_the_plain_loop(times: list[datetime], zone: str) -> None:
    parsed = parse_times(pl.Series("t", times, dtype=pl.Datetime("us")), zone)
    assert parsed.to_list() == [parse_time(time, zone) for time in times]
