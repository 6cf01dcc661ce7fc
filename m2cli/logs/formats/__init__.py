"""Every log format that m2 knows: those with names, and those that a layout of Apache's or nginx' describes."""

from __future__ import annotations

from m2cli.logs.formats.find import find_format
from m2cli.logs.formats.kinds import CLOCK, DATE, MONTHS, NO_SUCH_TIME, ZONE
from m2cli.logs.formats.model import Field, LogFormat
from m2cli.logs.formats.named import ALIASES, FORMATS

__all__ = [
    "ALIASES",
    "CLOCK",
    "DATE",
    "FORMATS",
    "MONTHS",
    "NO_SUCH_TIME",
    "ZONE",
    "Field",
    "LogFormat",
    "find_format",
]
