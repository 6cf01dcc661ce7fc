"""The time of a log line: what the server wrote of it, in however many fields, to UTC in microseconds."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import TIME
from m2cli.logs.fields.days import find_day, find_offset, names_a_clock, names_a_day
from m2cli.logs.fields.values import null_if_none
from m2cli.logs.formats.kinds import CLOCK, DATE, DAY, MONTHS, ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from m2cli.logs.formats.model import Field, LogFormat

_DIGITS = 0x0F0F000F0F000F0F
"""In the eight bytes of `10:05:03`, the bits that are the digits' values."""
# Fields that say when it was, those to believe first: the time of the request, and else when it had been answered.
MEANINGS = ("time", "original_time", "final_time", "end_time", "original_end_time", "final_end_time")
_EPOCHS = {"s": "epoch", "ms": "epoch_ms", "us": "epoch_us"}
_UNITS = {"epoch_us": 0, "epoch_ms": 3, "epoch": 6}
"""Digits behind the point of which a microsecond is the last."""
ANY = "any"
"""A time of whatever shape, as JSON has it: ISO 8601, as Apache writes it, or a number since 1970."""
_OF_CLOCK = frozenset({"clock", "rest", "fraction", "hour", "hour12", "half", "minute", "second"})
_REST = r"(?:[.,][0-9]{1,9})? ?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_ENDS_WITH_ZONE = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$")
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class TimePlan(NamedTuple):
    """Which columns say when a line was written: by the element of time, its column."""

    elements: dict[str, str]

    @property
    def of_day(self) -> dict[str, str]:
        """Those that say which day it was, and in which zone."""
        return {element: column for element, column in self.elements.items() if element not in _OF_CLOCK}


@lru_cache(maxsize=1024)  # a damaged log may have a header, and so a format, for every line
def plan_time(log_format: LogFormat) -> TimePlan | None:
    """Where `log_format` says when a line was written; None if it does not say it, or not to the second."""
    for meaning in MEANINGS:
        fields = log_format.find(meaning)
        pooled: dict[str, str] = {}
        for each in fields:
            for element, column in _list_elements(each):
                pooled.setdefault(element, column)
        for each in fields:
            if (plan := _choose(dict(_list_elements(each)))) and not each.is_optional:
                return TimePlan(plan if len(plan) == 1 else _complete(plan, pooled))
        if plan := _choose(pooled):
            return TimePlan(plan)
    return None


