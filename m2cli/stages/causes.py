"""Causes of pages in access logs, which have none of their own: from the referrers (DESIGN 6.4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from m2cli.events import PAGE
from m2cli.stages.distinct import code_alike, code_values, replace_rows
from m2cli.stages.origins import CAMPAIGN, DIRECT, describe_referrers, describe_urls

_NEEDED = {"visit_id", "event_type", "url", "referrer", "event_id"}


@dataclass(frozen=True, kw_only=True)
class CauseRule:
    """Which hosts are the shop's own. None named: a referrer is the shop's if its page is in the visit."""

    own_hosts: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "own_hosts", frozenset(host.lower().rstrip(".") for host in self.own_hosts))


def derive_causes(whole_visits: pl.DataFrame, rule: CauseRule) -> pl.DataFrame:
    """`whole_visits` with `cause_id` and `reason` (String) for pages that have no cause, all else as it was.

    Reads `visit_id`, `event_type`, `url`, `referrer`, `event_id` (String); unchanged where one is absent. The
    rows of a visit are adjacent and in the order of its events. A page's cause is the latest earlier page of
    its visit whose URL is its referrer. They are compared as text, without scheme, fragment and host, because
    logs hold paths; a page whose `url` has a host needs a referrer of that host. Which referrers can be the
    shop's is said by `rule`: with `own_hosts`, those of these hosts and their subdomains; without, all but
    those of known search engines and social networks.

    A page without such a cause is a root, and gets a reason if it has none: `campaign` if its URL says so
    (utm_*, gclid, ...), else `search` or `social` by the referrer's host, else `link`, or `direct` where
    there is no referrer. A referrer of the shop whose page is not in the visit (it came from a cache, or
    belongs to an earlier visit) is a `link` too: that something was followed is all that is known.
    """
    if not set(whole_visits.columns) >= _NEEDED:
        return whole_visits
    absent = [name for name in ("cause_id", "reason") if name not in whole_visits.columns]
    events = whole_visits.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    is_page = (events["event_type"] == PAGE).fill_null(value=False)
    pages = events.with_columns(visit=pl.col("visit_id").rle_id()).filter(is_page)
    described = pages.select("visit").hstack(_describe(pages, rule))
    cause = find_causes(described)
    is_root = cause.is_null() & pages["cause_id"].is_null()
    derived = pages.select(
        pl.col("cause_id").fill_null(pages["event_id"].gather(cause)),
        pl.when(is_root).then(pl.col("reason").fill_null(described["origin"])).otherwise("reason"),
    )
    return events.with_columns(replace_rows(events[name], is_page, derived[name]) for name in ("cause_id", "reason"))


def derive_log_causes(whole_visits: pl.DataFrame, rule: CauseRule) -> pl.DataFrame:
    """`derive_causes` for the events that come from logs; all others say themselves what caused them (DESIGN 6.4)."""
    is_from_log = come_from_logs(whole_visits)
    if not is_from_log.any():
        return whole_visits
    if is_from_log.all():
        return derive_causes(whole_visits, rule)
    derived = derive_causes(whole_visits.filter(is_from_log), rule)
    columns = whole_visits.with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("cause_id", "reason") if name not in whole_visits.columns
    )
    return columns.with_columns(
        replace_rows(columns[name], is_from_log, derived[name])
        for name in ("cause_id", "reason")
        if name in derived.columns
    )


def come_from_logs(events: pl.DataFrame) -> pl.Series:
    """Which of `events` are lines of an access log, also if they were ingested before: those with a log's ids."""
    if not {"event_id", "part_id", "position_in_source"} <= set(events.columns):
        return pl.repeat(value=False, n=events.height, eager=True)
    id_of_log = pl.concat_str("part_id", pl.lit("-"), "position_in_source")  # DESIGN 3.2
    return events.select((pl.col("event_id") == id_of_log).fill_null(value=False)).to_series()


def find_causes(pages: pl.DataFrame) -> pl.Series:
    """For each of `pages` the row (UInt32) of its cause among them, or null.

    Reads `visit` (the rows of one are adjacent), `has_host` (Boolean), and as codes of one list of texts
    `page`, `page_here` and `page_there`.
    """
    in_path = pages.select("visit", at=pl.when(~pl.col("has_host")).then("page"), wanted="page_here")
    with_host = pages.select("visit", at=pl.when("has_host").then("page"), wanted="page_there")
    return pl.select(pl.max_horizontal(_latest_earlier(in_path), _latest_earlier(with_host))).to_series()


def _latest_earlier(pages: pl.DataFrame) -> pl.Series:
    """For each row the latest earlier one of its visit that is `at` where it is `wanted`."""
    place = pl.col("visit").cast(pl.UInt64) * 2**32
    keys = pages.select(at=place + pl.col("at"), wanted=place + pl.col("wanted")).with_row_index("row")
    if keys["at"].null_count() == keys.height:
        return pl.Series([None], dtype=pl.UInt32).new_from_index(0, keys.height)
    # The page right before is quickly asked; the as-of join is for those that follow no such page.
    is_previous = (keys["wanted"] == keys["at"].shift()).fill_null(value=False)
    is_open = ~is_previous & keys["wanted"].is_not_null()
    others = keys.filter(is_open).select("row", key="wanted")
    earlier = keys.filter(keys["at"].is_not_null()).select("row", key="at", cause="row")
    found = others.join_asof(earlier, on="row", by="key", allow_exact_matches=False, check_sortedness=False)
    previous = pl.select(pl.when(is_previous).then(keys["row"] - 1)).to_series()
    return replace_rows(previous, is_open, found["cause"])


def _describe(pages: pl.DataFrame, rule: CauseRule) -> pl.DataFrame:
    """The columns that `find_causes` reads, and `origin` (String): the reason of a page without a cause."""
    urls, referrers = code_values(pages["url"]), code_values(pages["referrer"])
    of_url, of_referrer = describe_urls(urls.values), describe_referrers(referrers.values, rule.own_hosts)
    page, page_here, page_there = code_alike(of_url["page"], of_referrer["page_here"], of_referrer["page_there"])
    is_campaign = urls.spread(of_url["is_campaign"])
    origin = referrers.spread(of_referrer["origin"])
    return pl.DataFrame(
        {
            "page": urls.spread(page),
            "has_host": urls.spread(of_url["has_host"]),
            "page_here": referrers.spread(page_here),
            "page_there": referrers.spread(page_there),
            "origin": pl.select(
                pl.when(is_campaign).then(pl.lit(CAMPAIGN)).otherwise(pl.lit(origin).fill_null(DIRECT))
            ).to_series(),
        }
    )
