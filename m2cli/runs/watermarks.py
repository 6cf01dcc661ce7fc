"""How far a pipeline's watermarks lagged, what was late and by how much, and which bound would have been enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.events import TIME
from m2cli.lake.scan import scan_lake
from m2cli.lake.snapshot import BrokenLakeError
from m2cli.runs.batch.plan import Plan
from m2cli.runs.opened import open_pipelines_ledger

if TYPE_CHECKING:
    from m2cli.pipeline import PipelineRule

_LATE = "late"  # behind its own partition's watermark: what a larger bound would have mended
# Bounds that a person may think of, besides those that the data names.
_ROUND = [timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440)]


@dataclass(frozen=True, kw_only=True)
class PartitionLag:
    """One partition: how far its watermark was behind the plans of the batches, and what came behind it."""

    source: str
    batch_count: int
    """Plans in which it counted and had been read."""
    median_lag: timedelta | None
    most_lag: timedelta | None
    late_count: int
    median_late_by: timedelta | None
    most_late_by: timedelta | None
    enough_for_most: timedelta | None
    """The bound with which 99 of 100 late events would not have been late."""
    enough: timedelta | None
    """And with which none would."""


@dataclass(frozen=True, kw_only=True)
class Lags:
    """All partitions, and how many events would still have been late with larger bounds."""

    bound: timedelta
    """B, as it is."""
    partitions: tuple[PartitionLag, ...]
    late_reasons: dict[str, int]
    left_with: tuple[tuple[timedelta, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it, durations in seconds."""
        found = asdict(self)
        return {
            "bound": self.bound.total_seconds(),
            "partitions": [
                {name: _to_json(value) for name, value in partition.items()} for partition in found["partitions"]
            ],
            "late_reasons": self.late_reasons,
            "left_with": [[bound.total_seconds(), count] for bound, count in self.left_with],
        }


def read_lags(pipeline: PipelineRule, day: date | None) -> Lags:
    """The lags of the batches that were planned on `day` (UTC), and of the events of that day that were late.

    Raises `UnreadableSourceError` before the first run.
    """
    with open_pipelines_ledger(pipeline) as ledger:
        batches = ledger.list_batches(kinds=["run"])
    plans = [(batch.plan_time, Plan.from_json(batch.plan)) for batch in batches if _is_of(batch.plan_time, day)]
    bound = plans[-1][1].visit.max_out_of_orderness if plans else pipeline.visit.max_out_of_orderness
    frames = [plan.partitions.with_columns(plan_time=pl.lit(plan_time, TIME)) for plan_time, plan in plans]
    late = _read_late(pipeline, day)
    own = late.filter(pl.col("late_reason") == _LATE)
    lags = _measure_lags(frames).join(_measure_late(own), on="source", how="full", coalesce=True).sort("source")
    partitions = tuple(
        PartitionLag(
            **row,
            enough_for_most=None if most is None else bound + most,
            enough=None if row["most_late_by"] is None else bound + row["most_late_by"],
        )
        for row in lags.with_columns(pl.col("batch_count", "late_count").fill_null(0)).iter_rows(named=True)
        for most in [row.pop("most_of_late_by")]
    )
    return Lags(
        bound=bound,
        partitions=partitions,
        late_reasons=dict(sorted(late["late_reason"].value_counts().iter_rows())),
        left_with=tuple(_count_left(own["late_by"], bound)),
    )


def _measure_lags(frames: list[pl.DataFrame]) -> pl.DataFrame:
    if not frames:
        span = pl.Duration("us")
        columns: dict[str, pl.DataType | type[pl.DataType]] = {"source": pl.String, "batch_count": pl.UInt32}
        return pl.DataFrame(schema=columns | {"median_lag": span, "most_lag": span})
    counted = pl.concat(frames).filter(pl.col("is_active"), pl.col("watermark").is_not_null())
    lag = pl.col("plan_time") - pl.col("watermark")
    return counted.group_by("source").agg(batch_count=pl.len(), median_lag=lag.median(), most_lag=lag.max())


def _measure_late(own: pl.DataFrame) -> pl.DataFrame:
    late_by = pl.col("late_by")
    return own.group_by("source").agg(
        late_count=pl.len(),
        median_late_by=late_by.median(),
        most_late_by=late_by.max(),
        most_of_late_by=late_by.quantile(0.99, "higher"),
    )


def _count_left(late_by: pl.Series, bound: timedelta) -> list[tuple[timedelta, int]]:
    """How many would still be late with larger bounds, up to the first that leaves none."""
    if late_by.is_empty():
        return []
    enough: timedelta = bound + late_by.max()  # type: ignore[operator,assignment]  # a duration's max is one
    bounds = [bound, *(each for each in _ROUND if bound < each < enough), enough]
    return [(each, int((late_by > each - bound).sum())) for each in bounds]


def _read_late(pipeline: PipelineRule, day: date | None) -> pl.DataFrame:
    rows = scan_lake(pipeline.lake).late.select("source", "event_time", "late_reason", "late_by")
    if day:
        start = datetime.combine(day, time(), UTC)
        rows = rows.filter(pl.col("event_time").is_between(start, start + timedelta(days=1), closed="left"))
    try:
        return rows.collect()
    except (OSError, pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
        raise BrokenLakeError(pipeline.lake, error) from error


def _is_of(moment: datetime, day: date | None) -> bool:
    return day is None or moment.astimezone(UTC).date() == day


def _to_json(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value
