"""When a visit closes, when its events are final, and why it ended (DESIGN 4.6, 4.9, 4.10)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from m2cli.visits import VisitRule, VisitState, Watermark, flush_time, sessionize
from tests.visits.small import PUNCTUAL, Pipeline, at, events

HOURLY = VisitRule(max_duration=timedelta(hours=1), max_out_of_orderness=timedelta(0))


class TestClosing:
    """`min(last_event + inactivity, start + max_duration) < W`, strictly."""

    def test_a_visit_is_open_while_w_is_exactly_its_last_event_plus_inactivity(self) -> None:
        pipeline = Pipeline().read(events("9:00")).read(events("9:30", visitor="bob"))
        assert pipeline.ended.is_empty()
        assert pipeline.read(events("9:30")).flush().ended["event_count"].to_list() == [2, 1]

    def test_it_is_closed_one_microsecond_later(self) -> None:
        pipeline = Pipeline().read(events("9:00")).read(events("9:30:00.000001", visitor="bob"))
        assert pipeline.ended["visitor_id"].to_list() == ["ann"]

    def test_a_visit_is_open_while_w_is_exactly_its_start_plus_max_duration(self) -> None:
        ann = events("9:00", "9:25", "9:50")
        assert Pipeline(HOURLY).read(ann).read(events("10:00", visitor="bob")).ended.is_empty()

    def test_it_is_closed_by_the_maximum_duration_one_microsecond_later(self) -> None:
        ann = events("9:00", "9:25", "9:50")
        pipeline = Pipeline(HOURLY).read(ann).read(events("10:00:00.000001", visitor="bob"))
        assert pipeline.ended["visitor_id"].to_list() == ["ann"]

    def test_an_end_is_said_once(self) -> None:
        pipeline = Pipeline().read(events("9:00")).read(events("10:00", visitor="bob")).read().read().flush()
        assert pipeline.ended["visitor_id"].to_list() == ["ann", "bob"]


class TestFinal:
    """An event before W is tagged and leaves; one at W or after it is pending."""

    def test_an_event_at_w_is_pending(self) -> None:
        pipeline = Pipeline().read(events("9:00"))
        assert at("9:00") == pipeline.W
        assert pipeline.carried.state.pending["event_time"].to_list() == [at("9:00")]
        assert pipeline.carried.state.open_visits.is_empty()

    def test_an_event_before_w_is_tagged_though_its_visit_is_open(self) -> None:
        pipeline = Pipeline().read(events("9:00", "9:00:00.000001"))
        assert pipeline.said("tagged")["event_time"].to_list() == [at("9:00")]
        assert pipeline.carried.state.open_visits["event_count"].to_list() == [1]
        assert pipeline.ended.is_empty()

    def test_all_is_pending_while_w_is_minus_infinity(self) -> None:
        pipeline = Pipeline(declared=("log", "other")).read(events("9:00", "10:00", "11:00"))
        assert pipeline.carried.state.pending.height == 3
        assert all(frame.is_empty() for frame in pipeline.frames["tagged"])

    def test_events_of_one_visitor_leave_in_event_time_order(self) -> None:
        rule = VisitRule(max_out_of_orderness=timedelta(minutes=10))
        pipeline = Pipeline(rule).read(events("9:05", "9:00", "9:11")).read(events("9:04", "9:30")).flush()
        minutes = [time.minute for time in pipeline.said("tagged")["event_time"]]
        assert minutes == [0, 4, 5, 11, 30]

    def test_visit_and_event_keep_the_id_they_were_tagged_with(self) -> None:
        pipeline = Pipeline().read(events("9:00", "9:10")).read(events("9:20", "9:30")).flush()
        assert pipeline.said("tagged")["visit_id"].unique().to_list() == pipeline.ended["visit_id"].to_list()


class TestFlush:
    """A flush raises W to 1 µs past the moment at which the last open visit would end."""

    def test_it_closes_what_is_open_and_no_further(self) -> None:
        pipeline = Pipeline().read(events("9:00", "9:10")).flush()
        assert at("9:40:00.000001") == pipeline.W
        assert pipeline.ended["event_count"].to_list() == [2]

    def test_the_nearer_limit_is_what_it_goes_by(self) -> None:
        assert at("10:00:00.000001") == Pipeline(HOURLY).read(events("9:00", "9:25", "9:50")).flush().W

    def test_the_last_of_several_visits_is_what_it_goes_by(self) -> None:
        both = events("9:00", visitor="ann").vstack(events("9:05", visitor="bob"))
        assert at("9:35:00.000001") == Pipeline().read(both).flush().W

    def test_with_nothing_open_it_changes_nothing(self) -> None:
        assert Pipeline().flush().W is None
        pipeline = Pipeline().read(events("9:00")).flush()
        carried = pipeline.carried
        assert pipeline.flush().carried.W == carried.W

    def test_flush_time_of_nothing_is_none(self) -> None:
        assert flush_time(VisitState.empty(), Watermark(), PUNCTUAL) is None

    def test_after_it_nothing_is_carried_but_ends(self) -> None:
        state = Pipeline(HOURLY).read(events("9:00", "9:25", "9:50")).flush().carried.state
        assert state.pending.is_empty()
        assert state.open_visits.is_empty()
        assert state.ends.height == 1

    def test_without_it_the_end_of_input_is_not_the_end_of_time(self) -> None:
        assert Pipeline().read(events("9:00")).read().read().ended.is_empty()


class TestEndReason:
    """The limit that came first; the end of input or a flush only where nothing that was read is later."""

    @pytest.mark.parametrize(
        ("last", "reason"),
        [
            ("9:30", "flush"),
            ("9:30:00.000001", "inactivity"),
        ],
        ids=["an event at that moment is not later than it", "an event 1 µs later is"],
    )
    def test_of_a_flush(self, last: str, reason: str) -> None:
        both = events("9:00").vstack(events(last, visitor="bob"))
        ended = Pipeline(declared=("log", "other")).read(both).flush().ended
        assert ended.filter(visitor_id="ann")["end_reason"].to_list() == [reason]

    @pytest.mark.parametrize(
        ("last", "reason"),
        [("9:30", "end_of_input"), ("9:30:00.000001", "inactivity")],
        ids=["an event at that moment is not later than it", "an event 1 µs later is"],
    )
    def test_of_a_bounded_run(self, last: str, reason: str) -> None:
        visits = sessionize(events("9:00").vstack(events(last, visitor="bob"))).visits
        assert visits.filter(visitor_id="ann")["end_reason"].to_list() == [reason]

    def test_max_duration_is_the_reason_though_no_next_visit_exists(self) -> None:
        both = events("9:00", "9:25", "9:50").vstack(events("23:00", visitor="bob"))
        visits = sessionize(both, HOURLY).visits
        assert visits.filter(visitor_id="ann")["end_reason"].to_list() == ["max_duration"]

    def test_the_limit_that_came_first_by_one_microsecond_is_the_reason(self) -> None:
        both = events("9:00", "9:15", "9:30:00.000001").vstack(events("23:00", visitor="bob"))
        visits = sessionize(both, HOURLY).visits
        assert visits.filter(visitor_id="ann")["end_reason"].to_list() == ["max_duration"]

    def test_where_both_limits_fall_together_it_is_inactivity(self) -> None:
        both = events("9:00", "9:30").vstack(events("23:00", visitor="bob"))
        visits = sessionize(both, HOURLY).visits
        assert visits.filter(visitor_id="ann")["end_reason"].to_list() == ["inactivity"]

    def test_an_event_in_any_partition_is_one_that_was_read(self) -> None:
        both = events("9:00").vstack(events("12:00", visitor="bob", source="other"))
        ended = Pipeline(declared=("log", "other", "third")).read(both).flush().ended
        assert ended["end_reason"].to_list() == ["inactivity", "flush"]
