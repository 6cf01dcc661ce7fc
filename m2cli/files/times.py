"""Times as files write them, made into UTC microseconds: timestamps, epochs in four units, ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

from m2cli.events import TIME

# Epochs by magnitude: below 10^11 seconds (to the year 5138), below 10^14 milliseconds, below 10^17
# microseconds,
# else nanoseconds. So a time in ms, us or ns is read right from 3 March 1973 on.
SECONDS_BELOW, MILLIS_BELOW, MICROS_BELOW = 10**11, 10**14, 10**17
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

NUMBER = r"^[+-]?[0-9]+(?:\.[0-9]*)?$"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MINUTE = _DATE + r"[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]"
_ZONE = r" ?(?:Z|UTC|GMT|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)"
ISO = rf"^(?:{_DATE}|{_MINUTE}(?::[0-5][0-9](?:[.,][0-9]{{1,9}})?)?(?:{_ZONE})?)$"


def parse_times(column: pl.Series, time_zone: str) -> pl.Series:
    """`column` as times (UTC, microseconds); null where a value is none, or is null.

    Each value is looked at for itself, so what stands beside it never matters:

    - timestamps of any unit and zone, cut to the microsecond; dates are their midnight
    - integers, floats and texts of digits are epochs, in a unit told by magnitude: below 10^11 seconds, below
    10^14 milliseconds, below 10^17 microseconds, else nanoseconds; floats are rounded to the microsecond,
    half to even. An exponent is no epoch: what writes `1.56989E+12` has lost the time
    - ISO 8601: `T` or a space, minutes at least or a date alone, a fraction of 1 to 9 digits (cut to the
      microsecond), then `Z`, `UTC`, `GMT`, `+02:00`, `+0200`, `+02` or nothing; there is no second 60

    Without a zone a time is one of `time_zone`: the first of an hour that occurs twice, null in one that is
    skipped. Only the years 1 to 9999 are times.
    """
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        return _within_bounds(_from_timestamps(column, time_zone))
    if dtype == pl.Date:
        return _within_bounds(_to_utc(column.cast(pl.Datetime("us"), strict=False), time_zone))
    if dtype.is_integer():
        return _within_bounds(_from_integers(column.cast(pl.Int64, strict=False)))
    if dtype.is_float() or dtype.is_decimal():
        return _within_bounds(_from_floats(column.cast(pl.Float64)))
    if dtype == pl.String:
        return _within_bounds(_from_texts(column, time_zone))
    return pl.Series(column.name, [None], dtype=TIME).new_from_index(0, len(column))


def _within_bounds(times: pl.Series) -> pl.Series:
    """`times`, null outside the years 1 to 9999, which no Python datetime can hold: two passes, no copy."""
    micros = times.to_physical()
    low, high = micros.min(), micros.max()
    first, last = _micros(FIRST), _micros(LAST)
    if low is None or (low >= first and high <= last):  # type: ignore[operator]  # min of Int64 is an int
        return times
    return times.to_frame("t").select(pl.when(micros.is_between(first, last)).then("t").alias(times.name)).to_series()


def _micros(time: datetime) -> int:
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _to_utc(local: pl.Series, time_zone: str) -> pl.Series:
    zoned = local.dt.replace_time_zone(time_zone, ambiguous="earliest", non_existent="null")
    return zoned.dt.convert_time_zone("UTC")


def _from_timestamps(column: pl.Series, time_zone: str) -> pl.Series:
    dtype: Any = column.dtype
    micros = column.cast(pl.Datetime("us", dtype.time_zone), strict=False)
    return micros.dt.convert_time_zone("UTC") if dtype.time_zone else _to_utc(_within_bounds(micros), time_zone)


def _from_integers(numbers: pl.Series) -> pl.Series:
    x = pl.col("x")
    micros = (
        pl.when(x.is_between(-SECONDS_BELOW, SECONDS_BELOW, closed="none"))
        .then(x * 1_000_000)
        .when(x.is_between(-MILLIS_BELOW, MILLIS_BELOW, closed="none"))
        .then(x * 1_000)
        .when(x.is_between(-MICROS_BELOW, MICROS_BELOW, closed="none"))
        .then(x)
        .otherwise(x // 1_000)
    )
    return numbers.to_frame("x").select(micros.cast(TIME).alias(numbers.name)).to_series()


def _from_floats(numbers: pl.Series) -> pl.Series:
    x = pl.col("x")
    micros = (
        pl.when(x.abs() < SECONDS_BELOW)
        .then(x * 1e6)
        .when(x.abs() < MILLIS_BELOW)
        .then(x * 1e3)
        .when(x.abs() < MICROS_BELOW)
        .then(x)
        .when(x.is_finite())
        .then(x / pl.col("thousand"))
    )
    whole = micros.round(0, mode="half_to_even").cast(pl.Int64, strict=False)
    # By a column: where it divides by one number, Polars multiplies by its inverse, which may be a step beside.
    frame = numbers.to_frame("x").with_columns(thousand=pl.repeat(1e3, pl.len()))
    return frame.select(whole.cast(TIME).alias(numbers.name)).to_series()


def _from_texts(column: pl.Series, time_zone: str) -> pl.Series:
    texts = column.str.strip_chars().alias("t")
    result = pl.Series("t", [None], dtype=TIME).new_from_index(0, len(texts))
    for pattern, parse in ((ISO, _from_iso), (NUMBER, _from_digits)):
        is_kind = texts.str.contains(pattern).fill_null(value=False)
        if is_kind.all() and len(texts):
            return parse(texts, time_zone).alias(column.name)
        if is_kind.any():
            ours = texts.to_frame().select(pl.when(is_kind).then("t").alias("t")).to_series()
            parsed = parse(ours, time_zone)
            result = result.to_frame().select(pl.when(is_kind).then(parsed).otherwise("t").alias("t")).to_series()
    return result.alias(column.name)


def _from_digits(texts: pl.Series, _time_zone: str) -> pl.Series:
    """Digits alone are exact integers; with a fraction they are floats, as they are in JSON."""
    whole = _from_integers(texts.str.strip_suffix(".").cast(pl.Int64, strict=False))
    has_fraction = texts.str.contains(r"\.[0-9]")
    if not has_fraction.any():
        return whole
    broken = _from_floats(texts.cast(pl.Float64, strict=False))
    return whole.to_frame("w").select(pl.when(has_fraction).then(broken).otherwise("w")).to_series()


def _from_iso(texts: pl.Series, time_zone: str) -> pl.Series:
    """Texts that match `ISO` (or are null), by position: the pattern has fixed columns up to the seconds."""
    full = _to_the_second(texts)
    frame = full.to_frame("t").select(
        local=pl.col("t").str.slice(0, 10) + "T" + pl.col("t").str.slice(11, 8),
        rest=pl.col("t").str.slice(19),
    )
    local = frame["local"].str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    rest = frame["rest"]
    fraction = rest.str.extract(r"^[.,]([0-9]+)").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
    if fraction.null_count() < len(fraction):
        local = local + fraction.fill_null(0).cast(pl.Duration("us"))
    has_zone = rest.str.contains(r"Z|UTC|GMT|[+-]")
    if has_zone.all():
        return _shift(local, rest)
    zoned, unzoned = _shift(local, rest), _to_utc(local, time_zone)
    return zoned.to_frame("z").select(pl.when(has_zone).then("z").otherwise(unzoned)).to_series()


def _to_the_second(texts: pl.Series) -> pl.Series:
    """Dates alone and times to the minute, written out to the second."""
    if not texts.str.contains(rf"^{_DATE}$|^{_MINUTE}(?:[^:]|$)").any():
        return texts
    dated = texts.str.replace(rf"^({_DATE})$", "${1}T00:00:00")
    return dated.str.replace(rf"^({_MINUTE})([^:].*)?$", "${1}:00${2}")


def _shift(local: pl.Series, rest: pl.Series) -> pl.Series:
    """`local` less the offset that `rest` ends with; Z, UTC and GMT have none."""
    utc = local.dt.replace_time_zone("UTC")
    if not rest.str.contains(r"[+-]").any():
        return utc
    parts = rest.str.extract_groups(r"([+-])([0-9]{2}):?([0-9]{2})?$").struct.unnest()
    minutes = parts.select(
        (pl.col("2").cast(pl.Int64) * 60 + pl.col("3").cast(pl.Int64).fill_null(0))
        * pl.when(pl.col("1") == "-").then(-1).otherwise(1)
    ).to_series()
    return utc - (minutes.fill_null(0) * 60_000_000).cast(pl.Duration("us"))
