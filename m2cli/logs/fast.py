"""The fast parser: common and combined lines without escapes or oddities; it declines all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.logs.formats import CLOCK, DATE, ZONE

if TYPE_CHECKING:
    from m2cli.logs.formats import LogFormat

_STAMP = len(" [17/May/2015:10:05:03 +0000] ")
_HEAD = rf"^[^ #][^ ]* - [^ ]+ \[{DATE}:{CLOCK} {ZONE}\] $"
_ANSWER = "^ [0-9]{3} (?:[0-9]{1,18}|-)"


class FastSplit(NamedTuple):
    """What became of lines: those taken, split into the format's columns, and those declined."""

    taken: pl.DataFrame
    declined: pl.DataFrame


def split_fast(lines: pl.DataFrame, log_format: LogFormat) -> FastSplit:
    """`lines` of a common-like format, split at their quotes.

    Takes a line if it has no backslash (so all of it is UTF-8, see `lines.py`), as many quotes as the format
    has, single spaces between the fields, the identity `-`, a user without spaces and a status that is a
    number. `taken` has the columns of `grammar.split_exact`, `declined` those of `lines`.
    """
    quoted = log_format.quoted
    gaps = [f"gap {number}" for number in range(len(quoted) - 1)]
    # What lies before, in, between and after the quotes; the last part holds whatever follows, more quotes
    # too.
    parts = [
        "head",
        quoted[0],
        "answer",
        *(name for pair in zip(quoted[1:], gaps, strict=True) for name in pair),
    ]
    # `split_exact` of Polars forgets what is left over; the regular expression of the exact parser takes
    # thrice as long.
    split = pl.col("line").str.splitn('"', len(parts)).struct.rename_fields(parts).struct.unnest()
    columns = lines.select("line", "position_in_source", split)
    is_taken = columns.select(_is_taken(gaps)).to_series().fill_null(value=False)
    columns = columns.drop("line", *gaps)
    if is_taken.all():
        return FastSplit(_type_parts(columns, quoted), lines.clear())
    return FastSplit(_type_parts(columns.filter(is_taken), quoted), lines.filter(~is_taken))


def _is_taken(gaps: list[str]) -> pl.Expr:
    answer_end = " $" if gaps else "$"
    return pl.all_horizontal(
        ~pl.col("line").str.contains("\\", literal=True),
        pl.col("head").str.contains(_HEAD),
        pl.col("answer").str.contains(_ANSWER + answer_end),
        *(pl.col(gap) == (" " if gap != gaps[-1] else "") for gap in gaps),
    )


def _type_parts(columns: pl.DataFrame, quoted: tuple[str, ...]) -> pl.DataFrame:
    head, answer = pl.col("head"), pl.col("answer")
    return columns.select(
        "position_in_source",
        pl.lit(value=False).alias("is_odd_text"),
        *_split_who(columns.select(head.str.head(-_STAMP)).to_series()),
        head.str.slice(-_STAMP + 2, 11).alias("date"),
        head.str.slice(-_STAMP + 14, 8).alias("clock"),
        head.str.slice(-_STAMP + 23, 5).alias("zone"),
        answer.str.slice(1, 3).alias("status"),
        answer.str.slice(5).str.strip_chars_end(" ").alias("bytes"),
        *quoted,
    )


def _split_who(who: pl.Series) -> list[pl.Series]:
    """Host, identity and user of texts like `83.149.9.216 - -`."""
    ident = pl.Series("ident", ["-"]).new_from_index(0, len(who))
    if who.str.ends_with(" - -").all():  # nobody is logged in: a fifth of the time
        return [who.str.head(-4).alias("host"), ident, ident.alias("user")]
    parts = who.str.splitn(" ", 3).struct
    return [parts.field("field_0").alias("host"), ident, parts.field("field_2").alias("user")]
