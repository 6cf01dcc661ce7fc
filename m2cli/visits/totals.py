"""What a visit adds up to: counts by type, first and last page, revenue; with what was carried of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import CLICK, LAKE_EVENT_SCHEMA, PAGE, PURCHASE, REVENUE, SHOW, TIME, VISIT_SCHEMA
from m2cli.visits.rules import microseconds
from m2cli.visits.state import NO_CURRENCY, OPEN_VISIT_SCHEMA, SUMS

if TYPE_CHECKING:
    from m2cli.visits.rules import VisitRule
    from m2cli.visits.watermarks import Watermark

_COUNTED_TYPES = {"page_count": PAGE, "show_count": SHOW, "click_count": CLICK, "purchase_count": PURCHASE}
_OF_FIRST_EVENT = ("country", "is_robot", "browser", "device")


def total_visits(tagged: pl.DataFrame, visits: pl.DataFrame, which: pl.Series, carried: pl.DataFrame) -> pl.DataFrame:
    """`visits` with all that their rows will say but why they ended (OPEN_VISIT_SCHEMA).

    Row i of `visits` has `tagged_count` rows of `tagged`, which holds one visit after the other; `which` says of
    each row the i it belongs to. Row i of `carried` (OPEN_VISIT_SCHEMA) is what was carried of that visit, all
    null where it is new.
    """
    count = visits["tagged_count"]
    fresh = _total_tagged(tagged, count.cum_sum() - count, count, which)
    both = visits.hstack(fresh).hstack(carried.select(pl.all().name.prefix("carried_")))
    sums = _sum_purchases(tagged, which, carried["revenue_by_currency"])
    is_new = pl.col("carried_visit_id").is_null()
    return both.select(
        "visit_number",
        *(pl.col(name) for name in ("visit_id", "visitor_id", "start_time", "end_time", "continues_visit_id")),
        *(pl.col(name) + pl.col(f"carried_{name}").fill_null(0) for name in ("event_count", *_COUNTED_TYPES)),
        # By where the pages are, not the URLs: a page without one may be the first or the last.
        pl.when(pl.col("carried_page_count") > 0)
        .then("carried_landing_url")
        .otherwise("landing_url")
        .alias("landing_url"),
        pl.when(pl.col("page_count") > 0).then("exit_url").otherwise("carried_exit_url").alias("exit_url"),
        *(pl.when(is_new).then(name).otherwise(f"carried_{name}").alias(name) for name in _OF_FIRST_EVENT),
        sums.alias("revenue_by_currency"),
    ).select(*OPEN_VISIT_SCHEMA)


def end_visits(visits: pl.DataFrame, W: Watermark, rule: VisitRule) -> pl.DataFrame:
    """The ends of `visits` (OPEN_VISIT_SCHEMA) that W has closed: VISIT_SCHEMA and `visit_number`.

    `end_reason` is a fact of the data (DESIGN 4.10): the limit that came first, unless no event read so far is
    later than that moment, so that only the end of the input, or a flush, has closed the visit.
    """
    sums = pl.col("revenue_by_currency")
    only = sums.list.first()
    is_single = sums.list.len() == 1
    currency = only.struct.field("key")
    return visits.with_columns(
        end_reason=_end_reason(W, rule),
        revenue=pl.when(is_single).then(only.struct.field("value")),
        currency=pl.when(is_single & (currency != NO_CURRENCY)).then(currency),
        revenue_by_currency=pl.when(sums.list.len() > 1).then(sums).cast(VISIT_SCHEMA["revenue_by_currency"]),
    ).select(*VISIT_SCHEMA, "visit_number")


def _end_reason(W: Watermark, rule: VisitRule) -> pl.Expr:
    silent = pl.col("end_time").to_physical() + microseconds(rule.inactivity)
    longest = pl.col("start_time").to_physical() + microseconds(rule.max_duration)
    limit = pl.when(longest < silent).then(pl.lit("max_duration")).otherwise(pl.lit("inactivity"))
    if W.latest_event_time is None:
        return limit
    latest = pl.lit(W.latest_event_time, TIME).to_physical()
    cut_off = pl.lit("end_of_input" if W.is_end_of_input else "flush")
    return pl.when(pl.min_horizontal(silent, longest) < latest).then(limit).otherwise(cut_off)


def _total_tagged(tagged: pl.DataFrame, first: pl.Series, count: pl.Series, which: pl.Series) -> pl.DataFrame:
    """Counts, pages and first event of the rows from `first` on, `count` of them, for each visit."""
    rows = {name: _rows_of_type(tagged, event_type) for name, event_type in _COUNTED_TYPES.items()}
    runs = {name: _runs(which, of_type) for name, of_type in rows.items()}
    nothing = pl.repeat(0, n=len(count), dtype=pl.Int64, eager=True)
    totals = {name: nothing.clone().scatter(run["visit"], run["count"]) for name, run in runs.items()}
    totals["event_count"] = count.cast(pl.Int64)
    pages, run = rows["page_count"], runs["page_count"]
    places = {"landing_url": run["first"], "exit_url": run["first"] + run["count"] - 1}
    totals |= {
        name: _spread(_gather(tagged, "url", pages.gather(place)), run["visit"], len(count))
        for name, place in places.items()
    }
    first_event = pl.select(pl.when(count > 0).then(first)).to_series()
    totals |= {name: _gather(tagged, name, first_event) for name in _OF_FIRST_EVENT}
    return pl.DataFrame(totals)


def _rows_of_type(tagged: pl.DataFrame, event_type: str) -> pl.Series:
    """The rows of `tagged` with that type, in order."""
    if "event_type" not in tagged.columns:
        return pl.Series(dtype=pl.UInt32)
    return (tagged["event_type"] == event_type).fill_null(value=False).arg_true()


def _runs(which: pl.Series, rows: pl.Series) -> pl.DataFrame:
    """For each visit that has any of `rows`: `visit`, how many it has (`count`) and which is its `first`."""
    runs = which.gather(rows).rle()
    count = runs.struct.field("len").cast(pl.Int64)
    return pl.DataFrame({"visit": runs.struct.field("value"), "count": count, "first": count.cum_sum() - count})


def _spread(values: pl.Series, visits: pl.Series, visit_count: int) -> pl.Series:
    """`values` at their visits, null at the others."""
    place = pl.repeat(None, n=visit_count, dtype=pl.UInt32, eager=True).scatter(
        visits, pl.int_range(len(visits), dtype=pl.UInt32, eager=True)
    )
    return values.gather(place)


def _gather(frame: pl.DataFrame, name: str, rows: pl.Series) -> pl.Series:
    """The values of a column at `rows`, null where the row is null or there is no such column."""
    if name not in frame.columns:
        return pl.repeat(None, n=len(rows), dtype=LAKE_EVENT_SCHEMA[name], eager=True)
    return frame[name].gather(rows)


def _sum_purchases(tagged: pl.DataFrame, which: pl.Series, carried: pl.Series) -> pl.Series:
    """Per visit, the sum of its purchases' amounts for each currency (SUMS), null where it bought nothing."""
    visits = pl.int_range(len(carried), dtype=pl.UInt32, eager=True)
    sums = pl.concat([_carried_sums(visits, carried), _purchases(tagged, which)])
    if not sums.height:
        return pl.repeat(None, n=len(carried), dtype=SUMS, eager=True)
    each = sums.group_by("visit", "key").agg(pl.col("value").sum().cast(REVENUE)).sort("visit", "key")
    lists = each.group_by("visit", maintain_order=True).agg(sums=pl.struct("key", "value"))
    return pl.DataFrame({"visit": visits}).join(lists, on="visit", how="left", maintain_order="left")["sums"].cast(SUMS)


def _carried_sums(visits: pl.Series, carried: pl.Series) -> pl.DataFrame:
    return (
        pl.DataFrame({"visit": visits, "sums": carried})
        .filter(pl.col("sums").is_not_null())
        .explode("sums")
        .select("visit", pl.col("sums").struct.unnest())
        .cast({"value": REVENUE})
    )


def _purchases(tagged: pl.DataFrame, which: pl.Series) -> pl.DataFrame:
    rows = _rows_of_type(tagged, PURCHASE) if "amount" in tagged.columns else pl.Series(dtype=pl.UInt32)
    return pl.DataFrame(
        {
            "visit": which.gather(rows),
            "key": _gather(tagged, "currency", rows).fill_null(NO_CURRENCY),
            "value": _gather(tagged, "amount", rows).cast(REVENUE),
        }
    ).drop_nulls("value")
