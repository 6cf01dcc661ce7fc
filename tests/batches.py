"""Batches run through the kernel as a pipeline runs them: plan, split, assign, flush (DESIGN 4.6, 5.6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.visits import (
    VisitRule,
    VisitState,
    Watermark,
    assign_visits,
    declare_partitions,
    flush_time,
    no_partitions,
    plan_partitions,
    split_late,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from m2cli.visits import Assigned
    from tests.twins.visits_twin import Event, TwinRule

ROW_SCHEMA = LAKE_EVENT_SCHEMA | {"row": pl.Int64}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_time(microseconds: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return EPOCH + timedelta(microseconds=microseconds)


def to_rule(rule: TwinRule) -> VisitRule:
    """The twin's rule as the kernel has it."""
    return VisitRule(
        inactivity=timedelta(microseconds=rule.inactivity),
        max_duration=timedelta(microseconds=rule.max_duration),
        max_out_of_orderness=timedelta(microseconds=rule.B),
        idle_after=timedelta(microseconds=rule.idle_after),
    )


def to_frame(events: Iterable[Event], columns: Iterable[str] = ()) -> pl.DataFrame:
    """The twin's events as a frame with the columns that they, or `columns`, name."""
    events = list(events)
    series = []
    for name in dict.fromkeys([*columns, *(name for event in events for name in event)]):
        dtype = ROW_SCHEMA.get(name, pl.String)
        values = [event.get(name) for event in events]
        is_time = isinstance(dtype, pl.Datetime)
        series.append(pl.Series(name, values, pl.Int64).cast(dtype) if is_time else pl.Series(name, values, dtype))
    return pl.DataFrame(series)


def to_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dicts, its times and durations as ints."""
    return frame.with_columns(pl.col(pl.Datetime, pl.Duration).to_physical()).to_dicts()


class Batch(NamedTuple):
    """The input of one batch, as its plan has it."""

    slices: Sequence[pl.DataFrame]
    """What arrived, one frame or several to be worked on one after the other."""
    now: datetime
    is_flush: bool = False
    unread: Collection[str] = ()


class Carried(NamedTuple):
    """All that one batch leaves to the next."""

    partitions: pl.DataFrame
    W: Watermark
    state: VisitState


class Done(NamedTuple):
    """What one batch said, a frame for each of its steps, and what it left."""

    tagged: list[pl.DataFrame]
    ended: list[pl.DataFrame]
    duplicates: list[pl.DataFrame]
    late: list[pl.DataFrame]
    carried: Carried


def begin(declared: Collection[str] = (), now: datetime | None = None) -> Carried:
    """What is carried into the first batch."""
    partitions = no_partitions()
    if declared:
        assert now is not None
        partitions = declare_partitions(partitions, declared, now)
    return Carried(partitions, Watermark(), VisitState.empty())


def run_batch(batch: Batch, carried: Carried, rule: VisitRule) -> Done:
    """One batch from plan to what is carried on."""
    with_input = {source for piece in batch.slices for source in piece["source"]}
    partitions = plan_partitions(carried.partitions, with_input, batch.now, rule, unread=batch.unread)
    planned, W, state = carried.W, carried.W, carried.state
    steps: list[Assigned] = []
    late = []
    for piece in batch.slices:
        split = split_late(piece, partitions, planned, rule)
        partitions, W = split.partitions, W.advance(split.partitions)
        steps.append(assign_visits(split.on_time, state, W, rule))
        state = steps[-1].state
        late.append(split.late)
    if not batch.slices:
        W = W.advance(partitions)
        steps.append(assign_visits(state.pending.clear(), state, W, rule))
        state = steps[-1].state
    if batch.is_flush and (to := flush_time(state, W, rule)) is not None:
        W = W.flush(to)
        steps.append(assign_visits(state.pending.clear(), state, W, rule))
        state = steps[-1].state
    return Done(
        [step.tagged for step in steps],
        [step.ended for step in steps],
        [step.duplicates for step in steps],
        late,
        Carried(partitions, W, state),
    )


def run_batches(batches: Iterable[Batch], carried: Carried, rule: VisitRule) -> list[Done]:
    """All batches, one after the other."""
    done = []
    for batch in batches:
        done.append(run_batch(batch, carried, rule))
        carried = done[-1].carried
    return done
