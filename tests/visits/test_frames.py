"""Frames in, frames out: absent columns, empty inputs, columns of one's own, and nothing changed in place."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from m2cli.events import EVENT_SCHEMA, LAKE_EVENT_SCHEMA, VISIT_SCHEMA
from m2cli.visits import (
    VisitRule,
    Watermark,
    assign_visits,
    flush_time,
    gather,
    plan_partitions,
    sessionize,
    split_late,
)
from tests.visits.small import DAY, PUNCTUAL, Pipeline, at, events

FULL = events(
    *["9:00", "9:10", "9:10", "9:40", "11:00"],
    event_id=["a", "b", "b", None, "c"],
    part_id="p",
    position_in_source=[1, 2, 3, 4, 5],
    arrival_time=at("9:00"),
    event_type=["page", "show", "show", "click", "purchase"],
    url="/",
    amount=[None, None, None, None, 1],
    currency="EUR",
    country="NL",
    is_robot=False,
    browser="Firefox",
    device="desktop",
)
OPTIONAL = [name for name in FULL.columns if name not in ("visitor_id", "event_time")]


def in_two(frame: pl.DataFrame) -> Pipeline:
    return Pipeline().read(frame[:2]).read(frame[2:]).flush()


@pytest.mark.parametrize("absent", [*[[name] for name in OPTIONAL], OPTIONAL], ids="without {}".format)
def test_any_optional_column_may_be_absent(absent: list[str]) -> None:
    frame = FULL.drop(absent)
    made = sessionize(frame)
    assert made.events.columns == [*frame.columns, "visit_id"]
    assert made.visits["event_count"].sum() + made.duplicates.height == FULL.height
    assert dict(made.visits.schema) == VISIT_SCHEMA


def test_batches_need_no_more_columns_than_visitor_time_and_source() -> None:
    frame = FULL.select("visitor_id", "event_time", "source")
    assert in_two(frame).ended["event_count"].to_list() == [4, 1]


@pytest.mark.parametrize(
    "schema",
    [
        {name: FULL.schema[name] for name in ("visitor_id", "event_time", "source")},
        EVENT_SCHEMA | {"visitor_id": pl.String},
        {name: dtype for name, dtype in LAKE_EVENT_SCHEMA.items() if name != "visit_id"},
    ],
    ids=["only what must be", "the event's columns", "the lake's columns"],
)
def test_empty_frames_go_through_everything(schema: dict[str, pl.DataType]) -> None:
    empty = pl.DataFrame(schema=schema)
    made = sessionize(empty)
    assert made.events.is_empty()
    assert made.visits.is_empty()
    assert dict(made.visits.schema) == VISIT_SCHEMA
    pipeline = Pipeline().read(empty).read(empty).flush()
    assert pipeline.ended.is_empty()
    assert pipeline.W is None


def test_empty_batches_between_others_change_nothing() -> None:
    with_empty = Pipeline().read(FULL[:2]).read(FULL.clear()).read().read(FULL[2:]).flush().ended
    assert with_empty.equals(in_two(FULL).ended)


def test_a_batch_may_bring_columns_that_others_lack() -> None:
    narrow = FULL.select("visitor_id", "event_time", "source")
    pipeline = Pipeline().read(narrow[:1]).read(FULL[1:3]).read(narrow[3:]).flush()
    assert pipeline.ended["event_count"].sum() + pipeline.said("duplicates").height == FULL.height


INTERNAL = (
    *(
        "key",
        "row",
        "first",
        "end",
        "rank",
        "visit",
        "place",
        "open_row",
        "lead",
        "mark",
        "before",
        "limit",
        "own",
    ),
    *(
        "start_time",
        "end_time",
        "tagged_end",
        "is_cut",
        "is_duplicate",
        "number",
        "value",
        "sums",
        "event_count",
    ),
    *("continues_visit_id", "literal", "len", "index", "late_reason", "late_by"),
)


def test_an_event_may_carry_columns_of_its_own_under_any_name() -> None:
    own = FULL.with_columns(pl.lit("mine").alias(name) for name in INTERNAL)
    made = sessionize(own)
    assert made.visits.equals(sessionize(FULL).visits)
    assert made.events.columns == [*own.columns, "visit_id"]
    assert made.duplicates.columns == own.columns
    assert made.events.select(pl.col(INTERNAL).eq("mine").all()).row(0) == (True,) * len(INTERNAL)
    pipeline = in_two(own)
    assert pipeline.ended.equals(in_two(FULL).ended)
    assert pipeline.said("tagged")[0].select(INTERNAL).row(0) == ("mine",) * len(INTERNAL)


@pytest.mark.parametrize("name", ["visit_id", "visit_number"])
def test_a_visit_that_the_input_names_is_named_anew(name: str) -> None:
    own = FULL.with_columns(pl.lit("theirs").alias(name))
    assert sessionize(own).events["visit_id"].equals(sessionize(FULL).events["visit_id"])


def copies(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Copies that share no memory with the originals."""
    return [pl.DataFrame(frame.to_dict(as_series=False), frame.schema) for frame in frames]


def test_no_step_changes_any_of_its_inputs() -> None:
    rule = VisitRule(max_duration=timedelta(minutes=20), max_out_of_orderness=timedelta(0))
    # Ties, duplicates, cuts, late events, open visits, ends and segments: every path that writes.
    pipeline = Pipeline(rule).read(FULL[:1]).read(events("9:21", visitor="bob"))
    carried = pipeline.carried
    assert carried.state.ends.height or carried.state.open_visits.height
    arrivals = pl.concat([FULL[3:], FULL[1:2], FULL[1:4], events("9:21", visitor="bob")], how="diagonal")
    partitions = plan_partitions(carried.partitions, ["log"], DAY, rule)
    segments = pipeline.frames["tagged"]
    inputs = [arrivals, partitions, carried.partitions, *carried.state[:3], *segments]
    before = copies(inputs)

    split = split_late(arrivals, partitions, carried.W, rule)
    between = [*split]
    kept = copies(between)
    assigned = assign_visits(split.on_time, carried.state, Watermark(time=at("9:35")), rule)
    results = [assigned.tagged, assigned.ended, assigned.duplicates, *assigned.state[:3]]
    said = copies(results)
    flush_time(assigned.state, Watermark(time=at("9:35")), rule)
    everything = assign_visits(split.on_time.clear(), assigned.state, Watermark.end_of_input(at("11:00")), rule)
    gather([*segments, assigned.tagged, everything.tagged], everything.ended)

    for now, then in zip([*inputs, *between, *results], [*before, *kept, *said], strict=True):
        assert now.equals(then)


def test_a_bounded_run_changes_nothing_of_its_input() -> None:
    before = copies([FULL])[0]
    ordered = FULL.sort("visitor_id", "event_time")
    sessionize(ordered, PUNCTUAL)
    sessionize(FULL, PUNCTUAL)
    assert FULL.equals(before)
    assert ordered.equals(before.sort("visitor_id", "event_time"))


def test_what_was_made_before_stays_as_it_was_when_the_state_is_used_again() -> None:
    """A retry does the same input again from the same state."""
    pipeline = Pipeline().read(FULL[:2])
    state, W = pipeline.carried.state, Watermark(time=at("10:00"))
    first = assign_visits(FULL[2:4], state, W, PUNCTUAL)
    again = assign_visits(FULL[2:4], state, W, PUNCTUAL)
    assert first.tagged.equals(again.tagged)
    assert first.ended.equals(again.ended)
    assert first.state.pending.equals(again.state.pending)
