"""Values as bytes hold them made into what they mean: the column types of Avro's types, and its logical types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from m2cli.avro.types import Type

_DTYPES: dict[str, pl.DataType] = {
    "null": pl.Null(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "bytes": pl.Binary(),
    "fixed": pl.Binary(),
    "string": pl.String(),
    "enum": pl.String(),
    "recursive": pl.String(),
}
_LOGICAL: dict[str, pl.DataType] = {
    "date": pl.Date(),
    "timestamp-millis": pl.Datetime("ms", "UTC"),
    "timestamp-micros": pl.Datetime("us", "UTC"),
    "timestamp-nanos": pl.Datetime("ns", "UTC"),
    "local-timestamp-millis": pl.Datetime("ms"),
    "local-timestamp-micros": pl.Datetime("us"),
    "local-timestamp-nanos": pl.Datetime("ns"),
    "uuid": pl.String(),
}
MOST_DIGITS = 38
TOO_MANY_DIGITS = "a decimal in it has more than 38 digits"
_LIMIT: int = 10**MOST_DIGITS
_WIDTH = 16  # bytes of a decimal of 38 digits


def dtype_of(whole: Type) -> pl.DataType:
    """The column type of values of `whole`.

    Decimals are as wide as they can be, and text beyond 38 digits; enums are their symbols; a union of several types
    is text, as is what holds itself (its JSON); a map is a list of keys and values, in the order in which they came.
    """
    if whole.kind == "record":
        return pl.Struct([pl.Field(each.name, dtype_of(each.type)) for each in whole.fields])
    if whole.kind == "array":
        return pl.List(dtype_of(whole.item))
    if whole.kind == "map":
        return pl.List(pl.Struct({"key": pl.String(), "value": dtype_of(whole.item)}))
    if whole.kind == "union":
        values = whole.values
        return dtype_of(values[0]) if len(values) == 1 else pl.String() if values else pl.Null()
    if whole.logical == "decimal":
        return pl.Decimal(MOST_DIGITS, whole.scale) if whole.precision <= MOST_DIGITS else pl.String()
    return _LOGICAL[whole.logical] if whole.logical else _DTYPES[whole.kind]


def to_meaning(values: pl.Series, leaf: Type) -> pl.Series:
    """`values` as they lie in the bytes (Int32, Int64, Binary) as the column type of `leaf`.

    Raises `ValueError` where one is a decimal of more than 38 digits in a type that holds no more.
    """
    if leaf.logical is None:
        return values
    if leaf.logical == "decimal":
        return _to_decimals(values, leaf)
    if leaf.logical == "uuid":
        digits = values.bin.encode("hex").str
        parts = [digits.slice(start, length) for start, length in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
        return pl.select(pl.concat_str(parts, separator="-")).to_series()
    return values.cast(dtype_of(leaf))


def number_times(column: pl.Series) -> pl.Series:
    """A nested column with numbers for the times in it: of those that no calendar has, nothing could be written."""
    return column.cast(_untimed(column.dtype)) if column.dtype.is_nested() else column


def _untimed(dtype: Any) -> pl.DataType:
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, _untimed(field.dtype)) for field in dtype.fields])
    if isinstance(dtype, pl.List):
        return pl.List(_untimed(dtype.inner))
    if isinstance(dtype, pl.Datetime):
        return pl.Int64()
    return pl.Int32() if dtype == pl.Date else dtype


def to_leaf(values: pl.Series, leaf: Type) -> pl.Series:
    """`values` of the column type of `leaf` as they lie in the bytes: the way back from `to_meaning`."""
    if leaf.kind == "enum":
        numbers = {symbol: index for index, symbol in enumerate(leaf.symbols)}
        return values.replace_strict(numbers, return_dtype=pl.Int64)
    if leaf.logical == "decimal":
        return _from_decimals(values, leaf)
    if leaf.logical == "uuid":
        return values.str.replace_all("-", "", literal=True).str.decode("hex")
    return values.to_physical() if leaf.logical else values


def _spread(given: pl.Series, values: pl.Series) -> pl.Series:
    """`given`, made of those of `values` that are not null, where these stand: amounts are few, and take a while."""
    is_given = values.is_not_null()
    places = (is_given.cast(pl.Int64).cum_sum() - 1).to_frame("p").select(pl.when(is_given).then("p")).to_series()
    return given.gather(places).alias(values.name)


def _from_decimals(values: pl.Series, leaf: Type) -> pl.Series:
    """The least bytes that hold each number, big endian; of a fixed, as many as it has."""
    if values.dtype == pl.String:
        raise ValueError("decimals of more than 38 digits cannot be written")
    if values.null_count():
        return _spread(_from_decimals(values.drop_nulls(), leaf), values)
    arrow = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    wide = np.frombuffer(arrow.buffers()[1], dtype=np.uint8).reshape(-1, _WIDTH)
    wide = wide[arrow.offset : arrow.offset + len(values), ::-1]
    sign = (wide[:, :1] >> 7) * np.uint8(255)
    if leaf.kind == "fixed":
        more = np.repeat(sign, max(leaf.size - _WIDTH, 0), axis=1)
        rows = np.concatenate([more, wide], axis=1)[:, -leaf.size :]
        sizes = np.full(len(values), leaf.size)
    else:
        # A byte can go while it and the first bit of the next only repeat the sign.
        is_sign = (wide[:, :-1] == sign) & ((wide[:, 1:] >> 7) == (sign >> 7))
        sizes = _WIDTH - np.cumprod(is_sign, axis=1).sum(axis=1)
        rows = wide
    width = rows.shape[1]
    flat = rows[np.arange(width) >= width - sizes[:, None]]
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(flat))]
    return pl.Series(values.name, pl.from_arrow(pa.Array.from_buffers(pa.large_binary(), len(values), buffers)))


def fits_decimal(value: bytes) -> bool:
    """Whether the number that `value` holds has no more digits than a column of decimals."""
    return abs(int.from_bytes(value, "big", signed=True)) < _LIMIT


def _to_decimals(values: pl.Series, leaf: Type) -> pl.Series:
    if leaf.precision > MOST_DIGITS:
        texts = (None if each is None else _write_out(each, leaf.scale) for each in values.to_list())
        return pl.Series(values.name, list(texts), dtype=pl.String)
    if values.null_count():
        return _spread(_to_decimals(values.drop_nulls(), leaf), values)
    longest = values.bin.size().max()
    if longest is not None and longest > _WIDTH:  # type: ignore[operator]  # max of UInt32 is an int
        values = pl.Series(values.name, list(map(_shorten, values.to_list())), dtype=pl.Binary)
    column = pa.Array.from_buffers(
        pa.decimal128(MOST_DIGITS, leaf.scale),
        len(values),
        [None, pa.py_buffer(_widen(values))],
    )
    decimals = pl.Series(values.name, pl.from_arrow(column))
    whole = np.frombuffer(column.buffers()[1], dtype="<i8")[1::2]
    is_near = len(whole) and np.abs(whole).max() >= 10**MOST_DIGITS >> 64  # the limit: looked at closely
    if is_near and not all(map(fits_decimal, values)):
        raise ValueError(TOO_MANY_DIGITS)
    return decimals


def _widen(values: pl.Series) -> np.ndarray:
    """Each value's bytes, big endian of any length up to 16, as 16 bytes, little endian."""
    joined = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offset_buffer, data_buffer = joined.buffers()
    offsets = np.frombuffer(offset_buffer, dtype="<i8")[joined.offset : joined.offset + len(values) + 1]
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer else np.zeros(0, np.uint8)
    data = np.concatenate([data, np.zeros(1, np.uint8)])  # what an empty value at the end would look at
    starts, ends = offsets[:-1], offsets[1:]
    sign = np.where(ends > starts, data[starts], 0) >> 7
    wide = np.empty((len(values), _WIDTH), np.uint8)
    for place in range(_WIDTH):  # from the lowest byte
        at = ends - 1 - place
        wide[:, place] = np.where(at >= starts, data[np.maximum(at, 0)], sign * np.uint8(255))
    return wide


def _shorten(value: bytes) -> bytes:
    if len(value) <= _WIDTH:
        return value
    if not fits_decimal(value):
        raise ValueError(TOO_MANY_DIGITS)
    return int.from_bytes(value, "big", signed=True).to_bytes(_WIDTH, "big", signed=True)


def _write_out(value: bytes, scale: int) -> str:
    number = int.from_bytes(value, "big", signed=True)
    digits = str(abs(number)).rjust(scale + 1, "0")
    sign = "-" if number < 0 else ""
    return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)
