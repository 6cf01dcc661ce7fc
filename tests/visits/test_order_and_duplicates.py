"""The order of events, duplicates, reused ids, and what a visit is called (DESIGN 4.1, 4.8, 4.9)."""

from __future__ import annotations

from itertools import permutations

import polars as pl
import pytest

from m2cli.visits import count_reused_ids, sessionize
from tests.visits.small import Pipeline, events


class TestOrder:
    """event_time, source, part_id, position_in_source."""

    @pytest.mark.parametrize(
        ("column", "values"),
        [("source", ["a", "b", "c"]), ("part_id", ["p", "q", "r"]), ("position_in_source", [9, 10, 11])],
        ids=["by source", "by part", "by position, as a number"],
    )
    def test_ties_in_time_are_ordered(self, column: str, values: list[str | int]) -> None:
        for order in permutations(values):
            tied = events("9:00", "9:00", "9:00", **{column: list(order)})
            assert sessionize(tied).events[column].to_list() == values

    def test_time_comes_before_source_before_part_before_position(self) -> None:
        frame = events(
            *["9:00:01", "9:00", "9:00", "9:00", "9:00"],
            part_id=["a", "a", "b", "a", "c"],
            position_in_source=[0, 5, 1, 9, 0],
        ).with_columns(source=pl.Series(["a", "b", "b", "b", "a"]), nth=pl.Series([4, 1, 3, 2, 0]))
        assert sessionize(frame).events["nth"].to_list() == [0, 1, 2, 3, 4]

    def test_what_arrived_first_says_nothing(self) -> None:
        first, second = events("9:00", position_in_source=[2]), events("9:00", position_in_source=[1])
        pipeline = Pipeline().read(first).read(second).flush()
        assert pipeline.said("tagged")["position_in_source"].to_list() == [1, 2]

    def test_where_nothing_orders_them_events_stay_as_they_came(self) -> None:
        frame = events("9:00", "9:00", "9:00", nth=[2, 0, 1]).drop("source")
        assert sessionize(frame).events["nth"].to_list() == [2, 0, 1]


class TestDuplicates:
    """Same visitor, id and time: the first in order is kept."""

    def test_the_first_in_order_is_kept_whatever_arrived_first(self) -> None:
        first = events("9:00", event_id="x", position_in_source=[2])
        second = events("9:00", event_id="x", position_in_source=[1])
        pipeline = Pipeline().read(first).read(second).flush()
        assert pipeline.said("tagged")["position_in_source"].to_list() == [1]
        assert pipeline.said("duplicates")["position_in_source"].to_list() == [2]

    def test_a_copy_of_a_pending_event_meets_it_in_a_later_batch(self) -> None:
        pipeline = Pipeline().read(events("9:00", event_id="x")).read(events("9:00", event_id="x")).flush()
        assert pipeline.ended["event_count"].to_list() == [1]
        assert pipeline.said("duplicates").height == 1

    def test_null_ids_are_never_equal(self) -> None:
        assert sessionize(events("9:00", "9:00", event_id=[None, None])).duplicates.is_empty()

    def test_ids_that_are_empty_text_are_equal(self) -> None:
        assert sessionize(events("9:00", "9:00", event_id=["", ""])).duplicates.height == 1

    def test_the_same_id_of_another_visitor_is_kept(self) -> None:
        both = events("9:00", event_id="x").vstack(events("9:00", visitor="bob", event_id="x"))
        assert sessionize(both).duplicates.is_empty()

    def test_the_same_id_at_another_time_is_kept(self) -> None:
        made = sessionize(events("9:00", "9:00:00.000001", event_id="x"))
        assert made.duplicates.is_empty()
        assert made.visits["event_count"].to_list() == [2]

    def test_copies_with_other_ids_between_them_are_duplicates(self) -> None:
        frame = events("9:00", "9:00", "9:00", event_id=["x", "y", "x"], position_in_source=[1, 2, 3])
        made = sessionize(frame)
        assert made.duplicates["position_in_source"].to_list() == [3]
        assert made.events["event_id"].to_list() == ["x", "y"]

    def test_duplicates_keep_all_their_columns(self) -> None:
        frame = events("9:00", "9:00", event_id="x", mine=["a", "b"])
        assert sessionize(frame).duplicates.columns == frame.columns


class TestReusedIds:
    """The same id at another time, within one visit."""

    def test_each_further_event_of_an_id_is_counted(self) -> None:
        frame = events("9:00", "9:01", "9:02", "9:03", event_id=["x", "y", "x", "x"])
        assert count_reused_ids(sessionize(frame).events) == 2

    def test_an_id_in_two_visits_is_not_counted(self) -> None:
        assert count_reused_ids(sessionize(events("9:00", "10:00", event_id="x")).events) == 0

    def test_null_ids_are_not_counted(self) -> None:
        assert count_reused_ids(sessionize(events("9:00", "9:01", event_id=[None, None])).events) == 0

    def test_without_ids_none_is_reused(self) -> None:
        assert count_reused_ids(sessionize(events("9:00", "9:01")).events) == 0

    def test_of_no_events_none_is_reused(self) -> None:
        assert count_reused_ids(sessionize(events(event_id=[])).events) == 0


class TestVisitId:
    """A digest of visitor, first event's time and id."""

    def test_it_is_the_same_in_every_version(self) -> None:
        visits = sessionize(events("9:00", "9:10", event_id=["x", "y"])).visits
        assert visits["visit_id"].to_list() == ["79e963b42ef0331269ec5b358455251a"]

    @pytest.mark.parametrize(
        "other",
        [
            events("9:00", visitor="bob", event_id="x"),
            events("9:00:00.000001", event_id="x"),
            events("9:00", event_id="y"),
            events("9:00", visitor="annx", event_id=""),
            events("9:00", visitor="an", event_id="nx"),
        ],
        ids=[
            "of visitor",
            "of time",
            "of event",
            "the visitor ends in the id",
            "the id begins with the visitor",
        ],
    )
    def test_it_differs_with_what_it_is_a_digest(self, other: pl.DataFrame) -> None:
        one = sessionize(events("9:00", event_id="x")).visits["visit_id"]
        assert (one != sessionize(other).visits["visit_id"]).all()

    def test_it_does_not_differ_with_anything_else(self) -> None:
        one = events("9:00", event_id="x", url="/", source="a")
        other = events("9:00", "9:05", event_id=["x", "y"], source="b")
        assert sessionize(one).visits["visit_id"].equals(sessionize(other).visits["visit_id"])

    def test_visits_are_numbered_from_batch_to_batch_without_a_gap(self) -> None:
        pipeline = Pipeline().read(events("9:00", "10:00")).read(events("11:00", "12:00")).flush()
        assert sorted(pipeline.ended["visit_number"]) == [0, 1, 2, 3]
