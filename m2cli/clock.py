"""The only reader of the clock: everything else is told the time, so that a replay can tell it another."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present time in UTC."""
    return datetime.now(UTC)


def elapsed_since(start: float) -> float:
    """Seconds on the monotonic clock since `start`, a value of `stopwatch()`."""
    return time.monotonic() - start


def pause(seconds: float) -> None:
    """Wait so many seconds."""
    time.sleep(seconds)


def stopwatch() -> float:
    """A reading of the monotonic clock in seconds, for `elapsed_since`."""
    return time.monotonic()
