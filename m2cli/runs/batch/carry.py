"""What one batch takes over from the last and leaves to the next, in files of the lake's own folder (DESIGN 5.6)."""

from __future__ import annotations

from collections import Counter
from math import ceil, log2
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import polars as pl

from m2cli.errors import NotConservedError
from m2cli.lake.layout import OWN_FOLDER
from m2cli.lake.swap import sync_folder
from m2cli.lake.write import explain_unwritable, sync_file
from m2cli.ledger import CarriedFile
from m2cli.runs.shards import in_shard
from m2cli.visits import VisitState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from m2cli.ledger import Progress

PENDING, OPEN_VISITS, ENDS, SEGMENT = "pending", "open_visits", "ends", "segment"
CARRIED_FOLDER = PurePosixPath(OWN_FOLDER, "carried")
# No `*.parquet` glob matches it, though that is what it is.
SUFFIX = ".carried"
# A segment of which less than this is alive is rewritten: what is dead is read again by every batch.
_LEAST_ALIVE = 1 / 3
# Bytes in memory for each byte of a carried file, which is packed with lz4: measured 3 to 6.
_UNPACKED = 6


class Carried:
    """The carried state as the last commit left it."""

    def __init__(self, lake: Path, progress: Progress) -> None:
        self._lake = lake
        self._files = progress.carried
        self.next_visit_number = progress.next_visit_number
        self.found: Counter[str] = Counter()
        """How many rows of each segment have been taken out of it."""

    def add(self, segment: CarriedFile) -> None:
        """Take up a segment that this batch has written."""
        self._files = (*self._files, segment)

    @property
    def segments(self) -> list[CarriedFile]:
        """The segments, in the order in which their events were tagged."""
        # A flush takes over what its own batch has just left, which is not in the ledger's order.
        segments = (file for file in self._files if file.kind == SEGMENT)
        return sorted(segments, key=lambda file: (file.sequence, file.path))

    @property
    def event_count(self) -> int:
        """All events that are carried: pending, and tagged in visits that are still open."""
        return sum(file.alive_count for file in self._files if file.kind in (PENDING, SEGMENT))

    def count_shards(self, budget: int) -> int:
        """Into how many shards, a power of two, the state has to be parted for each to take at most `budget` bytes."""
        state = [file for file in self._files if file.kind != SEGMENT]
        size = _UNPACKED * sum((self._lake / file.path).stat().st_size for file in state)
        return 1 << max(0, ceil(log2(max(size, 1) / budget)))

    def load(self, number: int = 0, count: int = 1) -> VisitState:
        """The state of the visitors of one shard of `count`."""
        empty = VisitState.empty()
        return VisitState(
            pending=self._read(PENDING, empty.pending, number, count),
            open_visits=self._read(OPEN_VISITS, empty.open_visits, number, count),
            ends=self._read(ENDS, empty.ends, number, count),
            next_visit_number=self.next_visit_number,
        )

    def find(self, visit_numbers: pl.Series) -> list[pl.DataFrame]:
        """The tagged events of these visits, a frame for each segment that has any, in the order of the segments."""
        if not len(visit_numbers):
            return []
        found = []
        for segment in self.segments:
            if self.found[segment.path] == segment.alive_count:
                continue
            is_asked = pl.col("visit_number").is_in(visit_numbers.implode())
            rows = pl.scan_parquet(self._lake / segment.path, glob=False).filter(is_asked).collect()
            self.found[segment.path] += rows.height
            if rows.height:
                found.append(rows)
        return found

    def read_tagged(self) -> pl.DataFrame:
        """All tagged events of visits that are still open, without `visit_number`, for who looks on from outside."""
        open_numbers = self.load().open_visits["visit_number"]
        tagged = self.find(open_numbers)
        return pl.concat(tagged, how="diagonal").drop("visit_number") if tagged else pl.DataFrame()

    def _read(self, kind: str, empty: pl.DataFrame, number: int, count: int) -> pl.DataFrame:
        frames = []
        for file in self._files:
            if file.kind == kind:
                rows = pl.scan_parquet(self._lake / file.path, glob=False)
                frames.append((rows.filter(in_shard(number, count)) if count > 1 else rows).collect())
        return pl.concat(frames, how="diagonal") if frames else empty


