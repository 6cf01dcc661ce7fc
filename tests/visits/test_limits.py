"""Inactivity and maximum duration (DESIGN 4.2, 4.3)."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from m2cli.errors import UsageError
from m2cli.visits import VisitRule, sessionize
from tests.visits.small import PUNCTUAL, US, Pipeline, at, events


def counts(*times: str, rule: VisitRule | None = None) -> list[int]:
    """Events in each visit of one visitor."""
    return sessionize(events(*times), rule).visits["event_count"].to_list()


def test_exactly_thirty_minutes_is_the_same_visit() -> None:
    assert counts("9:00", "9:30") == [2]


def test_one_microsecond_more_than_thirty_minutes_is_the_next_visit() -> None:
    assert counts("9:00", "9:30:00.000001") == [1, 1]


def test_inactivity_is_counted_from_the_last_event_and_not_from_the_first() -> None:
    assert counts("9:00", "9:30", "10:00", "10:30") == [4]


def test_silence_of_one_visitor_is_not_broken_by_another() -> None:
    both = pl.concat([events("9:00", "9:31"), events("9:15", visitor="bob")])
    assert sessionize(both).visits.sort("visitor_id", "start_time")["event_count"].to_list() == [1, 1, 1]


TWELVE_HOURS = [f"{minutes // 60}:{minutes % 60:02}" for minutes in range(0, 721, 30)]


def test_exactly_twelve_hours_after_the_first_event_is_the_same_visit() -> None:
    assert counts(*TWELVE_HOURS) == [25]


def test_one_microsecond_beyond_twelve_hours_is_the_next_visit() -> None:
    assert counts(*TWELVE_HOURS, "12:00:00.000001") == [25, 1]


def test_maximum_duration_is_counted_from_each_visits_own_first_event_and_never_on_a_grid() -> None:
    rule = VisitRule(max_duration=timedelta(hours=1))
    times = ["0:10", "0:40", "1:10", "1:11", "1:41", "2:11", "2:12"]
    visits = sessionize(events(*times), rule).visits
    assert visits["start_time"].to_list() == [at("0:10"), at("1:11"), at("2:12")]
    assert visits["event_count"].to_list() == [3, 3, 1]


def test_a_visit_cut_by_the_maximum_duration_is_continued_by_the_next_one() -> None:
    visits = sessionize(events(*TWELVE_HOURS, "12:30", "13:01")).visits
    assert visits["continues_visit_id"].to_list() == [None, visits["visit_id"][0], None]


def test_a_chain_of_cuts_is_continued_link_by_link() -> None:
    rule = VisitRule(max_duration=timedelta(minutes=1), inactivity=timedelta(minutes=30))
    visits = sessionize(events("9:00", "9:02", "9:04", "9:34", "10:04:00.000001"), rule).visits
    ids = visits["visit_id"].to_list()
    assert visits["continues_visit_id"].to_list() == [None, ids[0], ids[1], ids[2], None]


class TestRememberedEnds:
    """A visit that `max_duration` closed is remembered until its silence is over."""

    rule = VisitRule(max_duration=timedelta(hours=1), max_out_of_orderness=timedelta(0))

    def closed(self) -> Pipeline:
        """Ann's visit from 9:00 to 9:50 closed by the maximum duration, its silence not over until 10:20."""
        ann = events("9:00", "9:25", "9:50")
        pipeline = Pipeline(self.rule).read(ann).read(events("10:00:00.000001", visitor="bob"))
        assert pipeline.ended["visitor_id"].to_list() == ["ann"]
        return pipeline

    def test_its_end_is_remembered(self) -> None:
        assert self.closed().carried.state.ends["end_time"].to_list() == [at("9:50")]

    def test_an_event_exactly_inactivity_after_it_continues_it(self) -> None:
        pipeline = self.closed().read(events("10:20")).flush()
        first, _, last = pipeline.ended.sort("visitor_id", "start_time").select("visit_id").to_series()[[0, 2, 1]]
        ann = pipeline.ended.filter(visitor_id="ann")
        assert ann["continues_visit_id"].to_list() == [None, first]
        assert last != first

    def test_an_event_one_microsecond_later_does_not(self) -> None:
        ann = self.closed().read(events("10:20:00.000001")).flush().ended.filter(visitor_id="ann")
        assert ann["continues_visit_id"].to_list() == [None, None]

    def test_nor_does_it_where_the_batch_that_brings_it_forgets_the_end(self) -> None:
        pipeline = self.closed().read(events("10:20:00.000001").vstack(events("11:00", visitor="bob")))
        ann = pipeline.flush().ended.filter(visitor_id="ann")
        assert ann["continues_visit_id"].to_list() == [None, None]

    def test_of_two_visits_that_follow_it_closely_the_second_continues_the_first(self) -> None:
        rule = VisitRule(max_duration=timedelta(minutes=1), max_out_of_orderness=timedelta(0))
        pipeline = Pipeline(rule).read(events("9:00")).read(events("9:02", visitor="bob"))
        assert pipeline.carried.state.ends["visitor_id"].to_list() == ["ann"]
        both = events("9:05", "9:10").vstack(events("10:00", visitor="bob"))
        ann = pipeline.read(both).flush().ended.filter(visitor_id="ann").sort("start_time")
        assert ann["continues_visit_id"].to_list() == [None, *ann["visit_id"][:2]]

    def test_it_is_remembered_while_w_is_exactly_its_last_event_plus_inactivity(self) -> None:
        pipeline = self.closed().read(events("10:20", visitor="bob"))
        assert at("10:20") == pipeline.W
        assert pipeline.carried.state.ends.height == 1
        ann = pipeline.read(events("10:20")).flush().ended.filter(visitor_id="ann")
        assert ann["continues_visit_id"].to_list() == [None, ann["visit_id"][0]]

    def test_it_is_remembered_where_its_two_limits_are_one_microsecond_apart(self) -> None:
        pipeline = Pipeline(self.rule).read(events("9:00", "9:30", "9:30:00.000001"))
        pipeline.read(events("10:00:00.000001", visitor="bob"))
        assert pipeline.ended["visitor_id"].to_list() == ["ann"]
        ann = pipeline.read(events("10:00:00.000001")).flush().ended.filter(visitor_id="ann")
        assert ann["continues_visit_id"].to_list() == [None, ann["visit_id"][0]]

    def test_it_is_forgotten_once_w_is_past_its_last_event_plus_inactivity(self) -> None:
        pipeline = self.closed().read(events("10:20:00.000001", visitor="bob"))
        assert pipeline.carried.state.ends.filter(visitor_id="ann").is_empty()

    def test_the_batch_that_forgets_an_end_links_to_it_first(self) -> None:
        pipeline = self.closed().read(events("10:20").vstack(events("11:00", visitor="bob")))
        ann = pipeline.flush().ended.filter(visitor_id="ann")
        assert ann["continues_visit_id"].to_list() == [None, ann["visit_id"][0]]

    def test_the_row_of_an_open_visit_carries_its_link(self) -> None:
        pipeline = self.closed().read(events("10:10")).read(events("10:20:00.000001", visitor="bob"))
        opened = pipeline.carried.state.open_visits.filter(visitor_id="ann")
        first = pipeline.ended.filter(visitor_id="ann")["visit_id"][0]
        assert opened["continues_visit_id"].to_list() == [first]
        assert pipeline.carried.state.ends.filter(visitor_id="ann").is_empty()
        assert pipeline.flush().ended.filter(visitor_id="ann")["continues_visit_id"].to_list() == [
            None,
            first,
        ]

    def test_a_visit_that_ends_by_inactivity_is_not_remembered(self) -> None:
        pipeline = Pipeline(self.rule).read(events("9:00", "9:30")).read(events("11:00", visitor="bob"))
        assert pipeline.ended.height == 1
        assert pipeline.carried.state.ends.is_empty()

    def test_a_visit_that_a_flush_closes_is_remembered_too(self) -> None:
        pipeline = Pipeline(self.rule).read(events("9:00", "9:25", "9:50")).flush()
        assert at("10:00:00.000001") == pipeline.W
        assert pipeline.ended["end_reason"].to_list() == ["flush"]
        ended = pipeline.read(events("10:20")).flush().ended
        assert ended["continues_visit_id"].to_list() == [None, ended["visit_id"][0]]


@pytest.mark.parametrize("name", ["inactivity", "max_duration", "idle_after"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}`"):
        VisitRule(**{name: timedelta(0)})


def test_a_limit_of_one_microsecond_is_a_limit() -> None:
    rule = VisitRule(inactivity=US, max_duration=US, max_out_of_orderness=timedelta(0), idle_after=US)
    times = ["9:00", "9:00:00.000001", "9:00:00.000002", "9:00:00.000004"]
    assert counts(*times, rule=rule) == [2, 1, 1]


def test_no_out_of_orderness_at_all_is_a_rule() -> None:
    assert PUNCTUAL.max_out_of_orderness == timedelta(0)
    with pytest.raises(UsageError, match="`max_out_of_orderness`"):
        VisitRule(max_out_of_orderness=-US)


def test_limits_go_to_a_hundred_years_and_no_further() -> None:
    century = timedelta(days=36_525)
    assert counts("9:00", "9:31", rule=VisitRule(inactivity=century, max_duration=century)) == [2]
    with pytest.raises(UsageError, match="hundred years"):
        VisitRule(max_duration=century + US)
