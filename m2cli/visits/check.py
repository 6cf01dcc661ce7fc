"""What the kernel asks of the frames it is given: by type and count of nulls alone, which costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.errors import UsageError
from m2cli.events import LAKE_EVENT_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

_TYPED = ("visitor_id", "event_time", "event_id", "source", "arrival_time", "amount")
_REMEDIES = {
    "event_time": '`.filter(pl.col("event_time").is_not_null())` leaves such rows out',
    "visitor_id": "`m2cli.assign_visitors` gives the events theirs, and makes rejects of those that have none",
    "source": '`.with_columns(source=pl.lit("..."))` names the partition that the events come from',
}


def check_events(events: pl.DataFrame, needed: Sequence[str]) -> None:
    """Raise `UsageError`, with the remedy, for `events` that the kernel cannot work on.

    They are a frame, not a lazy one; the columns `needed` are there and not null; `needed` and what else decides
    visits has the types of `m2cli.events`. A null would not fail but be cut into a visit of its own.
    """
    if not isinstance(events, pl.DataFrame):
        raise UsageError(f"the events are a `{type(events).__name__}`, not a Polars DataFrame; {_frame_hint(events)}")
    for name in needed:
        if name not in events.columns:
            raise UsageError(f"the events have no column `{name}`; {_absence_hint(name)}")
    for name in _TYPED:
        if name in events.columns and events.schema[name] != LAKE_EVENT_SCHEMA[name]:
            raise UsageError(f"`{name}` is {events.schema[name]}; {_type_hint(name, events.schema[name])}")
    for name in needed:
        if count := events[name].null_count():
            raise UsageError(f"`{name}` is null in {count:,} of {events.height:,} events; {_REMEDIES[name]}")


def _frame_hint(events: object) -> str:
    return "`.collect()` it" if isinstance(events, pl.LazyFrame) else "make one: `pl.DataFrame(...)`"


def _absence_hint(name: str) -> str:
    return f'`.rename({{"...": "{name}"}})` says which it is' if name == "event_time" else _REMEDIES[name]


def _type_hint(name: str, dtype: pl.DataType) -> str:
    wanted = LAKE_EVENT_SCHEMA[name]
    if not isinstance(wanted, pl.Datetime):
        text = f"pl.Decimal({wanted.precision}, {wanted.scale})" if isinstance(wanted, pl.Decimal) else f"pl.{wanted}"
        return f'`.cast({{"{name}": {text}}})` makes it what it has to be'
    column = f'pl.col("{name}")'
    if dtype == pl.String:
        return f'`{column}.str.to_datetime(time_unit="us", time_zone="UTC")` reads it'
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        column += '.dt.replace_time_zone("Europe/Amsterdam")'
        return f'it has no zone: `{column}.cast(pl.Datetime("us", "UTC"))` for the zone that it is in, be it "UTC"'
    if isinstance(dtype, pl.Datetime):
        return f'`{column}.cast(pl.Datetime("us", "UTC"))` makes it what it has to be'
    return f'`pl.from_epoch("{name}", time_unit="s").cast(pl.Datetime("us", "UTC"))` if it counts seconds since 1970'
