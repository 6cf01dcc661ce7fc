"""Whose event it is: the visitor, taken from the input or derived from address and user agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import polars as pl
import polars_hash

from m2cli.errors import UnknownNameError
from m2cli.events import REJECT_SCHEMA
from m2cli.stages.distinct import code_values, null_first, replace_rows
from m2cli.stages.rejects import reject_events

DEFAULT, IP, SESSION = "default", "ip", "session"
VISITOR_KINDS = {
    DEFAULT: "what the input says: `visitor_id`, else `session_id`, else a digest of address and user agent",
    IP: "the address alone",
    SESSION: "the session cookie alone",
}
NO_VISITOR = "no visitor"


@dataclass(frozen=True, kw_only=True)
class VisitorRule:
    """What tells one visitor from another: one of `VISITOR_KINDS`."""

    by: str = DEFAULT

    def __post_init__(self) -> None:
        if self.by not in VISITOR_KINDS:
            raise UnknownNameError("visitor", self.by, VISITOR_KINDS)


class IdentifiedEvents(NamedTuple):
    """Events that have a visitor, and as rejects those that have none."""

    events: pl.DataFrame
    rejects: pl.DataFrame


def assign_visitors(events: pl.DataFrame, rule: VisitorRule) -> IdentifiedEvents:
    """`events` with `visitor_id` (String, never null); rows that nothing identifies become rejects.

    Reads those of `visitor_id`, `session_id`, `ip` and `user_agent` (String) that are there; an empty text
    identifies nobody. By default an id of the input comes first, then the session cookie, then the address
    with the user agent (DESIGN 2); an event without an address has nothing to derive a visitor from, for the
    user agent alone is shared by thousands. By `ip` and by `session` the named column alone decides, even
    where the input has a `visitor_id`.

    The rejects have all of `REJECT_SCHEMA`: `reason` "no visitor", the row as JSON in `raw`, and as `file` the
    `source` where there is none. Their `line_number` is null unless the events have one: it cannot be told from an
    event.
    """
    visitors = _visitors(events, rule).alias("visitor_id")
    identified = events.with_columns(visitors)
    if not visitors.has_nulls():
        return IdentifiedEvents(identified, pl.DataFrame(schema=REJECT_SCHEMA))
    return IdentifiedEvents(
        identified.filter(visitors.is_not_null()),
        events.filter(visitors.is_null()).pipe(reject_events, NO_VISITOR),
    )


def derive_visitors(ip: pl.Series, user_agent: pl.Series | None) -> pl.Series:
    """The visitor behind each pair of address and user agent: 128 bits of BLAKE3 as 32 hex digits.

    Null where `ip` is null. A null user agent is a value of its own, and no two pairs share their text: the
    address goes in with its length. Visit ids hang on this digest: changing it changes every visit's id.
    """
    addresses = code_values(ip)
    if user_agent is None:
        return addresses.spread(_digests(addresses.values, None))
    agents = code_values(user_agent)
    # 0 stands for no user agent, so that a pair's key is null only where its address is.
    pairs = addresses.codes.cast(pl.UInt64) * 2**32 + (agents.codes.cast(pl.UInt64) + 1).fill_null(0)
    distinct = pairs.drop_nulls().unique()
    ip_codes, agent_codes = distinct // 2**32, distinct % 2**32
    digests = _digests(addresses.values.gather(ip_codes), null_first(agents.values).gather(agent_codes))
    return (
        pairs.to_frame("pair")
        .join(pl.DataFrame({"pair": distinct, "visitor": digests}), on="pair", how="left", maintain_order="left")
        .get_column("visitor")
    )


def _visitors(events: pl.DataFrame, rule: VisitorRule) -> pl.Series:
    if rule.by == IP:
        return _text(events, "ip")
    if rule.by == SESSION:
        return _text(events, "session_id")
    visitors = _text(events, "visitor_id")
    if visitors.has_nulls():
        visitors = pl.select(pl.coalesce(visitors, _text(events, "session_id"))).to_series()
    if "ip" not in events.columns or not visitors.has_nulls():
        return visitors
    nameless = visitors.is_null()
    rest = events if nameless.all() else events.filter(nameless)
    derived = derive_visitors(_text(rest, "ip"), _user_agent(rest))
    return replace_rows(visitors, nameless, derived)


def _text(events: pl.DataFrame, name: str) -> pl.Series:
    """The column, or nulls where it is absent; empty texts are nulls."""
    if name not in events.columns:
        return pl.Series(name, [None], pl.String).new_from_index(0, events.height)
    column = events[name]
    empty = column == ""
    return column.set(empty, None) if empty.any() else column


def _user_agent(events: pl.DataFrame) -> pl.Series | None:
    return events["user_agent"] if "user_agent" in events.columns else None


def _digests(ip: pl.Series, user_agent: pl.Series | None) -> pl.Series:
    ip_text = pl.concat_str(pl.lit(ip).str.len_bytes(), pl.lit(":"), pl.lit(ip))
    agent_text = pl.lit("-") if user_agent is None else ("+" + pl.lit(user_agent)).fill_null("-")
    texts = pl.select(pl.concat_str(ip_text, agent_text).alias("visitor"))
    return texts.select(polars_hash.col("visitor").chash.blake3().str.head(32)).to_series()
