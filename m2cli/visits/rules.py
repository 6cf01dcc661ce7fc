"""The rule that decides where visits begin and end, and what is late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from m2cli.errors import UsageError

_LONGEST = timedelta(days=36_525)  # keeps every sum of two durations and a time within 64 bits of microseconds


@dataclass(frozen=True, kw_only=True)
class VisitRule:
    """The limits of a visit (DESIGN 4.2 to 4.6).

    Raises `UsageError` for a limit that is no timedelta, not above zero, or beyond a hundred years;
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
            value: object = getattr(self, name)
            if not isinstance(value, timedelta):
                raise UsageError(
                    f"`{name}` is {value!r}, which is no timedelta; write `timedelta(minutes=30)` for `30m`"
                )
            may_be_zero = name == "max_out_of_orderness"
            if value > _LONGEST or value < timedelta(0) or (not value and not may_be_zero):
                least = "zero or more" if may_be_zero else "above zero"
                raise UsageError(
                    f"`{name}` is {value}; it must be {least} and at most a hundred years, as `30m` or `12h`"
                )


def microseconds(duration: timedelta) -> int:
    """`duration` as a whole number of microseconds."""
    return duration // timedelta(microseconds=1)
