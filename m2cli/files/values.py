"""Columns of any type made into the event's types, and why a value cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import MONEY, TIME
from m2cli.files.texts import to_text
from m2cli.files.times import parse_times

if TYPE_CHECKING:
    from m2cli.files.rule import FileRule

    DType = pl.DataType | type[pl.DataType]  # as the tables in events.py hold them

_WHOLE = r"^[+-]?[0-9]+$"
_DECIMAL = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
_TRUE, _FALSE = ("true", "1"), ("false", "0")
MONEY_BELOW = 1e14  # 18 digits, 4 of them decimals


class Fault(NamedTuple):
    """Rows whose value cannot be what its column says, and how to say so behind the column's name."""

    mask: pl.Series
    reason: str


class Converted(NamedTuple):
    """A column in the event's type, null where a fault is."""

    values: pl.Series
    faults: tuple[Fault, ...] = ()


def convert(column: pl.Series, dtype: DType, rule: FileRule) -> Converted:
    """`column` as `dtype`; one that has it costs nothing. Blank text is null unless text is asked for."""
    if dtype == pl.String:
        return Converted(to_text(column))
    if column.dtype == dtype and dtype != TIME:
        return Converted(column)
    if column.dtype == pl.Null:
        return Converted(column.cast(dtype))
    if column.dtype == pl.Binary or isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        column = to_text(column)
    if column.dtype == pl.String and dtype != TIME:
        column = _without_blanks(column)
    if dtype == TIME:
        return to_time(column, rule.time_zone)
    if dtype == MONEY:
        return to_money(column)
    return to_flag(column) if dtype == pl.Boolean else to_integer(column, dtype)


def to_time(column: pl.Series, time_zone: str) -> Converted:
    """See `parse_times`."""
    times = parse_times(column, time_zone)
    if times.null_count() == column.null_count():
        return Converted(times)
    given = column.is_not_null()
    if column.dtype == pl.String:
        given &= column.str.contains(r"\S")
    return Converted(times, _faults(given & times.is_null(), "is not a time"))


def to_integer(column: pl.Series, dtype: DType) -> Converted:
    """Whole numbers, written as integers, as floats or decimals without a fraction, or as text of either."""
    source = column
    if column.dtype == pl.String:
        column = column.str.replace(r"\.0*$", "")
        is_whole = column.str.contains(_WHOLE)
    elif column.dtype.is_float() or column.dtype.is_decimal():
        floats = column.cast(pl.Float64)
        is_whole = floats.is_finite() & (floats == floats.floor())
    elif column.dtype.is_integer():
        is_whole = column.is_not_null()
    else:
        return _nothing_but_faults(column, dtype, "is not a whole number")
    values = column.cast(dtype, strict=False)
    if is_whole.all() and values.null_count() == source.null_count():
        return Converted(values)
    is_bad = source.is_not_null() & ~is_whole.fill_null(value=False)
    is_out = source.is_not_null() & ~is_bad & values.is_null()
    values = _null_where(values, is_bad)
    return Converted(values, _faults(is_bad, "is not a whole number") + _faults(is_out, "is out of range"))


def to_money(column: pl.Series) -> Converted:
    """Decimals of 18 digits, 4 behind the point.

    Floats are rounded to 4 decimals, half to even (a float has no exact decimals to lose);
    a text or a decimal whose further decimals are not 0 is a fault, because rounding would change what is
    owed.
    """
    dtype = column.dtype
    if dtype.is_float():
        # The decimals that a float of 32 bits was written as; one of 64 bits would show its noise (123456.7812 of .78).
        exact = column.cast(pl.String) if dtype == pl.Float32 else column
        return _money_of_floats(exact.cast(pl.Float64))
    if dtype.is_integer() or dtype.is_decimal():
        if isinstance(dtype, pl.Decimal) and dtype.scale <= MONEY.scale:
            values = column.cast(MONEY, strict=False)
            if values.null_count() == column.null_count():
                return Converted(values)
        column = column.cast(pl.String)
    elif dtype != pl.String:
        return _nothing_but_faults(column, MONEY, "is not a number")
    is_number = column.str.contains(_DECIMAL)
    plain = _without_exponents(column)
    has_more = plain.str.contains(r"\.[0-9]{4}0*[1-9]")
    values = plain.str.replace(r"(\.[0-9]{4})0+$", "${1}").cast(MONEY, strict=False)
    if is_number.all() and values.null_count() == column.null_count() and not has_more.any():
        return Converted(values)
    is_bad = column.is_not_null() & ~is_number
    is_finer = column.is_not_null() & is_number & has_more
    is_out = column.is_not_null() & is_number & ~is_finer & values.is_null()
    faults = (
        *_faults(is_bad, "is not a number"),
        *_faults(is_finer, "has more than 4 decimals"),
        *_faults(is_out, "is out of range"),
    )
    return Converted(_null_where(values, is_bad | is_finer), faults)


