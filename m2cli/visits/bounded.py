"""The kernel on input that is all there: everything sorted, every visit closed at the end of the input."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from m2cli.visits.assign import assign_visits
from m2cli.visits.check import check_events
from m2cli.visits.gather import gather
from m2cli.visits.rules import VisitRule
from m2cli.visits.state import VisitState
from m2cli.visits.watermarks import Watermark

if TYPE_CHECKING:
    import polars as pl


class Sessionized(NamedTuple):
    """What `sessionize` makes of events; each of them is in the first or in the last."""

    events: pl.DataFrame
    visits: pl.DataFrame
    duplicates: pl.DataFrame


def sessionize(events: pl.DataFrame, rule: VisitRule | None = None) -> Sessionized:
    """Cut all of `events` into visits; rows may come in any order, and none is late (DESIGN 4.5).

    Reads `visitor_id` (String) and `event_time` (Datetime µs, UTC), neither null, and what `assign_visits` reads.

    - `events`: with `visit_id`; visits in order of start, the rows of a visit together and in order.
    - `visits`: one row a visit (VISIT_SCHEMA), in the same order.
    - `duplicates`: events whose visitor, id and time an event earlier in the order has.

    Raises `UsageError` for a visitor or time that is null, and for columns of other types.
    """
    check_events(events, ("visitor_id", "event_time"))
    latest = events["event_time"].max()
    W = Watermark.end_of_input(latest)  # type: ignore[arg-type]  # a TIME column's max is a datetime
    assigned = assign_visits(events, VisitState.empty(), W, rule or VisitRule())
    whole = gather([assigned.tagged], assigned.ended).whole
    return Sessionized(whole, assigned.ended.drop("visit_number"), assigned.duplicates)
