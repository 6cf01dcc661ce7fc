r"""Cuts a block of bytes into lines, each with its number and its byte offset, whatever bytes they are.

A line ends with `\n` or `\r\n`, the last one also with the file. Bytes that are not UTF-8 are read as if the
server had escaped them, so `\xe9` is what is left of a Latin-1 é, and the line is marked.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from io import BytesIO

import polars as pl

IS_IGNORED = pl.col("line").str.contains(r"^(?:#|[ \t]*$)")
"""Blank lines and directives (`#Fields: ...`): counted, and nothing else."""


def cut_lines(data: bytes, position: int) -> pl.DataFrame:
    """The lines of `data`, of which the first begins at byte `position`.

    Returns `line` (String, without its end), `line_number` (Int64, from 1), `position_in_source` (Int64,
    bytes) and `is_odd_text` (Boolean: not all UTF-8). A byte order mark at position 0 is no part of its line.
    """
    if position == 0 and data.startswith(BOM_UTF8):
        data, position = data.removeprefix(BOM_UTF8), len(BOM_UTF8)
    line_end = _measure_line_end(data) if _is_utf8(data) else 0
    lines = _cut_even(data, line_end) if line_end else _cut_any(data)
    begins = (pl.col("size").cum_sum() - pl.col("size") + position).alias("position_in_source")
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("line_number")
    return lines.select("line", number, begins, "is_odd_text")


def _is_utf8(data: bytes) -> bool:
    if data.isascii():  # 5 GB/s, and true of most blocks: servers escape the rest
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _measure_line_end(data: bytes) -> int:
    r"""1 if no line of `data` ends with `\r\n`, 2 if every line does, 0 if some do."""
    if b"\r" not in data:
        return 1
    count = data.count(b"\r")
    return 2 if count == data.count(b"\r\n") == data.count(b"\n") and data.endswith(b"\n") else 0


def _cut_even(data: bytes, line_end: int) -> pl.DataFrame:
    # Five times as fast as `_cut_any`; takes UTF-8 only, and drops every \r\n without a word.
    size = (pl.col("line").str.len_bytes().cast(pl.Int64) + line_end).alias("size")
    return pl.read_lines(BytesIO(data)).with_columns(size, pl.lit(value=False).alias("is_odd_text"))


def _cut_any(data: bytes) -> pl.DataFrame:
    lines = data.removesuffix(b"\n").split(b"\n")
    texts = data.removesuffix(b"\n").decode(errors="backslashreplace").split("\n")
    length = pl.Series(lines, dtype=pl.Binary).bin.size().cast(pl.Int64)
    line = pl.Series(texts, dtype=pl.String)
    return pl.DataFrame(
        {
            "line": line.str.strip_suffix("\r"),
            "size": length + 1,
            "is_odd_text": line.str.len_bytes().cast(pl.Int64) != length,
        }
    )
