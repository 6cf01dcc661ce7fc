"""What is carried from one batch to the next: pending events, a row for each open visit, remembered ends."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from m2cli.events import REVENUE, TIME, VISIT_SCHEMA

# What a purchase's currency is called where it has none (ISO 4217: no currency involved).
NO_CURRENCY = "XXX"
SUMS = pl.List(pl.Struct({"key": pl.String, "value": REVENUE}))

_LEFT_TO_THE_END = {"end_reason", "revenue", "currency"}
OPEN_VISIT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "visit_number": pl.UInt64,  # names the visit in segments, until its end; dense, so that a look-up is an index
    **{name: dtype for name, dtype in VISIT_SCHEMA.items() if name not in _LEFT_TO_THE_END},
    "revenue_by_currency": SUMS,
}
END_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "visitor_id": pl.String,
    "visit_id": pl.String,
    "end_time": TIME,
}


class VisitState(NamedTuple):
    """The state between batches (DESIGN 4.9)."""

    pending: pl.DataFrame
    """Events at or after W, which are cut anew with what comes."""
    open_visits: pl.DataFrame
    """One row for each open visit, of all that lies before W (OPEN_VISIT_SCHEMA)."""
    ends: pl.DataFrame
    """Ends of visits that a next visit may yet continue (END_SCHEMA, DESIGN 4.3)."""
    next_visit_number: int

    @classmethod
    def empty(cls) -> VisitState:
        """The state before the first batch, and of a bounded run."""
        return cls(
            pending=pl.DataFrame(schema={"visitor_id": pl.String, "event_time": TIME}),
            open_visits=pl.DataFrame(schema=OPEN_VISIT_SCHEMA),
            ends=pl.DataFrame(schema=END_SCHEMA),
            next_visit_number=0,
        )
