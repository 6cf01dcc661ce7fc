"""Words to write small inputs with: times as text, events as frames, a pipeline of one partition."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA, TIME
from m2cli.visits import VisitRule
from tests.batches import Batch, begin, run_batch

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.batches import Carried

DAY = datetime(2024, 2, 29, tzinfo=UTC)
RULE = VisitRule()
PUNCTUAL = VisitRule(max_out_of_orderness=timedelta(0))
US = timedelta(microseconds=1)


def at(text: str) -> datetime:
    """A time of the day as `9:00` or `9:00:00.000001`; beyond 24 hours, of a later day."""
    hours, minutes, *seconds = text.split(":")
    whole, _, fraction = (seconds[0] if seconds else "0").partition(".")
    return DAY + timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(whole), microseconds=int(fraction.ljust(6, "0"))
    )


def events(*times: str, visitor: str = "ann", **columns: list[Any] | Any) -> pl.DataFrame:
    """Events of one visitor at `times`, of the source `log`; `columns` are lists, or one value for all."""
    frame = pl.DataFrame(
        {"visitor_id": [visitor] * len(times), "event_time": [at(time) for time in times]},
        schema={"visitor_id": pl.String, "event_time": TIME},
    )
    for name, given in ({"source": "log"} | columns).items():
        values = given if isinstance(given, list) else [given] * len(times)
        frame = frame.with_columns(pl.Series(name, values, LAKE_EVENT_SCHEMA.get(name)))
    return frame


class Pipeline:
    """Batches one after the other, all that was said kept."""

    def __init__(self, rule: VisitRule = PUNCTUAL, declared: Collection[str] = ("log",)) -> None:
        self.rule = rule
        self.carried: Carried = begin(declared, DAY)
        self.frames: dict[str, list[pl.DataFrame]] = {"tagged": [], "ended": [], "duplicates": [], "late": []}

    def read(self, *slices: pl.DataFrame, now: datetime = DAY, unread: Collection[str] = ()) -> Pipeline:
        """A batch of these arrivals."""
        return self._run(Batch(slices, now, unread=unread))

    def flush(self, now: datetime = DAY) -> Pipeline:
        """A batch without input that flushes."""
        return self._run(Batch((), now, is_flush=True))

    def _run(self, batch: Batch) -> Pipeline:
        done = run_batch(batch, self.carried, self.rule)
        self.carried = done.carried
        for name in self.frames:
            self.frames[name].extend(getattr(done, name))
        return self

    def said(self, name: str) -> pl.DataFrame:
        """All of `tagged`, `ended`, `duplicates` or `late` so far."""
        return pl.concat([frame for frame in self.frames[name] if frame.width > 3], how="diagonal_relaxed")

    @property
    def ended(self) -> pl.DataFrame:
        """The ends of visits so far."""
        return pl.concat(self.frames["ended"])

    @property
    def W(self) -> datetime | None:  # noqa: N802  # DESIGN's own name
        """How far time has come."""
        return self.carried.W.time
