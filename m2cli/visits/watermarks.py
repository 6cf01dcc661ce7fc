"""How far time has come: the watermark of each partition, which of them count, and W over all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import TIME

if TYPE_CHECKING:
    from collections.abc import Collection

    from m2cli.visits.rules import VisitRule

END_OF_TIME = datetime.max.replace(tzinfo=UTC)

PARTITION_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "source": pl.String,  # which partition
    "watermark": TIME,  # nothing older is expected there; null: nothing read yet, so minus infinity
    "latest_event_time": TIME,  # the largest event time read there
    "last_input_time": TIME,  # when a plan last found something new there, or declared it
    "is_active": pl.Boolean,  # whether it counts for W in this plan
    "joined_as": pl.String,  # how it may come to be behind W: new_partition, after_idle
}


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """W: every event before it has been seen (DESIGN 4.6). Never goes back.

    `time` and the others are None for minus infinity: nothing read, nothing flushed.
    """

    time: datetime | None = None
    latest_event_time: datetime | None = None
    """The largest event time read so far in any partition; `end_reason` needs it (DESIGN 4.10)."""
    flushed_to: datetime | None = None
    """W as the last flush left it: what comes from before it is late, `after_flush`."""

    @classmethod
    def end_of_input(cls, latest_event_time: datetime | None) -> Watermark:
        """W of a bounded run after its last event: everything closes."""
        return cls(time=END_OF_TIME, latest_event_time=latest_event_time)

    @property
    def is_end_of_input(self) -> bool:
        """Whether this is the end of a bounded run."""
        return self.time == END_OF_TIME

    def advance(self, partitions: pl.DataFrame) -> Watermark:
        """W after the partitions have been read this far (DESIGN 4.6).

        The larger of this W and the smallest watermark over the active partitions; a partition of
        which nothing has been read holds W where it is, and so does it if none is active.
        """
        active = partitions.filter("is_active")["watermark"]
        smallest = None if active.null_count() else active.min()
        latest = partitions["latest_event_time"].max()
        return replace(
            self,
            time=later_of(self.time, smallest),  # type: ignore[arg-type]  # a TIME column's min is a datetime
            latest_event_time=later_of(self.latest_event_time, latest),  # type: ignore[arg-type]  # and so is its max
        )

    def flush(self, to: datetime) -> Watermark:
        """W raised to `to`, if that is further, by a flush."""
        time = later_of(self.time, to)
        return replace(self, time=time, flushed_to=time)


def later_of(one: datetime | None, other: datetime | None) -> datetime | None:
    """The later of two times, where None is before all others."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def no_partitions() -> pl.DataFrame:
    """The state of the partitions before anything is known of any (PARTITION_SCHEMA)."""
    return pl.DataFrame(schema=PARTITION_SCHEMA)


def declare_partitions(partitions: pl.DataFrame, sources: Collection[str], now: datetime) -> pl.DataFrame:
    """`partitions` with those of `sources` that are not in it, at watermark minus infinity.

    A declared partition holds W back from the first plan on, until it is idle (DESIGN 4.6).
    """
    return _with_new(partitions, sources, now)


def plan_partitions(
    partitions: pl.DataFrame,
    with_input: Collection[str],
    now: datetime,
    rule: VisitRule,
    *,
    unread: Collection[str] = (),
) -> pl.DataFrame:
    """Which partitions are active in a batch that is planned at `now` (DESIGN 4.6).

    Active is one with input in this plan, one with input that the plan leaves `unread`, and one
    whose last input is less than `idle_after` ago, unless it was idle before: a clock that is put back
    wakes none. One that is not may find W ahead of it when it
    returns, so `joined_as` says so from here on, however it becomes active again. The plan keeps
    what this returns, so that a retry decides the same. Columns as in PARTITION_SCHEMA.
    """
    has_input = pl.col("source").is_in(list(with_input))
    has_unread = pl.col("source").is_in(list(unread))
    last_input_time = pl.min_horizontal("last_input_time", pl.lit(now, dtype=TIME))
    is_recent = pl.col("is_active") & (pl.lit(now) - last_input_time < rule.idle_after)
    is_active = has_input | has_unread | is_recent
    planned = partitions.with_columns(
        joined_as=pl.when(is_active).then("joined_as").otherwise(pl.lit("after_idle")),
        is_active=is_active,
        # A clock that was ahead for one plan must not make a partition recent for years.
        last_input_time=pl.when(has_input).then(pl.lit(now, dtype=TIME)).otherwise(last_input_time),
    )
    return _with_new(planned, {*with_input, *unread}, now)


def _with_new(partitions: pl.DataFrame, sources: Collection[str], now: datetime) -> pl.DataFrame:
    known = set(partitions["source"])
    new = pl.DataFrame({"source": sorted(set(sources) - known)}, schema={"source": pl.String}).select(
        "source",
        pl.lit(None, TIME).alias("watermark"),
        pl.lit(None, TIME).alias("latest_event_time"),
        pl.lit(now, TIME).alias("last_input_time"),
        pl.lit(value=True).alias("is_active"),
        pl.lit("new_partition").alias("joined_as"),
    )
    return pl.concat([partitions, new])
