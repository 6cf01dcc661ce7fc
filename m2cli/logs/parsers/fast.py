"""The fast parser of text formats: lines without escapes or oddities, by columns; it declines all others.

From the format a plan is made: the line is split at its quotes, and what lies between two of them is checked by one
pattern and cut by its fixed widths and its spaces, or where that cannot be, by that pattern's groups.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.logs.formats.patterns import escape_pattern
from m2cli.logs.parsers.grammar import end_where

if TYPE_CHECKING:
    from m2cli.logs.formats.kinds import Kind
    from m2cli.logs.formats.model import Field, LogFormat, Token

_GROUP = re.compile(r"\(\?P<(\w+)>")
_WHOLE = "whole_part"


class FastSplit(NamedTuple):
    """What became of lines: those taken, split into the format's columns, and those declined."""

    taken: pl.DataFrame
    declined: pl.DataFrame


class Numbered(NamedTuple):
    """A field, and its number in the format."""

    field: Field
    number: int


Chunk = tuple["str | Numbered", ...]


class Cut(NamedTuple):
    """How what lies between two quotes is taken apart.

    `check` is the pattern it has to match. `fixed` are columns at places counted from its beginning or, below zero, its
    end; what is left between `start` and `end` characters of it is one column, or several with a space between them.
    `is_groups`: the groups of `check` are the columns instead, of which `anchor` is never null where it matches.
    """

    check: str
    fixed: tuple[tuple[str, int, int], ...] = ()
    start: int = 0
    end: int = 0
    middle: tuple[str, ...] = ()
    is_groups: bool = False
    anchor: str = ""


class Plan(NamedTuple):
    """How lines of a format are split: a part for each stretch between quotes.

    A part is a `str`, the column that it is as it stands; a text in brackets that it has to be; or a cut.
    """

    parts: tuple[str | tuple[str] | Cut, ...]

    @property
    def does_split_at_quotes(self) -> bool:
        """Whether there is any quote."""
        return len(self.parts) > 1


@cache
def make_plan(log_format: LogFormat) -> Plan:
    """How the fast parser takes lines of `log_format` apart."""
    chunks = _list_chunks(log_format)
    return Plan(tuple(_plan_chunk(log_format, chunk, is_first=not number) for number, chunk in enumerate(chunks)))


def describe_plan(log_format: LogFormat) -> str:
    """Which way the fast parser goes, for a person."""
    plan = make_plan(log_format)
    cuts = [part for part in plan.parts if isinstance(part, Cut)]
    by_groups = sum(cut.is_groups for cut in cuts)
    if not plan.does_split_at_quotes:
        return "by a regular expression" if by_groups else "split at spaces"
    return "split at quotes" + (" and by regular expressions between them" if by_groups else " and spaces")


def _list_chunks(log_format: LogFormat) -> list[Chunk]:
    tokens: list[Token | Numbered] = []
    for number, piece in enumerate(log_format.pieces):
        quote = '"' if piece.is_quoted else ""
        tokens += [piece.before + quote, Numbered(piece.field, number), quote]
    tokens.append(log_format.tail)
    chunks: list[list[str | Numbered]] = [[]]
    for token in tokens:
        if not isinstance(token, str):
            chunks[-1].append(token)  # type: ignore[arg-type]  # no bare field is put in
            continue
        first, *others = token.split('"')
        _add_text(chunks[-1], first)
        for text in others:
            chunks.append([])
            _add_text(chunks[-1], text)
    return [tuple(chunk) for chunk in chunks]


def _add_text(chunk: list[str | Numbered], text: str) -> None:
    if chunk and isinstance(chunk[-1], str):
        chunk[-1] += text
    elif text:
        chunk.append(text)


def _plan_chunk(log_format: LogFormat, chunk: Chunk, *, is_first: bool) -> str | tuple[str] | Cut:
    fields = [token for token in chunk if not isinstance(token, str)]
    if not fields:
        return (str(chunk[0]) if chunk else "",)
    if len(chunk) == 1 and fields[0].field.kind.is_free and log_format.pieces[fields[0].number].is_quoted:
        return fields[0].field.name
    check = "".join(
        escape_pattern(token) if isinstance(token, str) else _strict(log_format, token, is_first=is_first and not at)
        for at, token in enumerate(chunk)
    )
    if cut := _cut_by_places(chunk, f"^{check}$"):
        return cut
    anchor = next((each.field.columns[0] for each in fields if each.field.columns and not each.field.is_optional), "")
    if anchor:
        return Cut(f"(?s)^{check}$", is_groups=True, anchor=anchor)
    return Cut(f"(?s)^(?P<{_WHOLE}>{check})$", is_groups=True, anchor=_WHOLE)


def _strict(log_format: LogFormat, token: Numbered, *, is_first: bool) -> str:
    field, number = token
    if log_format.pieces[number].is_quoted:
        pattern = field.kind.taken.replace("{name}", field.name)
        return f"(?:{pattern}|-)" if field.is_optional else pattern
    pattern = end_where(field.kind.taken, log_format, number)
    if field.is_optional:
        pattern = f"(?:{pattern}|-)"
    # A line that begins with a hash is a directive.
    return pattern.replace("[^ ]+", "[^ #][^ ]*", 1) if is_first else pattern


