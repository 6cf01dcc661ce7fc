"""Pseudonyms: events and visits in, the same rows out, with nothing in them that leads to a person (DESIGN 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA, VISIT_SCHEMA
from m2cli.privacy.fields import FIELDS, REFERENCES, normalize
from m2cli.privacy.texts import clean_attributes, clean_currencies, clean_texts
from m2cli.privacy.urls import clean_referrers, clean_urls
from m2cli.stages.distinct import map_together, replace_rows
from m2cli.stages.enrich import add_client

if TYPE_CHECKING:
    from m2cli.privacy.rule import PrivacyRule
    from m2cli.privacy.salts import Salts

# What leads back to the raw logs, and what is told by `browser`, `device` and `is_robot`.
LEFT_OUT = frozenset({"source", "part_id", "position_in_source", "arrival_time", "user_agent"})
_URLS = ("url", "landing_url", "exit_url")
# Values are hashed once for each run of equal ones: where visits are whole, that is once for nearly each distinct one,
# and to find the others would cost more than to hash them (0.3 us a value against 1 us by a Categorical).
_FEW_REPEATED = 0.8


def pseudonymize(events: pl.DataFrame, rule: PrivacyRule, salts: Salts) -> pl.DataFrame:
    """`events` with pseudonyms in the place of identifiers, and of free text only what `rule` names.

    Reads any columns of the lake's events; what is none of them does not pass. The key of an event is the salt of the
    year in which its visit started: of `start_time` where that is there, else of the first of its `visit_id` in the
    frame, else of the event's own time. A cause is keyed by the year of `cause_start_time`, the start of the visit that
    the cause lies in, where that is there and not null, else as the event itself. Neither column is in what comes out,
    nor is any of `LEFT_OUT`; `browser`, `device` and `is_robot` are added where there is only a `user_agent`.

    Country is to be added before, from the address. Raises `PrivacyError` for a year without a salt.
    """
    if "browser" not in events.columns:
        events = add_client(events)
    return _pseudonymize(events.with_columns(start_time=_start_times(events)), rule, salts, list(LAKE_EVENT_SCHEMA))


def pseudonymize_visits(visits: pl.DataFrame, rule: PrivacyRule, salts: Salts) -> pl.DataFrame:
    """`visits` in the same way; `visit_id` and `visitor_id` become what they are in the visits' events.

    The visit that one continues is keyed by the year of `continues_start_time`, where that is there and not null.
    """
    return _pseudonymize(visits, rule, salts, list(VISIT_SCHEMA))


def list_years(starts: pl.Series) -> list[int]:
    """The years of `starts`, in order."""
    return starts.dt.year().unique().drop_nulls().sort().to_list()


def pseudonymize_values(values: pl.Series, field: str, years: pl.Series, rule: PrivacyRule, salts: Salts) -> pl.Series:
    """The pseudonym of each of `values` as one of `field`, by the salt of its year; null stays null."""
    distinct = years.unique().drop_nulls().to_list()
    if len(distinct) == 1:
        return _digest(values, field, distinct[0], rule, salts)
    made = pl.Series(values.name, [None], pl.String).new_from_index(0, len(values))
    for year in distinct:
        is_of_year = (years == year).fill_null(value=False)
        made = replace_rows(made, is_of_year, _digest(values.filter(is_of_year), field, year, rule, salts))
    return made


def _pseudonymize(frame: pl.DataFrame, rule: PrivacyRule, salts: Salts, columns: list[str]) -> pl.DataFrame:
    kept = [name for name in columns if name in frame.columns and name not in LEFT_OUT]
    years = frame["start_time"].dt.year()
    made = [
        pseudonymize_values(frame[name], FIELDS[name], _years_of(frame, name, years), rule, salts)
        for name in kept
        if name in FIELDS
    ]
    made += map_together([frame[name] for name in _URLS if name in kept], lambda urls: clean_urls(urls, rule))
    if "referrer" in kept:
        made.append(clean_referrers(frame["referrer"], rule))
    if "attributes" in kept:
        made.append(clean_attributes(frame["attributes"], rule))
    if "revenue_by_currency" in kept:
        made.append(clean_currencies(frame["revenue_by_currency"]))
    return clean_texts(frame.select(kept), rule).with_columns(made)


def _years_of(frame: pl.DataFrame, name: str, years: pl.Series) -> pl.Series:
    """The year that each value of the column `name` is keyed by: the row's, or that of where a reference leads."""
    other = REFERENCES.get(name)
    if other is None or other not in frame.columns or frame[other].null_count() == frame.height:
        return years
    return frame.select(pl.coalesce(pl.col(other).dt.year(), pl.lit(years))).to_series()


def _start_times(events: pl.DataFrame) -> pl.Expr:
    if "start_time" in events.columns:
        return pl.col("start_time")
    if "visit_id" not in events.columns:
        return pl.col("event_time")
    first = pl.col("event_time").min().over("visit_id")
    return pl.when(pl.col("visit_id").is_null()).then("event_time").otherwise(first)


def _digest(values: pl.Series, field: str, year: int, rule: PrivacyRule, salts: Salts) -> pl.Series:
    salt = salts.find(year)
    starts = values.ne_missing(values.shift())
    if int(starts.sum()) > len(values) * _FEW_REPEATED or not len(values):
        return salt.digest(field, normalize(values, field, rule))
    starts[0] = True
    run = starts.cum_sum() - 1
    return salt.digest(field, normalize(values.filter(starts), field, rule)).gather(run).rename(values.name)
