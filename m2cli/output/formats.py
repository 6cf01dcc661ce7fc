"""The formats in which a result leaves m2: a table with a writer for each, from frames to bytes.

Times are ISO 8601 in UTC with `Z`, decimals exact: in JSON as text, but for whole numbers.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, cast

import polars as pl
import pyarrow.parquet as pq

from m2cli.errors import UnknownNameError, UsageError
from m2cli.output.table import format_table
from m2cli.output.terminal import ESCAPES, EscapedStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from polars._typing import PolarsDataType

    Write = Callable[[Iterable[pl.DataFrame], BinaryIO], None]

_TIME = "%Y-%m-%dT%H:%M:%S%.f"
# Polars panics where it writes a time past the year 262,142, as DuckDB's `infinity` is: 95 million days are 260,000
# years. In nanoseconds every time fits but `infinity`, which would come out as one in 2262.
_FARTHEST_DAY = 95_000_000
_FARTHEST = {"ms": _FARTHEST_DAY * 86_400_000, "us": _FARTHEST_DAY * 86_400_000_000, "ns": 2**63 - 2}


def write_frames(
    frames: Iterable[pl.DataFrame], format_name: str, stream: BinaryIO, *, for_terminal: bool = False
) -> None:
    """Write `frames`, the parts of one result and at least one, to `stream` as the format of that name.

    `for_terminal` escapes what a terminal would obey or hide: in JSON's own way, so that the values are the
    same; in CSV, which has none, as in a table, which does it always.

    Raises `UnknownNameError` for a name that is not in `FORMATS`, `UsageError` for a time that is none of a
    calendar, in all formats but Parquet.
    """
    if format_name not in FORMATS:
        raise UnknownNameError("format", format_name, FORMATS)
    if for_terminal and format_name in ESCAPES:
        with EscapedStream(stream, ESCAPES[format_name]) as escaped:
            FORMATS[format_name](frames, cast("BinaryIO", escaped))
    else:
        FORMATS[format_name](frames, stream)


def _write_csv(frames: Iterable[pl.DataFrame], stream: BinaryIO) -> None:
    for number, frame in enumerate(frames):
        flatten(frame).write_csv(stream, include_header=number == 0)


def _write_ndjson(frames: Iterable[pl.DataFrame], stream: BinaryIO) -> None:
    for frame in frames:
        to_json_values(frame).write_ndjson(stream)


def _write_json(frames: Iterable[pl.DataFrame], stream: BinaryIO) -> None:
    stream.write(b"[")
    separator = b"\n"
    for frame in frames:
        for line in to_json_values(frame).write_ndjson().split("\n")[:-1]:  # JSON may hold U+2028 raw
            stream.write(separator + line.encode())
            separator = b",\n"
    stream.write(b"\n]\n")


def _write_parquet(frames: Iterable[pl.DataFrame], stream: BinaryIO) -> None:
    tables = (frame.to_arrow(compat_level=pl.CompatLevel.oldest()) for frame in frames)
    first = next(tables)
    with pq.ParquetWriter(stream, first.schema, compression="zstd") as writer:
        for table in chain([first], tables):
            if table.num_rows:
                writer.write_table(table)


def _write_table(frames: Iterable[pl.DataFrame], stream: BinaryIO) -> None:
    frame = pl.concat(frames)
    lines = format_table(flatten(frame), is_number=[dtype.is_numeric() for dtype in frame.dtypes])
    stream.writelines(f"{line}\n".encode() for line in lines)


FORMATS: dict[str, Write] = {
    "table": _write_table,
    "csv": _write_csv,
    "json": _write_json,
    "ndjson": _write_ndjson,
    "parquet": _write_parquet,
}


def to_json_values(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with what JSON has no type for as text, inside lists and structs too."""
    for column in frame.iter_columns():
        _refuse_far_times(column)
    return frame.select(_to_json(pl.col(name), dtype).alias(name) for name, dtype in frame.schema.items())


