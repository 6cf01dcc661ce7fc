"""Watermarks, late events and which partitions are active (DESIGN 4.4 to 4.6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from m2cli.visits import VisitRule, Watermark, declare_partitions, no_partitions, plan_partitions, split_late
from tests.visits.small import DAY, PUNCTUAL, RULE, US, Pipeline, at, events

HOUR = timedelta(hours=1)


def late(pipeline: Pipeline) -> list[tuple[datetime, str, timedelta]]:
    """Time, reason and by how much, of all late events so far."""
    return pipeline.said("late").select("event_time", "late_reason", "late_by").rows()


class TestWatermark:
    """`max of min(event_time, arrival_time) - B` over the events of the partition."""

    def test_it_is_b_behind_the_largest_event_time(self) -> None:
        assert at("9:15") == Pipeline(RULE).read(events("9:00", "9:20", "9:16")).W

    def test_an_event_from_the_future_moves_it_no_further_than_its_arrival(self) -> None:
        arrivals = events("9:00", "23:00", arrival_time=[at("9:00"), at("9:10")])
        assert at("9:05") == Pipeline(RULE).read(arrivals).W

    def test_an_arrival_long_after_the_event_does_not_move_it(self) -> None:
        assert at("8:55") == Pipeline(RULE).read(events("9:00", arrival_time=at("23:00"))).W

    def test_without_an_arrival_time_the_event_time_alone_counts(self) -> None:
        assert at("8:55") == Pipeline(RULE).read(events("9:00", arrival_time=[None])).W

    def test_nothing_read_is_minus_infinity(self) -> None:
        assert Pipeline().read().W is None

    def test_it_never_goes_back(self) -> None:
        pipeline = Pipeline().read(events("9:00")).read(events("8:00"))
        assert at("9:00") == pipeline.W
        assert pipeline.carried.partitions["watermark"].to_list() == [at("9:00")]

    def test_latest_event_time_is_that_of_all_events_whenever_they_arrived(self) -> None:
        arrivals = events("9:00", "23:00", "9:01", arrival_time=at("9:00"))
        assert Pipeline().read(arrivals).carried.W.latest_event_time == at("23:00")


class TestLate:
    """An event before the watermark of its partition when it arrived, or before the planned W."""

    def test_exactly_b_behind_is_on_time(self) -> None:
        pipeline = Pipeline(RULE).read(events("9:00", "8:55"))
        assert pipeline.said("late").is_empty()

    def test_one_microsecond_more_is_late_and_says_by_how_much(self) -> None:
        pipeline = Pipeline(RULE).read(events("9:00", "8:54:59.999999"))
        assert late(pipeline) == [(at("8:54:59.999999"), "late", US)]

    def test_an_event_is_judged_by_what_arrived_before_it(self) -> None:
        pipeline = Pipeline().read(events("8:00", "9:00", "8:30", "9:10"))
        assert late(pipeline) == [(at("8:30"), "late", timedelta(minutes=30))]

    def test_another_partition_further_ahead_makes_nothing_late(self) -> None:
        both = pl.concat([events("9:00"), events("8:00", source="other")])
        assert Pipeline(declared=("log", "other")).read(both).said("late").is_empty()

    def test_a_watermark_reached_in_one_batch_counts_in_the_next(self) -> None:
        pipeline = Pipeline().read(events("9:00")).read(events("8:59"))
        assert late(pipeline) == [(at("8:59"), "late", timedelta(minutes=1))]

    def test_before_a_flush_is_after_flush(self) -> None:
        pipeline = Pipeline().read(events("9:00")).flush().read(events("9:30", "9:30:00.000001"))
        assert late(pipeline) == [(at("9:30"), "after_flush", US)]

    def test_what_is_behind_its_own_watermark_too_is_late_and_not_after_flush(self) -> None:
        pipeline = Pipeline().read(events("9:00")).flush().read(events("8:59"))
        assert late(pipeline) == [(at("8:59"), "late", timedelta(minutes=31) + US)]

    def test_what_is_exactly_at_its_own_watermark_is_after_flush(self) -> None:
        pipeline = Pipeline().read(events("9:00")).flush().read(events("9:00"))
        assert late(pipeline) == [(at("9:00"), "after_flush", timedelta(minutes=30) + US)]

    def test_what_is_exactly_where_a_flush_left_w_is_not_after_flush(self) -> None:
        pipeline = Pipeline().read(events("9:00")).flush().read(events("10:00"))
        pipeline.read(events("9:30", "9:30:00.000001", source="other"))
        assert [reason for _, reason, _ in late(pipeline)] == ["after_flush", "new_partition"]

    def test_a_partition_that_comes_new_behind_w_is_late_as_new_partition(self) -> None:
        pipeline = Pipeline().read(events("9:00")).read(events("8:50", source="other"))
        assert late(pipeline) == [(at("8:50"), "new_partition", timedelta(minutes=10))]

    def test_a_partition_that_is_declared_when_w_is_past_it_is_late_as_new_partition(self) -> None:
        pipeline = Pipeline().read(events("9:00"))
        partitions = declare_partitions(pipeline.carried.partitions, ["other"], DAY)
        pipeline.carried = pipeline.carried._replace(partitions=partitions)
        pipeline.read(events("8:50", source="other"))
        assert late(pipeline) == [(at("8:50"), "new_partition", timedelta(minutes=10))]

    def test_a_partition_that_returns_behind_w_is_late_as_after_idle(self) -> None:
        pipeline = Pipeline(declared=("log", "other")).read(events("9:00"), now=DAY)
        pipeline.read(events("9:10"), now=DAY + HOUR).read(events("9:05", source="other"), now=DAY + HOUR)
        assert late(pipeline) == [(at("9:05"), "after_idle", timedelta(minutes=5))]

    def test_a_partition_that_was_idle_and_left_unread_is_late_as_after_idle(self) -> None:
        pipeline = Pipeline(declared=("log", "other")).read(events("9:00"), now=DAY)
        pipeline.read(events("9:10"), now=DAY + HOUR).read(now=DAY + HOUR, unread=("other",))
        pipeline.read(events("9:05", source="other"), now=DAY + HOUR)
        assert late(pipeline) == [(at("9:05"), "after_idle", timedelta(minutes=5))]

    def test_an_idle_partition_is_after_idle_even_where_the_clock_went_back(self) -> None:
        pipeline = Pipeline(declared=("log", "other")).read(events("9:00"), now=DAY)
        pipeline.read(events("9:10"), now=DAY + HOUR).read(now=DAY)
        pipeline.read(events("9:05", source="other"), now=DAY)
        assert late(pipeline) == [(at("9:05"), "after_idle", timedelta(minutes=5))]

    def test_late_by_is_how_far_behind_the_larger_of_the_two_limits(self) -> None:
        pipeline = Pipeline().read(events("9:00")).read(events("8:00", "8:10", "8:05", source="other"))
        assert late(pipeline) == [
            (at("8:00"), "new_partition", HOUR),
            (at("8:10"), "new_partition", timedelta(minutes=50)),
            (at("8:05"), "late", timedelta(minutes=55)),
        ]

    def test_late_events_keep_all_their_columns(self) -> None:
        own = events("9:00", "8:00", limit=["a", "b"], own=["c", "d"], mark=["e", "f"], before=["g", "h"])
        arrived = Pipeline().read(own).said("late")
        assert arrived.columns == [*own.columns, "late_reason", "late_by"]
        assert arrived.select("limit", "own", "mark", "before").row(0) == ("b", "d", "f", "h")
        assert arrived["late_by"].dtype == pl.Duration("us")


def active(partitions: pl.DataFrame) -> dict[str, bool]:
    return dict(partitions.select("source", "is_active").rows())


class TestActive:
    """Which partitions hold W back, decided when the batch is planned."""

    def test_a_declared_partition_holds_w_back_before_its_first_event(self) -> None:
        assert Pipeline(declared=("log", "other")).read(events("9:00")).W is None

    def test_w_is_the_smallest_watermark_of_the_active(self) -> None:
        both = pl.concat([events("9:00"), events("8:00", source="other")])
        assert at("8:00") == Pipeline().read(both).W

    def test_one_microsecond_short_of_idle_after_is_active(self) -> None:
        pipeline = Pipeline(declared=("log", "other")).read(events("9:00"), now=DAY)
        assert pipeline.read(events("9:10"), now=DAY + HOUR - US).W is None

    def test_exactly_idle_after_is_idle(self) -> None:
        pipeline = Pipeline(declared=("log", "other")).read(events("9:00"), now=DAY)
        assert at("9:10") == pipeline.read(events("9:10"), now=DAY + HOUR).W

    def test_unread_input_keeps_a_partition_active(self) -> None:
        pipeline = Pipeline(declared=("log", "other")).read(events("9:00"), now=DAY)
        assert pipeline.read(events("9:10"), now=DAY + HOUR, unread=("other",)).W is None

    def test_a_partition_first_seen_unread_is_active_from_then_on(self) -> None:
        assert Pipeline(declared=()).read(events("9:00"), unread=("other",)).W is None

    def test_a_partition_with_input_is_active_from_the_batchs_start(self) -> None:
        pipeline = Pipeline().read(events("9:00"), events("8:00", source="new"))
        assert at("8:00") == pipeline.W
        assert pipeline.said("late").is_empty()

    def test_with_none_active_w_stays(self) -> None:
        pipeline = Pipeline().read(events("9:00"), now=DAY).read(now=DAY + HOUR)
        assert active(pipeline.carried.partitions) == {"log": False}
        assert at("9:00") == pipeline.W

    def test_an_idle_partitions_watermark_is_kept_for_its_return(self) -> None:
        pipeline = Pipeline().read(events("9:00"), now=DAY).read(now=DAY + HOUR)
        pipeline.read(events("8:59"), now=DAY + HOUR)
        assert late(pipeline) == [(at("8:59"), "late", timedelta(minutes=1))]

    def test_w_does_not_go_back_when_a_partition_returns(self) -> None:
        pipeline = Pipeline(declared=("log", "other")).read(events("9:00"), now=DAY)
        pipeline.read(events("9:10"), now=DAY + HOUR).read(events("8:00", source="other"), now=DAY + HOUR)
        assert at("9:10") == pipeline.W

    def test_declaring_twice_changes_nothing(self) -> None:
        once = declare_partitions(no_partitions(), ["a", "b"], DAY)
        assert declare_partitions(once, ["b", "a"], DAY + HOUR).equals(once)

    def test_planning_the_same_batch_again_decides_the_same(self) -> None:
        partitions = Pipeline(declared=("log", "other")).read(events("9:00")).carried.partitions
        plans = [plan_partitions(partitions, ["log"], DAY + HOUR, PUNCTUAL) for _ in range(2)]
        assert plans[0].equals(plans[1])

    @pytest.mark.parametrize("idle_after", [timedelta(minutes=1), timedelta(days=2)], ids=str)
    def test_idle_after_is_the_rules(self, idle_after: timedelta) -> None:
        rule = VisitRule(idle_after=idle_after)
        declared = declare_partitions(no_partitions(), ["a"], DAY)
        assert active(plan_partitions(declared, [], DAY + idle_after - US, rule)) == {"a": True}
        assert active(plan_partitions(declared, [], DAY + idle_after, rule)) == {"a": False}


def test_no_arrivals_move_nothing() -> None:
    pipeline = Pipeline().read(events("9:00"))
    partitions = pipeline.carried.partitions
    split = split_late(events(), partitions, pipeline.carried.W, PUNCTUAL)
    assert split.partitions.equals(partitions)
    assert split.on_time.is_empty()
    assert split.late.is_empty()


def test_w_is_the_larger_of_the_previous_and_the_partitions() -> None:
    partitions = Pipeline().read(events("9:00")).carried.partitions
    assert Watermark(time=at("8:00")).advance(partitions).time == at("9:00")
    assert Watermark(time=at("10:00")).advance(partitions).time == at("10:00")


def test_a_clock_that_was_ahead_for_one_plan_keeps_no_partition_active_for_years() -> None:
    rule, now = VisitRule(), datetime(2026, 11, 22, tzinfo=UTC)
    ahead = plan_partitions(no_partitions(), ["a", "b"], now + timedelta(days=3650), rule)
    back = plan_partitions(ahead, ["a"], now, rule)
    later = plan_partitions(back, ["a"], now + timedelta(hours=2), rule)
    assert later.select("source", "is_active").rows() == [("a", True), ("b", False)]
