"""The kernel and its plain-loop twin say the same, batch by batch, under the same plans."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from tests.properties.worlds import (
    Said,
    assert_kernel_agrees,
    hear_bounded,
    make_plans,
    make_world,
    planned_worlds,
    some,
)
from tests.twins import visits_twin as twin

if TYPE_CHECKING:
    from tests.properties.worlds import Plan, World


@some(0.2)
@given(planned_worlds())
def test_kernel_and_twin_agree_after_every_batch_of_any_plans(planned: tuple[World, list[Plan]]) -> None:
    assert_kernel_agrees(*planned)


def check_crowd(seed: int) -> None:
    choose = random.Random(seed).choice
    world = make_world(120, choose, visitors=tuple("aaaaabbbcdefgh"))
    plans = make_plans(len(world.arrivals), world.rule, choose, sizes=(8, 16, 24, 0))
    assert_kernel_agrees(world, plans)


@pytest.mark.parametrize("seed", range(8))
def test_kernel_and_twin_agree_about_many_events(seed: int) -> None:
    check_crowd(seed)


@pytest.mark.soak
def test_kernel_and_twin_agree_about_thousands_of_crowds() -> None:
    for seed in range(8, 1_000):
        check_crowd(seed)


@some(0.4)
@given(planned_worlds(most=14))
def test_bounded_run_and_twin_agree(planned: tuple[World, list[Plan]]) -> None:
    world, _ = planned
    heard = Said()
    tagged, ended, duplicates = twin.sessionize(world.arrivals, world.rule)
    heard.hear(tagged, ended)
    heard.set_aside(duplicates, ())
    said, _ = hear_bounded(world.arrivals, world.rule)
    assert said == heard