class CarryWriter:
    """Writes the state that a batch leaves, under names of its own; nobody looks at it before the commit."""

    def __init__(self, lake: Path, batch_id: str, sequence: int, step: int = 0) -> None:
        """Name the files after `batch_id`, and after `step` where a batch cuts more than once."""
        self._lake, self._sequence = lake, sequence
        self._prefix = f"{batch_id}-{step}-"
        self._files: list[CarriedFile] = []
        self._written_count = 0
        self._open_numbers: list[pl.Series] = []

    @property
    def event_count(self) -> int:
        """All events that are carried on so far."""
        return sum(file.alive_count for file in self._files if file.kind in (PENDING, SEGMENT))

    def keep(self, state: VisitState, tagged: pl.DataFrame) -> None:
        """Keep the state of a shard's visitors, and the tagged events of their visits that are still open."""
        self._open_numbers.append(state.open_visits["visit_number"])
        self._write(PENDING, state.pending)
        self._write(OPEN_VISITS, state.open_visits)
        self._write(ENDS, state.ends)
        self._write(SEGMENT, tagged)

    def put_segment(self, tagged: pl.DataFrame) -> CarriedFile:
        """Write tagged events as a segment, before it is known which of their visits are still open at the end.

        It is part of the state that is left once `keep_segments` has found that any of it is alive.
        """
        self._write(SEGMENT, tagged)
        return self._files.pop()

    def keep_segments(self, carried: Carried) -> None:
        """Keep what is alive of the segments so far: dead ones are dropped, sparse ones rewritten.

        Raises `NotConservedError` if a segment has not the rows that it ought to have.
        """
        for segment in carried.segments:
            alive_count = segment.alive_count - carried.found[segment.path]
            if alive_count >= segment.row_count * _LEAST_ALIVE:
                self._files.append(segment._replace(alive_count=alive_count))
            elif alive_count:
                self._rewrite(segment, alive_count)

    def finish(self, at: Callable[[str], None]) -> tuple[CarriedFile, ...]:
        """All files, on the disk."""
        with explain_unwritable(self._lake):
            written = [file for file in self._files if self._is_mine(file)]
            for file in written:
                sync_file(self._lake / file.path)
            if written:
                sync_folder(self._lake / CARRIED_FOLDER)
        at("carried state written")
        return tuple(self._files)

    def _is_mine(self, file: CarriedFile) -> bool:
        return PurePosixPath(file.path).name.startswith(self._prefix)

    def _rewrite(self, segment: CarriedFile, alive_count: int) -> None:
        is_open = pl.col("visit_number").is_in(pl.concat(self._open_numbers).implode())
        alive = pl.scan_parquet(self._lake / segment.path, glob=False).filter(is_open).collect()
        if alive.height != alive_count:
            raise NotConservedError(f"`{segment.path}` has {alive.height:,} events of open visits, not {alive_count:,}")
        self._write(SEGMENT, alive, sequence=segment.sequence)

    def _write(self, kind: str, frame: pl.DataFrame, *, sequence: int | None = None) -> None:
        if not frame.height:
            return
        place = CARRIED_FOLDER / f"{self._prefix}{self._written_count:05d}-{kind}{SUFFIX}"
        self._written_count += 1
        with explain_unwritable(self._lake):
            # lz4: written in half the time of Arrow's own format, and read in a seventh. Nobody asks for statistics,
            # which are a tenth of the time.
            frame.write_parquet(self._lake / place, compression="lz4", statistics=False)
        self._files.append(
            CarriedFile(str(place), kind, self._sequence if sequence is None else sequence, frame.height, frame.height)
        )


def sweep_carried(lake: Path, keep: Iterable[CarriedFile]) -> None:
    """Remove the carried files that are none of `keep`: those of a batch that was killed, and those before the last."""
    names = {PurePosixPath(file.path).name for file in keep}
    with explain_unwritable(lake):
        for path in (lake / CARRIED_FOLDER).iterdir():
            if path.name not in names:
                path.unlink()
