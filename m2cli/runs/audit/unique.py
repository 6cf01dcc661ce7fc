"""What would lead back to a person without any identifier: values and combinations that only one visitor has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.privacy.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXTS = [name for name, dtype in LAKE_EVENT_SCHEMA.items() if dtype == pl.String and name not in FIELDS]
_CLASS = ("country", "browser", "device")
_FEW = 10  # visitors; fewer are a group that can be looked through by hand


def describe_unique(events: pl.LazyFrame) -> Iterator[str]:
    """Sentences about what in `events`, which are pseudonymous, would re-identify."""
    times = events.select(all=pl.len(), times=pl.col("event_time").n_unique()).collect().row(0)
    yield (
        f"the time: {times[1]:,} different ones for {times[0]:,} events, to the microsecond; who has the logs or the "
        "identified lake can join by it, so that these have to go first (`m2 expire`)"
    )
    rare = events.select("visitor_id", *_CLASS).unique().group_by(_CLASS).agg(visitors=pl.len()).collect()
    few = rare.filter(pl.col("visitors") < _FEW)
    yield (
        f"country, browser and device: {few.height:,} of {rare.height:,} combinations are those of fewer than {_FEW} "
        f"visitors, {int(few['visitors'].sum()):,} in all"
    )
    for name in _TEXTS:
        per_value = events.select("visitor_id", name).drop_nulls(name).unique().group_by(name).agg(visitors=pl.len())
        values = per_value.collect()
        lone_count = values.filter(pl.col("visitors") == 1).height
        if lone_count:
            yield f"`{name}`: {lone_count:,} of {values.height:,} values are those of one visitor alone"
