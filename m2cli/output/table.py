"""A frame as an aligned table of plain text, for people: nothing is cut, and text of the data is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.output.text import measure_text
from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What `str.isprintable` refuses: control, format, unassigned and private characters, and all spaces but one.
_UNPRINTABLE = r"[\p{C}\p{Z}--[ ]]"
_GAP = "  "


def format_table(texts: pl.DataFrame, *, is_number: Sequence[bool]) -> Iterator[str]:
    """The lines of a table: names, a rule, one for each row of `texts`; null is empty, numbers to the right.

    >>> frame = pl.DataFrame({"country": ["NL", None], "visits": ["12", "3"]})
    >>> print(*format_table(frame, is_number=[False, True]), sep="\\n")
    country  visits
    -------  ------
    NL           12
                  3
    """
    columns = [
        _format_column(escape_text(column.name), column.fill_null(""), is_right=is_right)
        for column, is_right in zip(texts.iter_columns(), is_number, strict=True)
    ]
    if not columns:
        return
    lines = pl.select(pl.concat_str(columns, separator=_GAP)).to_series()
    yield from (line.rstrip() for line in lines)


def _format_column(name: str, texts: pl.Series, *, is_right: bool) -> pl.Series:
    """The name, the rule and the cells, all of one width."""
    cells = pl.concat([pl.Series([name], dtype=pl.String), _escape(texts)])
    widths = _measure(cells)
    width = widths.sort()[-1]
    # A character may take two columns or none, so the padding is told in characters for each cell.
    length = (cells.str.len_chars().cast(pl.Int64) + width - widths).alias("length")
    cell = pl.lit(cells)
    padded = pl.select(cell.str.pad_start(length) if is_right else cell.str.pad_end(length)).to_series()
    return pl.concat([padded.head(1), pl.Series(["-" * width]), padded.slice(1)])


def _escape(texts: pl.Series) -> pl.Series:
    dirty = texts.filter(texts.str.contains(_UNPRINTABLE)).unique()
    return texts.replace(dirty, pl.Series([escape_text(text) for text in dirty], dtype=pl.String))


def _measure(texts: pl.Series) -> pl.Series:
    """The width of each text on a terminal."""
    lengths = texts.str.len_chars().cast(pl.Int64)
    others = texts.filter(texts.str.len_bytes() != lengths).unique()
    if others.is_empty():
        return lengths
    widths = pl.Series([measure_text(text) for text in others], dtype=pl.Int64)
    measured = texts.replace_strict(others, widths, default=None, return_dtype=pl.Int64)
    return measured.fill_null(lengths)
