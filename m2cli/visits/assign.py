"""Events into visits: `assign_visits`, which one-shot runs, batches and replays all call."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import TIME
from m2cli.visits.check import check_events
from m2cli.visits.cut import cut_visits
from m2cli.visits.identify import identify_visits, number_visits
from m2cli.visits.order import Keys, make_keys, order_events
from m2cli.visits.rules import microseconds
from m2cli.visits.state import END_SCHEMA, VisitState
from m2cli.visits.totals import end_visits, total_visits
from m2cli.visits.watermarks import Watermark, later_of

if TYPE_CHECKING:
    from datetime import datetime

    from m2cli.visits.rules import VisitRule


class Assigned(NamedTuple):
    """What `assign_visits` makes of events; each of them is in exactly one of the first, third or last."""

    tagged: pl.DataFrame
    ended: pl.DataFrame
    duplicates: pl.DataFrame
    state: VisitState


def assign_visits(on_time: pl.DataFrame, state: VisitState, W: Watermark, rule: VisitRule) -> Assigned:
    """Cut visitors' events into visits, and say which of them W has made final (DESIGN 4.1 to 4.3, 4.6 to 4.10).

    Reads `visitor_id` (String) and `event_time` (µs, UTC), neither null, and where they are there `event_id`,
    `source`, `part_id`, `position_in_source` (order and duplicates), `event_type`, `url`, `amount`, `currency`,
    `country`, `is_robot`, `browser`, `device` (totals). All columns are passed on. No event may be before the
    W that `state` was left at: `split_late` has set those aside.

    - `tagged`: the events before W with `visit_id` and `visit_number` (UInt64, see `gather`); visits in order of
      start, the rows of a visit together and in order.
    - `ended`: a row for each visit that W has closed (VISIT_SCHEMA and `visit_number`), in order of start.
    - `duplicates`: events whose visitor, id and time an event earlier in the order has.
    - `state`: what the next call needs.

    Raises `UsageError` for a visitor or time that is null, and for columns of other types.
    """
    check_events(on_time, ("visitor_id", "event_time"))
    events = _join_pending(state.pending, on_time)
    opened = state.open_visits
    keys = make_keys(
        pl.concat([events["visitor_id"], opened["visitor_id"]]) if opened.height else events["visitor_id"],
        pl.concat([events["event_time"], opened["end_time"]]).to_physical(),
        rule,
    )
    ordered = order_events(events, keys.key)
    keys = keys._replace(key=ordered.key)
    carried = _find_carried(ordered.row, events.height, opened)
    cut = cut_visits(keys.key, carried, rule).pipe(_split_at_watermark, keys, carried, W)
    visits = (
        cut.filter(pl.col("open_row").is_not_null() | (pl.col("tagged_end") > pl.col("first_event")))
        .pipe(_date, keys, opened)
        .pipe(_with_first_event, events, ordered.row)
        .pipe(identify_visits, state, rule)
        .sort("start_time", "visit_id")
        .pipe(number_visits, state)
    )
    which = _which(visits["tagged_count"])
    tagged = _tag(events, ordered.row, visits, which)
    totals = total_visits(tagged, visits, which, opened.gather(visits["open_row"]))
    is_closed = _is_closed(visits, W, rule)
    ended = end_visits(totals.filter(is_closed), W, rule)
    return Assigned(
        tagged=tagged,
        ended=ended,
        duplicates=events.gather(ordered.duplicates),
        state=VisitState(
            pending=events.gather(ordered.row.gather(_places(cut, "tagged_end", "end"))),
            open_visits=totals.filter(~is_closed),
            ends=_remember_ends(state.ends, ended, W, rule),
            next_visit_number=state.next_visit_number + visits["open_row"].null_count(),
        ),
    )


def list_open_visits(state: VisitState, W: Watermark, rule: VisitRule) -> pl.DataFrame:
    """A row for each visit that is open, as it would be if the input ended here: VISIT_SCHEMA and `visit_number`.

    Pending events are cut on the spot, so that visits of which nothing is final are there too (DESIGN 4.9).
    """
    everything = Watermark.end_of_input(W.latest_event_time)
    return assign_visits(state.pending.clear(), state, everything, rule).ended


def closing_time(visits: pl.DataFrame, rule: VisitRule) -> datetime | None:
    """The moment after which W would have closed the last of `visits`; None where there are none (DESIGN 4.6)."""
    silent = pl.col("end_time") + rule.inactivity
    longest = pl.col("start_time") + rule.max_duration
    return visits.select(pl.min_horizontal(silent, longest).max()).item() if visits.height else None


def flush_time(state: VisitState, W: Watermark, rule: VisitRule) -> datetime | None:
    """Where a flush raises W to: 1 µs past the moment at which the last open visit would end (DESIGN 4.6).

    Pending events are cut on the spot. None where nothing is open.
    """
    last = closing_time(list_open_visits(state, W, rule), rule)
    return None if last is None else later_of(last + timedelta(microseconds=1), W.time)


def _join_pending(pending: pl.DataFrame, on_time: pl.DataFrame) -> pl.DataFrame:
    """Pending and new events as one frame in one piece: gathering from many pieces costs five times as much."""
    new = on_time.drop("visit_id", "visit_number", strict=False)
    events = pl.concat([pending, new], how="diagonal") if pending.height else new
    return events.rechunk()


def _find_carried(row: pl.Series, event_count: int, opened: pl.DataFrame) -> pl.DataFrame:
    """Where the open visits stand in the order: `place`, `open_row`, and `lead`, µs from first to last event."""
    place = (row >= event_count).arg_true() if opened.height else row.clear()
    open_row = row.gather(place) - event_count
    lead = (opened["end_time"] - opened["start_time"]).dt.total_microseconds().gather(open_row)
    return pl.DataFrame({"place": place, "open_row": open_row, "lead": lead})


def _split_at_watermark(cut: pl.DataFrame, keys: Keys, carried: pl.DataFrame, W: Watermark) -> pl.DataFrame:
    """`cut` with `open_row`, `first_event` and `tagged_end`: the events of [first_event, tagged_end) are before W."""
    joined = cut.join(
        carried.select(first="place", open_row="open_row"), on="first", how="left", maintain_order="left"
    ).with_columns(first_event=pl.col("first") + pl.col("open_row").is_not_null())
    if W.is_end_of_input or not joined.height:
        return joined.with_columns(tagged_end="end")
    if W.time is None:
        return joined.with_columns(tagged_end="first_event")
    key, dtype = pl.lit(keys.key.gather(joined["first"])), keys.key.dtype
    before_W = min(max(_physical(W.time) - keys.first, 0), keys.span)
    probe = key - key % pl.lit(keys.span, dtype) + pl.lit(before_W, dtype)
    reached = keys.key.search_sorted(pl.select(probe).to_series(), side="left")
    return joined.with_columns(tagged_end=reached.cast(pl.UInt32)).with_columns(
        tagged_end=pl.col("tagged_end").clip("first_event", "end")
    )


def _physical(time: datetime) -> int:
    return int(pl.Series([time], dtype=TIME).to_physical().item())


def _date(visits: pl.DataFrame, keys: Keys, opened: pl.DataFrame) -> pl.DataFrame:
    """`visits` with `start_time`, and `end_time` of the last event before W (both TIME)."""

    def time_of(place: pl.Expr) -> pl.Series:
        key = pl.lit(keys.key.gather(visits.select(place).to_series()))
        within = (key % pl.lit(keys.span, keys.key.dtype)).cast(pl.Int64)
        return pl.select((within + keys.first).cast(TIME)).to_series()

    has_tagged = pl.col("tagged_end") > pl.col("first_event")
    carried = opened.select("start_time", "end_time").gather(visits["open_row"])
    ended = pl.DataFrame({"carried": carried["end_time"], "new": time_of(pl.col("tagged_end").cast(pl.Int64) - 1)})
    return visits.with_columns(
        start_time=pl.coalesce(carried["start_time"], time_of(pl.col("first"))),
        end_time=pl.when(has_tagged).then(ended["new"]).otherwise(ended["carried"]),
        tagged_count=pl.col("tagged_end") - pl.col("first_event"),
    )


def _with_first_event(visits: pl.DataFrame, events: pl.DataFrame, row: pl.Series) -> pl.DataFrame:
    """`visits` with `new_visitor_id` and `new_event_id` of the first event, where the visit is new."""
    first = row.gather(visits.select(pl.when(pl.col("open_row").is_null()).then("first_event")).to_series())
    event_id = events["event_id"].gather(first) if "event_id" in events.columns else pl.lit(None, pl.String)
    return visits.with_columns(new_visitor_id=events["visitor_id"].gather(first), new_event_id=event_id)


def _places(visits: pl.DataFrame, first: str, end: str) -> pl.Series:
    """All places of the ranges [first, end), one range after the other."""
    return (
        visits.filter(pl.col(first) < pl.col(end))
        .select(pl.int_ranges(first, end, dtype=pl.UInt32).explode())
        .to_series()
    )


def _which(count: pl.Series) -> pl.Series:
    """For each of the rows that the visits have, `count` each, the visit it belongs to (UInt32)."""
    numbers = pl.int_range(len(count), dtype=pl.UInt32, eager=True)
    has_rows = count > 0
    return pl.select(pl.lit(numbers.filter(has_rows)).repeat_by(pl.lit(count.filter(has_rows))).explode()).to_series()


def _tag(events: pl.DataFrame, row: pl.Series, visits: pl.DataFrame, which: pl.Series) -> pl.DataFrame:
    """The events before W in the order of `visits`, with their visit's id and number."""
    names = visits.select("visit_id", "visit_number").gather(which)
    rows = row.gather(_places(visits, "first_event", "tagged_end"))
    # As expressions the columns are gathered side by side; `DataFrame.gather` takes them one after the other.
    return events.select(pl.all().gather(pl.lit(rows))).hstack(names)


def _is_closed(visits: pl.DataFrame, W: Watermark, rule: VisitRule) -> pl.Series:
    """Whether nothing is pending and one of the two limits lies before W (DESIGN 4.6)."""
    if W.is_end_of_input or not visits.height:
        return pl.repeat(value=True, n=visits.height, eager=True)
    silent = pl.col("end_time").to_physical() + microseconds(rule.inactivity)
    longest = pl.col("start_time").to_physical() + microseconds(rule.max_duration)
    is_past = pl.min_horizontal(silent, longest) < pl.lit(W.time, TIME).to_physical()
    return visits.select((pl.col("tagged_end") == pl.col("end")) & is_past).to_series()


def _remember_ends(ends: pl.DataFrame, ended: pl.DataFrame, W: Watermark, rule: VisitRule) -> pl.DataFrame:
    """The ends that a next visit may yet continue: `max_duration` came first, and silence is not yet over."""
    if W.is_end_of_input:
        return ends.clear()
    longest = pl.col("start_time") + rule.max_duration
    silent = pl.col("end_time") + rule.inactivity
    new = ended.filter(silent > longest).select(*END_SCHEMA)
    return pl.concat([ends, new]).filter(silent >= pl.lit(W.time, TIME))
