"""Values of any type as text, and text that a terminal or a file can take."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

# What may not reach a terminal as it is: C0, DEL and C1. As bytes of UTF-8, in the notation of the logs.
CONTROLS = {
    chr(code): "".join(f"\\x{byte:02x}" for byte in chr(code).encode()) for code in (*range(32), *range(127, 160))
}


def to_text(column: pl.Series) -> pl.Series:
    """`column` as strings; nulls stay. Nested values become JSON, times ISO 8601, bytes not UTF-8 `\\xhh`."""
    dtype = column.dtype
    if dtype == pl.String:
        return column
    if isinstance(dtype, pl.Datetime):
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("%:z" if dtype.time_zone else ""))
    if dtype == pl.Binary:
        return _decode(column)
    if isinstance(dtype, pl.Duration):
        return column.dt.to_string("iso")
    if dtype.is_nested():
        return _to_json(column)
    return column.cast(pl.String)


def escape_controls(column: pl.Series) -> pl.Series:
    """`column` of strings with every control character, line ends and tabs too, written as `\\xhh`."""
    return column.str.replace_many(CONTROLS)


def _decode(column: pl.Series) -> pl.Series:
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:  # Some are not UTF-8; no column function escapes them, and they are rare.
        return column.map_elements(lambda value: value.decode("utf-8", "backslashreplace"), return_dtype=pl.String)


def _to_json(column: pl.Series) -> pl.Series:
    """The JSON of a nested column, by way of a struct, the only thing that Polars encodes.

    Of types that it has no JSON for (bytes: a panic in polars 2.1), Python's, one by one: they are rare in
    events.
    """
    if not _has_json(column.dtype):
        values = (None if value is None else json.dumps(value, default=_plain) for value in column.to_list())
        return pl.Series(column.name, list(values), dtype=pl.String)
    encoded = column.to_frame("v").select(pl.struct("v").struct.json_encode()).to_series()
    bare = encoded.str.slice(len('{"v":')).str.head(-1)
    return bare.to_frame("b").select(pl.when(column.is_not_null()).then("b").alias(column.name)).to_series()


def _has_json(dtype: Any) -> bool:
    if isinstance(dtype, pl.Struct):
        return all(_has_json(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.Map):
        return _has_json(dtype.key) and _has_json(dtype.value)
    if isinstance(dtype, (pl.List, pl.Array)):
        return _has_json(dtype.inner)
    return dtype.is_integer() or dtype.is_float() or dtype in (pl.String, pl.Boolean, pl.Null, pl.Date)


def _plain(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