def _cut_by_places(chunk: Chunk, check: str) -> Cut | None:
    """`chunk` cut by fixed widths from both ends and by single spaces between; None where that cannot be."""
    left, right = list(chunk), []
    fixed: list[tuple[str, int, int]] = []
    start = end = 0
    while left and (size := _measure(left[0])):
        fixed += _places(left.pop(0), start)
        start += size
    while left and (size := _measure(left[-1])):
        end += size
        right += _places(left.pop(), -end)
    middle = left[::2]
    is_even = all(text == " " for text in left[1::2]) and all(isinstance(token, Numbered) for token in middle)
    tokens = [token.field for token in middle if isinstance(token, Numbered)]
    if not is_even or not all(_has_no_space(each.kind) and not each.is_optional for each in tokens):
        return None
    return Cut(check, tuple(fixed + right), start, end, tuple(each.name for each in tokens))


def _has_no_space(kind: Kind) -> bool:
    return kind.groups == ("",) and " " not in kind.taken.replace("[^ ", "")


def _measure(token: str | Numbered) -> int:
    if isinstance(token, str):
        return len(token)
    return 0 if token.field.is_optional else token.field.kind.width or 0


def _places(token: str | Numbered, start: int) -> list[tuple[str, int, int]]:
    if isinstance(token, str):
        return []
    name = token.field.name
    return [(f"{name}_{group}" if group else name, start + at, size) for group, at, size in token.field.kind.slices]


def split_fast(lines: pl.DataFrame, log_format: LogFormat) -> FastSplit:
    """`lines` of a text format that are written as servers write most lines.

    Takes a line if it has no backslash (so all of it is UTF-8, see `lines.py`), as many quotes as the format has, and
    between them what `Kind.strict` says. `taken` has the columns of `grammar.split_exact`, `declined` those of
    `lines`.
    """
    plan = make_plan(log_format)
    names = [f"part {number}" for number in range(len(plan.parts))]
    line = pl.col("line")
    if plan.does_split_at_quotes:
        # `split_exact` of Polars forgets what is left over; the regular expression of the exact parser takes
        # thrice as long.
        split = line.str.splitn('"', len(names)).struct.rename_fields(names).struct.unnest()
    else:
        split = line.alias(names[0])
    columns = lines.select("line", "position_in_source", split)
    grouped = [
        pl.col(name).str.extract_groups(part.check).alias(name)
        for name, part in zip(names, plan.parts, strict=True)
        if isinstance(part, Cut) and part.is_groups
    ]
    columns = columns.with_columns(*grouped) if grouped else columns
    is_taken = columns.select(_is_taken(plan, names)).to_series().fill_null(value=False)
    columns = columns.drop("line")
    if is_taken.all():
        return FastSplit(_cut_parts(columns, plan, names), lines.clear())
    return FastSplit(_cut_parts(columns.filter(is_taken), plan, names), lines.filter(~is_taken))


def _is_taken(plan: Plan, names: list[str]) -> pl.Expr:
    line = pl.col("line")
    checks = [~line.str.contains("\\", literal=True)]
    first = plan.parts[0]
    if not isinstance(first, Cut) or first.is_groups:
        checks.append(~line.str.starts_with("#") & line.str.contains("[^ \t]"))
    for name, part in zip(names, plan.parts, strict=True):
        if isinstance(part, tuple) and not isinstance(part, Cut):
            checks.append(pl.col(name) == part[0])
        elif isinstance(part, Cut) and part.is_groups:
            checks.append(pl.col(name).struct.field(part.anchor).is_not_null())
        elif isinstance(part, Cut):
            checks.append(pl.col(name).str.contains(_forget_groups(part.check)))
    last = plan.parts[-1]
    if plan.does_split_at_quotes and isinstance(last, Cut) and "[^ " in last.check:
        checks.append(~line.str.count_matches('"', literal=True).ge(len(names)))  # what is left over has no quote
    return pl.all_horizontal(checks)


def _forget_groups(pattern: str) -> str:
    return _GROUP.sub("(?:", pattern)


def _cut_parts(columns: pl.DataFrame, plan: Plan, names: list[str]) -> pl.DataFrame:
    taken: list[pl.Expr | pl.Series] = []
    for name, part in zip(names, plan.parts, strict=True):
        text = pl.col(name)
        if isinstance(part, str):
            taken.append(text.alias(part))
        elif isinstance(part, Cut) and part.is_groups:
            taken += [text.struct.field(column) for column in _GROUP.findall(part.check) if column != _WHOLE]
        elif isinstance(part, Cut):
            taken += [text.str.slice(place, size).alias(column) for column, place, size in part.fixed]
            taken += _cut_middle(columns, text, part)
    return columns.select("position_in_source", pl.lit(value=False).alias("is_odd_text"), *taken)


def _cut_middle(columns: pl.DataFrame, text: pl.Expr, part: Cut) -> list[pl.Expr | pl.Series]:
    if not part.middle:
        return []
    middle = text.str.slice(part.start) if part.start else text
    middle = middle.str.head(-part.end) if part.end else middle
    if len(part.middle) == 1:
        return [middle.alias(part.middle[0])]
    texts = columns.select(middle).to_series()
    first, *others = part.middle
    dashes = " -" * len(others)
    if texts.str.ends_with(dashes).all():  # nobody is logged in: a fifth of the time
        dash = pl.Series("-", ["-"]).new_from_index(0, len(texts))
        return [texts.str.head(-len(dashes)).alias(first), *(dash.alias(name) for name in others)]
    fields = texts.str.splitn(" ", len(part.middle)).struct
    return [fields.field(f"field_{number}").alias(name) for number, name in enumerate(part.middle)]
