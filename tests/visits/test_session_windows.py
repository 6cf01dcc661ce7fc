"""The session windows of Beam, Flink and Spark, where exactly the gap is the same visit."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from m2cli.events import TIME
from m2cli.visits import VisitRule, sessionize
from tests.batches import EPOCH, Batch, begin, run_batches

CASES = Path(__file__).parents[3] / "shared/data/session-windows/cases.json"
UNITS = {"s": timedelta(seconds=1), "ms": timedelta(milliseconds=1)}
LONG = timedelta(days=9_000)  # none of them knows a maximum duration

if not CASES.exists():
    pytest.skip(f"no session windows at {CASES}", allow_module_level=True)

ALL: list[dict[str, Any]] = json.loads(CASES.read_text())["cases"]
BOUNDED = [case for case in ALL if "expected" in case]


def frame_of(case: dict[str, Any]) -> pl.DataFrame:
    times = [EPOCH + event["ts"] * UNITS[case["unit"]] for event in case["events"]]
    return pl.DataFrame(
        {
            "visitor_id": [event["key"] for event in case["events"]],
            "event_time": pl.Series(times, dtype=TIME),
            "value": [event.get("value", 0) for event in case["events"]],
        }
    ).with_columns(source=pl.lit("rows"))


def windows(case: dict[str, Any], events: pl.DataFrame) -> set[tuple[Any, ...]]:
    """Key, first and last time, count and sum of each visit, in the case's unit."""
    unit = UNITS[case["unit"]]
    return {
        (key, (first - EPOCH) // unit, (last - EPOCH) // unit, count, total)
        for _, key, first, last, count, total in events.group_by("visit_id", "visitor_id")
        .agg(
            first=pl.col("event_time").min(),
            last=pl.col("event_time").max(),
            count=pl.len(),
            total=pl.col("value").sum(),
        )
        .rows()
    }


def holds(case: dict[str, Any]) -> bool:
    """Whether the kernel's visits are the case's sessions, in all that the case says of them."""
    rule = VisitRule(inactivity=case["gap"] * UNITS[case["unit"]], max_duration=LONG)
    made = windows(case, sessionize(frame_of(case), rule).events)
    expected = case["expected"]
    named = {(window["key"], window["first"], window["last"]): window for window in expected}
    assert len(named) == len(expected)
    return {window[:3] for window in made} == set(named) and all(
        count == named[key, first, last].get("count", len(named[key, first, last].get("members", [0] * count)))
        and total == named[key, first, last].get("sum", total)
        for key, first, last, count, total in made
    )


def test_there_are_28_cases_of_which_25_hold() -> None:
    assert len(ALL) == 28
    assert len([case for case in ALL if case.get("holds_if_gap_inclusive", True)]) == 25


@pytest.mark.parametrize("case", BOUNDED, ids=lambda case: f"{case['engine']}, {case['test']}")
def test_the_case_holds_where_exactly_the_gap_is_the_same_visit_and_not_otherwise(
    case: dict[str, Any],
) -> None:
    assert holds(case) is case["holds_if_gap_inclusive"]


@pytest.mark.parametrize("case", [case for case in ALL if "dropped_late" in case], ids=lambda case: case["test"])
def test_what_spark_drops_is_late_and_what_it_emits_has_ended(case: dict[str, Any]) -> None:
    unit = UNITS[case["unit"]]
    rule = VisitRule(
        inactivity=case["gap"] * unit, max_duration=LONG, max_out_of_orderness=case["watermark_delay"] * unit
    )
    done = run_batches([Batch([frame_of(case)], EPOCH)], begin(), rule)[0]
    late = done.late[0].select("visitor_id", (pl.col("event_time") - EPOCH) / unit).rows()
    assert late == [(event["key"], event["ts"]) for event in case["dropped_late"]]
    closed = done.tagged[0].join(done.ended[0], on="visit_id", how="semi")
    assert {window[:4] for window in windows(case, closed)} == {
        (window["key"], window["first"], window["last"], window["count"]) for window in case["emitted_after_last_row"]
    }
