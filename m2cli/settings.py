"""What people write, turned into what rules hold: durations, sizes, shares, column maps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from m2cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNITS = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_DURATION = re.compile(r"(?:\d+(?:us|ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+)(us|ms|s|m|h|d)")
_SIZES = {"B": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("KMGTP", 1)
    for ending, base in (("iB", 1024), ("B", 1000))
}
_SIZE_UNITS = {unit.lower(): size for unit, size in _SIZES.items()}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", re.IGNORECASE)
_SIZE_DIGITS = 20  # more than any memory or disk has bytes


def parse_duration(text: str) -> timedelta:
    """The duration that `text` names: whole numbers with a unit each.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)

    Raises `UsageError` for anything else, above all for a number without a unit.
    """
    text = text.strip()
    if not _DURATION.fullmatch(text):
        hint = f"did you mean `{text}m`?" if text.isdigit() else "write it as `30m`, `12h`, `90s` or `1h30m`"
        raise UsageError(f"`{text}` is not a duration; {hint}")
    try:
        return sum((int(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text)), timedelta())
    except OverflowError:
        raise UsageError(f"`{text}` is too long a duration; the longest is {timedelta.max.days} days") from None


def format_duration(duration: timedelta) -> str:
    """`duration` as `parse_duration` reads it.

    >>> format_duration(timedelta(minutes=90))
    '1h30m'
    """
    rest, parts = duration, []
    for unit, size in reversed(_UNITS.items()):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def parse_date(text: str) -> date:
    """The date that `text` names.

    >>> parse_date("2026-11-22")
    datetime.date(2026, 11, 22)

    Raises `UsageError` for anything else.
    """
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"`{text}` is no date; write it as `2026-11-22`") from None


def parse_moment(text: str, now: datetime) -> datetime:
    """The moment that `text` names: a time of the day that `now` is in, a date, or both as ISO 8601; UTC if no zone.

    >>> parse_moment("12:00", datetime(2026, 11, 22, 9, 30, tzinfo=UTC))
    datetime.datetime(2026, 11, 22, 12, 0, tzinfo=datetime.timezone.utc)

    Raises `UsageError` for anything else.
    """
    text = text.strip()
    try:
        of_day = time.fromisoformat(text) if ":" in text and "-" not in text.split("+")[0] else None
        moment = datetime.combine(now.astimezone(UTC).date(), of_day) if of_day else datetime.fromisoformat(text)
    except ValueError:
        hint = "write it as `12:00` (today, UTC), `2026-11-22` or `2026-11-22T12:00+01:00`"
        raise UsageError(f"`{text}` is no time; {hint}") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def parse_size(text: str) -> int:
    """The number of bytes that `text` names: `2GiB` and the like by 1024, `1GB` and the like by 1000.

    >>> parse_size("512MiB"), parse_size("1.5 GB")
    (536870912, 1500000000)

    Case does not matter. Raises `UsageError` for anything else, above all for a number without a unit and for
    `2G`, which some read as the one and some as the other.
    """
    text = text.strip()
    found = _SIZE.fullmatch(text)
    unit = _SIZE_UNITS.get(found[2].lower()) if found and len(found[1]) <= _SIZE_DIGITS else None
    if found and unit:
        return int(Fraction(found[1]) * unit)
    is_short = found and f"{found[2]}ib".lower() in _SIZE_UNITS
    hint = f"did you mean `{text.upper()}iB`?" if is_short else "write it as `2GiB`, `512MiB` or `1GB`"
    raise UsageError(f"`{text}` is not a size; {hint}")


def format_size(size: int) -> str:
    """`size` bytes as `parse_size` reads it, in the largest unit of which it is a whole number.

    >>> format_size(2 << 30), format_size(1_000_000), format_size(1025)
    ('2GiB', '1MB', '1025B')
    """
    unit = max((unit for unit in _SIZES if size and size % _SIZES[unit] == 0), key=_SIZES.__getitem__, default="B")
    return f"{size // _SIZES[unit]}{unit}"


@dataclass(frozen=True, kw_only=True)
class RejectLimit:
    """How many rejects are too many: more than `count`, or more than `share` of all that was read."""

    count: int | None = None
    share: float | None = None

    def is_exceeded(self, reject_count: int, read_count: int) -> bool:
        """Whether `reject_count` of `read_count` lines or rows are too many."""
        if self.count is not None:
            return reject_count > self.count
        return self.share is not None and reject_count > self.share * read_count

    def __str__(self) -> str:
        return f"{self.count}" if self.count is not None else f"{(self.share or 0) * 100:g}%"


def parse_reject_limit(text: str) -> RejectLimit:
    """The limit that `text` names: a whole number, or a share in per cent.

    >>> parse_reject_limit("1%")
    RejectLimit(count=None, share=0.01)

    Raises `UsageError` for anything else.
    """
    text = text.strip()
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text)
    if number and float(number[1]) <= 100:
        return RejectLimit(share=float(number[1]) / 100)
    if text.isascii() and text.isdigit():
        return RejectLimit(count=int(text))
    raise UsageError(f"`{text}` is no limit of rejects; write a number, as `100`, or a share, as `1%`")


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """The map of event columns to input columns that `pairs` of the form `column=input` name.

    >>> parse_mapping(["event_time=ts"])
    {'event_time': 'ts'}

    Raises `UsageError` for a pair without `=` and for a column that is mapped twice.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        column, equals, name = pair.partition("=")
        if not (equals and column and name):
            raise UsageError(f"`{pair}` is no mapping; write it as `event_time=ts`: the event's column, then yours")
        if column in mapping:
            raise UsageError(f"`{column}` is mapped twice, to `{mapping[column]}` and to `{name}`")
        mapping[column] = name
    return mapping
