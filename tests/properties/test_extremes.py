"""Where the kernel takes another way than usual: long chains, odd rules, keys wider than 64 bits."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.worlds import (
    SOURCES,
    Kernel,
    Plan,
    Said,
    World,
    cut_plans,
    hear_bounded,
    make_world,
    some,
)
from tests.twins import visits_twin as twin
from tests.twins.visits_twin import TwinRule

if TYPE_CHECKING:
    from tests.twins.visits_twin import Event

MINUTE = 60_000_000
FAR = 220_000_000_000_000_000  # in the year 8941


def robots(count: int, steps: int, random: random.Random) -> list[Event]:
    """Visitors that are never silent for long: each visit of theirs ends by the maximum duration."""
    events = []
    for robot in range(count):
        time = 0
        for _ in range(steps):
            is_silent = random.random() < 0.005
            time += 30 * MINUTE + 1 if is_silent else random.choice((MINUTE, 10 * MINUTE, 30 * MINUTE))
            events.append({"row": len(events), "visitor_id": f"robot {robot}", "event_time": time})
    random.shuffle(events)
    return events


def test_a_month_of_robots_is_cut_pass_by_pass_as_the_twin_cuts_it() -> None:
    rule = TwinRule(inactivity=30 * MINUTE, max_duration=720 * MINUTE)
    events = robots(3, 1_500, random.Random(1))
    heard = Said()
    tagged, ended, _ = twin.sessionize(events, rule)
    heard.hear(tagged, ended)
    assert hear_bounded(events, rule)[0] == heard
    assert sum(visit["continues_visit_id"] is not None for visit in ended) > 50


@some(0.3)
@given(
    st.lists(st.integers(0, 40), max_size=30),
    st.sampled_from([1, 2, 5, 50]),
    st.sampled_from([1, 2, 5, 50]),
)
def test_any_two_limits_cut_as_the_twin_cuts(times: list[int], inactivity: int, max_duration: int) -> None:
    rule = TwinRule(inactivity=inactivity, max_duration=max_duration)
    events = [{"row": row, "visitor_id": "a", "event_time": time} for row, time in enumerate(times)]
    heard = Said()
    tagged, ended, _ = twin.sessionize(events, rule)
    heard.hear(tagged, ended)
    assert hear_bounded(events, rule)[0] == heard


def with_far_visitors(world: World, count: int) -> World:
    """The world after `count` visitors of another partition, thousands of years ahead, that stay pending."""
    far = [{"row": 1_000 + n, "visitor_id": f"far {n}", "event_time": FAR + n, "source": "far"} for n in range(count)]
    return world._replace(declared=(*world.declared, "far"), arrivals=[*far, *world.arrivals])


@pytest.mark.parametrize("seed", range(3))
def test_keys_wider_than_64_bits_cut_as_narrow_ones(seed: int) -> None:
    choose = random.Random(seed).choice
    world = make_world(30, choose, declared=SOURCES)
    plans = cut_plans(30, lambda choices: choose(choices) * 3)
    said = []
    for count in (1, 100):  # (3 + 100 visitors) * 2.2e17 µs is beyond 2^63, (3 + 1) is not
        wide = with_far_visitors(world, count)
        moved = [Plan(tuple(bound + count for bound in plan.bounds), plan.now) for plan in plans]
        kernel = Kernel(wide.rule, wide.declared)
        for plan in [Plan((0, count), 0), *moved, Plan((30 + count,), 0, is_flush=True)]:
            kernel.run(wide.batch(plan))
            kernel.check_conservation()
        said.append(without_far(kernel.said))
    assert said[0] == said[1]
    assert said[0].visits


def without_far(said: Said) -> Said:
    return Said(
        {row: visit for row, visit in said.visit_of.items() if row < 1_000},
        {visitor: rows for visitor, rows in said.rows_of.items() if not visitor.startswith("far")},
        {name: visit for name, visit in said.visits.items() if not visit["visitor_id"].startswith("far")},
        said.duplicates,
        said.late,
    )


def test_the_wide_test_reaches_wide_keys() -> None:
    import polars as pl  # only this test looks inside

    from m2cli.visits.order import make_keys
    from tests.batches import to_rule

    rule = to_rule(TwinRule(inactivity=30, max_duration=60))
    for count, dtype in ((4, pl.Int64), (103, pl.Int128)):
        visitors = pl.Series([f"{n}" for n in range(count)])
        keys = make_keys(visitors, pl.Series([0, *[FAR] * (count - 1)]), rule)
        assert keys.key.dtype == dtype