def _refuse_far_times(column: pl.Series) -> None:
    """Raise `UsageError` for a time in `column`, in what is nested there too, that cannot be written."""
    if any(map(_has_far_time, _find_times(column))):
        raise UsageError(
            f"`{column.name}` has a time that only Parquet can hold: infinity, or some 260,000 years away; "
            f"leave it out, or ask for it as text with CAST({column.name} AS VARCHAR)"
        )


def _find_times(values: pl.Series) -> Iterator[pl.Series]:
    """The times in `values`."""
    dtype = values.dtype
    if isinstance(dtype, pl.Date | pl.Datetime):
        yield values
    elif not any(isinstance(part, pl.Date | pl.Datetime) for part in _parts(dtype)):
        return
    elif isinstance(dtype, pl.List | pl.Array):
        yield from _find_times(values.explode())
    elif isinstance(dtype, pl.Map):
        yield from _find_times(values.map.keys())
        yield from _find_times(values.map.values())
    else:
        for field in values.struct.unnest().iter_columns():
            yield from _find_times(field)


def _has_far_time(times: pl.Series) -> bool:
    farthest = _FARTHEST[times.dtype.time_unit] if isinstance(times.dtype, pl.Datetime) else _FARTHEST_DAY
    return not times.to_physical().is_between(-farthest, farthest).all()


def flatten(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with all that is no number, truth value or text as text; what is nested as JSON."""
    return to_json_values(frame).select(
        _encode(name).alias(name) if dtype.is_nested() else pl.col(name).cast(pl.String)
        for name, dtype in frame.schema.items()
    )


def _encode(name: str) -> pl.Expr:
    # Only structs can be encoded: put the value into one, and take off what that adds, `{"v":` and `}`.
    text = pl.struct(pl.col(name).alias("v")).struct.json_encode().str.slice(5).str.head(-1)
    return pl.when(pl.col(name).is_not_null()).then(text)


def _to_json(values: pl.Expr, dtype: PolarsDataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        zone = "Z" if dtype.time_zone else ""
        utc = values.dt.convert_time_zone("UTC") if dtype.time_zone else values
        return utc.dt.strftime(_TIME + zone)
    if isinstance(dtype, pl.Decimal):
        return values.cast(pl.Int128 if dtype.scale == 0 else pl.String)
    if isinstance(dtype, pl.Binary):
        return values.bin.encode("hex")
    if dtype.is_nested() and _is_changed(dtype):
        return _nested_to_json(values, dtype)
    return values


def _nested_to_json(values: pl.Expr, dtype: PolarsDataType) -> pl.Expr:
    if isinstance(dtype, pl.List | pl.Array):
        items = values.arr.to_list() if isinstance(dtype, pl.Array) else values
        return items.list.eval(_to_json(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Map):
        key, value = (pl.element().struct.field(name) for name in ("key", "value"))
        entry = pl.struct(_to_json(key, dtype.key).cast(pl.String), _to_json(value, dtype.value))
        written = pl.select(_to_json(pl.lit(None, dtype.value), dtype.value)).to_series().dtype
        return values.map.entries().list.eval(entry).cast(pl.Map(pl.String, written))
    if isinstance(dtype, pl.Struct):
        fields = (_to_json(values.struct.field(field.name), field.dtype) for field in dtype.fields)
        return pl.when(values.is_not_null()).then(pl.struct(*fields))
    return values


def _is_changed(dtype: object) -> bool:
    """Whether something in `dtype` becomes text."""
    return any(
        isinstance(part, pl.Datetime | pl.Decimal | pl.Binary) or (isinstance(part, pl.Map) and part.key != pl.String)
        for part in _parts(dtype)
    )


def _parts(dtype: object) -> Iterator[object]:
    yield dtype
    if isinstance(dtype, pl.List | pl.Array):
        yield from _parts(dtype.inner)
    if isinstance(dtype, pl.Map):
        yield from _parts(dtype.key)
        yield from _parts(dtype.value)
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _parts(field.dtype)
