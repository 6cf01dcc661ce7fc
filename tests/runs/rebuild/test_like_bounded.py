"""The property that says it all: late events merged, a lake is the one of a bounded run of the same input."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines_runs.shop import Shop, line
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
