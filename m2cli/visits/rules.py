"""The rule that decides where visits begin and end, and what is late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from m2cli.errors import UsageError

_LONGEST = timedelta(days=36_525)  # keeps every sum of two durations and a time within 64 bits of microseconds


@dataclass(frozen=True, kw_only=True)
class VisitRule:
    """The limits of a visit (DESIGN 4.2 to 4.6).

    Raises `UsageError` for a limit that is not above zero, or beyond a hundred years;
    `max_out_of_orderness` may be zero.
    """

    inactivity: timedelta = timedelta(minutes=30)
    """A silence of more than this ends a visit."""
    max_duration: timedelta = timedelta(hours=12)
    """An event more than this after the first event of its visit starts the next visit."""
    max_out_of_orderness: timedelta = timedelta(minutes=5)
    """B: having seen time T in a partition, nothing before T - B is expected there."""
    idle_after: timedelta = timedelta(hours=1)
    """A partition with nothing new for this long no longer holds the watermark back."""

    def __post_init__(self) -> None:
        for name in ("inactivity", "max_duration", "max_out_of_orderness", "idle_after"):
            value: timedelta = getattr(self, name)
            least = timedelta(0) if name == "max_out_of_orderness" else timedelta(microseconds=1)
            if not least <= value <= _LONGEST:
                raise UsageError(f"`{name}` is {value}; it must be above zero and at most a hundred years")


def microseconds(duration: timedelta) -> int:
    """`duration` as a whole number of microseconds."""
    return duration // timedelta(microseconds=1)
