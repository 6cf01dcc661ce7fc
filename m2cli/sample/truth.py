"""The visits and roots of journeys at the edges of the rules, by DESIGN 4, apart from the kernel."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from m2cli.sample.scenes import HOUR, MINUTE

INACTIVITY = 30 * MINUTE
MAX_DURATION = 12 * HOUR
TYPES = ("page", "show", "click", "purchase")
"""Counted for each visit."""

_LONGEST_PATH = 2**20  # beyond it, causes go in a ring


class Settled(NamedTuple):
    """What becomes of some events: a row for each of them, a row for each of their visits."""

    events: pl.DataFrame
    """The rows given, with `start` of the visit (null where it is in none), `root` (number), `is_orphan`,
    `is_duplicate`."""
    visits: pl.DataFrame
    """`journey`, `start`, `end`, `event_count`, a count for each of `TYPES`, `continues` (the start of
    the visit that this one continues), `revenue`, `currency`."""


def settle(rows: pl.DataFrame, *, has_late: bool) -> Settled:
    """What the rules make of the events of whole journeys; with `has_late`, the late ones count for nothing.

    Reads `journey`, `event`, `time` (µs), `source` (name), `place`, `cause` (number), `is_late`,
    `event_type`, `amount`, `currency`.
    """
    here = rows.filter(~pl.col("is_late")) if has_late else rows
    ordered = here.sort("journey", "time", "source", "place")  # DESIGN 4.1; one visitor a journey
    is_first = ordered.select(pl.struct("journey", "event", "time").is_first_distinct()).to_series()
    members = _assign_visits(ordered.filter(is_first))
    kept = members.select("source", "place", "start", is_duplicate=pl.lit(value=False))
    copies = ordered.filter(~is_first).select(
        "source", "place", start=pl.lit(None, dtype=pl.Int64), is_duplicate=pl.lit(value=True)
    )
    events = (
        rows.join(pl.concat([kept, copies]), on=["source", "place"], how="left")
        .join(_find_roots(members), on=["journey", "event"], how="left")
        .with_columns(
            pl.col("is_duplicate").fill_null(value=False),
            root=pl.when(pl.col("start").is_not_null()).then("root"),
            is_orphan=pl.col("start").is_not_null() & pl.col("is_orphan"),
        )
    )
    return Settled(events, _summarize(members))


def _assign_visits(ordered: pl.DataFrame) -> pl.DataFrame:
    """`ordered` with `visit` (number), `start` and `continues`."""
    silence = pl.col("time").diff().over("journey")
    begins = ordered.select(silence.is_null() | (silence > INACTIVITY)).to_series()
    while True:  # each round cuts every visit that is too long once, at its first event beyond the limit
        cut = ordered.with_columns(begins=begins, visit=begins.cast(pl.Int64).cum_sum()).with_columns(
            start=pl.col("time").first().over("visit")
        )
        is_beyond = pl.col("time") - pl.col("start") > MAX_DURATION
        first_beyond = is_beyond & ~is_beyond.shift(1, fill_value=False).over("visit")
        more = cut.select(first_beyond).to_series()
        if not more.any():
            break
        begins = begins | more
    earlier = pl.col("start").shift(1).over("journey")
    continues = pl.when(pl.col("begins") & (silence <= INACTIVITY)).then(earlier)
    return cut.with_columns(continues=continues).with_columns(pl.col("continues").first().over("visit"))


def _summarize(members: pl.DataFrame) -> pl.DataFrame:
    """The visits of `_assign_visits`, one row each."""
    return members.group_by("visit", maintain_order=True).agg(
        pl.col("journey", "start", "continues").first(),
        pl.col("time").last().alias("end"),
        pl.len().cast(pl.Int64).alias("event_count"),
        *((pl.col("event_type") == name).sum().cast(pl.Int64).alias(f"{name}_count") for name in TYPES),
        *revenue_of_one_currency(),
    )


def revenue_of_one_currency() -> list[pl.Expr]:
    """`revenue` and `currency` of a group of events: null where nothing was bought, or in several."""
    currencies = pl.col("currency").drop_nulls()
    is_one = currencies.n_unique() == 1
    return [
        pl.when(is_one).then(pl.col("amount").sum()).alias("revenue"),
        pl.when(is_one).then(currencies.first()).alias("currency"),
    ]


def _find_roots(members: pl.DataFrame) -> pl.DataFrame:
    """For each event its `root` and `is_orphan`; causes are of the same journey, or in no data at all.

    Every event points at its cause, a root at itself; then each takes over what it points at points at,
    so that a path of 2^n steps takes n rounds.
    """
    key = ["journey", "event"]
    nodes = members.unique(key).select(*key, "cause")
    present = nodes.select("journey", cause="event", is_there=pl.lit(value=True))
    known = nodes.join(present, on=["journey", "cause"], how="left").select(
        *key,
        is_root=pl.col("cause").is_null(),
        is_orphan=pl.col("cause").is_not_null() & pl.col("is_there").is_null(),
        top=pl.when(pl.col("cause").is_null()).then("event").when("is_there").then("cause"),
    )
    path = 1
    while path < _LONGEST_PATH:
        onward = known.select("journey", top="event", next="top")
        step = known.join(onward, on=["journey", "top"], how="left", maintain_order="left")
        if step["next"].equals(known["top"]):
            break
        known, path = step.with_columns(top="next").drop("next"), path * 2
    roots = known.filter("is_root").select("journey", top="event", root="event")
    return known.join(roots, on=["journey", "top"], how="left").select(*key, "root", "is_orphan")
