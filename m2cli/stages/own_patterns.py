"""A shop's own patterns of secrets: regular expressions by name, looked for in texts as they are and decoded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

import polars as pl

from m2cli.errors import UsageError
from m2cli.stages.distinct import map_distinct, replace_rows
from m2cli.stages.secret_spans import DECODINGS, REDACTED, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_ESCAPE = "%[0-9A-Fa-f]{2}"
# A pattern that finds nothing between two of these signs would be put there, and redact nothing.
_PROBES = pl.Series(["", "a", "a 1", "é-_1\n"])


def check_patterns(patterns: Mapping[str, str]) -> None:
    """Raise `UsageError` for a name that cannot be told, and for what is no regular expression or finds nothing."""
    for name, pattern in patterns.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"`{name}` is no name of a pattern; write letters, digits, `_`, `-` and `.`, 64 at most")
        try:
            found = _PROBES.str.extract_all(pattern)
        except pl.exceptions.ComputeError as error:
            raise UsageError(f"`{name}` is no regular expression: {_explain(error)}") from None
        if found.explode().drop_nulls().str.len_bytes().eq(0).any():
            raise UsageError(
                f"`{name}` also matches where nothing is; write what a secret has at least, as `[0-9]{{8}}`"
            )


def _explain(error: Exception) -> str:
    """What is wrong, of what the library says of it, in one line: its last; the lines before draw the place."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "it cannot be read")
    return said.removeprefix("error:").strip()


def suspect_own(texts: pl.Series, patterns: Mapping[str, str]) -> pl.Series:
    """Which of `texts` have one of `patterns`, as they are or percent-decoded (Boolean, no nulls)."""
    found = _contain(texts, patterns)
    is_encoded = texts.str.contains(_ESCAPE).fill_null(value=False) & ~found
    if not is_encoded.any():
        return found
    decoded = map_distinct(texts.filter(is_encoded), _decode)
    return replace_rows(found, is_encoded, _contain(decoded, patterns))


def _contain(texts: pl.Series, patterns: Mapping[str, str]) -> pl.Series:
    found = pl.repeat(value=False, n=len(texts), eager=True).alias(texts.name)
    for pattern in patterns.values():
        found |= texts.str.contains(pattern).fill_null(value=False)
    return found


def _decode(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.name, [None if text is None else _decode_one(text) for text in texts], pl.String)


def _decode_one(text: str) -> str:
    for _ in range(DECODINGS):
        before, text = text, unquote(text, "latin-1")
        if text == before:
            break
    return text


class OwnFound(NamedTuple):
    """What of distinct texts has own patterns: by column what can be, and what has to be looked at alone."""

    redacted: pl.Series
    alone: pl.Series
    """Boolean: of these `redacted` is not to be used, for patterns or what is redacted by default overlap in them."""
    literals: list[frozenset[str]]
    """Of each that is alone: the texts in it, as it is or decoded, that a pattern matches."""
    counts: pl.DataFrame
    """How often each pattern, by its name a column, is found in each text."""


def redact_own(texts: pl.Series, before: pl.Series, patterns: Mapping[str, str]) -> OwnFound:
    """`before`, what the default list has made of `texts`, with what `patterns` find in `texts` redacted as well."""
    redacted = before
    is_encoded = texts.str.contains(_ESCAPE).fill_null(value=False)
    decoded = replace_rows(texts, is_encoded, _decode(texts.filter(is_encoded))) if is_encoded.any() else texts
    alone = pl.repeat(value=False, n=len(texts), eager=True)
    counts = {}
    for name, pattern in patterns.items():
        found, left, hidden = (each.str.extract_all(pattern) for each in (texts, redacted, decoded))
        # What else is redacted must neither cut a match nor make one.
        alone |= ~found.list.join("\0").eq_missing(left.list.join("\0")) | (hidden.list.len() != found.list.len())
        counts[name] = hidden.list.len()
        redacted = redacted.str.replace_all(pattern, REDACTED)
    alone = alone.fill_null(value=False)
    return OwnFound(redacted, alone, _list_literals(texts.filter(alone), patterns), pl.DataFrame(counts))


def _list_literals(texts: pl.Series, patterns: Mapping[str, str]) -> list[frozenset[str]]:
    decoded = pl.Series([decode(text).text for text in texts], dtype=pl.String)
    matches = [each.str.extract_all(pattern) for pattern in patterns.values() for each in (texts, decoded)]
    return [frozenset(literal for found in row for literal in found) for row in zip(*matches, strict=True)]
