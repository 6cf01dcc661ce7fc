"""The parser of JSON lines: objects that are alike all at once, all others one by one with the standard library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.logs.fields.used import name_used
from m2cli.logs.parsers.alike import split_alike
from m2cli.logs.parsers.scalars import parse_object, write_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from m2cli.logs.formats.model import LogFormat

NO_OBJECT = "the line is no JSON object"
CUT_OBJECT = "the JSON is cut short or malformed"
REASONS = (NO_OBJECT, CUT_OBJECT)


def split_objects(lines: pl.DataFrame, columns: Mapping[str, tuple[str, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`lines` that are JSON objects, as texts of what is at each of the paths `columns`, and those that are none.

    The first has `position_in_source`, `is_odd_text` and `columns` (String, null where nothing is there); the second
    the columns of `lines`.
    """
    rows, others = split_alike(lines, columns)
    if others.is_empty():
        return rows, others
    exact, bad = _read_each(others, columns)
    return (rows, bad) if exact.is_empty() else (pl.concat([rows, exact]).sort("position_in_source"), bad)


def _read_each(lines: pl.DataFrame, columns: Mapping[str, tuple[str, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    documents = [parse_object(line) for line in lines.get_column("line")]
    is_object = pl.Series("is_object", [document is not None for document in documents], dtype=pl.Boolean)
    good = lines.filter(is_object).select("position_in_source", "is_odd_text")
    found = [document for document in documents if document is not None]
    values = [
        pl.Series(name, [_walk(document, path) for document in found], dtype=pl.String)
        for name, path in columns.items()
    ]
    return good.with_columns(values), lines.filter(~is_object)


def _walk(value: Any, path: tuple[str, ...]) -> str | None:
    for key in path:
        if key == "0" and isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            value = value.get(key)
        elif key != "0":  # where a list is expected, one value is as good
            return None
    return write_value(value)


def name_paths(log_format: LogFormat) -> dict[str, tuple[str, ...]]:
    """Where each column of `log_format` is that its events are made of."""
    used = name_used(log_format)
    return {name: path for name, path in log_format.paths.items() if name in used}


def object_reason() -> pl.Expr:
    """`reason`: why a `line` is no object."""
    begins = pl.col("line").str.contains(r"^ *\{")
    return pl.when(begins).then(pl.lit(CUT_OBJECT)).otherwise(pl.lit(NO_OBJECT)).alias("reason")
