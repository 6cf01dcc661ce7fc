"""The property that says it all: late events merged, a lake is the one of a bounded run of the same input."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2cli.lake import scan_lake
from tests.pipelines_runs.shop import MINUTE, Shop, line
from tests.runs.rebuild.rebuilding import (
    assert_conserved,
    assert_like_bounded,
    assert_whole,
    event_row,
    finish,
    list_ids,
    rebuild,
)

LOGS = ("access.log", "other.log")
STEPS = (0, 0, 1, 60, 299, 1800, 1801, 5400, 7200, 7201)
BEHIND = (0, 0, 0, 0, 300, 301, 1800, 2100, 2101, 7200, 9000)


class Arrival(NamedTuple):
    """An event of a log, or of an event file, so many seconds behind the clock that has gone on so many."""

    step: int
    behind: int
    place: str
    visitor: int
    name: str


class Moment(NamedTuple):
    """What arrives, and what is done then."""

    arrivals: list[Arrival]
    is_flush: bool
    is_rebuilt: bool


arrivals = st.builds(
    Arrival,
    st.sampled_from(STEPS),
    st.sampled_from(BEHIND),
    st.sampled_from((*LOGS, "events")),
    st.sampled_from((1, 1, 1, 2, 7)),
    st.sampled_from(("x", "y", "", "", "")),
)
moments = st.builds(
    Moment,
    st.lists(arrivals, max_size=6),
    st.sampled_from((False, False, False, True)),
    st.sampled_from((False, False, False, True)),
)


class World:
    """A shop in which a list of moments happens."""

    def __init__(self, folder: Path) -> None:
        self.shop = Shop(folder)
        self.shop.settle(sources=(self.shop.log_source("*.log"), self.shop.events_source()))
        self.clock = self.shop.now
        self._count = 0

    def live(self, moment: Moment) -> None:
        rows: defaultdict[str, list[Any]] = defaultdict(list)
        for arrival in moment.arrivals:
            self._count += 1
            self.clock += timedelta(seconds=arrival.step)
            time, name = self.clock - timedelta(seconds=arrival.behind), f"{self._count}"
            if arrival.place == "events":
                rows["events"].append(event_row(time, arrival.visitor, arrival.name or name))
            else:
                url, referrer = f"/{self._count % 3}", f"https://shop.example/{self._count % 2}"
                rows[arrival.place].append(line(time, arrival.visitor, url, referrer))
        self.shop.now = max(self.shop.now, self.clock)
        for name in LOGS:
            if rows[name]:
                self.shop.log(*rows[name], name=name)
        if rows["events"]:
            self.shop.drop_events(f"{self._count:03}", rows["events"])
        self.shop.pass_time(2)
        self.clock = max(self.clock, self.shop.now)
        self.shop.run(is_flush=moment.is_flush)
        assert_conserved(self.shop)
        if moment.is_rebuilt and self.shop.batches()[-1].facts["W"]:
            rebuild(self.shop, with_late=True)


def live_through(all_moments: list[Moment]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="m2-rebuilt-"))
    try:
        world = World(folder)
        for moment in all_moments:
            world.live(moment)
        finish(world.shop)
        rebuild(world.shop, with_late=True)
        assert_like_bounded(world.shop)
        assert_whole(world.shop)
    finally:
        shutil.rmtree(folder)


@given(st.lists(moments, min_size=1, max_size=4))
@settings(max_examples=8)
def test_with_its_late_events_merged_a_lake_is_that_of_a_bounded_run(all_moments: list[Moment]) -> None:
    live_through(all_moments)


@pytest.mark.soak
@given(st.lists(moments, min_size=1, max_size=6))
@settings(max_examples=1_000)
def test_with_its_late_events_merged_any_lake_is_that_of_a_bounded_run(all_moments: list[Moment]) -> None:
    live_through(all_moments)


def test_events_whose_chain_is_open_stay_late_until_it_is_over(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.pass_time(30)
    shop.log(line(shop.now - timedelta(minutes=25), 1, "/1"), line(shop.now, 1, "/2"))
    shop.run()
    shop.log(line(shop.now - timedelta(minutes=20), 1, "/late"))
    shop.run()
    assert list_ids(shop, "late")
    facts = rebuild(shop, with_late=True)
    assert (facts.merged_count, facts.waiting_count, facts.has_changes) == (0, 1, False)
    shop.run(is_flush=True)
    facts = rebuild(shop, with_late=True)
    assert (facts.merged_count, facts.waiting_count, facts.visits_before, facts.visits_after) == (1, 0, 1, 1)
    assert_like_bounded(shop)
    assert_whole(shop)


def test_a_chain_that_what_comes_may_continue_waits(tmp_path: Path) -> None:
    """A flush has ended a visit at its longest; an event within the silence will name it as the one it continues."""
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("*.log"),))
    start = shop.now
    shop.pass_time(121)
    shop.log(*(line(start + minute * MINUTE, 1) for minute in range(0, 121, 20)))
    shop.run(is_flush=True)
    shop.log(line(start - 10 * MINUTE, 1, "/late"))
    shop.run()
    facts = rebuild(shop, with_late=True)
    assert (facts.merged_count, facts.waiting_count) == (0, 1)
    shop.pass_time(15)
    shop.log(line(shop.now, 1, "/next"))
    finish(shop)
    visits = scan_lake(shop.lake).visits.sort("start_time").collect()
    assert visits["continues_visit_id"].to_list() == [None, visits["visit_id"][0], None]
    assert rebuild(shop, with_late=True).merged_count == 1
    assert_like_bounded(shop)
    assert_whole(shop)


def test_what_is_open_is_left_though_it_would_be_over_by_a_new_limit(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("*.log"),))
    shop.pass_time(60)
    shop.log(line(shop.now - 25 * MINUTE, 1, "/open"), line(shop.now, 2))
    shop.run()
    shop.log(line(shop.now - 20 * MINUTE, 1, "/late"))
    shop.run()
    shop.settle(visit=replace(shop.rule.visit, inactivity=6 * MINUTE))
    facts = rebuild(shop, with_late=True)
    assert (facts.merged_count, facts.waiting_count) == (0, 1)
    finish(shop)
    rebuild(shop, with_late=True)
    assert_like_bounded(shop)


def test_an_id_that_is_used_twice_in_a_visit_is_counted_once_however_often_it_is_cut(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("*.log"), shop.events_source()))
    shop.pass_time(60)
    shop.drop_events("one", [event_row(shop.now - 30 * MINUTE, 1, "x"), event_row(shop.now - 20 * MINUTE, 1, "x")])
    shop.pass_time(2)
    shop.run()
    finish(shop)
    shop.log(line(shop.now - 24 * 60 * MINUTE - 27 * MINUTE, 1, "/late"), name="late.log")
    shop.run()
    assert rebuild(shop, with_late=True).visits_before == 1
    assert_like_bounded(shop)
