"""Batch invariance (DESIGN 4.7): neither cuts nor the order of arrival within the bound change anything."""

from __future__ import annotations

from hypothesis import given

from tests.properties.worlds import (
    Plan,
    World,
    cut_worlds,
    hear_bounded,
    planned_worlds,
    punctual_worlds,
    run_kernel,
    some,
)


def whole(world: World, *, is_flush: bool = False) -> list[Plan]:
    """All arrivals as one batch."""
    return [Plan((0, len(world.arrivals)), 0, is_flush)]


def flush(world: World) -> Plan:
    return Plan((len(world.arrivals),), 0, is_flush=True)


@some(0.2)
@given(cut_worlds())
def test_any_cut_says_what_one_batch_says(cut: tuple[World, list[Plan]]) -> None:
    world, plans = cut
    assert run_kernel(world, plans).said == run_kernel(world, whole(world)).said


@some(0.08)
@given(cut_worlds(most=6))
def test_one_batch_per_event_and_a_flush_says_what_one_batch_that_flushes_says(
    cut: tuple[World, list[Plan]],
) -> None:
    world, _ = cut
    each = [Plan((row, row + 1), 0) for row in range(len(world.arrivals))]
    assert run_kernel(world, [*each, flush(world)]).said == run_kernel(world, whole(world, is_flush=True)).said


@some(0.1)
@given(planned_worlds())
def test_slices_of_a_batch_say_what_the_whole_batch_says(planned: tuple[World, list[Plan]]) -> None:
    world, plans = planned
    unsliced = [plan._replace(bounds=(plan.bounds[0], plan.bounds[-1])) for plan in plans]
    assert run_kernel(world, plans).said == run_kernel(world, unsliced).said


@some(0.13)
@given(punctual_worlds())
def test_order_of_arrival_within_the_bound_does_not_matter(worlds: tuple[World, list[Plan], World]) -> None:
    world, plans, other = worlds
    one = run_kernel(world, [*plans, flush(world)]).said
    assert not one.late
    assert one == run_kernel(other, whole(other, is_flush=True)).said


@some(0.13)
@given(punctual_worlds())
def test_bounded_run_in_any_order_of_rows_equals_batches_of_which_nothing_is_late(
    worlds: tuple[World, list[Plan], World],
) -> None:
    world, plans, other = worlds
    kernel = run_kernel(world, [*plans, flush(world)])
    for facts in kernel.said.visits.values():
        facts["end_reason"] = facts["end_reason"].replace("flush", "end_of_input")
    said, names = hear_bounded(other.arrivals, other.rule)
    assert kernel.names == names
    assert kernel.said == said
