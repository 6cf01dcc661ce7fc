"""Which visit is which: a visit's id, the visit it continues, and its number in the segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import polars_hash as plh

if TYPE_CHECKING:
    from m2cli.visits.rules import VisitRule
    from m2cli.visits.state import VisitState

_HEX_DIGITS = 32  # 128 bits: among 10^12 visits the odds of two with one id are below 10^-14


def identify_visits(visits: pl.DataFrame, state: VisitState, rule: VisitRule) -> pl.DataFrame:
    """`visits` with `visit_id`, `visitor_id` and `continues_visit_id`; those of open visits as they were.

    Reads, in the order of visitors and times: `open_row` (the row in `state.open_visits`, null for a new visit),
    `start_time`, `is_cut`, and of the first event of a new visit `new_visitor_id` and `new_event_id`.
    """
    opened = state.open_visits.select("visitor_id", "visit_id", "continues_visit_id").gather(visits["open_row"])
    is_new = pl.col("open_row").is_null()
    named = visits.hstack(opened).with_columns(
        visitor_id=pl.coalesce("visitor_id", "new_visitor_id"),
        visit_id=pl.coalesce("visit_id", _digest(visits)),
    )
    continued = pl.when(is_new & pl.col("is_cut")).then(pl.col("visit_id").shift(1))
    linked = named.with_columns(continues_visit_id=pl.coalesce("continues_visit_id", continued))
    return _link_to_ends(linked, state.ends, rule).drop("new_visitor_id", "new_event_id", "is_cut")


def number_visits(visits: pl.DataFrame, state: VisitState) -> pl.DataFrame:
    """`visits` with `visit_number` (UInt64): that of an open visit as it was, the next ones for new visits."""
    nth_new = pl.col("open_row").is_null().cum_sum().cast(pl.UInt64) - 1 + state.next_visit_number
    opened = state.open_visits["visit_number"].gather(visits["open_row"])
    return visits.with_columns(visit_number=pl.coalesce(opened, nth_new))


def _digest(visits: pl.DataFrame) -> pl.Series:
    """BLAKE3 of time, visitor and event id (DESIGN 4.9), null where the visit is not new.

    Time and length of the visitor come first, so that no two visits write the same text.
    """
    text = pl.concat_str(
        pl.col("start_time").to_physical(),
        pl.lit(":"),
        pl.col("new_visitor_id").str.len_bytes(),
        pl.lit(":"),
        pl.col("new_visitor_id"),
        pl.col("new_event_id").fill_null(""),
    )
    digest = visits.select(text=text).select(plh.col("text").chash.blake3())
    return digest.to_series().str.slice(0, _HEX_DIGITS)


def _link_to_ends(visits: pl.DataFrame, ends: pl.DataFrame, rule: VisitRule) -> pl.DataFrame:
    """New visits that follow a remembered end by no more than `inactivity` continue it (DESIGN 4.3)."""
    if not ends.height:
        return visits
    last = ends.sort("end_time").group_by("visitor_id", maintain_order=True).last()
    is_linked = (
        pl.col("open_row").is_null()
        & pl.col("continues_visit_id").is_null()
        & (pl.col("start_time") - pl.col("end_time_before") <= rule.inactivity)
    )
    return (
        visits.join(last, on="visitor_id", how="left", suffix="_before", maintain_order="left")
        .with_columns(continues_visit_id=pl.when(is_linked).then("visit_id_before").otherwise("continues_visit_id"))
        .drop("visit_id_before", "end_time_before")
    )
