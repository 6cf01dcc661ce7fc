"""Redaction at the source: passwords, tokens and card numbers never get into a file of m2."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import polars as pl

from m2cli.errors import UsageError
from m2cli.stages.distinct import map_distinct, replace_rows
from m2cli.stages.secret_spans import REDACTED, TAIL, either_name, is_secret_name, redact_one

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
# One of these is in every text that holds a secret; most texts have none, and cost no more than this look.
_URL_SIGNS = r"""[=%@?#;&"']"""
_TEXT_SIGNS = r"[=%@:]|[0-9][0-9 +._-]{12}"
_SEPARATOR = rf"(?:[ +._-]|{_ENCODED}2[0bdeBDE])"


@dataclass(frozen=True, kw_only=True)
class RedactionRule:
    """Which parameters hold secrets, by name; card numbers and userinfo go whatever the names."""

    names: frozenset[str] = field(default=SECRET_NAMES)

    def __post_init__(self) -> None:
        for name in self.names:
            if not name.isascii() or not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
                raise UsageError(f"`{name}` is no parameter's name; write letters, digits, `_`, `-` and `.` only")
        object.__setattr__(self, "names", frozenset(name.lower() for name in self.names))


def redact(frame: pl.DataFrame, rule: RedactionRule) -> pl.DataFrame:
    """`frame` (events or rejects) with each secret replaced by `[redacted]`; all else stays byte for byte.

    Looks into those of `url`, `referrer`, `attributes` and `raw` that are there: values of listed names
    (whatever case, percent-encoding and nesting of URL in URL; after `?`, `&`, `;` and `#`, and in JSON),
    userinfo (`https://user:password@host`), card numbers (Luhn) outside the path of a URL. DESIGN 6.6.
    """
    urls = [name for name in ("url", "referrer") if name in frame.columns]
    # Both columns in one `select`: Polars then looks through them side by side.
    suspects = frame.select(pl.col(urls).map_batches(lambda texts: _suspect(texts, rule, is_url=True), pl.Boolean))
    columns = [_redact_suspects(frame[name], suspects[name], rule, is_url=True) for name in urls]
    if "raw" in frame.columns:
        columns.append(redact_texts(frame["raw"], rule))
    if "attributes" in frame.columns:
        columns.append(redact_attributes(frame["attributes"], rule))
    return frame.with_columns(columns)


def redact_texts(texts: pl.Series, rule: RedactionRule, *, is_url: bool = False) -> pl.Series:
    """`texts` (String, of any kind) redacted; of URLs (`is_url`) the path keeps its long numbers.

    Two regexes, at 0.03 to 0.1 µs a row, find the few rows that may hold a secret. Only their distinct values
    are looked at closely: the common forms by column, the rest one by one at 50 µs.
    """
    return _redact_suspects(texts, _suspect(texts, rule, is_url=is_url), rule, is_url=is_url)


def redact_attributes(attributes: pl.Series, rule: RedactionRule) -> pl.Series:
    """`attributes` (map of strings) with values of listed names replaced and the others redacted as texts."""
    entries = attributes.cast(pl.List(pl.Struct({"key": pl.String, "value": pl.String})))
    flat = (
        pl.DataFrame({"row": pl.int_range(attributes.len(), eager=True), "entry": entries})
        .explode("entry", empty_as_null=False, keep_nulls=False)
        .unnest("entry")
    )
    secret_names = [name for name in flat["key"].unique() if name and is_secret_name(name, rule.names)]
    is_secret = pl.col("key").is_in(secret_names) & (pl.col("value") != "")
    redacted = flat.with_columns(
        pl.when(is_secret).then(pl.lit(REDACTED)).otherwise(redact_texts(flat["value"], rule)).alias("value")
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


def _suspect(texts: pl.Series, rule: RedactionRule, *, is_url: bool) -> pl.Series:
    """Which of `texts` may hold a secret."""
    possible = texts.str.contains(_URL_SIGNS if is_url else _TEXT_SIGNS).fill_null(value=False)
    if not possible.any():
        return possible
    return replace_rows(possible, possible, texts.filter(possible).str.contains(_suspicion(rule.names)))


def _redact_suspects(texts: pl.Series, suspects: pl.Series, rule: RedactionRule, *, is_url: bool) -> pl.Series:
    if not suspects.any():
        return texts
    redacted = map_distinct(texts.filter(suspects), lambda distinct: _redact_distinct(distinct, rule, is_url=is_url))
    return replace_rows(texts, suspects, redacted)


def _redact_distinct(texts: pl.Series, rule: RedactionRule, *, is_url: bool) -> pl.Series:
    """By column what has one of the common forms, as nearly all secrets have; then the rest, each alone."""
    marked = texts
    for pattern in _plain_forms(rule.names):
        marked = marked.str.replace_all(pattern, f"${{1}}{_MARK}${{2}}{_MARK}${{3}}")
    is_rest = marked.str.contains(_suspicion(rule.names)) | texts.str.contains(_MARK, literal=True)
    by_column = marked.str.replace_all(f"{_MARK}([^{_MARK}]*){_MARK}", f"${{1}}={REDACTED}")
    alone = [redact_one(text, rule.names, is_url=is_url) for text in texts.filter(is_rest)]
    return replace_rows(by_column, is_rest.fill_null(value=False), pl.Series(texts.name, alone, pl.String))


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
