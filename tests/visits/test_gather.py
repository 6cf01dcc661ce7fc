"""Whole visits out of segments (DESIGN 5.5, 5.6)."""

from __future__ import annotations

import polars as pl

from m2cli.visits import gather
from tests.visits.small import Pipeline, events


def test_a_visit_spread_over_segments_is_whole_and_in_order() -> None:
    pipeline = Pipeline()
    for minute in range(6):
        pipeline.read(events(f"9:{minute:02}", event_id=f"{minute}"))
    pipeline.flush()
    segments = pipeline.frames["tagged"]
    assert sum(segment.height > 0 for segment in segments) > 3
    gathered = gather(segments, pipeline.ended)
    assert gathered.whole["event_id"].to_list() == list("012345")
    assert gathered.whole["visit_id"].n_unique() == 1
    assert gathered.rest.is_empty()


def interleaved() -> Pipeline:
    """Ann and Bob in turns, so that each segment has events of both; Ann's visit ends, Bob's does not."""
    pipeline = Pipeline()
    for minute in (0, 8, 16):
        both = [events(f"9:{minute + n:02}", visitor=visitor) for n, visitor in enumerate(["ann", "bob"] * 2)]
        pipeline.read(pl.concat(both))
    for minute in (40, 55):
        pipeline.read(events(f"9:{minute:02}", visitor="bob"))
    return pipeline


def test_visits_stand_together_in_the_order_of_their_ends() -> None:
    pipeline = interleaved().flush()
    whole = gather(pipeline.frames["tagged"], pipeline.ended).whole
    assert whole["visitor_id"].rle().struct.field("value").to_list() == ["ann", "bob"]
    assert whole["visit_id"].unique(maintain_order=True).to_list() == pipeline.ended["visit_id"].to_list()
    assert whole.height == pipeline.ended["event_count"].sum()


def test_events_of_open_visits_are_the_rest_as_they_were() -> None:
    pipeline = interleaved()
    assert pipeline.ended["visitor_id"].to_list() == ["ann"]
    gathered = gather(pipeline.frames["tagged"], pipeline.ended)
    tagged = pl.concat([frame for frame in pipeline.frames["tagged"] if frame.height], how="diagonal")
    assert gathered.rest.equals(tagged.filter(visitor_id="bob"))
    assert gathered.whole.height == 6


def test_the_rest_can_be_gathered_again_when_its_visits_end() -> None:
    pipeline = interleaved()
    ann = gather(pipeline.frames["tagged"], pipeline.ended)
    before = len(pipeline.frames["tagged"])
    pipeline.flush()
    bob = gather([ann.rest, *pipeline.frames["tagged"][before:]], pipeline.ended.filter(visitor_id="bob"))
    assert bob.rest.is_empty()
    assert bob.whole["visitor_id"].unique().to_list() == ["bob"]
    assert bob.whole["event_time"].is_sorted()


def test_where_nothing_has_ended_everything_is_rest() -> None:
    pipeline = interleaved()
    gathered = gather(pipeline.frames["tagged"], pipeline.ended.clear())
    assert gathered.whole.is_empty()
    assert gathered.rest.height == sum(frame.height for frame in pipeline.frames["tagged"])


def test_no_segments_hold_no_visits() -> None:
    gathered = gather([], Pipeline().read().ended)
    assert gathered.whole.is_empty()
    assert gathered.rest.is_empty()


def test_visit_numbers_stay_inside() -> None:
    pipeline = interleaved()
    gathered = gather(pipeline.frames["tagged"], pipeline.ended)
    assert "visit_number" not in gathered.whole.columns
    assert "visit_number" in gathered.rest.columns


def test_numbers_that_are_far_apart_are_found() -> None:
    segment = pl.DataFrame(
        {"n": [0, 1, 2, 3], "visit_id": list("abca"), "visit_number": [900_000, 7, 8, 900_000]},
        schema_overrides={"visit_number": pl.UInt64},
    )
    ended = pl.DataFrame(
        {"visit_number": [900_000, 7], "event_count": [2, 1]}, schema_overrides={"visit_number": pl.UInt64}
    )
    gathered = gather([segment], ended)
    assert gathered.whole["n"].to_list() == [0, 3, 1]
    assert gathered.rest["n"].to_list() == [2]


def test_visits_are_put_in_the_order_of_their_ends_though_nothing_else_is_there() -> None:
    segment = pl.DataFrame({"n": [0, 1, 2], "visit_id": list("bba"), "visit_number": [1, 1, 0]})
    ended = pl.DataFrame({"visit_number": [0, 1], "event_count": [1, 2]})
    number = {"visit_number": pl.UInt64}
    assert gather([segment.cast(number)], ended.cast(number)).whole["n"].to_list() == [2, 0, 1]
