"""The visits of one making, parted by visitor, so that of a day of any size only some are in memory at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.lake.write import explain_unwritable
from m2cli.runs.replay.compare import DIGEST_SCHEMA, digest_visits
from m2cli.runs.shards import Spill, budget_events

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Of the memory that may be taken, visits that are parted hold so much before they go to the disk, and events.
_OF_VISITS, _OF_EVENTS = 1 / 16, 1 / 4
# So many events are compared at a time: what the processor works on should not be much more than it has near.
_EVENTS_A_SHARD = 2_000_000
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

    def read(self, number: int, count: int) -> pl.DataFrame:
        """A row for each visit of one shard's visitors: its digest, and of its row what was added."""
        digests = self._digests.read(number, count)
        if not self._has_rows:
            return digests
        return digests.join(self._rows.read(number, count).drop("visitor_id"), on="visit_id", how="left")


def open_spill(folder: Path, memory: int, share: float = _OF_EVENTS) -> Spill:
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
