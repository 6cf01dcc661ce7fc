"""The exact parser: the whole grammar of a format as one pattern, and why a line does not follow it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from m2cli.logs.blocks import TOO_LONG
from m2cli.logs.escapes import decode_columns
from m2cli.logs.streams import DAMAGED, ENDS_EARLY

if TYPE_CHECKING:
    from m2cli.logs.formats import LogFormat

SHIFTED_USER = "the user is not followed by a time"

_NEXT = " +"  # Jetty writes two spaces where the user is missing
_ESCAPED = ("user", "request", "referrer", "user_agent")


@cache
def line_pattern(log_format: LogFormat) -> str:
    """The pattern of a whole line of `log_format`, with a named group for each column."""
    return f"(?s)^{_NEXT.join(_field_patterns(log_format))} *$"


def _field_patterns(log_format: LogFormat) -> list[str]:
    return [field.kind.pattern.replace("{name}", field.name) for field in log_format.fields]


@cache
def _steps(log_format: LogFormat) -> list[tuple[str, str]]:
    """What a line has to match, one after the other, each with the reason of the reject if it does not."""
    steps, prefix, separator = [], "(?s)^", ""
    for field, pattern in zip(log_format.fields, _field_patterns(log_format), strict=True):
        steps.append((f"{prefix}{separator}[^ ]", f"the line ends before the {field.label}"))
        steps += [
            (f"{prefix}{separator}{fault}", reason.format(label=field.label)) for fault, reason in field.kind.faults
        ]
        prefix, separator = prefix + separator + pattern, _NEXT
    return steps


def reasons(log_format: LogFormat) -> list[str]:
    """All that can be said of a line that is none of `log_format`: few, so that they can be counted."""
    ladder = [reason for _, reason in _steps(log_format)]
    return [*ladder, _goes_on(log_format), SHIFTED_USER, TOO_LONG, ENDS_EARLY, DAMAGED]


def _goes_on(log_format: LogFormat) -> str:
    return f"the line goes on after the {log_format.fields[-1].label}"


def split_exact(lines: pl.DataFrame, log_format: LogFormat) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`lines` that follow the grammar of `log_format`, split into its columns, and those that do not.

    The first has `position_in_source`, `is_odd_text` and the raw columns of the format as String, with
    escapes decoded; the second the columns of `lines`, and `reason`.
    """
    split = lines.with_columns(pl.col("line").str.extract_groups(line_pattern(log_format)).alias("_parts"))
    split = split.unnest("_parts")
    is_line = pl.col("host").is_not_null()
    is_shifted = is_line & pl.col("user").str.contains(" ", literal=True) & (pl.col("ident") != "-")
    good = split.filter(is_line & ~is_shifted).drop("line", "line_number")
    bad = pl.concat(
        [
            split.filter(~is_line).select(*lines.columns, _find_reason(log_format)),
            split.filter(is_shifted).select(*lines.columns, pl.lit(SHIFTED_USER).alias("reason")),
        ]
    )
    return decode_columns(good, [name for name in _ESCAPED if name in good.columns], "is_odd_text"), bad


def _find_reason(log_format: LogFormat) -> pl.Expr:
    line = pl.col("line")
    reason = pl.lit(_goes_on(log_format))
    for pattern, fault in reversed(_steps(log_format)):
        reason = pl.when(~line.str.contains(pattern)).then(pl.lit(fault)).otherwise(reason)
    return reason.alias("reason")
