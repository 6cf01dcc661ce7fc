"""What a visit adds up to: counts by type, first and last page, revenue; with what was carried of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import CLICK, PAGE, PURCHASE, REVENUE, SHOW, TIME, VISIT_SCHEMA
from m2cli.visits.rules import microseconds
from m2cli.visits.state import NO_CURRENCY, OPEN_VISIT_SCHEMA, SUMS

if TYPE_CHECKING:
    from m2cli.visits.rules import VisitRule
    from m2cli.visits.watermarks import Watermark

_COUNTED_TYPES = {"page_count": PAGE, "show_count": SHOW, "click_count": CLICK, "purchase_count": PURCHASE}
_OF_FIRST_EVENT = ("country", "is_robot", "browser", "device")


def total_visits(tagged: pl.DataFrame, visits: pl.DataFrame, carried: pl.DataFrame) -> pl.DataFrame:
    """`visits` with all that their rows will say but why they ended (OPEN_VISIT_SCHEMA).

    Row i of `visits` has `tagged_count` rows of `tagged`, which holds one visit after the other; row i of
    `carried` (OPEN_VISIT_SCHEMA) is what was carried of that visit, all null where it is new.
    """
    count = visits["tagged_count"]
    fresh = _total_tagged(tagged, first=count.cum_sum() - count, count=count)
    both = visits.hstack(fresh).hstack(carried.select(pl.all().name.prefix("carried_")))
    sums = _sum_purchases(tagged, count, carried["revenue_by_currency"])
    is_new = pl.col("carried_visit_id").is_null()
    return both.select(
        "visit_number",
        *(pl.col(name) for name in ("visit_id", "visitor_id", "start_time", "end_time", "continues_visit_id")),
        *(pl.col(name) + pl.col(f"carried_{name}").fill_null(0) for name in ("event_count", *_COUNTED_TYPES)),
        pl.coalesce("carried_landing_url", "landing_url").alias("landing_url"),
        pl.coalesce("exit_url", "carried_exit_url"),
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


def _total_tagged(tagged: pl.DataFrame, first: pl.Series, count: pl.Series) -> pl.DataFrame:
    """Counts, pages and first event of the rows from `first` on, `count` of them, for each visit."""
    totals = {"event_count": count.cast(pl.Int64)}
    for name, event_type in _COUNTED_TYPES.items():
        before = _count_before(_is_type(tagged, event_type))
        totals[name] = (before.gather(first + count) - before.gather(first)).cast(pl.Int64)
    totals["landing_url"], totals["exit_url"] = _find_pages(tagged, first, first + count)
    first_event = pl.select(pl.when(count > 0).then(first)).to_series()
    totals |= {name: _gather(tagged, name, first_event) for name in _OF_FIRST_EVENT}
    return pl.DataFrame(totals)


def _is_type(tagged: pl.DataFrame, event_type: str) -> pl.Series:
    if "event_type" not in tagged.columns:
        return pl.repeat(value=False, n=tagged.height, eager=True)
    return (tagged["event_type"] == event_type).fill_null(value=False)


def _count_before(is_it: pl.Series) -> pl.Series:
    """For each row, and for the end, how many rows before it are true."""
    return is_it.extend_constant(value=False, n=1).cum_sum().shift(1, fill_value=0)


def _find_pages(tagged: pl.DataFrame, first: pl.Series, end: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The URLs of the first and the last page of each visit, null where it has none."""
    is_page = _is_type(tagged, PAGE)
    pages, before = is_page.arg_true(), _count_before(is_page)
    bounds = pl.DataFrame({"first": before.gather(first), "end": before.gather(end)})
    has_page = pl.col("end") > pl.col("first")
    found = bounds.select(landing=pl.when(has_page).then("first"), exit=pl.when(has_page).then(pl.col("end") - 1))
    return tuple(_gather(tagged, "url", pages.gather(found[which])) for which in ("landing", "exit"))  # type: ignore[return-value]  # two names, two series


def _gather(frame: pl.DataFrame, name: str, rows: pl.Series) -> pl.Series:
    """The values of a column at `rows`, null where the row is null or there is no such column."""
    if name not in frame.columns:
        return pl.repeat(None, n=len(rows), dtype=VISIT_SCHEMA.get(name, pl.String), eager=True)
    return frame[name].gather(rows)


def _sum_purchases(tagged: pl.DataFrame, count: pl.Series, carried: pl.Series) -> pl.Series:
    """Per visit, the sum of its purchases' amounts for each currency (SUMS), null where it bought nothing."""
    visits = pl.int_range(len(count), dtype=pl.UInt32, eager=True)
    sums = pl.concat([_carried_sums(visits, carried), _purchases(tagged, visits, count)])
    if not sums.height:
        return pl.repeat(None, n=len(count), dtype=SUMS, eager=True)
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


def _purchases(tagged: pl.DataFrame, visits: pl.Series, count: pl.Series) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"visit": pl.UInt32, "key": pl.String, "value": REVENUE})
    if "amount" not in tagged.columns:
        return empty
    rows = (_is_type(tagged, PURCHASE) & tagged["amount"].is_not_null()).arg_true()
    if not len(rows):
        return empty
    ends = count.cum_sum()
    return pl.DataFrame(
        {
            "visit": ends.search_sorted(rows.cast(ends.dtype), side="right").cast(pl.UInt32),
            "key": _gather(tagged, "currency", rows).fill_null(NO_CURRENCY),
            "value": tagged["amount"].gather(rows).cast(REVENUE),
        }
    )
