"""Free text by allow-list: of each column what passes, and what becomes of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import REVENUE
from m2cli.stages.browsers import DEVICE_PATTERNS, OTHER_BROWSER, OTHER_DEVICE, ROBOT_DEVICE
from m2cli.stages.distinct import replace_rows

if TYPE_CHECKING:
    from collections.abc import Collection

    from m2cli.privacy.rule import PrivacyRule

# uap-core calls a robot whatever it calls itself, which is free text; so that families pass by name, too.
BROWSERS = frozenset(
    {
        *("Chrome", "Chrome Mobile", "Chrome Mobile iOS", "Chrome Mobile WebView", "Chromium", "HeadlessChrome"),
        *("Firefox", "Firefox Mobile", "Firefox iOS", "Safari", "Mobile Safari", "Mobile Safari UI/WKWebView"),
        *("Edge", "Edge Mobile", "IE", "IE Mobile", "Opera", "Opera Mobile", "Opera Mini", "Opera Touch", "Brave"),
        *("Samsung Internet", "Android", "UC Browser", "MiuiBrowser", "Vivaldi", "Yandex Browser", "QQ Browser"),
        *("DuckDuckGo Mobile", "Huawei Browser", "Silk", "Amazon Silk", "Google", "Facebook", "Instagram", "Pinterest"),
        *("Googlebot", "Googlebot-Image", "bingbot", "AdsBot-Google", "Applebot", "Baiduspider", "YandexBot"),
        *("DuckDuckBot", "AhrefsBot", "SemrushBot", "MJ12bot", "PetalBot", "Bytespider", "GPTBot", "ClaudeBot"),
        *("FacebookBot", "Twitterbot", "LinkedInBot", "Slackbot", "Python Requests", "curl", "Wget", "Java", "okhttp"),
        OTHER_BROWSER,
    }
)
DEVICES = frozenset({*DEVICE_PATTERNS.values(), ROBOT_DEVICE, OTHER_DEVICE})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"})
END_REASONS = frozenset({"inactivity", "max_duration", "end_of_input", "flush"})
OTHER = "other"
# A mail address, as it is or encoded, an address of version 4 or 6, and a telephone number as one dials it from abroad.
_PERSONAL = (
    r"(?i)@|%40|^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|^[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$"
    r"|^\s*(?:tel:)?(?:\+|%2b)\(?[1-9](?:[ ().\-/]|%20)*(?:[0-9](?:[ ().\-/]|%20)*){6,14}$"
    r"|^\s*(?:tel:)?00(?:[ ().\-/]|%20)*[1-9](?:[ ().\-/]|%20)*(?:[0-9](?:[ ().\-/]|%20)*){6,14}$"
)
# Products have numbers that begin with 00, too, of 14 digits with a check digit (GS1 General Specifications, 7.9).
_GTIN = r"^00[0-9]{12}$"
_COUNTRY, _CURRENCY = "^[A-Z]{2}$", "^[A-Z]{3}$"


def clean_texts(frame: pl.DataFrame, rule: PrivacyRule) -> pl.DataFrame:
    """`frame` with all columns of closed or named values (String) cut down to these; others as they are."""
    columns = [each for each in _list_columns(rule) if each.name in frame.columns]
    # Nearly always all is as it should be: to find that out takes a third of choosing anew, row by row.
    are_right = frame.select(each.is_right.all() for each in columns).row(0) if columns else ()
    cleaned = [each.cleaned for each, is_right in zip(columns, are_right, strict=True) if not is_right]
    if "entity_id" in frame.columns:
        is_about_thing = pl.lit(value=False)
        if "entity_type" in frame.columns:
            is_about_thing = pl.col("entity_type").is_in(sorted(rule.entity_types))
        cleaned.append(_keep_things(is_about_thing))
    return frame.with_columns(cleaned)


class _Column(NamedTuple):
    """A column of closed or named values."""

    name: str
    is_right: pl.Expr
    """Of each of some values among which are all that the column has, whether it may pass; null for null."""
    cleaned: pl.Expr


def _list_columns(rule: PrivacyRule) -> list[_Column]:
    return [
        _keep_named("event_type", rule.event_types, OTHER),
        _keep_named("method", METHODS),
        _keep_named("entity_type", rule.known_entity_types, OTHER),
        _keep_named("hook", rule.hooks, OTHER),
        _keep_named("reason", rule.reasons, OTHER),
        _keep_named("end_reason", END_REASONS),
        _keep_named("browser", BROWSERS, OTHER_BROWSER),
        _keep_named("device", DEVICES, OTHER_DEVICE),
        _keep_shaped("country", _COUNTRY),
        _keep_shaped("currency", _CURRENCY),
    ]


def _keep_named(name: str, allowed: Collection[str], other: str | None = None) -> _Column:
    """The column `name` where it has one of `allowed`; `other` where it has something else, null where it is null."""
    column = pl.col(name)
    is_named = column.is_in(sorted(allowed))
    rest = pl.when(column.is_not_null()).then(pl.lit(other, pl.String))
    return _Column(name, is_named, pl.when(is_named).then(column).otherwise(rest).alias(name))


def _keep_shaped(name: str, shape: str) -> _Column:
    """The column `name` where it has this `shape`."""
    column = pl.col(name)
    return _Column(name, column.unique().str.contains(shape), pl.when(column.str.contains(shape)).then(column))


def _keep_things(is_about_thing: pl.Expr) -> pl.Expr:
    """The ids of things, but for what reads like a person's: whoever writes events may put anything there."""
    is_personal = pl.col("entity_id").map_batches(_are_personal, pl.Boolean)
    return pl.when(is_about_thing & ~is_personal).then("entity_id")


def _are_personal(ids: pl.Series) -> pl.Series:
    is_personal = ids.str.contains(_PERSONAL)
    is_number = is_personal & ids.str.contains(_GTIN)
    if not is_number.any():
        return is_personal
    digits = [ids.filter(is_number).str.slice(place, 1).cast(pl.Int32) * (1 if place % 2 else 3) for place in range(14)]
    is_product = pl.select(pl.sum_horizontal(digits) % 10 == 0).to_series()
    return replace_rows(is_personal, is_number.fill_null(value=False), ~is_product)


def clean_attributes(attributes: pl.Series, rule: PrivacyRule) -> pl.Series:
    """`attributes` (map of strings) with the listed names alone; null where none is left."""
    return _clean_map(attributes, pl.element().struct.field("key").is_in(sorted(rule.attributes)), pl.String())


def clean_currencies(sums: pl.Series) -> pl.Series:
    """`sums` (map of money by currency) without what is no currency's name."""
    return _clean_map(sums, pl.element().struct.field("key").str.contains(_CURRENCY), REVENUE)


def _clean_map(maps: pl.Series, is_kept: pl.Expr, value: pl.DataType) -> pl.Series:
    some = maps.is_not_null()
    if not some.any():
        return maps
    entries = maps.filter(some).cast(pl.List(pl.Struct({"key": pl.String, "value": value})))
    kept = entries.list.filter(is_kept)
    kept = pl.select(pl.when(pl.lit(kept).list.len() > 0).then(pl.lit(kept))).to_series()
    blank = maps.clear(maps.len()).cast(kept.dtype)
    return replace_rows(blank, some, kept).cast(maps.dtype).rename(maps.name)
