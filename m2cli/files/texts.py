"""Values of any type as text, and text that a terminal or a file can take."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

# What may not reach a terminal as it is: C0, DEL and C1. As bytes of UTF-8, in the notation of the logs.
CONTROLS = {
    chr(code): "".join(f"\\x{byte:02x}" for byte in chr(code).encode()) for code in (*range(32), *range(127, 160))
}

_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # of the years 1 to 9999, from 1970 on


def to_text(column: pl.Series) -> pl.Series:
    """`column` as strings; nulls stay. Nested values become JSON, times ISO 8601, bytes not UTF-8 `\\xhh`.

    A time that no calendar has is its number and unit, as `9223372036854775807 us`, which nothing takes for a time.
    """
    dtype = column.dtype
    if dtype == pl.String:
        return column
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        return _write_times(column)
    if dtype == pl.Binary:
        return _decode(column)
    if isinstance(dtype, pl.Duration):
        return column.dt.to_string("iso")
    if dtype.is_nested():
        return _to_json(column)
    return column.cast(pl.String)


def _write_times(column: pl.Series) -> pl.Series:
    dtype: Any = column.dtype
    unit, per_day = ("days", 1) if dtype == pl.Date else (dtype.time_unit, _PER_DAY[dtype.time_unit])
    numbers = column.to_physical()
    # Polars panics at a year that its calendar lacks (polars 2.1).
    first, end = _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day
    if unit == "ns":  # which reaches from 1677 to 2262 only
        first, end = -(2**63), 2**63 - 1
    is_time = numbers.is_null() | numbers.is_between(first, end)
    within = column if is_time.all() else column.to_frame("t").select(pl.when(is_time).then("t")).to_series()
    pattern = "%Y-%m-%dT%H:%M:%S%.f" + ("%:z" if getattr(dtype, "time_zone", None) else "")
    texts = within.cast(pl.String) if dtype == pl.Date else within.dt.strftime(pattern)
    if is_time.all():
        return texts.alias(column.name)
    beyond = numbers.cast(pl.String) + f" {unit}"
    return pl.select(pl.coalesce(texts, beyond).alias(column.name)).to_series()


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