def to_flag(column: pl.Series) -> Converted:
    """Booleans, or true, false, 1 and 0 as text or number."""
    texts = to_text(column).str.to_lowercase()
    texts = texts.str.replace(r"^([01])\.0$", "${1}") if column.dtype.is_float() else texts
    values = texts.replace_strict(
        dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False), default=None, return_dtype=pl.Boolean
    )
    return Converted(values, _faults(column.is_not_null() & values.is_null(), "is not true or false"))


def round_money_texts(column: pl.Series) -> pl.Series:
    """Texts of JSON numbers: those with more than 4 decimals rounded as the floats that they are."""
    is_finer = column.str.contains(r"^\s*[+-]?[0-9]*\.[0-9]{5}")
    if not is_finer.any():
        return column
    floats = column.to_frame("t").select(pl.when(is_finer).then(pl.col("t").str.strip_chars())).to_series()
    rounded = _money_of_floats(floats.cast(pl.Float64, strict=False)).values.cast(pl.String)
    return (
        column.to_frame("t")
        .select(pl.when(rounded.is_not_null()).then(rounded).otherwise("t").alias(column.name))
        .to_series()
    )


def _money_of_floats(floats: pl.Series) -> Converted:
    is_number = floats.is_finite()
    fits = is_number & (floats.abs() < MONEY_BELOW)
    # The cast of a float that does not fit raises, strict or not (polars 2.1), so those go first.
    values = _null_where(floats.round(4, mode="half_to_even"), ~fits)
    is_out = is_number & ~fits
    out = values.abs() >= MONEY_BELOW  # rounded up to one digit too many
    values = _null_where(values, out).cast(MONEY)
    if values.null_count() == floats.null_count():
        return Converted(values)
    faults = _faults(floats.is_not_null() & ~is_number, "is not a number") + _faults(is_out | out, "is out of range")
    return Converted(values, faults)


def _without_exponents(column: pl.Series) -> pl.Series:
    """Numbers with an exponent written out, so that their decimals can be counted."""
    has_exponent = column.str.contains(r"[eE]")
    if not has_exponent.any():
        return column
    exact = column.cast(pl.Decimal(38, 16), strict=False).cast(pl.String)
    return column.to_frame("t").select(pl.when(has_exponent).then(exact).otherwise("t").alias(column.name)).to_series()


def _without_blanks(column: pl.Series) -> pl.Series:
    stripped = column.str.strip_chars()
    return stripped.to_frame("t").select(pl.when(stripped != "").then("t").alias(column.name)).to_series()


def _nothing_but_faults(column: pl.Series, dtype: DType, reason: str) -> Converted:
    values = pl.Series(column.name, [None], dtype=dtype).new_from_index(0, len(column))
    return Converted(values, _faults(column.is_not_null(), reason))


def _null_where(values: pl.Series, mask: pl.Series) -> pl.Series:
    return values.to_frame("v").select(pl.when(~mask.fill_null(value=False)).then("v").alias(values.name)).to_series()


def _faults(mask: pl.Series, reason: str) -> tuple[Fault, ...]:
    mask = mask.fill_null(value=False)
    return (Fault(mask, reason),) if mask.any() else ()
