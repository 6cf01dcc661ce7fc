"""Frames that the kernel cannot work on: said at once, with the column, what it is and what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from m2cli.errors import UsageError
from m2cli.events import TIME
from m2cli.visits import VisitRule, VisitState, Watermark, assign_visits, plan_partitions, sessionize, split_late
from m2cli.visits.watermarks import no_partitions
from tests.visits.small import DAY, RULE, events

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = events("9:00", "9:10", event_id=["a", "b"], arrival_time=DAY, amount=None)
TWO_NULLS = pl.Series([None, None], dtype=pl.String)


def change(**columns: Any) -> pl.DataFrame:
    return GOOD.with_columns(**columns)


UNFIT = {
    "a lazy frame": (GOOD.lazy(), ["LazyFrame", "`.collect()` it"]),
    "no frame at all": ([1, 2], ["`list`", "pl.DataFrame"]),
    "no visitor": (GOOD.drop("visitor_id"), ["no column `visitor_id`", "`m2cli.assign_visitors`"]),
    "no time": (GOOD.drop("event_time"), ["no column `event_time`", ".rename("]),
    "a null visitor": (change(visitor_id=TWO_NULLS), ["`visitor_id` is null in 2 of 2", "`m2cli.assign_visitors`"]),
    "a null time": (change(event_time=pl.lit(None, TIME)), ["`event_time` is null in 2 of 2", ".is_not_null()"]),
    "a visitor of digits": (change(visitor_id=pl.lit(7)), ["`visitor_id` is Int", '.cast({"visitor_id": pl.String})']),
    "a time without a zone": (
        change(event_time=pl.col("event_time").dt.replace_time_zone(None)),
        ["`event_time` is Datetime", "no zone", 'cast(pl.Datetime("us", "UTC"))'],
    ),
    "a time in milliseconds": (
        change(event_time=pl.col("event_time").cast(pl.Datetime("ms", "UTC"))),
        ["`event_time` is Datetime(time_unit='ms'", 'pl.col("event_time").cast(pl.Datetime("us", "UTC"))'],
    ),
    "a time as text": (change(event_time=pl.lit("2024-02-29")), ["`event_time` is String", "to_datetime"]),
    "a time as a number": (change(event_time=pl.lit(1_700_000_000)), ["`event_time` is Int", "from_epoch"]),
    "an id of digits": (change(event_id=pl.lit(1)), ["`event_id` is Int", "pl.String"]),
    "an amount in binary": (change(amount=pl.lit(1.5)), ["`amount` is Float64", "pl.Decimal(18, 4)"]),
}


@pytest.mark.parametrize(("frame", "said"), UNFIT.values(), ids=UNFIT)
@pytest.mark.parametrize(
    "cut",
    [sessionize, lambda frame: assign_visits(frame, VisitState.empty(), Watermark(), RULE)],
    ids=["sessionize", "assign_visits"],
)
def test_what_cannot_be_cut_is_named_with_its_remedy(cut: Callable[[Any], Any], frame: Any, said: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        cut(frame)
    assert [part for part in said if part not in str(raised.value)] == []


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (GOOD.drop("source"), "no column `source`"),
        (change(source=TWO_NULLS), "`source` is null in 2 of 2"),
        (change(event_time=pl.lit(None, TIME)), "`event_time` is null in 2 of 2"),
        (change(arrival_time=pl.lit(DAY.replace(tzinfo=None))), "`arrival_time` is Datetime"),
    ],
    ids=["without a source", "of a null source", "of a null time", "that arrived in no zone"],
)
def test_what_cannot_be_judged_late_is_named(frame: pl.DataFrame, said: str) -> None:
    partitions = plan_partitions(no_partitions(), ["log"], DAY, RULE)
    with pytest.raises(UsageError, match=said):
        split_late(frame, partitions, Watermark(), RULE)


def test_the_remedies_for_times_make_them_fit() -> None:
    naive = change(event_time=pl.col("event_time").dt.replace_time_zone(None))
    mended = naive.with_columns(pl.col("event_time").dt.replace_time_zone("UTC").cast(pl.Datetime("us", "UTC")))
    assert sessionize(mended).visits.height == 1
    text = change(event_time=pl.lit("2024-02-29 09:00:00"))
    read = text.with_columns(pl.col("event_time").str.to_datetime(time_unit="us", time_zone="UTC"))
    assert sessionize(read).visits.height == 1
    number = change(event_time=pl.lit(1_700_000_000))
    counted = number.with_columns(pl.from_epoch("event_time", time_unit="s").cast(pl.Datetime("us", "UTC")))
    assert sessionize(counted).visits.height == 1


@pytest.mark.parametrize("name", ["inactivity", "max_duration", "max_out_of_orderness", "idle_after"])
@pytest.mark.parametrize("value", [30, "30m", None], ids=repr)
def test_a_limit_is_a_timedelta(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"`{name}` is .*timedelta.*`30m`"):
        VisitRule(**{name: value})


def test_only_the_bound_of_out_of_orderness_may_be_zero() -> None:
    assert VisitRule(max_out_of_orderness=timedelta(0)).max_out_of_orderness == timedelta(0)
    with pytest.raises(UsageError, match=r"`inactivity` is 0:00:00; it must be above zero .*`30m`"):
        VisitRule(inactivity=timedelta(0))
    with pytest.raises(UsageError, match=r"`max_out_of_orderness` is .*; it must be zero or more"):
        VisitRule(max_out_of_orderness=timedelta(-1))
