"""NDJSON: one object a line, every value as the text it stands for."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import TEXTS
from m2cli.files.blocks import WRONG, Block, TextBlock, describe_lines, read_text
from m2cli.files.json_objects import Parsed, parse_all, parse_objects
from m2cli.files.values import round_money_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from m2cli.files.find import EventFile
    from m2cli.files.rule import FileRule

NOT_JSON = "it is not a JSON object"
SAMPLE_BYTES = 1 << 20


def read_ndjson(file: EventFile, rule: FileRule) -> Iterator[Block]:
    """The objects of `file` in blocks.

    Numbers keep the text that JSON's 64-bit numbers have, so that what a value becomes never depends on the
    lines beside it; amounts with more than 4 decimals are rounded as the floats that they are.
    """
    for block in read_text(file, rule.block_bytes):
        yield parse_block(block, rule.mapping)


def ndjson_columns(file: EventFile, rule: FileRule) -> list[str] | None:
    """The keys in the first megabyte, or, where a mapped one lacks, in the first block; None without any."""
    names: list[str] = []
    for size in (SAMPLE_BYTES, rule.block_bytes):
        block = next(read_text(file, min(size, rule.block_bytes)), None)
        names = _names(block.lines(), block) if block else []
        if names and {"event_time", *rule.mapping.values()} <= set(names):
            break
    return names or None


def parse_block(block: TextBlock, mapping: Mapping[str, str]) -> Block:
    """The objects of one block; see `read_ndjson`."""
    lines = block.lines()
    is_blank = lines.str.strip_chars() == ""
    blank_count = int(is_blank.sum())
    first = block.first_line
    indexes = pl.int_range(first, first + len(lines), dtype=pl.Int64, eager=True)
    given, places = (lines.filter(~is_blank), indexes.filter(~is_blank)) if blank_count else (lines, indexes)
    parsed = _parse_lines(given, block, mapping)
    is_wrong = ~parsed.is_object
    wrong = places.filter(is_wrong).to_frame("index").with_columns(reason=pl.lit(NOT_JSON))
    return Block(
        rows=_round(_nested(parsed, given), mapping),
        index=places.filter(parsed.is_object) if wrong.height else places,
        wrong=wrong if wrong.height else pl.DataFrame(schema=WRONG),
        read_count=len(lines),
        ignored_count=blank_count,
        describe=lambda asked: describe_lines(block, asked - first, lines.gather(asked - first)),
    )


def _parse_lines(lines: pl.Series, block: TextBlock, mapping: Mapping[str, str]) -> Parsed:
    """Attributes are read as a map, whose keys are kept exactly; as text where some are written otherwise."""
    schema = dict.fromkeys(_names(lines, block), pl.String())
    attributes = mapping.get("attributes", "attributes")
    if attributes not in schema:
        return parse_objects(lines, schema)
    try:
        return parse_all(lines, {**schema, attributes: TEXTS})
    except pl.exceptions.PolarsError:
        return parse_objects(lines, schema)


def _names(lines: pl.Series, block: TextBlock) -> list[str]:
    """All keys of the block's objects, in the order in which they first appear."""
    try:
        return _infer(block.text())
    except pl.exceptions.PolarsError:
        # Not all are objects, or a key has values that no type holds: as maps, they have keys all the same.
        objects = lines.filter(parse_objects(lines, {}).is_object)
        maps = parse_objects('{"m":' + objects + "}", {"m": TEXTS}).rows["m"]
        return maps.map.keys().explode().drop_nulls().unique(maintain_order=True).to_list()


def _infer(data: bytes) -> list[str]:
    return list(pl.scan_ndjson(io.BytesIO(data), infer_schema_length=None).collect_schema())


def _nested(parsed: Parsed, lines: pl.Series) -> pl.DataFrame:
    """Objects and lists as the JSON that they are: read as strings, they lose escapes inside (polars 2.1)."""
    rows = parsed.rows
    is_nested = pl.col(pl.String).str.contains(r"^[\[{]")
    nested = [column.name for column in rows.select(is_nested.any()) if column.item()] if rows.height else []
    if not nested:
        return rows
    objects = lines.filter(parsed.is_object).to_frame("line")
    exact = objects.select(
        pl.col("line").str.json_path_match(f'$["{name}"]').alias(name) for name in nested if not set('"\\') & set(name)
    )
    looks_nested = {column.name: pl.col(column.name).str.contains(r"^[\[{]") for column in exact}
    return rows.with_columns(
        pl.when(looks_nested[column.name] & column.is_not_null()).then(column).otherwise(name).alias(name)
        for name, column in zip(looks_nested, exact, strict=True)
    )


def _round(rows: pl.DataFrame, mapping: Mapping[str, str]) -> pl.DataFrame:
    name = mapping.get("amount", "amount")
    return rows.with_columns(round_money_texts(rows[name])) if name in rows.columns else rows
