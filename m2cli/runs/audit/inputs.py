"""What identifies in an input, what becomes of it, and what to name so that it passes; no value is told."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.privacy.fields import FIELDS
from m2cli.privacy.rule import ENTITY_TYPES, PARAMETERS
from m2cli.privacy.urls import decode
from m2cli.runs.intake import open_input
from m2cli.runs.progress import Tell, tell_nobody
from m2cli.stages.distinct import code_values
from m2cli.stages.secret_spans import REDACTED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from m2cli.runs.intake import IntakeRule

_PSEUDONYM = "becomes a pseudonym"
_SUSPECT = {
    "mail addresses": r"[\w.+-]+@[\w-]+\.[\w.-]+",
    "IP addresses": r"(?:^|[^0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:[^0-9.]|$)",
    "tokens (JWT)": r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+",
    "long numbers": r"(?:^|[^0-9])\+?[0-9]{9,}(?:[^0-9]|$)",
}
_REDACTED = "secrets, redacted already"
_LOOKED_INTO = ("url", "referrer", "entity_id", "reason")
_CAUGHT = "do not pass, unless the place they are in is named"
_GONE = "are in no lake of m2"
_SHOWN = 12  # names and patterns that are told; the rest is counted
_PAIR = r"(?:^|[?&;])([^=&;?#]+)="
_VARIABLE = re.compile(r".*[^a-z_.-].*|.{25,}", re.IGNORECASE)
_FEW = 10  # rows; a path that is seen less often may be somebody's own


class Finding(NamedTuple):
    """Something that identifies: what, how much of it, and what becomes of it."""

    what: str
    sentence: str
    fate: str


@dataclass
class _Seen:
    """What was seen so far."""

    row_counts: Counter[str] = field(default_factory=Counter)
    values: dict[str, pl.Series] = field(default_factory=dict)
    suspects: Counter[tuple[str, str]] = field(default_factory=Counter)
    parameters: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    entity_types: Counter[str] = field(default_factory=Counter)
    attributes: Counter[str] = field(default_factory=Counter)

    def add(self, events: pl.DataFrame) -> None:
        for name in [*FIELDS, "user_agent", *_LOOKED_INTO]:
            if name in events.columns:
                self._add_column(name, events[name])
        if "entity_type" in events.columns:
            about = events.drop_nulls("entity_id" if "entity_id" in events.columns else "entity_type")
            self.entity_types.update(dict(about["entity_type"].drop_nulls().value_counts().iter_rows()))
        if "attributes" in events.columns:
            keys = events["attributes"].drop_nulls().map.keys().explode().drop_nulls()
            self.attributes.update(dict(keys.value_counts().iter_rows()))

    def _add_column(self, name: str, column: pl.Series) -> None:
        self.row_counts[name] += column.count()
        coded = code_values(column)
        values = coded.values.drop_nulls()
        counts = dict(coded.codes.drop_nulls().value_counts().iter_rows())
        known = self.values.get(name, pl.Series(name, [], pl.String))
        self.values[name] = pl.concat([known, values.rename(name)]).unique()
        if name in _LOOKED_INTO:
            plain = decode(coded.values)
            for kind, pattern in {**_SUSPECT, _REDACTED: pl.escape_regex(REDACTED)}.items():
                hits = plain.str.contains(pattern).fill_null(value=True).arg_true()
                self.suspects[name, kind] += sum(counts.get(place, 0) for place in hits)
        if name in ("url", "referrer"):
            per_value = [counts.get(place, 0) for place in range(len(coded.values))]
            self._add_urls(decode(coded.values), per_value, is_url=name == "url")

    def _add_urls(self, urls: pl.Series, counts: list[int], *, is_url: bool) -> None:
        for url, count in zip(urls, counts, strict=True):
            if url is None or not count:
                continue
            place, _, query = url.partition("?")
            for name in re.findall(_PAIR, query):
                self.parameters[name.lower()] += count
            if is_url:
                self.paths[_generalize(place)] += count


def _generalize(path: str) -> str:
    segments = re.sub("^[a-z]+://[^/]*", "", path.partition("#")[0]).split("/")
    return "/".join("{id}" if _VARIABLE.fullmatch(segment) else segment for segment in segments) or "/"


def audit_inputs(inputs: Sequence[str], rule: IntakeRule, *, now: datetime, tell: Tell = tell_nobody) -> list[Finding]:
    """What identifies in `inputs`, access logs and event files that are read by `rule`.

    In memory are the distinct values. Raises `UnreachableError` for what cannot be read.
    """
    seen = _Seen()
    reject_count = 0
    for piece in open_input(inputs, rule, now=now, tell=tell).pieces:
        seen.add(piece.events)
        reject_count += piece.rejects.height
    return [*_tell_columns(seen), *_tell_texts(seen), *_tell_rejects(reject_count)]


def _tell_columns(seen: _Seen) -> list[Finding]:
    told = []
    for name in [*FIELDS, "user_agent"]:
        if seen.row_counts[name]:
            fate = _PSEUDONYM if name in FIELDS else "becomes browser, device and robot"
            told.append(Finding(f"`{name}`", _count(seen, name), fate))
    return told


def _tell_texts(seen: _Seen) -> list[Finding]:
    told = [
        Finding(f"{kind} in `{name}`", f"{count:,} rows", _GONE if kind == _REDACTED else _CAUGHT)
        for (name, kind), count in sorted(seen.suspects.items())
        if count
    ]
    told += _tell_names("parameter", "parameter", seen.parameters, PARAMETERS)
    told += _tell_names("path", "path", seen.paths, {"/"})
    told += _tell_names("entities of type", "entity-type", seen.entity_types, ENTITY_TYPES)
    told += _tell_names("attribute", "attribute", seen.attributes, ())
    if seen.row_counts["referrer"]:
        told.append(
            Finding("`referrer`", _count(seen, "referrer"), "the host passes; more with `--allow own-host=...`")
        )
    return told


def _tell_names(
    what: str, kind: str, counts: Counter[str], passing: frozenset[str] | set[str] | tuple[()]
) -> list[Finding]:
    told = []
    common = [(name, count) for name, count in counts.most_common(_SHOWN) if count >= _FEW or name in passing]
    for name, count in common:
        fate = "passes by default" if name in passing else f"passes only with `--allow {kind}={name}`"
        told.append(Finding(f"{what} `{name}`", f"{count:,} rows", fate))
    if len(counts) > len(common):
        told.append(Finding(f"{what}: more", f"{len(counts) - len(common):,} others", "pass only where they are named"))
    return told


def _tell_rejects(reject_count: int) -> list[Finding]:
    fate = "stay in the identified lake with their raw lines, and are not anonymized; `m2 expire` removes them"
    return [Finding("rejects", f"{reject_count:,} lines or rows", fate)] if reject_count else []


def _count(seen: _Seen, name: str) -> str:
    return f"{len(seen.values[name]):,} different values in {seen.row_counts[name]:,} rows"
