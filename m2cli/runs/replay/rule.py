"""What decides a replay: how often a batch runs, by which rule, and what goes wrong meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import UsageError
from m2cli.pipeline.rule import check_every, check_memory, check_time
from m2cli.runs.shards import default_memory
from m2cli.settings import parse_duration
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Outage(NamedTuple):
    """A time of day, UTC, at which no batch runs: from `start` to before `end`, past midnight where that is earlier."""

    start: time
    end: time

    def find_end(self, now: datetime) -> datetime:
        """When it ends, if it lasts at `now`; else `now`."""
        at = now.astimezone(UTC).timetz().replace(tzinfo=None)
        is_over_midnight = self.end <= self.start
        lasts = (at >= self.start or at < self.end) if is_over_midnight else self.start <= at < self.end
        if not lasts:
            return now
        date = now.date() + timedelta(days=int(is_over_midnight and at >= self.start))
        return datetime.combine(date, self.end, UTC)


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """What goes wrong in a replay: batches that do not run, partitions that lag behind, events out of order.

    Raises `UsageError` for a time below zero or beyond a hundred years.
    """

    outages: tuple[Outage, ...] = ()
    lags: Mapping[str, timedelta] = field(default_factory=dict)
    """How much later than it did a partition arrives, by its name, or by what follows its last `-`."""
    shuffle: timedelta = timedelta(0)
    """By up to so much event time those events of a partition that were on time change their places."""
    seed: int = 7

    def __post_init__(self) -> None:
        for duration in (*self.lags.values(), self.shuffle):
            check_time(duration)

    @property
    def moves_events(self) -> bool:
        """Whether any event is read at another time than it was."""
        return bool(self.lags or self.shuffle)

    def find_lags(self, partitions: Iterable[str]) -> dict[str, timedelta]:
        """The lag of each of `partitions` that has one. Raises `UsageError` for a lag of none of them."""
        known, found = sorted(partitions), dict[str, timedelta]()
        for name, lag in self.lags.items():
            fitting = [each for each in known if name in (each, each.rpartition("-")[2])]
            if not fitting:
                raise UsageError(
                    f"there is no partition `{name}`; there are {', '.join(f'`{each}`' for each in known)}"
                )
            found |= dict.fromkeys(fitting, lag)
        return found


@dataclass(frozen=True, kw_only=True)
class ReplayRule:
    """How events are replayed. Raises `UsageError` for no whole seconds, and for too little memory."""

    every: timedelta = timedelta(minutes=15)
    """How much of the virtual clock is between two batches."""
    visit: VisitRule = field(default_factory=VisitRule)
    max_ahead: timedelta = timedelta(minutes=10)
    faults: FaultRule = field(default_factory=FaultRule)
    memory: int = field(default_factory=default_memory)

    def __post_init__(self) -> None:
        check_every(self.every)
        check_memory(self.memory)
        if self.every % timedelta(seconds=1):
            raise UsageError(f"`{self.every}` is no whole number of seconds")


def parse_outage(text: str) -> Outage:
    """The time of day that `text` names.

    >>> parse_outage("10:00-11:30").end
    datetime.time(11, 30)
    """
    first, dash, last = text.partition("-")
    try:
        outage = Outage(time.fromisoformat(first), time.fromisoformat(last))
    except ValueError:
        dash = ""
    if not dash or outage.start == outage.end or outage.start.tzinfo or outage.end.tzinfo:
        raise UsageError(f"`{text}` is no time of the day; write it as `10:00-11:00`, which is UTC")
    return outage


def parse_lag(text: str) -> tuple[str, timedelta]:
    """The partition and its lag that `text` names.

    >>> parse_lag("web-3=20m")
    ('web-3', datetime.timedelta(seconds=1200))
    """
    name, equals, lag = text.rpartition("=")
    if not equals or not name:
        raise UsageError(f"`{text}` is no partition's lag; write it as `web-3=20m`")
    return name, parse_duration(lag)