def _complete(plan: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """`plan` with what other fields say of it: the fraction of the second, and the zone where it has none."""
    has_zone = bool({"zone", "zone_name", "rest"} & set(plan))
    wanted = {"fraction"} if has_zone else {"fraction", "zone", "zone_name"}
    return plan | {name: column for name, column in others.items() if name in wanted and name not in plan}


def _list_elements(field: Field) -> Iterator[tuple[str, str]]:
    if field.kind.groups == ("",):
        yield _EPOCHS.get(field.kind.unit, ANY), field.name
    else:
        yield from zip(field.kind.groups, field.columns, strict=True)


def _choose(elements: dict[str, str]) -> dict[str, str] | None:
    for name in (ANY, "epoch_us", "epoch_ms"):
        if name in elements:
            return {name: elements[name]}
    names = set(elements)
    if names_a_day(names) and names_a_clock(names):
        return elements
    return {"epoch": elements["epoch"]} if "epoch" in elements else None


def parse_times(frame: pl.DataFrame, log_format: LogFormat) -> pl.Series:
    """`event_time`: the UTC time of each row of `frame`, null where there is no such time.

    Reads the columns that `plan_time` names; times without a zone are of the format's `time_zone`.
    """
    plan = plan_time(log_format)
    if plan is None:
        return pl.Series("event_time", [None], TIME).new_from_index(0, len(frame))
    elements, zone = plan.elements, log_format.options.time_zone
    if set(elements) == {"date", "clock", "zone"}:
        columns = (pl.col(elements[name]).alias(name) for name in ("date", "clock", "zone"))
        return parse_time(frame.select(columns))
    epoch = next((name for name in _UNITS if name in elements and len(elements) == 1), None)
    if epoch:
        times = frame.select(_parse_epoch(pl.col(elements[epoch]), _UNITS[epoch])).to_series()
    elif ANY in elements:
        texts = [null_if_none(each.name) for each in log_format.find(*MEANINGS)]
        times = _parse_any(frame.select(pl.coalesce(texts).alias(ANY)).to_series(), zone)
    else:
        times = _parse_elements(frame, plan, zone)
    return times.alias("event_time")


def _parse_epoch(text: pl.Expr, digits: int) -> pl.Expr:
    """A number since 1970 of which the last of `digits` behind the point is a microsecond."""
    parts = text.str.splitn(".", 2).struct
    whole, rest = parts.field("field_0"), parts.field("field_1").fill_null("")
    number = pl.concat_str(whole, (rest + "000000").str.slice(0, digits)).cast(pl.Int64, strict=False)
    time = number.cast(TIME)
    return pl.when(time < _LATEST).then(time)


def _parse_any(text: pl.Series, zone: str) -> pl.Series:
    """Each of `text` by its own shape; what no line of a block has is not looked for."""
    frame = text.alias("text").to_frame()
    is_number = frame.select(
        pl.col("text").str.contains(r"^[0-9]{1,19}(?:\.[0-9]+)?$").fill_null(value=False)
    ).to_series()
    found = [_parse_numbers(frame.select(pl.when(is_number).then("text").alias("text")))] if is_number.any() else []
    if found and is_number.all():
        return found[0]
    parts = _cut_shape(frame["text"]) if not is_number.any() else None
    if parts is None:
        rest = pl.col("text").str
        parts = frame.select(
            rest.extract(rf"^({DAY})[T ]", 1).alias("day"),
            rest.extract(rf"^\[?({DATE}):", 1).alias("date"),
            rest.extract(rf"[T :]({CLOCK})(?:[.,+Z \]-]|$)", 1).alias("clock"),
            rest.extract(r":[0-9]{2}((?:[.,][0-9]{1,9})? ?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)\]?$", 1).alias("rest"),
        )
    for name in ("day", "date"):
        if name in parts.columns and parts[name].null_count() < len(parts):
            plan = TimePlan({name: name, "clock": "clock", "rest": "rest"})
            found.append(_parse_elements(parts, plan, zone))
    if not found:
        return pl.Series([None], dtype=TIME).new_from_index(0, len(text))
    named = pl.DataFrame([times.alias(f"times {number}") for number, times in enumerate(found)])
    return named.select(pl.coalesce(pl.all())).to_series()


def _cut_shape(text: pl.Series) -> pl.DataFrame | None:
    """`text` cut at the places of the one shape that all have; None if there is no such: a fifth of the time."""
    for name, day, shape in (("day", 10, rf"{DAY}[T ]"), ("date", 11, rf"{DATE}:")):
        if text.str.contains(f"^{shape}{CLOCK}{_REST}$").all() and not text.has_nulls():
            cut = text.str
            return pl.DataFrame(
                [cut.head(day).alias(name), cut.slice(day + 1, 8).alias("clock"), cut.slice(day + 9).alias("rest")]
            )
    return None


def _parse_numbers(frame: pl.DataFrame) -> pl.Series:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, by how many digits there are before the point."""
    number = pl.col("text")
    sized = frame.with_columns(number.str.splitn(".", 2).struct.field("field_0").str.len_bytes().alias("size"))
    longest = sized["size"].max()
    if isinstance(longest, int) and longest <= 10:
        return sized.select(_parse_epoch(number, 6)).to_series()
    size = pl.col("size")
    epochs = [
        pl.when(size.is_between(low, high)).then(_parse_epoch(number, digits))
        for low, high, digits in ((1, 10, 6), (11, 13, 3), (14, 16, 0))
    ]
    nanos = pl.when(size.is_between(17, 19)).then(_parse_epoch(number.str.slice(0, 16), 0))
    return sized.select(pl.coalesce(*epochs, nanos)).to_series()


def _parse_elements(frame: pl.DataFrame, plan: TimePlan, zone: str) -> pl.Series:
    if frame.is_empty():
        return pl.Series([], dtype=TIME)
    elements = plan.elements
    texts = {element: frame.get_column(column) for element, column in plan.of_day.items()}
    micros = pl.Series([0], dtype=pl.Duration("us")).new_from_index(0, len(frame))
    if "rest" in elements:
        texts["zone"], fraction = _split_rest(frame.get_column(elements["rest"]))
        micros = micros if fraction is None else micros + _parse_fraction(fraction)
    if "fraction" in elements:
        micros += _parse_fraction(frame.get_column(elements["fraction"]))
    days = _spread_days(pl.DataFrame(texts))
    clock = (_parse_clock(_find_clock(frame, elements)) + micros).alias("clock")
    return days.select(
        pl.when(pl.col("offset").is_null())
        .then(
            (pl.col("midnight") + clock)
            .dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
            .dt.convert_time_zone("UTC")
        )
        .otherwise((pl.col("midnight") + clock - pl.duration(minutes="offset")).dt.replace_time_zone("UTC"))
    ).to_series()


def _split_rest(rest: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """The zone, and the digits of the fraction of a second, None where no time has one; most logs have one zone."""
    zone = _ENDS_WITH_ZONE.search(rest[0] or "")
    if zone and rest.str.ends_with(zone[0]).all():
        zones = pl.Series([zone[0]]).new_from_index(0, len(rest))
        before = rest.str.head(-len(zone[0]))
        if (before == "").all():
            return zones, None
        if before.str.contains("^[.,][0-9]+$").all():
            return zones, before.str.slice(1)
    return rest.str.extract(r"(Z|[+-][0-9]{2}:?[0-9]{2})$", 1), rest.str.extract(r"^[.,]([0-9]+)", 1)


def _parse_fraction(digits: pl.Series) -> pl.Series:
    number = (digits.fill_null("") + "000000").str.slice(0, 6).cast(pl.Int64, strict=False).fill_null(0)
    return number.cast(pl.Duration("us"))


def _spread_days(texts: pl.DataFrame) -> pl.DataFrame:
    """`midnight` (of no zone) and `offset` (minutes, null where none is named) for each row of the elements `texts`.

    A day lasts for many lines: it is found once where it changes, and once for each that is not another already.
    """
    starts = pl.any_horizontal(pl.all().ne_missing(pl.all().shift()))
    is_first = texts.select(starts.alias("is_first")).to_series()
    is_first[0] = True
    changes = texts.filter(is_first)
    distinct = changes.unique()
    found = [_find_midnight(row) for row in distinct.iter_rows(named=True)]
    midnights = pl.Series("midnight", [midnight for midnight, _ in found], dtype=pl.Datetime("us"))
    days = distinct.hstack([midnights, pl.Series("offset", [offset for _, offset in found], dtype=pl.Int64)])
    spread = changes.join(days, on=texts.columns, how="left", maintain_order="left", nulls_equal=True)
    return spread.select("midnight", "offset")[is_first.cum_sum() - 1]


def _find_midnight(row: dict[str, str | None]) -> tuple[datetime | None, int | None]:
    elements = {name: text for name, text in row.items() if text is not None}
    day: date | None = find_day(elements)
    midnight = None if day is None else datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the zone is its offset
    return midnight, find_offset(elements)


def _find_clock(frame: pl.DataFrame, elements: dict[str, str]) -> pl.DataFrame:
    """`clock`, as `10:05:03`; null where it is none."""
    if "clock" in elements:
        clock = pl.col(elements["clock"])
    else:
        clock = pl.concat_str(
            _find_hour(elements), pl.col(elements["minute"]), pl.col(elements["second"]), separator=":"
        )
    return frame.select(clock.alias("clock")).select(pl.when(pl.col("clock").str.contains(f"^{CLOCK}$")).then("clock"))


def _find_hour(elements: dict[str, str]) -> pl.Expr:
    if "hour" in elements:
        return pl.col(elements["hour"]).str.strip_chars(" ").str.zfill(2)
    hour = pl.col(elements["hour12"]).str.strip_chars(" ").cast(pl.Int64, strict=False) % 12
    is_afternoon = pl.col(elements["half"]).str.to_lowercase().str.starts_with("p")
    return (hour + 12 * is_afternoon.cast(pl.Int64)).cast(pl.String).str.zfill(2)


def parse_time(frame: pl.DataFrame) -> pl.Series:
    """The UTC time of each row of `frame`, null where the calendar has no such day.

    Reads `date` (`17/May/2015`), `clock` (`10:05:03`) and `zone` (`-0130`), each of exactly that shape (see
    `kinds.py`). A second of 60 is the first of the next minute, as in POSIX.
    """
    # To parse all 26 characters of every line costs 0.4 s a million. The date changes once a day, the offset
    # twice a year: both are parsed where they change, which leaves the clock, and 0.05 s a million.
    date_, zone = pl.col("date"), pl.col("zone")
    is_first = ((date_ != date_.shift()) | (zone != zone.shift())).fill_null(value=True)
    changes = frame.select(is_first.alias("is_first")).to_series()
    midnights = frame.filter(changes).select(_parse_midnight(date_, zone)).to_series()
    if midnights.is_empty():
        return pl.Series("event_time", [], dtype=TIME)
    return (midnights.gather(changes.cum_sum() - 1) + _parse_clock(frame)).alias("event_time")


def _parse_midnight(date_: pl.Expr, zone: pl.Expr) -> pl.Expr:
    # %b knows the English names only, whatever the locale.
    midnight = date_.str.to_date("%d/%b/%Y", strict=False, cache=False).cast(TIME)
    offset = pl.duration(hours=zone.str.slice(1, 2).cast(pl.Int64), minutes=zone.str.slice(3, 2).cast(pl.Int64))
    return pl.when(zone.str.starts_with("-")).then(midnight + offset).otherwise(midnight - offset)


def _parse_clock(frame: pl.DataFrame) -> pl.Series:
    # All six digits at once, in one machine word, first character lowest: 10 times each plus its neighbour
    # leaves the hours in byte 0, the minutes in byte 3 and the seconds in byte 6. A quarter of the time of
    # three slices and casts.
    word = pl.col("clock").cast(pl.Binary).bin.reinterpret(dtype=pl.UInt64, endianness="little")
    digits = frame.select(word.alias("word") & _DIGITS)
    pairs = digits.select((pl.col("word") * 10 + pl.col("word") // 256).alias("pairs"))
    hours, minutes, seconds = (pl.col("pairs") // 256**byte & 255 for byte in (0, 3, 6))
    micros = (hours * 3600 + minutes * 60 + seconds) * 1_000_000
    return pairs.select(micros.cast(pl.Duration("us"))).to_series()


_STAMP = re.compile(rf"\[({DATE}):({CLOCK})(?:\.[0-9]{{3}})?(?: ({ZONE}))?\]".encode())
_ISO_STAMP = re.compile(rf"({DAY})[T \t]({CLOCK})(?:[.,][0-9]+)? ?([+-][0-9]{{2}}:?[0-9]{{2}})?".encode())
_EPOCH_STAMP = re.compile(rb'(?:^"?|"(?:ts|msec|time|timestamp)" ?: ?"?)([1-9][0-9]{9})(?![0-9]{1,2}[^0-9])')


def find_time(line: bytes) -> datetime | None:
    """The UTC time to the second that is anywhere in `line`, whatever its format; None if there is none.

    In brackets as Apache writes it, else as in ISO 8601, else in seconds since 1970; of no zone means UTC.
    """
    # `parse_times` takes 3 ms for one, and there may be thousands of files.
    try:
        if found := _STAMP.search(line):
            day, month, year = found[1].decode().split("/")
            return _find_instant(f"{year}-{MONTHS.index(month) + 1:02}-{day}", found)
        if found := _ISO_STAMP.search(line):
            return _find_instant(found[1].decode(), found)
        if found := _EPOCH_STAMP.search(line):
            return datetime.fromtimestamp(int(found[1]), UTC)
    except (ValueError, OverflowError):
        pass
    return None


def _find_instant(day: str, found: re.Match[bytes]) -> datetime:
    clock, zone = found[2].decode(), (found[3] or b"+0000").decode()
    minute = datetime.fromisoformat(f"{day}T{clock[:5]}{zone}")
    return (minute + timedelta(seconds=int(clock[6:]))).astimezone(UTC)
