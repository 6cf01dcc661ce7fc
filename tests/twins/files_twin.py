"""The times of event files, one value at a time: slow, plain, and written from the rules alone."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?: ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?)?",
    re.ASCII,
)


def parse_time(value: object, time_zone: str = "UTC") -> datetime | None:
    """The time that `value` is, in UTC; None when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else _localize(value, time_zone)
    if isinstance(value, date):
        return _localize(datetime.combine(value, time()), time_zone)
    return _text(value, time_zone) if isinstance(value, str) else None


def _text(text: str, time_zone: str) -> datetime | None:
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]+\.?", text):
        return _integer(int(text.rstrip(".")))
    if re.fullmatch(r"[+-]?[0-9]+\.[0-9]+", text):
        return _float(float(text))
    match = ISO.fullmatch(text)
    try:
        return _iso(match, time_zone) if match else None
    except (ValueError, OverflowError):
        return None


def _iso(match: re.Match[str], time_zone: str) -> datetime | None:
    *numbers, fraction, zone = match.groups()
    year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
    utc = datetime(year, month, day, hour, minute, second, int((fraction or "0").ljust(6, "0")[:6]), UTC)
    if not zone:
        return _localize(utc.replace(tzinfo=None), time_zone)
    if zone[0] not in "+-":
        return utc
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        return None
    offset = timedelta(hours=hours, minutes=minutes)
    return utc + offset if zone[0] == "-" else utc - offset


def _localize(local: datetime, time_zone: str) -> datetime | None:
    """The earlier of two; None for a time that the clocks skip."""
    zone = ZoneInfo(time_zone)
    try:
        utc = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        return utc if utc.astimezone(zone).replace(tzinfo=None) == local else None
    except OverflowError:
        return None


def _integer(number: int) -> datetime | None:
    if not -(2**63) <= number < 2**63:
        return None
    if abs(number) < 10**11:
        return _at(number * 10**6)
    if abs(number) < 10**14:
        return _at(number * 1000)
    if abs(number) < 10**17:
        return _at(number)
    return _at(number // 1000)


def _float(number: float) -> datetime | None:
    if not math.isfinite(number):
        return None
    if abs(number) < 10**11:
        return _at(round(number * 1e6))
    if abs(number) < 10**14:
        return _at(round(number * 1e3))
    if abs(number) < 10**17:
        return _at(round(number))
    return _at(round(number / 1e3))


def _at(micros: int) -> datetime | None:
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return None
