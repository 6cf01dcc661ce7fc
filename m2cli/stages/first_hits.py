"""First hits: what a browser did before it had its session cookie, given to the session that it got.

Asked for, never by default: whoever shares an address and a user agent may be taken for one. For a whole input only:
whose a first hit is depends on what comes after it, which a batch does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import TIME
from m2cli.stages.visitors import derive_visitors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

SESSION_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "pair": pl.String,  # a digest of address and user agent, as `derive_visitors` makes it
    "session_id": pl.String,
    "start_time": TIME,  # of its first event from there
}


class SplitFirstHits(NamedTuple):
    """What `split_first_hits` parts events into."""

    others: pl.DataFrame
    without_cookie: pl.DataFrame
    sessions: pl.DataFrame


class JoinedFirstHits(NamedTuple):
    """Events without a cookie, each with its visitor, and how many were given to a session."""

    events: pl.DataFrame
    joined_count: int


def split_first_hits(named: pl.DataFrame) -> SplitFirstHits:
    """Part `named` events, which have a `visitor_id`, into those that may be first hits and all others.

    Reads `visitor_id`, `event_time` and, where they are there, `ip`, `user_agent` and `session_id`. An event whose
    visitor is derived from address and user agent may be one. `sessions` (SESSION_SCHEMA) are those of `named`.
    """
    if "ip" not in named.columns or "session_id" not in named.columns:
        return SplitFirstHits(named, named.clear(), pl.DataFrame(schema=SESSION_SCHEMA))
    pair = derive_visitors(named["ip"], named["user_agent"] if "user_agent" in named.columns else None)
    is_without = (named["visitor_id"] == pair).fill_null(value=False)
    rows = named.select("session_id", "event_time").with_columns(pair=pair)
    sessions = merge_sessions([rows.filter(~is_without).rename({"event_time": "start_time"})])
    return SplitFirstHits(named.filter(~is_without), named.filter(is_without), sessions)


def merge_sessions(found: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The sessions of several frames (SESSION_SCHEMA), each once, from its first event on."""
    whole = pl.concat([pl.DataFrame(schema=SESSION_SCHEMA), *(each.select(*SESSION_SCHEMA) for each in found)])
    named = whole.filter(pl.col("pair").is_not_null() & (pl.col("session_id").fill_null("") != ""))
    return named.group_by("pair", "session_id").agg(pl.col("start_time").min())


def join_first_hits(without_cookie: pl.DataFrame, sessions: pl.DataFrame, reach: timedelta) -> JoinedFirstHits:
    """Give events `without_cookie` to the session of the same address and user agent that began next.

    Next is the first to begin at the event's time or later, by `reach` at most; of several at one time the smallest
    id. The event's `visitor_id` becomes the session's; its `session_id` stays null, for the browser did not say it.
    """
    began = sessions.sort("start_time", "session_id").unique(["pair", "start_time"], keep="first", maintain_order=True)
    hits = without_cookie.select("visitor_id", "event_time").with_row_index("row").sort("event_time")
    found = hits.join_asof(
        began,
        left_on="event_time",
        right_on="start_time",
        by_left="visitor_id",
        by_right="pair",
        strategy="forward",
        tolerance=reach,
        check_sortedness=False,
    ).sort("row")
    visitors = pl.select(pl.coalesce(found["session_id"], found["visitor_id"])).to_series()
    joined_count = len(visitors) - found["session_id"].null_count()
    return JoinedFirstHits(without_cookie.with_columns(visitors.alias("visitor_id")), joined_count)
