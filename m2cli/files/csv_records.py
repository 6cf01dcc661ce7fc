"""Where the records of a CSV begin and end, and which are none: RFC 4180, quotes inside fields allowed."""

from __future__ import annotations

import re
from typing import NamedTuple

import polars as pl

UNCLOSED = "a quoted field is not closed"
AFTER_QUOTE = "there is text behind a quoted field"
TOO_MANY = "it has more fields than the header"
TOO_FEW = "it has fewer fields than the header"
MAX_PASSES = 8
FEW = range(2, 65)  # fields that one pattern can count: one alone may be a blank line, more make it too large


class Records(NamedTuple):
    """`records`: text, first_line (its index among the lines), reason (null where it is well), is_blank.

    `open_line`: the index of the line where a record begins that has not ended yet; None where there is none.
    """

    records: pl.DataFrame
    open_line: int | None


class _Grammar(NamedTuple):
    complete: str
    opens: str
    closes: str
    reopens: str
    stays: str


def _grammar(separator: str) -> _Grammar:
    s = re.escape(separator)
    inside = r'(?:[^"]|"")*'
    quoted = f'"{inside}"'
    field = rf'(?:{quoted}|[^"{s}][^{s}]*|)'
    return _Grammar(
        complete=f"^{field}(?:{s}{field})*$",
        opens=f'^(?:{field}{s})*"{inside}$',
        closes=f'^{inside}"(?:{s}{field})*$',
        reopens=f'^{inside}"(?:{s}{field})*{s}"{inside}$',
        stays=f"^{inside}$",
    )


def _exactly(separator: str, field_count: int) -> str:
    """A line that is a record of so many fields and not blank, as nearly all lines are."""
    s = re.escape(separator)
    field = rf'(?:"(?:[^"]|"")*"|[^"{s}][^{s}]*|)'
    return f"^{field}(?:{s}{field}){{{field_count - 1}}}$"


def find_records(lines: pl.Series, separator: str, field_count: int | None, *, is_last: bool) -> Records:
    """The records in `lines`; quoted fields may go on over lines. With `field_count`, others are rejects.

    Lines are read as functions on the two states "outside" and "inside a quoted field", and the functions are
    composed by cumulative sums. A quoted field that a later line cannot belong to, or that the end leaves
    open, was never meant as one: its first line alone is the reject, and those behind it are read for
    themselves.
    """
    if not lines.str.contains('"', literal=True).any():
        table = lines.to_frame("text").with_row_index("first_line").with_columns(reason=pl.lit(None, pl.String))
        return Records(_judge(table, separator, field_count), None)
    grammar = _grammar(separator)
    if field_count and field_count in FEW and lines.str.contains(_exactly(separator, field_count)).all():
        table = lines.to_frame("text").with_row_index("first_line")
        return Records(table.with_columns(reason=pl.lit(None, pl.String), is_blank=pl.lit(value=False)), None)
    table = lines.to_frame("line").select(
        "line",
        out_is_well=pl.col("line").str.contains(grammar.complete),
        opens=pl.col("line").str.contains(grammar.opens),
        closes=pl.col("line").str.contains(grammar.closes),
        stays=pl.col("line").str.contains(grammar.stays) | pl.col("line").str.contains(grammar.reopens),
        is_broken=pl.lit(value=False),
    )
    for _ in range(MAX_PASSES):
        states = _states(table)
        broken = _broken_openers(states, is_last=is_last)
        if not broken.any():
            break
        table = table.with_columns(is_broken=pl.col("is_broken") | broken)
    states = _states(table)
    ends_inside = states.height > 0 and bool(states["is_inside_after"][-1])
    open_line = int(states["starts"].arg_true()[-1]) if ends_inside and not is_last else None
    whole = states[:open_line] if open_line is not None else states
    return Records(_judge(_join_lines(whole), separator, field_count), open_line)


