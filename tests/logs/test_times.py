"""The time of a log line is the instant it says, whatever the zone and the month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.logs.fields.times import find_time, parse_time
from tests.twins.logs_twin import MONTHS

ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def parts_of(times: list[datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date": [f"{time:%d}/{MONTHS[time.month - 1]}/{time:%Y}" for time in times],
            "clock": [f"{time:%H:%M:%S}" for time in times],
            "zone": [f"{time:%z}" for time in times],
        },
        schema=dict.fromkeys(("date", "clock", "zone"), pl.String),
    )


@given(st.lists(st.datetimes(datetime(1900, 1, 3), datetime(2199, 12, 29), timezones=ZONES)))  # noqa: DTZ001
def test_any_time_in_any_zone_is_the_instant_it_says(times: list[datetime]) -> None:
    whole = [time.replace(microsecond=0) for time in times]
    assert parse_time(parts_of(whole)).to_list() == whole


def test_a_leap_second_is_the_next_one() -> None:
    parts = pl.DataFrame({"date": ["31/Dec/2016"], "clock": ["23:59:60"], "zone": ["+0000"]})
    assert parse_time(parts).to_list() == [datetime(2017, 1, 1, tzinfo=UTC)]


def test_a_day_that_the_calendar_lacks_is_null_and_its_neighbours_are_not() -> None:
    dates = ["28/Feb/2015", "29/Feb/2015", "01/Mar/2015", "29/Feb/2016", "00/Jan/2000", "31/Apr/2000"]
    parts = pl.DataFrame({"date": dates, "clock": ["12:00:00"] * 6, "zone": ["+0000"] * 6})
    assert parse_time(parts).is_null().to_list() == [False, True, False, False, True, True]


def test_two_zones_in_turn_do_not_mix() -> None:
    parts = pl.DataFrame(
        {"date": ["01/Jan/2000"] * 4, "clock": ["00:00:00"] * 4, "zone": ["+0100", "-0100", "+0100", "-0100"]}
    )
    assert [time.hour for time in parse_time(parts)] == [23, 1, 23, 1]


def test_the_time_of_a_line_is_found_wherever_it_is() -> None:
    line = b'shop.example:80 1.2.3.4 - - [17/May/2015:10:05:03 +0200] "GET'
    assert find_time(line) == datetime(2015, 5, 17, 8, 5, 3, tzinfo=UTC)


@given(st.datetimes(datetime(1900, 1, 3), datetime(2199, 12, 29), timezones=ZONES), st.integers(0, 60))  # noqa: DTZ001
def test_the_time_that_is_found_is_the_one_that_is_parsed(time: datetime, second: int) -> None:
    parts = parts_of([time]).with_columns(pl.lit(f"{time:%H:%M}:{second:02}").alias("clock"))
    (stamp,) = parts.select(pl.format("[{}:{} {}]", "date", "clock", "zone")).to_series()
    assert find_time(stamp.encode()) == parse_time(parts).item()


@pytest.mark.parametrize("line", [b"", b"\xff", b"[]", b"[17/Mai/2015:10:05:03 +0200]"], ids=repr)
def test_a_line_without_a_time_has_none(line: bytes) -> None:
    assert find_time(line) is None


def test_a_line_with_a_day_that_the_calendar_lacks_has_no_time() -> None:
    assert find_time(b"[31/Feb/2015:10:05:03 +0200]") is None
