"""The exact parser: the whole grammar of a format as one pattern, and why a line does not follow it."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from m2cli.logs.blocks import TOO_LONG
from m2cli.logs.fields.escapes import decode_columns
from m2cli.logs.fields.used import name_used
from m2cli.logs.formats.kinds import Escape
from m2cli.logs.formats.model import has_shifting_user
from m2cli.logs.formats.patterns import escape_pattern
from m2cli.logs.streams import DAMAGED, ENDS_EARLY

if TYPE_CHECKING:
    from m2cli.logs.formats.model import Field, LogFormat

SHIFTED_USER = "the user is not followed by a time"

_INSIDE_QUOTES = {
    Escape.NONE: ".*?",
    Escape.DOUBLED_QUOTES: '(?:[^"]|"")*',
}
_ANY_INSIDE = r'(?:[^"\\]|\\.)*'
# What a field is not likely to hold where it stands behind one: it ends there.
_DELIMITERS = frozenset("|\t;,]")
_WHOLE = "whole_line"
_NO_SPACE = re.compile(r"\[\^ ((?:\\.|[^\]\\])*)\]")  # a class of all but a space, and perhaps of some more
_GROUP = re.compile(r"\(\?P<(\w+)>")


@cache
def line_pattern(log_format: LogFormat) -> str:
    """The pattern of a whole line of `log_format`, with a named group for each column."""
    pattern = "".join(
        separator_pattern(log_format, piece.before) + piece_pattern(log_format, number)
        for number, piece in enumerate(log_format.pieces)
    )
    line = f"{pattern}{separator_pattern(log_format, log_format.tail)} *"
    return f"(?s)^{line}$" if find_anchor(log_format) != _WHOLE else f"(?s)^(?P<{_WHOLE}>{line})$"


def find_anchor(log_format: LogFormat) -> str:
    """A column that is never null where a line follows the grammar."""
    sure = (each.columns[0] for each in log_format.fields if each.columns and not each.is_optional)
    return next(sure, _WHOLE)


def keep_groups(pattern: str, used: frozenset[str]) -> str:
    """`pattern` in which only what is `used` is a group: each takes its time."""
    return _GROUP.sub(lambda found: found[0] if found[1] in used else "(?:", pattern)


@cache
def _used_pattern(log_format: LogFormat) -> tuple[str, str]:
    """The pattern of a whole line, with a group for each column that events are made of; and one that is never null."""
    used = name_used(log_format)
    sure = (each.columns[0] for each in log_format.fields if each.columns and not each.is_optional)
    anchor = next((name for name in sure if name in used), _WHOLE)
    pattern = keep_groups(line_pattern(log_format), used).removeprefix("(?s)^").removesuffix("$")
    return (f"(?s)^{pattern}$" if anchor != _WHOLE else f"(?s)^(?P<{_WHOLE}>{pattern})$"), anchor


def separator_pattern(log_format: LogFormat, text: str) -> str:
    """The pattern of what stands between two fields."""
    pattern = escape_pattern(text)
    return re.sub(" +", " +", pattern) if log_format.is_lenient else pattern


def piece_pattern(log_format: LogFormat, number: int) -> str:
    """The pattern of the field at `number`, quotes and all."""
    piece = log_format.pieces[number]
    if not piece.is_quoted:
        return _optional(end_where(piece.field.kind.pattern, log_format, number), piece.field)
    if not piece.field.kind.is_free:
        return f'"{_optional(_name(piece.field), piece.field)}"'
    return f'"(?P<{piece.field.name}>{_INSIDE_QUOTES.get(piece.field.escape, _ANY_INSIDE)})"'


def end_where(pattern: str, log_format: LogFormat, number: int) -> str:
    """`pattern` of a kind for the field at `number`, which ends where the text behind it begins."""
    following = log_format.pieces[number + 1] if number + 1 < len(log_format.pieces) else None
    text = log_format.tail if following is None else following.before + ('"' if following.is_quoted else "")
    if text[:1] in _DELIMITERS:
        end = escape_pattern(text[0])
        pattern = _NO_SPACE.sub(lambda found: f"[^ {found[1]}{end}]", pattern).replace(".*?", f"[^{end}]*")
    return pattern.replace("{name}", log_format.pieces[number].field.name)


def _name(field: Field) -> str:
    return field.kind.pattern.replace("{name}", field.name)


def _optional(pattern: str, field: Field) -> str:
    return f"(?:{pattern}|-)" if field.is_optional else pattern


@cache
def find_steps(log_format: LogFormat) -> list[tuple[str, str]]:
    """What a line has to match, one after the other, each with the reason of the reject if it does not."""
    steps: list[tuple[str, str]] = []
    prefix, previous = "(?s)^", "beginning"
    for number, piece in enumerate(log_format.pieces):
        label = piece.field.label
        separator = separator_pattern(log_format, piece.before)
        spaces, text = piece.before[: len(piece.before) - len(piece.before.lstrip(" "))], piece.before.strip(" ")
        if spaces or not piece.before:
            something = "[^ ]" if not piece.field.kind.is_text or piece.is_quoted else ""
            steps.append(
                (f"{prefix}{separator_pattern(log_format, spaces)}{something}", f"the line ends before the {label}")
            )
        if text:
            steps.append((prefix + separator, f"there is no `{text}` before the {label}"))
        here = prefix + separator
        for fault, reason in _list_faults(log_format, number):
            steps.append((here + fault, reason.replace("{label}", label).replace("{previous}", previous)))
        prefix, previous = here + piece_pattern(log_format, number), label
    if log_format.tail.strip():
        last = f"there is no `{log_format.tail.strip()}` after the {previous}"
        steps.append((prefix + separator_pattern(log_format, log_format.tail), last))
    return steps


def _list_faults(log_format: LogFormat, number: int) -> list[tuple[str, str]]:
    piece = log_format.pieces[number]
    whole = piece_pattern(log_format, number)
    if piece.is_quoted:
        is_last = number + 1 == len(log_format.pieces)
        behind = log_format.tail if is_last else log_format.pieces[number + 1].before
        ends = separator_pattern(log_format, behind[:1]) or " "
        closing = "" if piece.field.escape is Escape.NONE else f"(?:{ends}|$)"
        return [
            ('"', "the {label} is not opened by a quote"),
            *(('"' + fault, reason) for fault, reason in piece.field.kind.faults if not piece.field.kind.is_free),
            (whole, "the {label} is not closed by a quote"),
            (whole + closing, "the {label} has a quote in it that is not escaped"),
        ]
    faults = piece.field.kind.faults
    if piece.field.is_optional:
        faults = tuple((f"(?:{fault}|-)", reason) for fault, reason in faults)
    return [*faults, (whole, f"the {{label}} is not like a {piece.field.kind.type}")]


@cache
def reasons(log_format: LogFormat) -> list[str]:
    """All that can be said of a line that is none of `log_format`: few, so that they can be counted."""
    ladder = list(dict.fromkeys(reason for _, reason in find_steps(log_format)))
    return [*ladder, _goes_on(log_format), SHIFTED_USER, TOO_LONG, ENDS_EARLY, DAMAGED]


def _goes_on(log_format: LogFormat) -> str:
    return f"the line goes on after the {log_format.fields[-1].label}"


def match_exact(
    lines: pl.DataFrame, log_format: LogFormat, *, with_shifted: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`lines` that follow the grammar, split as `split_exact` says, and the others as they are.

    Of the columns those that events are made of. `with_shifted`: also lines that follow it only because the user may
    hold spaces.
    """
    pattern, anchor = _used_pattern(log_format)
    split = lines.with_columns(pl.col("line").str.extract_groups(pattern).alias("_parts"))
    split = split.unnest("_parts")
    is_line = split.select(
        pl.col(anchor).is_not_null() & (pl.lit(value=with_shifted) | ~is_shifted(log_format))
    ).to_series()
    good = split.filter(is_line).drop("line", "line_number", _WHOLE, strict=False)
    return decode_columns(good, log_format.fields, "is_odd_text"), lines.filter(~is_line)


