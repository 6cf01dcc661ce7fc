"""Readers in a loop while batches are published, compacted and dropped: no visit in part, no batch torn or missing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import polars as pl

from m2cli.lake import LakeFile, compact_date, drop_files, open_batch, read_snapshot, scan_lake, verify_files
from tests.lake.pipelines import batch_id_of, make_batch, publish_batch, take_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.twins.lake_twin import Whole

BATCH_COUNT, COMPACT_EVERY = 48, 8


def whole_of(number: int) -> Whole:
    return make_batch(number, [(0, 1 + number % 3), (1, 2), (1, 40)])


COUNTS = {
    visit_id: count
    for number in range(1, BATCH_COUNT)
    if number % COMPACT_EVERY
    for visit_id, count in whole_of(number).visits["visit_id", "event_count"].rows()
}


class Reader(threading.Thread):
    """Reads in rounds until it is told to stop; keeps what it read that it should not have."""

    def __init__(self, lake: Path, read: Callable[[Path], str]) -> None:
        super().__init__()
        self.lake, self.read = lake, read
        self.round_count = 0
        self.is_stopped = False
        self.seen: set[str] = set()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.is_stopped:
                self.seen.add(self.read(self.lake))
                self.round_count += 1
        except BaseException as error:  # noqa: BLE001  # told to the test
            self.error = error

    def wait_for_round(self) -> None:
        """Until a round has begun and ended: whoever read before has what it needs."""
        until = self.round_count + 2
        while self.round_count < until and self.error is None and self.is_alive():
            threading.Event().wait(0.001)


def count_visits(events: pl.DataFrame) -> dict[str, int]:
    return dict(events["visit_id"].value_counts().rows())


def read_glob(lake: Path) -> str:
    """Every file that is found holds whole visits; one that left the glob between listing and reading is nobody's."""
    for path in sorted(lake.glob("events/*/*.parquet")):
        try:
            found = count_visits(pl.read_parquet(path, hive_partitioning=False))
        except FileNotFoundError:
            continue
        assert found.items() <= COUNTS.items()
    return "read"


def read_by_snapshot(lake: Path) -> str:
    """All batches up to the one it names, and nothing else; read at once, and after others have been published."""
    snapshot = read_snapshot(lake)
    last = int(snapshot.batch_id.removeprefix("shop-"))
    events = pl.scan_parquet(snapshot.paths(lake, "events"), glob=False, hive_partitioning=False)
    expected = {visit_id: count for visit_id, count in COUNTS.items() if int(visit_id.split("-")[0]) <= last}
    assert count_visits(events.collect()) == expected
    frame = scan_lake(lake).events
    threading.Event().wait(0.02)
    found = count_visits(frame.collect())
    assert found.items() >= expected.items()
    assert found.items() <= COUNTS.items()
    return snapshot.batch_id


def compact_lake(lake: Path, number: int, files: list[LakeFile]) -> list[LakeFile]:
    """All of the lake's files into few, as batch `number`; returns the new ones."""
    with open_batch(lake, batch_id_of(number)) as batch:
        for kind, start_date in sorted({(file.kind, file.start_date) for file in files}, key=str):
            chosen = [file for file in files if (file.kind, file.start_date) == (kind, start_date)]
            compact_date(lake, chosen, batch, max_rows=10_000)
        added = list(batch.finish())
    publish_batch(lake, number, added, files)
    return added


def test_readers_are_undisturbed(tmp_path: Path) -> None:
    files = list(take_in(tmp_path, 1, whole_of(1)))
    readers = [Reader(tmp_path, read_glob), Reader(tmp_path, read_by_snapshot)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, BATCH_COUNT):
            if number % COMPACT_EVERY:
                files += take_in(tmp_path, number, whole_of(number))
            else:
                replaced, files = files, compact_lake(tmp_path, number, files)
                for reader in readers:  # the grace
                    reader.wait_for_round()
                drop_files(tmp_path, replaced)
    finally:
        for reader in readers:
            reader.is_stopped = True
            reader.join()
    assert [reader.error for reader in readers] == [None, None]
    assert len(readers[1].seen) >= BATCH_COUNT / COMPACT_EVERY  # it met many states
    assert verify_files(tmp_path, files, deep=True) == []
