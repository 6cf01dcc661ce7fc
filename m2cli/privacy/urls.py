"""URLs and referrers by allow-list: what comes out is put together from what a rule names, never cut out of a text.

However a URL hides something (encoded once or five times, in capitals, after `#` or `;`, before `@`), it has to be a
listed path with plain ids, a listed parameter with a plain value, or a host, or it is not there.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import polars as pl

from m2cli.stages.distinct import map_distinct, replace_rows

if TYPE_CHECKING:
    from m2cli.privacy.rule import PrivacyRule

# A word or a number, no address, no mail address, no URL.
_WORD = r"[\p{L}\p{N}][\p{L}\p{N}_.~+-]*"
# Characters that a word has at most. To count them here takes nothing; `{0,63}` takes 25 ms to compile, and each batch
# compiles anew.
_LONGEST_WORD = 64
_ADDRESS = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
# As one dials it from abroad; 14 digits are a product's as well, and stay.
_TELEPHONE = r"(?:^|[/=])00[1-9](?:[0-9]{7,10}|[0-9]{12})(?:[/?&]|$)"
# With a letter in front of the last part, so that it is no address.
_HOST = r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$"
_WEB = r"(?i)^(https?|android-app)://"
_TIMES_DECODED = 5  # who encodes more often than that hides something


def clean_urls(urls: pl.Series, rule: PrivacyRule) -> pl.Series:
    """Of each of `urls` (String) the path and query that `rule` names; of the shop's own hosts with the host.

    Null where the path is not listed.
    """
    return map_distinct(urls, lambda distinct: _clean(distinct, rule, is_referrer=False))


def clean_referrers(referrers: pl.Series, rule: PrivacyRule) -> pl.Series:
    """Of each of `referrers` (String) the host, as `https://host`; of the shop's own with what `rule` names.

    Null where there is none that can be told from an address.
    """
    return map_distinct(referrers, lambda distinct: _clean(distinct, rule, is_referrer=True))


def _clean(urls: pl.Series, rule: PrivacyRule, *, is_referrer: bool) -> pl.Series:
    parts = _split(urls)
    place = _clean_paths(parts["path"], rule) + _clean_queries(parts["query"], rule)
    host = pl.col("host")
    # Literals that end a host's name: `shop.example` and `www.shop.example`, not `notshop.example`.
    ends = [(host == own) | host.str.ends_with(f".{own}") for own in sorted(rule.own_hosts)]
    is_own = pl.any_horizontal(ends) if ends else pl.lit(value=False)
    of_own = pl.when("is_own").then(pl.col("site") + pl.col("place"))
    # A referrer's host says where somebody came from; that of a URL is the shop's, or what the client pretends.
    elsewhere = pl.col("site") if is_referrer else pl.when(~pl.col("is_own").fill_null(value=False)).then("place")
    cleaned = pl.when(pl.col("scheme").is_null()).then("place").otherwise(pl.coalesce(of_own, elsewhere))
    # Step by step: what two expressions of one step share, Polars computes twice.
    url = (
        parts.select("scheme", place=place, site=pl.col("scheme") + "://" + host, is_own=is_own)
        .select(url=cleaned)
        .select(pl.when(~pl.col("url").str.contains(_ADDRESS) & ~pl.col("url").str.contains(_TELEPHONE)).then("url"))
    )
    return url.to_series().rename(urls.name)


def _split(urls: pl.Series) -> pl.DataFrame:
    """`scheme` (null where the URL is a path), `host` (null where it is none), `path`, `query` (maybe empty)."""
    text, rest, local, host = (pl.col(name) for name in ("text", "rest", "local", "host"))
    is_web = pl.col("scheme").is_not_null()
    is_path = text.str.contains(r"^(?:/(?:[^/]|$)|\?)")
    bare_host = rest.str.extract(r"(?s)^(?:[^/?]*@)?([^/?]*)").str.to_lowercase()
    return (
        urls.to_frame("url")
        .select(text=pl.col("url").str.replace(r"(?s)#.*$", ""))
        .with_columns(scheme=text.str.extract(_WEB).str.to_lowercase(), rest=text.str.replace(_WEB, ""))
        .with_columns(
            host=pl.when(is_web).then(bare_host.str.replace(r":[0-9]*$", "").str.strip_chars_end(".")),
            local=pl.when(is_web).then(rest.str.replace(r"(?s)^[^/?]*", "")).when(is_path).then(text),
        )
        .with_columns(path=local.str.replace(r"(?s)\?.*$", ""), query=local.str.extract(r"(?s)\?(.*)$"))
        .select(
            "scheme",
            host=pl.when(host.str.contains(_HOST)).then(host),
            path=pl.when(pl.col("path") == "").then(pl.lit("/")).otherwise("path"),
            query=pl.col("query").fill_null(""),
        )
    )


def _clean_paths(paths: pl.Series, rule: PrivacyRule) -> pl.Series:
    plain = decode(paths)
    if plain.str.contains(";", literal=True).any():
        plain = plain.str.replace_all(r"(?s);[^/]*", "")
    cleaned = pl.Series("path", [None], pl.String).new_from_index(0, len(plain))
    place, rest = pl.int_range(len(plain), dtype=pl.UInt32, eager=True), plain
    for pattern in rule.paths:  # of two that fit, the first
        regex, template, has_ids = _compile_path(pattern)
        is_hit = _have_ids(rest, regex) if has_ids else rest.str.contains(regex).fill_null(value=False)
        if is_hit.any():
            cleaned = cleaned.scatter(place.filter(is_hit), rest.filter(is_hit).str.replace(regex, template))
            place, rest = place.filter(~is_hit), rest.filter(~is_hit)
    return cleaned


def _have_ids(paths: pl.Series, regex: str) -> pl.Series:
    """Which of `paths` fit `regex` with words for ids."""
    are_words = pl.all_horizontal(pl.all().str.len_chars() <= _LONGEST_WORD)
    return paths.str.extract_groups(regex).struct.unnest().select(are_words.fill_null(value=False)).to_series()


class _Path(NamedTuple):
    regex: str
    template: str
    has_ids: bool


@lru_cache(maxsize=256)
def _compile_path(pattern: str) -> _Path:
    """The regex of the paths that `pattern` means, and what becomes of one: its own letters, and the ids."""
    regex, template, count = "", "", 0
    for segment in filter(None, pattern.split("/")):
        if segment == "**":
            regex, template = rf"{regex}(?:/.*)?", f"{template}/**"
        elif segment == "*":
            regex, template = rf"{regex}/[^/]+", f"{template}/*"
        elif segment.startswith("{"):
            count += 1
            regex, template = rf"{regex}/({_WORD})", f"{template}/${{{count}}}"
        else:
            regex, template = f"{regex}/{pl.escape_regex(segment)}", f"{template}/{segment.replace('$', '$$')}"
    return _Path(rf"(?is)^{regex}/?$", template or "/", count > 0)


def _clean_queries(queries: pl.Series, rule: PrivacyRule) -> pl.Series:
    """`?name=value&...` of the listed parameters, in the order of their names; empty where there are none."""
    blank = pl.Series("query", [""]).new_from_index(0, len(queries))
    is_query = queries != ""
    if not rule.parameters or not is_query.any():
        return blank
    decoded = decode(queries.filter(is_query))
    names = [f"{name}=" for name in rule.parameters]
    # What is not ASCII may fold into a name: to look for it takes less than to compile what takes words out.
    may_have_words = decoded.str.contains_any(names, ascii_case_insensitive=True) | decoded.str.contains("[^[:ascii:]]")
    if not may_have_words.any():
        return blank
    plain = pl.lit(decoded.str.replace_all(" ", "+", literal=True))
    joined = pl.concat_str(
        [_keep_word(name, plain) for name in sorted(rule.parameters)], separator="&", ignore_nulls=True
    )
    words = pl.select(query=joined).to_series()
    named = pl.select(pl.when(words != "").then("?" + words).otherwise(pl.lit("")).alias("query")).to_series()
    return replace_rows(blank, is_query, named)


def _keep_word(name: str, queries: pl.Expr) -> pl.Expr:
    """`name=value` where the parameter `name` of decoded `queries` is a word; else null."""
    word = queries.str.extract(rf"(?:^|[&;])(?i:{pl.escape_regex(name)})=({_WORD})(?:[&;]|$)")
    return pl.when(word.str.len_chars() <= _LONGEST_WORD).then(pl.lit(f"{name}=") + word)


def decode(texts: pl.Series) -> pl.Series:
    """`texts` without percent-encoding, however often it was done; null where it goes on and on."""
    is_encoded = texts.str.contains("%", literal=True).fill_null(value=False)
    if not is_encoded.any():
        return texts
    decoded = [_decode_one(text) for text in texts.filter(is_encoded)]
    return replace_rows(texts, is_encoded, pl.Series(texts.name, decoded, pl.String))


def _decode_one(text: str) -> str | None:
    for _ in range(_TIMES_DECODED):
        before, text = text, unquote(text, errors="replace")
        if text == before:
            return text
    return None if re.search("%[0-9A-Fa-f]{2}", text) else text