def split_exact(lines: pl.DataFrame, log_format: LogFormat) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`lines` that follow the grammar of `log_format`, split into its columns, and those that do not.

    The first has `position_in_source`, `is_odd_text` and the raw columns of the format as String, with
    escapes decoded; the second the columns of `lines`, and `reason`.
    """
    split = lines.with_columns(pl.col("line").str.extract_groups(line_pattern(log_format)).alias("_parts"))
    split = split.unnest("_parts")
    is_line = pl.col(find_anchor(log_format)).is_not_null()
    shifted = is_line & is_shifted(log_format)
    good = split.filter(is_line & ~shifted).drop("line", "line_number", _WHOLE, strict=False)
    bad = pl.concat(
        [
            split.filter(~is_line).select(*lines.columns, find_reason(log_format)),
            split.filter(shifted).select(*lines.columns, pl.lit(SHIFTED_USER).alias("reason")),
        ]
    )
    return decode_columns(good, log_format.fields, "is_odd_text"), bad


def is_shifted(log_format: LogFormat) -> pl.Expr:
    """Whether a line that was split has one word too many in front, taken for the beginning of the user."""
    if not has_shifting_user(log_format):
        return pl.lit(value=False)
    (user,), (ident,) = log_format.find("user")[:1], log_format.find("ident")[:1]
    return pl.col(user.name).str.contains(" ", literal=True) & (pl.col(ident.name) != "-")


def find_reason(log_format: LogFormat) -> pl.Expr:
    """`reason`: why a `line` that does not follow the grammar does not."""
    line = pl.col("line")
    reason = pl.lit(_goes_on(log_format))
    for pattern, fault in reversed(find_steps(log_format)):
        reason = pl.when(~line.str.contains(pattern)).then(pl.lit(fault)).otherwise(reason)
    return reason.alias("reason")
