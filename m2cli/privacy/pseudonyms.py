"""Pseudonyms: events and visits in, the same rows out, with nothing in them that leads to a person (DESIGN 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA, VISIT_SCHEMA
from m2cli.privacy.fields import FIELDS, REFERENCES, normalize
from m2cli.privacy.texts import clean_attributes, clean_currencies, clean_texts
from m2cli.privacy.urls import clean_referrers, clean_urls
from m2cli.stages.distinct import code_values, replace_rows
from m2cli.stages.enrich import add_client

if TYPE_CHECKING:
    from m2cli.privacy.rule import PrivacyRule
    from m2cli.privacy.salts import Salts

# What leads back to the raw logs, and what is told by `browser`, `device` and `is_robot`.
LEFT_OUT = frozenset({"source", "part_id", "position_in_source", "arrival_time", "user_agent"})
_URLS = ("url", "landing_url", "exit_url")
# Nearly every row has one of its own, so that finding the distinct ones would cost more than hashing all.
_UNIQUE = frozenset({"event_id"})


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


def pseudonymize_values(values: pl.Series, field: str, starts: pl.Series, rule: PrivacyRule, salts: Salts) -> pl.Series:
    """The pseudonym of each of `values` as one of `field`, by the salt of the year of `starts`; null stays null."""
    years = list_years(starts.filter(values.is_not_null()))
    if len(years) == 1:
        return _digest(values, field, years[0], rule, salts)
    made = pl.Series(values.name, [None], pl.String).new_from_index(0, len(values))
    for year in years:
        is_of_year = (starts.dt.year() == year).fill_null(value=False)
        made = replace_rows(made, is_of_year, _digest(values.filter(is_of_year), field, year, rule, salts))
    return made


def _pseudonymize(frame: pl.DataFrame, rule: PrivacyRule, salts: Salts, columns: list[str]) -> pl.DataFrame:
    starts = frame["start_time"]
    kept = [name for name in columns if name in frame.columns and name not in LEFT_OUT]
    made = [
        pseudonymize_values(frame[name], FIELDS[name], _starts_of(frame, name, starts), rule, salts)
        for name in kept
        if name in FIELDS
    ]
    made += [clean_urls(frame[name], rule) for name in _URLS if name in kept]
    if "referrer" in kept:
        made.append(clean_referrers(frame["referrer"], rule))
    if "attributes" in kept:
        made.append(clean_attributes(frame["attributes"], rule))
    if "revenue_by_currency" in kept:
        made.append(clean_currencies(frame["revenue_by_currency"]))
    return clean_texts(frame.select(kept), rule).with_columns(made)


def _starts_of(frame: pl.DataFrame, name: str, starts: pl.Series) -> pl.Series:
    other = REFERENCES.get(name)
    if other is None or other not in frame.columns or frame[other].null_count() == frame.height:
        return starts
    return frame.select(pl.coalesce(other, pl.lit(starts))).to_series()


def _start_times(events: pl.DataFrame) -> pl.Expr:
    if "start_time" in events.columns:
        return pl.col("start_time")
    if "visit_id" not in events.columns:
        return pl.col("event_time")
    first = pl.col("event_time").min().over("visit_id")
    return pl.when(pl.col("visit_id").is_null()).then("event_time").otherwise(first)


def _digest(values: pl.Series, field: str, year: int, rule: PrivacyRule, salts: Salts) -> pl.Series:
    salt = salts.find(year)
    if values.name in _UNIQUE:
        return salt.digest(field, normalize(values, field, rule))
    coded = code_values(values)
    return coded.spread(salt.digest(field, normalize(coded.values, field, rule))).rename(values.name)
