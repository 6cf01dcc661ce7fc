"""Redaction at the source: passwords, tokens and card numbers never get into a file of m2."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import UsageError
from m2cli.stages.distinct import code_values, replace_rows
from m2cli.stages.own_patterns import check_patterns, redact_own, suspect_own
from m2cli.stages.secret_spans import (
    REDACTED,
    TAIL,
    either_name,
    find_literals,
    find_secret_name,
    find_secrets,
    redact_spans,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from m2cli.events import Intake

# Compared without regard to case, `_`, `-` and `.`; see `is_secret_name` for what else each stands for.
# Not listed: `code`, in shops a coupon, a product or a country far more often than an OAuth code, which works
# only once; `key`; `user` and `email`, since identity is the privacy filter's matter (DESIGN 6.2).
SECRET_NAMES = frozenset(
    {
        *("password", "passwd", "passwort", "pwd", "pass", "passphrase", "passcode", "pin", "otp", "totp"),
        *(
            "token",
            "access_token",
            "id_token",
            "refresh_token",
            "jwt",
            "bearer",
            "assertion",
            "saml_response",
        ),
        *(
            "auth",
            "authorization",
            "credential",
            "credentials",
            "secret",
            "client_secret",
            "signature",
            "sig",
        ),
        *("api_key", "access_key", "private_key", "secret_key", "auth_key"),
        # A session id in a URL is as good as the password, as long as it lasts.
        *("session", "session_id", "sess_id", "jsessionid", "phpsessid", "aspsessionid", "sid"),
        *("card", "card_number", "card_no", "cc", "cc_number", "cc_num", "credit_card", "pan"),
        *("cvv", "cvv2", "cvc", "cvc2", "csc", "card_code", "security_code"),
        *("iban", "ssn", "social_security_number"),
    }
)

_ENCODED = "%(?:25)*"
_MARK = "\x01"
_MARKED = f"{_MARK}([^{_MARK}]*){_MARK}"
# One of these is in every text that holds a secret; most texts have none, and cost no more than this look.
_URL_SIGNS = r"""[=%@?#;&"']"""
_TEXT_SIGNS = r"[=%@:]|[0-9][0-9 +._-]{12}"
# Besides those that the default list is for: only own patterns are looked for.
_FREE_TEXTS = ("user_agent", "entity_id", "reason")
_SEPARATOR = rf"(?:[ +._-]|{_ENCODED}2[0bdeBDE])"


@dataclass(frozen=True, kw_only=True)
class RedactionRule:
    """Which parameters hold secrets, by name, and which patterns; card numbers and userinfo go whatever the names.

    Raises `UsageError` for what is no parameter's name and no regular expression.
    """

    names: frozenset[str] = field(default=SECRET_NAMES)
    patterns: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions, as Rust has them, by the name that they are counted by."""

    def __post_init__(self) -> None:
        check_patterns(self.patterns)
        for name in self.names:
            if not name.isascii() or not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
                raise UsageError(f"`{name}` is no parameter's name; write letters, digits, `_`, `-` and `.` only")
        object.__setattr__(self, "names", frozenset(name.lower() for name in self.names))


class Redacted(NamedTuple):
    """A frame without secrets, and how many there were, by name."""

    frame: pl.DataFrame
    counts: Counter[str]


def redact(frame: pl.DataFrame, rule: RedactionRule) -> pl.DataFrame:
    """`frame` (events or rejects) with each secret replaced by `[redacted]`; all else stays byte for byte.

    Looks into those of `url`, `referrer`, `attributes` and `raw` that are there: values of listed names
    (whatever case, percent-encoding and nesting of URL in URL; after `?`, `&`, `;` and `#`, and in JSON),
    userinfo (`https://user:password@host`), card numbers (Luhn) outside the path of a URL. What the rule's own
    patterns match goes there and in `user_agent`, `entity_id` and `reason`. DESIGN 6.6.
    """
    return redact_and_count(frame, rule).frame


def redact_intake(piece: Intake, rule: RedactionRule) -> Intake:
    """`piece` with the secrets of its events and rejects replaced, and counted."""
    events, rejects = redact_and_count(piece.events, rule), redact_and_count(piece.rejects, rule)
    counts = tuple((events.counts + rejects.counts).items())
    return piece._replace(events=events.frame, rejects=rejects.frame, redacted_counts=counts)


def redact_and_count(frame: pl.DataFrame, rule: RedactionRule) -> Redacted:
    """As `redact`, with the number of secrets by what they are: a listed name, a pattern's, a card, userinfo."""
    counts: Counter[str] = Counter()
    urls = [name for name in ("url", "referrer") if name in frame.columns]
    # Both columns in one `select`: Polars then looks through them side by side.
    suspects = frame.select(pl.col(urls).map_batches(lambda texts: _suspect(texts, rule, is_url=True), pl.Boolean))
    columns = [_redact_suspects(frame[name], suspects[name], _Kind(rule, counts, is_url=True)) for name in urls]
    if "raw" in frame.columns:
        columns.append(_redact_texts(frame["raw"], _Kind(rule, counts)))
    if "attributes" in frame.columns:
        columns.append(_redact_attributes(frame["attributes"], _Kind(rule, counts)))
    if rule.patterns:
        own = _Kind(rule, counts, is_listed=False)
        columns += [_redact_texts(frame[name], own) for name in _FREE_TEXTS if name in frame.columns]
    return Redacted(frame.with_columns(columns), counts)


def redact_texts(texts: pl.Series, rule: RedactionRule, *, is_url: bool = False) -> pl.Series:
    """`texts` (String, of any kind) redacted; of URLs (`is_url`) the path keeps its long numbers.

    Two regexes, at 0.03 to 0.1 µs a row, find the few rows that may hold a secret, and one for each own pattern. Only
    their distinct values are looked at closely: the common forms by column, the rest one by one at 50 µs.
    """
    return _redact_texts(texts, _Kind(rule, Counter(), is_url=is_url))


def redact_attributes(attributes: pl.Series, rule: RedactionRule) -> pl.Series:
    """`attributes` (map of strings) with values of listed names replaced and the others redacted as texts."""
    return _redact_attributes(attributes, _Kind(rule, Counter()))


class _Kind(NamedTuple):
    """What is looked for in a column's texts, and where it is counted."""

    rule: RedactionRule
    counts: Counter[str]
    is_url: bool = False
    is_listed: bool = True
    """Whether by the default list, too, or by own patterns alone."""


def _redact_texts(texts: pl.Series, kind: _Kind) -> pl.Series:
    suspects = _suspect(texts, kind.rule, is_url=kind.is_url, is_listed=kind.is_listed)
    return _redact_suspects(texts, suspects, kind)


def _redact_attributes(attributes: pl.Series, kind: _Kind) -> pl.Series:
    entries = attributes.cast(pl.List(pl.Struct({"key": pl.String, "value": pl.String})))
    flat = (
        pl.DataFrame({"row": pl.int_range(attributes.len(), eager=True), "entry": entries})
        .explode("entry", empty_as_null=False, keep_nulls=False)
        .unnest("entry")
    )
    listed = {name: find_secret_name(name, kind.rule.names) for name in flat["key"].unique() if name}
    secret_names = {name: each for name, each in listed.items() if each}
    is_secret = flat.select(pl.col("key").is_in(list(secret_names)) & (pl.col("value") != "")).to_series()
    is_secret = is_secret.fill_null(value=False)
    for name, count in flat["key"].filter(is_secret & (flat["value"] != REDACTED)).value_counts().iter_rows():
        kind.counts[secret_names[name]] += count
    others = _redact_texts(flat["value"].filter(~is_secret), kind)
    redacted = flat.with_columns(
        replace_rows(pl.repeat(REDACTED, flat.height, eager=True), ~is_secret, others).alias("value")
    )
    changed = redacted.filter(redacted["value"].ne_missing(flat["value"])).select(pl.col("row").unique())
    if changed.is_empty():
        return attributes
    of_changed = (
        redacted.join(changed, on="row", how="semi", maintain_order="left")
        .group_by("row", maintain_order=True)
        .agg(pl.struct("key", "value").alias("entries"))
    )
    is_changed = pl.int_range(attributes.len(), eager=True).is_in(of_changed["row"].implode())
    return replace_rows(entries, is_changed, of_changed["entries"]).cast(attributes.dtype)


def _suspect(texts: pl.Series, rule: RedactionRule, *, is_url: bool, is_listed: bool = True) -> pl.Series:
    """Which of `texts` may hold a secret."""
    own = suspect_own(texts, rule.patterns) if rule.patterns else None
    if own is not None and not is_listed:
        return own
    possible = texts.str.contains(_URL_SIGNS if is_url else _TEXT_SIGNS).fill_null(value=False)
    if possible.any():
        possible = replace_rows(possible, possible, texts.filter(possible).str.contains(_suspicion(rule.names)))
    return possible if own is None else possible | own


def _redact_suspects(texts: pl.Series, suspects: pl.Series, kind: _Kind) -> pl.Series:
    if not suspects.any():
        return texts
    coded = code_values(texts.filter(suspects))
    weights = pl.zeros(len(coded.values), pl.Int64, eager=True)
    rows = coded.codes.drop_nulls().value_counts()
    weights = weights.scatter(rows.to_series(0), rows.to_series(1).cast(pl.Int64))
    redacted = coded.spread(_redact_distinct(coded.values, weights, kind))
    return replace_rows(texts, suspects, redacted.rename(texts.name))


def _redact_distinct(texts: pl.Series, weights: pl.Series, kind: _Kind) -> pl.Series:
    """`texts`, each of which stands in so many rows (`weights`), without their secrets, which are counted."""
    redacted = _redact_listed(texts, weights, kind) if kind.is_listed else texts
    if not kind.rule.patterns:
        return redacted
    own = redact_own(texts, redacted, kind.rule.patterns)
    for name in kind.rule.patterns:
        if count := int((own.counts[name] * weights).sum()):
            kind.counts[name] += count
    alone = []
    for text, literals in zip(texts.filter(own.alone), own.literals, strict=True):
        secrets = find_secrets(text, kind.rule.names, is_url=kind.is_url) if kind.is_listed else []
        alone.append(redact_spans(text, [*(each.span for each in secrets), *find_literals(text, literals)]))
    return replace_rows(own.redacted, own.alone, pl.Series(texts.name, alone, pl.String))


def _redact_listed(texts: pl.Series, weights: pl.Series, kind: _Kind) -> pl.Series:
    """By column what has one of the common forms, as nearly all secrets have; then the rest, each alone."""
    names = kind.rule.names
    marked = texts
    for pattern in _plain_forms(names):
        marked = marked.str.replace_all(pattern, f"${{1}}{_MARK}${{2}}{_MARK}${{3}}")
    is_rest = marked.str.contains(_suspicion(names)) | texts.str.contains(_MARK, literal=True)
    is_rest = is_rest.fill_null(value=False)
    by_column = marked.str.replace_all(_MARKED, f"${{1}}={REDACTED}")
    is_changed = ~is_rest & by_column.ne_missing(texts)
    for name, count in _count_marked(marked.filter(is_changed), weights.filter(is_changed)):
        kind.counts[find_secret_name(name, names) or name] += count
    alone = []
    for text, weight in zip(texts.filter(is_rest), weights.filter(is_rest), strict=True):
        secrets = find_secrets(text, names, is_url=kind.is_url)
        alone.append(redact_spans(text, [secret.span for secret in secrets]))
        if alone[-1] != text:
            kind.counts.update({name: weight * count for name, count in Counter(each.name for each in secrets).items()})
    return replace_rows(by_column, is_rest, pl.Series(texts.name, alone, pl.String))


def _count_marked(marked: pl.Series, weights: pl.Series) -> Iterator[tuple[str, int]]:
    """How often each name stands between marks."""
    names = pl.DataFrame({"name": marked.str.extract_all(_MARKED), "count": weights}).explode("name").drop_nulls()
    counted = names.group_by(pl.col("name").str.strip_chars(_MARK)).agg(pl.col("count").sum())
    yield from counted.iter_rows()


@lru_cache(maxsize=16)
def _suspicion(names: frozenset[str]) -> str:
    """The regex of every text that `redact_one` would change, and of few others."""
    left, right = rf"(?:\[|{_ENCODED}5b)", rf"(?:\]|{_ENCODED}5d)"
    tail = rf"{TAIL}(?:{left}[a-z0-9_.-]{{0,64}}{right}|{right})*"
    quote = rf"(?:\\|{_ENCODED}5c)*(?:[\"']|{_ENCODED}2[27])?(?:[ \t]|{_ENCODED}(?:20|09))*"
    named = rf"(?:{either_name(names)}){tail}{quote}(?:[=:]|{_ENCODED}3[ad])"
    # Letters, digits, `-`, `.` and `_` need no encoding: who encodes them hides something.
    hidden = rf"{_ENCODED}(?:2[de]|5f|3[0-9]|[46][1-9a-f]|[57][0-9a])"
    slash, at = rf"(?:/|{_ENCODED}2f)", rf"(?:@|{_ENCODED}40)"
    userinfo = rf"(?:^|:|{_ENCODED}3a){slash}{{2}}[^/?#]*{at}"
    pure_card = r"(?:^|[^0-9]|%[01][0-9])[2-6][0-9]{12}"
    grouped_card = rf"[2-6][0-9]{{2,5}}(?:{_SEPARATOR}{{1,3}}[0-9]{{3,6}}){{2}}"
    return "(?i)" + "|".join((named, hidden, userinfo, pure_card, grouped_card))


@lru_cache(maxsize=16)
def _plain_forms(names: frozenset[str]) -> list[str]:
    """The regexes of listed parameters in their plainest forms, of which `redact_one` says the same."""
    name = rf"(?:[a-z0-9_.-]*[_.-])?(?:{either_name(names)})[0-9]*"
    in_query = rf"(?i)([?&])({name})=[^&#;\s\"'{_MARK}]+([&#]|$)"
    after_semicolon = rf"(?i)(;)({name})=[^&#;/?\s\"'{_MARK}]+([&#]|$)"
    in_path = rf"(?i)^([^?&#=%\"'{_MARK}]*;)({name})=[^&#;/?\s\"'{_MARK}]+([/?])"
    # The first twice: of two pairs in a row one pass sees one, for they share the `&`.
    return [in_query, in_query, after_semicolon, in_path]
