"""What a person may ask of the generator, checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from m2cli.errors import UnknownNameError, UsageError

FORMATS = ("events", "ndjson", "access-log")
LOG = "access-log"

_MOST_EVENTS = 500_000_000  # beyond this the blocks of addresses would no longer give each visitor its own
_MOST_DAYS = 3_660
_MOST_SOURCES = 64


@dataclass(frozen=True, kw_only=True)
class SampleRule:
    """How much to make, of which days, from which seed, in which format.

    Raises `UsageError` for a number out of its range, `UnknownNameError` for an unknown format.
    """

    events: int = 1_000_000
    """Exactly so many events (or good log lines), traps and copies included."""
    days: int = 1
    """The days on which visits begin; the last of them run on into the day after."""
    seed: int = 7
    """The same seed and the same rule give the same content."""
    start_date: date = date(2025, 10, 1)
    """The first day, UTC."""
    format: str = "events"
    """events (Parquet), ndjson or access-log."""
    sources: int = 4
    """Partitions, named web-0, web-1 ...; a visitor's events mostly stay in one."""
    malformed: int = 0
    """Lines that are no log lines, added to the first access log."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UnknownNameError("format", self.format, FORMATS)
        _check("events", self.events, 1, _MOST_EVENTS)
        _check("days", self.days, 1, _MOST_DAYS)
        _check("seed", self.seed, 0, 2**63 - 1)
        _check("sources", self.sources, 1, _MOST_SOURCES)
        _check("malformed", self.malformed, 0, 10_000)
        _check("start_date", self.start_date.year, 1971, 2200)
        if self.malformed and not self.is_log:
            raise UsageError(f"`malformed` is {self.malformed}, but only access logs have lines; use `--as {LOG}`")

    @property
    def is_log(self) -> bool:
        """Whether access logs are made: no causes, no cookies, whole seconds."""
        return self.format == LOG

    @property
    def tick(self) -> int:
        """The least difference between two times of the format, in microseconds."""
        return 1_000_000 if self.is_log else 1


def _check(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"`{name}` is {value}; it must be from {least} to {most}")
