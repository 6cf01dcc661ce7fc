"""Visits and events parted by visitor, so that of a day of any size only some are in memory at a time."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Self, TypeVar

import polars as pl

from m2cli.files.tape import PlannedRows
from m2cli.lake.write import explain_unwritable
from m2cli.runs.replay.arrivals import PLACE
from m2cli.runs.replay.compare import DIGEST_SCHEMA, digest_visits
from m2cli.runs.shards import Spill, budget_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from m2cli.files.tape import Tape
    from m2cli.runs.shards import Shard

Result = TypeVar("Result")

# What of events decides visits.
OF_EVENTS = ("visitor_id", "event_time", "event_id", *PLACE)
# Of the memory that may be taken, visits that are parted hold so much before they go to the disk, and events.
_OF_VISITS, _OF_EVENTS = 1 / 16, 1 / 4
# So many events are compared at a time: what the processor works on should not be much more than it has near.
_EVENTS_A_SHARD = 2_000_000
_AT_A_TIME = 2
_MOST_SHARDS = 64  # as many parts as a spill has on the disk


class Making:
    """What is compared of the visits of a lake: a digest of each one's events, and what its row says."""

    def __init__(self, folder: Path, memory: int) -> None:
        self._digests = open_spill(folder / "digests", memory, _OF_VISITS)
        self._rows = open_spill(folder / "rows", memory, _OF_VISITS)
        self.visit_count = 0
        self._has_rows = False

    def add_events(self, files: Iterable[pl.DataFrame]) -> None:
        """Take in the events of whole visits, with `visit_id`, `visitor_id`, `event_time` and PLACE."""
        self._digests.add(pl.DataFrame(schema=DIGEST_SCHEMA))
        for events in files:
            digests = digest_visits(events)
            self.visit_count += digests.height
            self._digests.add(digests)

    def add_rows(self, files: Iterable[pl.DataFrame]) -> None:
        """Take in the rows of the same visits (TOLD)."""
        for rows in files:
            self._rows.add(rows)
            self._has_rows = True

    def settle(self) -> None:
        """Take in no more; then `read` may be called by several threads."""
        self._digests.settle()
        self._rows.settle()

    def read(self, number: int, count: int) -> pl.DataFrame:
        """A row for each visit of one shard's visitors: its digest, and of its row what was added."""
        digests = self._digests.read(number, count)
        if not self._has_rows:
            return digests
        return digests.join(self._rows.read(number, count).drop("visitor_id"), on="visit_id", how="left")


class TapeParts:
    """All events of a tape, parted by visitor in the background: while they are played, one of two cores is idle."""

    def __init__(self, tape: Tape, memory: int, folder: Path) -> None:
        self._tape, self._spill = tape, open_spill(folder, memory, _OF_EVENTS)
        self._is_over = Event()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="m2-part")
        self._parting = self._worker.submit(self._part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._worker.shutdown()

    def drain(self) -> Iterator[Shard]:
        """The events, some visitors at a time. Raises what stopped the parting."""
        self._parting.result()
        yield from self._spill.drain(count_shards(self._tape.row_count))

    def _part(self) -> None:
        for events in self._tape.read(PlannedRows(first=0, end=self._tape.row_count), OF_EVENTS):
            if self._is_over.is_set():
                return
            self._spill.add(events)


def open_spill(folder: Path, memory: int, share: float) -> Spill:
    """An empty one in a folder of its own, of a share of `memory`."""
    with explain_unwritable(folder):
        folder.mkdir(parents=True)
    return Spill(folder, int(budget_events(memory) * share), named=folder)


def count_shards(event_count: int) -> int:
    """In how many shards, a power of two, so many events are compared."""
    count = 1
    while count < _MOST_SHARDS and event_count > count * _EVENTS_A_SHARD:
        count *= 2
    return count


def work_ahead(work: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
    """What `work` makes of each shard, in their order; two are in memory and at work at a time."""
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="m2-shard") as workers:
        waiting: deque[Future[Result]] = deque()
        for shard in shards:
            waiting.append(workers.submit(work, shard))
            del shard  # before the next one is read
            if len(waiting) == _AT_A_TIME:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
