"""How the fast parser takes lines of a text format apart, made from the format.

The line is split at its quotes, and what lies between two of them is checked by one pattern and cut by its fixed widths
and its spaces, or where that cannot be, by that pattern's groups. What no event is made of is checked and not cut.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from m2cli.logs.fields.used import name_used
from m2cli.logs.formats.kinds import REST
from m2cli.logs.formats.patterns import escape_pattern
from m2cli.logs.parsers.grammar import end_where, keep_groups, separator_pattern
from m2cli.logs.parsers.words import Numbered, Word, cut_by_words, has_no_space, measure, places

if TYPE_CHECKING:
    from m2cli.logs.formats.model import LogFormat, Token

GROUP = re.compile(r"\(\?P<(\w+)>")
NO_HASH = "[^ #]"
"""Where it stands in a check, no line is taken that begins with a hash, and none that is blank."""
_WHOLE = "whole_part"

Chunk = tuple["str | Numbered", ...]


class Cut(NamedTuple):
    """How what lies between two quotes is taken apart.

    `check` is the pattern it has to match. `fixed` are columns at places counted from its beginning or, below zero, its
    end; what is left between `start` and `end` characters of it is one column, or several with a space between them,
    of which only those in `used` are asked for. Or `words` are what is asked for, each by its number. Or `is_groups`:
    the groups of `check` are the columns, of which `anchor` is never null where it matches.
    """

    check: str
    fixed: tuple[tuple[str, int, int], ...] = ()
    start: int = 0
    end: int = 0
    middle: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()
    words: tuple[Word, ...] = ()
    is_groups: bool = False
    anchor: str = ""
    may_have_gaps: bool = False
    """Whether several spaces may stand between two words."""


class Plan(NamedTuple):
    """How lines of a format are split: a part for each stretch between quotes.

    A part is a `str`, the column that it is as it stands, empty if nobody asks for it; a text in brackets that it has
    to be; or a cut.
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
    used = name_used(log_format)
    if len(chunk) == 1 and fields[0].field.kind.is_free and log_format.pieces[fields[0].number].is_quoted:
        return fields[0].field.name if fields[0].field.name in used else ""
    patterns = [
        escape_pattern(token) if isinstance(token, str) else _strict(log_format, token, is_first=is_first and not at)
        for at, token in enumerate(chunk)
    ]
    asked = used & {column for each in fields for column in each.field.columns}
    end = "$"
    if chunk[-1] is fields[-1] and fields[-1].field.kind is REST and fields[-1].field.name not in asked:
        patterns[-1], end = "(?: |$)", ""
    check = "".join(patterns)
    if not asked:
        return Cut(f"(?s)^{check}{end}")
    if cut := _cut_by_places(chunk, f"^{check}{end}", used):
        return cut
    words = cut_by_words(chunk, patterns, used)
    if words is not None:
        loose = [
            separator_pattern(log_format, token) if isinstance(token, str) else pattern
            for token, pattern in zip(chunk, patterns, strict=True)
        ]
        return Cut(f"(?s)^{''.join(loose)}{end}", words=words, may_have_gaps=log_format.is_lenient)
    sure = [each.field for each in fields if each.field.columns and not each.field.is_optional]
    anchor = next((each.columns[0] for each in sure if each.columns[0] in used), _WHOLE)
    check = keep_groups(check, used)
    whole = check if anchor != _WHOLE else f"(?P<{_WHOLE}>{check})"
    return Cut(f"(?s)^{whole}{end}", is_groups=True, anchor=anchor)


def _strict(log_format: LogFormat, token: Numbered, *, is_first: bool) -> str:
    field, number = token
    if log_format.pieces[number].is_quoted:
        pattern = field.kind.taken.replace("{name}", field.name)
        return f"(?:{pattern}|-)" if field.is_optional else pattern
    pattern = end_where(field.kind.taken, log_format, number)
    if field.is_optional:
        pattern = f"(?:{pattern}|-)"
    # A line that begins with a hash is a directive.
    return pattern.replace("[^ ]+", f"{NO_HASH}[^ ]*", 1) if is_first else pattern


def _cut_by_places(chunk: Chunk, check: str, used: frozenset[str]) -> Cut | None:
    """`chunk` cut by fixed widths from both ends and by single spaces between; None where that cannot be."""
    left, right = list(chunk), []
    fixed: list[tuple[str, int, int]] = []
    start = end = 0
    while left and (size := measure(left[0])):
        fixed += places(left.pop(0), start)
        start += size
    while left and (size := measure(left[-1])):
        end += size
        right += places(left.pop(), -end)
    middle = left[::2]
    is_even = all(text == " " for text in left[1::2]) and all(isinstance(token, Numbered) for token in middle)
    tokens = [token.field for token in middle if isinstance(token, Numbered)]
    if not is_even or not all(has_no_space(each.kind) and not each.is_optional for each in tokens):
        return None
    asked = tuple(each for each in fixed + right if each[0] in used)
    return Cut(check, asked, start, end, tuple(each.name for each in tokens), used)


def list_groups(cut: Cut) -> list[str]:
    """The columns that the groups of the check of `cut` are."""
    return [column for column in GROUP.findall(cut.check) if column != _WHOLE]


def forget_groups(pattern: str) -> str:
    """`pattern` without groups."""
    return keep_groups(pattern, frozenset())
