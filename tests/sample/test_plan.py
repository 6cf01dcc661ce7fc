"""The plan of a sample."""

from __future__ import annotations

import polars as pl
import pytest

from m2cli.sample.library import write_library
from m2cli.sample.plan import DAY, plan_journeys
from m2cli.sample.rule import SampleRule
from m2cli.sample.scenes import HOUR, MINUTE


@pytest.mark.parametrize("events", [3_000, 3_001, 4_321, 77_777])
@pytest.mark.parametrize("form", ["events", "access-log"])
def test_there_are_exactly_as_many_events_as_asked_for(events: int, form: str) -> None:
    rule = SampleRule(events=events, format=form)
    plan = plan_journeys(write_library(rule), rule)
    assert plan["length"].sum() == events
    assert plan["length"].min() > 0


@pytest.mark.parametrize("days", [1, 4])
def test_journeys_of_one_visitor_have_a_silence_between_them_however_long_they_take(days: int) -> None:
    rule = SampleRule(events=200_000, days=days)
    library = write_library(rule)
    plan = plan_journeys(library, rule)
    plan = plan.with_columns(longest=library.scripts["longest"].gather(plan["script"]))
    silence = (pl.col("start") - (pl.col("start") + pl.col("longest")).shift(1)).over("is_robot", "visitor")
    silences = plan.sort("start").select(silence.alias("silence")).drop_nulls()["silence"]
    assert len(silences) > 1_000
    assert silences.min() > 30 * MINUTE  # type: ignore[operator]


def test_journeys_begin_within_the_days_and_in_order() -> None:
    rule = SampleRule(events=50_000, days=3)
    starts = plan_journeys(write_library(rule), rule)["start"]
    first = 1_759_276_800_000_000  # 2025-10-01T00:00:00Z
    assert starts.is_sorted()
    assert starts.is_between(first, first + 3 * DAY, closed="left").all()


def test_evenings_are_busy_and_nights_are_quiet() -> None:
    rule = SampleRule(events=500_000)
    hours = plan_journeys(write_library(rule), rule).select(hour=pl.col("start") % DAY // HOUR)["hour"]
    evening, morning, night = (hours.is_between(hour, hour + 1).sum() for hour in (20, 9, 3))
    assert evening > 1.5 * morning > 10 * night


@pytest.mark.parametrize("seed", [7, 8, 9])
@pytest.mark.parametrize("form", ["events", "access-log"])
def test_scripts_that_are_not_watched_are_one_visit_whatever_is_drawn(seed: int, form: str) -> None:
    rule = SampleRule(seed=seed, format=form)
    library = write_library(rule)
    plain = library.scripts.filter(~pl.col("is_watched"))
    rows = plain.select(row=pl.int_ranges("begin", pl.col("begin") + pl.col("length")).explode())["row"]
    scenes = library.scenes[rows]
    assert (scenes["gap_from"] + scenes["gap_range"]).max() < 30 * MINUTE  # type: ignore[operator]
    assert plain["longest"].max() < 12 * HOUR - 30 * MINUTE  # type: ignore[operator]
    assert (scenes["delay_from"] + scenes["delay_range"]).max() < 5 * MINUTE  # type: ignore[operator]
    assert (scenes["same_as"] == scenes["row"]).all()
    assert (scenes.filter(pl.col("row") == 0)["gap_from"] == 0).all()
    assert library.scenes["gap_range"].max() < 2**34  # type: ignore[operator]  # the most that `below` takes
    assert library.scenes["slot"].max() < 1_024  # type: ignore[operator]
