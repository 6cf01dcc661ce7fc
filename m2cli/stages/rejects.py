"""Events that turn out to be rejects after all: kept whole, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import REJECT_SCHEMA

if TYPE_CHECKING:
    from datetime import timedelta

FROM_THE_FUTURE = "from_the_future"


class Plausible(NamedTuple):
    """Events that can have arrived when they did, and as rejects those that cannot."""

    events: pl.DataFrame
    rejects: pl.DataFrame


def split_future(events: pl.DataFrame, max_ahead: timedelta) -> Plausible:
    """`events` without those that are more than `max_ahead` ahead of their `arrival_time` (DESIGN 4.4).

    One wrong clock would else push the watermark on, and make everything after it late.
    """
    is_ahead = (events["event_time"] - events["arrival_time"] > max_ahead).fill_null(value=False)
    if not is_ahead.any():
        return Plausible(events, pl.DataFrame(schema=REJECT_SCHEMA))
    return Plausible(events.filter(~is_ahead), reject_events(events.filter(is_ahead), FROM_THE_FUTURE))


def reject_events(events: pl.DataFrame, reason: str) -> pl.DataFrame:
    """`events` as rejects (REJECT_SCHEMA): the whole row as JSON in `raw`, and as `file` the `source`.

    Their `line_number` is null unless the events have one: it cannot be told from an event.
    """
    known = [pl.col(name) for name in REJECT_SCHEMA if name in events.columns and name not in {"reason", "raw"}]
    whole = pl.struct(pl.all()).struct.json_encode()
    if "source" in events.columns and "file" not in events.columns:
        known.append(pl.col("source").alias("file"))
    rejects = events.select(*known, reason=pl.lit(reason), raw=whole)
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in REJECT_SCHEMA.items() if name not in rejects.columns]
    return rejects.with_columns(absent).select(*REJECT_SCHEMA)
