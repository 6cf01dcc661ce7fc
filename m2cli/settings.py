"""What people write, turned into what rules hold: durations, shares, column maps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
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
