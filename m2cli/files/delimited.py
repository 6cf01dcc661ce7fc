"""CSV and its like (tabs, semicolons): a header, then records, every field as text."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from m2cli.errors import UnreadableSourceError
from m2cli.files.blocks import Block, TextBlock, describe_lines, read_text
from m2cli.files.csv_records import find_records, requote
from m2cli.files.raws import redact_names, redact_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from m2cli.files.find import EventFile
    from m2cli.files.rule import FileRule

SAMPLE_BYTES = 1 << 20
HEADER_LINES = 100  # more than the names of columns have
SEPARATORS = ",\t;"  # the one that the header has most of; of equals the first


def read_csv(file: EventFile, rule: FileRule) -> Iterator[Block]:
    """The records of `file` in blocks. An empty field is null, a quoted empty one an empty text.

    Line ends inside quoted fields become `\\n`; bytes that are no UTF-8 are kept as `\\xhh`; blank lines are
    ignored.
    """
    header: list[str] = []
    separator, index = SEPARATORS[0], 0
    carried: TextBlock | None = None
    for fresh in read_text(file, rule.block_bytes):
        block = replace(carried, data=carried.data + fresh.data) if carried else fresh
        carried, lines = None, block.lines()
        if not header:
            header, separator, skipped = _header(file, lines)
            block, lines = _without_head(block, skipped), lines[skipped:]
        if not header:
            continue
        records, open_line = find_records(lines, separator, len(header), is_last=False)
        if open_line is not None:
            carried = _from_line(block, open_line)
        if carried and len(carried.data) > rule.block_bytes:  # a quoted field longer than a block is none
            carried, records = None, find_records(lines, separator, len(header), is_last=True).records
        yield _parse(block, records, header, separator, index)
        index += records.height
    if carried:
        records = find_records(carried.lines(), separator, len(header), is_last=True).records
        yield _parse(carried, records, header, separator, index)


def csv_columns(file: EventFile, rule: FileRule) -> list[str] | None:
    """The names in its header; None where it has none."""
    block = next(read_text(file, min(rule.block_bytes, SAMPLE_BYTES)), None)
    return _header(file, block.lines())[0] or None if block else None


def _from_line(block: TextBlock, line: int) -> TextBlock:
    byte = int(block.line_starts()[line])
    data = block.data[byte - block.first_byte :]
    return TextBlock(data=data, first_byte=byte, first_line=block.first_line + line)


def _without_head(block: TextBlock, count: int) -> TextBlock:
    """`block` without its first `count` lines, which are few: the header and what is blank before it."""
    end = 0
    for _ in range(count):
        end = block.data.find(b"\n", end) + 1 or len(block.data)
    return replace(block, data=block.data[end:], first_byte=block.first_byte + end, first_line=block.first_line + count)


def _first_line(lines: pl.Series) -> int | None:
    """The index of the first line that is not blank."""
    return (lines.str.strip_chars() != "").arg_max() if len(lines) and lines.str.contains(r"\S").any() else None


def _separator(line: str) -> str:
    return max(SEPARATORS, key=line.count)


def _header(file: EventFile, lines: pl.Series) -> tuple[list[str], str, int]:
    """The names, the separator, and how many lines that takes, blank ones before it included."""
    start = _first_line(lines)
    if start is None:
        return [], SEPARATORS[0], len(lines)
    separator = _separator(lines[start])
    head = find_records(lines[start : start + HEADER_LINES], separator, None, is_last=True).records
    text, reason = head["text"][0], head["reason"][0]
    if reason:
        raise UnreadableSourceError(file.name, f"its header is no CSV: {reason}")
    fields = next(csv.reader([requote(pl.Series([text]), separator)[0]], delimiter=separator))
    names = [name.strip() or f"column_{number}" for number, name in enumerate(fields, 1)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UnreadableSourceError(file.name, f"its header names `{redact_names([twice])[0]}` twice")
    return names, separator, start + text.count("\n") + 1


def _parse(block: TextBlock, records: pl.DataFrame, header: list[str], separator: str, first: int) -> Block:
    numbered = records.with_columns(index=pl.int_range(first, first + records.height, dtype=pl.Int64))
    good = numbered.filter(pl.col("reason").is_null() & ~pl.col("is_blank"))
    wrong = numbered.filter(pl.col("reason").is_not_null())

    def describe(asked: pl.Series) -> pl.DataFrame:
        named = records[asked - first]
        return describe_lines(block, named["first_line"], redact_records(named, header, separator))

    return Block(
        rows=_read(good["text"], header, separator),
        index=good["index"],
        wrong=wrong.select("index", "reason"),
        read_count=records.height,
        ignored_count=int(records["is_blank"].sum()),
        describe=describe,
    )


def _read(records: pl.Series, header: list[str], separator: str) -> pl.DataFrame:
    schema = dict.fromkeys(header, pl.String())
    if not len(records):
        return pl.DataFrame(schema=schema)
    data = str(requote(records, separator).str.join("\n").item()).encode()
    return pl.read_csv(data, has_header=False, schema=schema, separator=separator, infer_schema=False)