def _states(table: pl.DataFrame) -> pl.DataFrame:
    """For each line, whether it begins inside a quoted field, ends inside one, and starts a record."""
    leaves_out_inside = pl.col("opens") & ~pl.col("is_broken")
    fits_inside = (pl.col("closes") | pl.col("stays")) & ~pl.col("is_broken")
    leaves_in_inside = pl.when(fits_inside).then(pl.col("stays")).otherwise(leaves_out_inside)
    is_swap = leaves_out_inside & ~leaves_in_inside
    is_constant = leaves_out_inside == leaves_in_inside
    swaps = is_swap.cast(pl.Int64).cum_sum() % 2 == 1
    since = pl.when(is_constant).then(leaves_out_inside ^ swaps).forward_fill().fill_null(value=False)
    return (
        table.with_columns(fits_inside=fits_inside, is_inside_after=since ^ swaps)
        .with_columns(is_inside_before=pl.col("is_inside_after").shift(1, fill_value=False))
        .with_columns(starts=~pl.col("is_inside_before") | ~pl.col("fits_inside"))
    )


def _broken_openers(states: pl.DataFrame, *, is_last: bool) -> pl.Series:
    """First lines of records that the next record cuts off, or the end of the file does."""
    breaks = states["is_inside_before"] & ~states["fits_inside"]
    starts = states["starts"].arg_true()
    cut_off = breaks.gather(starts).shift(-1, fill_value=is_last and bool(states["is_inside_after"][-1]))
    lines = pl.int_range(states.height, dtype=pl.UInt32, eager=True)
    return lines.is_in(starts.filter(cut_off).implode())


def _join_lines(states: pl.DataFrame) -> pl.DataFrame:
    numbered = states.with_row_index("first_line").with_columns(record=pl.col("starts").cum_sum())
    reason = (
        pl.when(pl.col("is_broken").first() | (pl.col("opens").first() & (pl.len() == 1)))
        .then(pl.lit(UNCLOSED))
        .when((pl.len() == 1) & ~pl.col("out_is_well").first())
        .then(pl.lit(AFTER_QUOTE))
    )
    if numbered["starts"].all():
        alone = (
            pl.when(pl.col("is_broken") | pl.col("opens")).then(pl.lit(UNCLOSED))
            .when(~pl.col("out_is_well")).then(pl.lit(AFTER_QUOTE))
        )  # fmt: skip
        return numbered.select("first_line", text="line", reason=alone)
    return numbered.group_by("record", maintain_order=True).agg(
        pl.col("first_line").first(), text=pl.col("line").str.join("\n"), reason=reason
    ).drop("record")  # fmt: skip


def _judge(records: pl.DataFrame, separator: str, field_count: int | None) -> pl.DataFrame:
    records = records.with_columns(is_blank=pl.col("text").str.strip_chars() == "")
    if separator == "\t":  # tabs are fields there, not blanks
        records = records.with_columns(is_blank=pl.col("text").str.strip_chars(" ") == "")
    if field_count is None:
        return records
    counts = records.select(n=count_fields(separator)).to_series()
    reason = (
        pl.when(pl.col("reason").is_not_null()).then("reason")
        .when(counts > field_count).then(pl.lit(TOO_MANY))
        .when(counts < field_count).then(pl.lit(TOO_FEW))
    )  # fmt: skip
    return records.with_columns(reason=pl.when(~pl.col("is_blank")).then(reason))


def count_fields(separator: str) -> pl.Expr:
    """How many fields the well-formed records in `text` have."""
    text = pl.col("text")
    plain = text.str.count_matches(separator, literal=True) + 1
    return pl.when(text.str.contains('"', literal=True)).then(split_fields(text, separator).list.len()).otherwise(plain)


def split_fields(text: pl.Expr, separator: str) -> pl.Expr:
    """The fields of well-formed records, a separator before each, the first too: so no match is empty."""
    s = re.escape(separator)
    return (pl.lit(separator) + text).str.extract_all(rf'{s}(?:"(?:[^"]|"")*"|[^{s}]*)')


def requote(records: pl.Series, separator: str) -> pl.Series:
    """Records in which only quoted fields hold quotes, which is what Polars reads; others are written so."""
    s = re.escape(separator)
    has_loose = records.str.contains(rf'(?:^|{s})[^"{s}][^{s}]*"')
    if not has_loose.any():
        return records
    bare = pl.element().str.strip_prefix(separator)
    is_loose = ~bare.str.starts_with('"') & bare.str.contains('"', literal=True)
    quoted = pl.lit('"') + bare.str.replace_all('"', '""', literal=True) + pl.lit('"')
    fields = split_fields(pl.col("t"), separator).list.eval(pl.when(is_loose).then(quoted).otherwise(bare))
    return records.to_frame("t").select(pl.when(has_loose).then(fields.list.join(separator)).otherwise("t")).to_series()
