"""Late events: those behind the watermark when they arrived, set aside with how late they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import TIME
from m2cli.visits.check import check_events

if TYPE_CHECKING:
    from m2cli.visits.rules import VisitRule
    from m2cli.visits.watermarks import Watermark


class SplitLate(NamedTuple):
    """What `split_late` parts its arrivals into."""

    on_time: pl.DataFrame
    late: pl.DataFrame
    partitions: pl.DataFrame


def split_late(arrivals: pl.DataFrame, partitions: pl.DataFrame, W: Watermark, rule: VisitRule) -> SplitLate:
    """Part `arrivals` into the events on time and the late ones (DESIGN 4.4 and 4.5).

    Reads `source`, `event_time` and, where there is one, `arrival_time`; the rows of each source
    stand in the order in which they arrived. `partitions` has a row for each of these sources
    (PARTITION_SCHEMA, as `plan_partitions` makes it); W is the one that the batch was planned with.

    `late` gains `late_reason` (late, after_flush, after_idle or new_partition: the first that holds)
    and `late_by` (Duration in µs: how far behind the larger of W and its own partition's watermark).
    `partitions` comes back with `watermark` and `latest_event_time` moved on by all arrivals.

    Raises `UsageError` for a source or time that is null, and for columns of other types.
    """
    check_events(arrivals, ("source", "event_time"))
    marks = _watermarks(arrivals, partitions, rule)
    before = marks["before"][partitions.height :]
    judged = arrivals.select("source", "event_time").with_columns(
        limit=pl.max_horizontal(before, pl.lit(W.time, TIME)), own=before
    )
    is_late = judged.select((pl.col("event_time") < pl.col("limit")).fill_null(value=False)).to_series()
    explained = judged.filter(is_late).pipe(_explain, partitions, W)
    late = arrivals.filter(is_late).with_columns(explained.get_columns())
    on_time = arrivals.filter(~is_late) if late.height else arrivals
    return SplitLate(on_time, late, _move_on(partitions, marks))


def _watermarks(arrivals: pl.DataFrame, partitions: pl.DataFrame, rule: VisitRule) -> pl.DataFrame:
    """A row for each partition, then one for each arrival: `before` is the watermark that it met."""
    seen = pl.col("event_time")
    if "arrival_time" in arrivals.columns:
        seen = pl.min_horizontal("event_time", "arrival_time")
    carried = partitions.select("source", mark="watermark", event_time="latest_event_time")
    arriving = arrivals.select("source", seen.alias("mark") - rule.max_out_of_orderness, "event_time")
    return pl.concat([carried, arriving]).with_columns(
        before=pl.col("mark").cum_max().forward_fill().shift(1).over("source")
    )


def _explain(judged: pl.DataFrame, partitions: pl.DataFrame, W: Watermark) -> pl.DataFrame:
    """`late_reason` and `late_by` of late events: `source`, `event_time` and the limits that they met."""
    flushed_to = pl.lit(W.flushed_to, TIME)
    joined_as = pl.col("source").replace_strict(partitions["source"], partitions["joined_as"], return_dtype=pl.String)
    reason = (
        pl.when(pl.col("event_time") < pl.col("own"))
        .then(pl.lit("late"))
        .when(pl.col("event_time") < flushed_to)
        .then(pl.lit("after_flush"))
        .otherwise(joined_as)
    )
    return judged.select(late_reason=reason, late_by=pl.col("limit") - pl.col("event_time"))


def _move_on(partitions: pl.DataFrame, marks: pl.DataFrame) -> pl.DataFrame:
    reached = marks.group_by("source").agg(watermark=pl.col("mark").max(), latest_event_time=pl.col("event_time").max())
    return (
        partitions.drop("watermark", "latest_event_time")
        .join(reached, on="source", how="left", maintain_order="left")
        .select(partitions.columns)
    )
