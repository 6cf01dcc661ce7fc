"""A tape: events in the order in which they can be read, in files of m2's own, with how far one can read when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import UnreadableSourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class PlannedRows:
    """Rows of a tape that a batch takes: from `first` to before `end`."""

    first: int
    end: int


class Piece(NamedTuple):
    """A file of a tape, and the number of its first row."""

    path: Path
    first: int


@dataclass(frozen=True, kw_only=True)
class Tape:
    """Events in the order in which they can be read; before second `times[i]`, the first `ends[i]` of them can."""

    pieces: tuple[Piece, ...]
    row_count: int
    partitions: tuple[str, ...]
    times: Sequence[int]
    """Whole seconds since 1970 at which more can be read than at the one before."""
    ends: Sequence[int]

    def find_end(self, now: datetime) -> int:
        """How many rows can be read at `now`, a whole second."""
        place = bisect_right(self.times, int(now.timestamp()))
        return self.ends[place - 1] if place else 0

    def find_next_time(self, now: datetime) -> int | None:
        """The first second after `now` at which there is more to read; None at the end of the tape."""
        place = bisect_right(self.times, int(now.timestamp()))
        return self.times[place] if place < len(self.times) else None

    def find_sources(self, rows: PlannedRows) -> frozenset[str]:
        """The partitions that have any of `rows`."""
        return frozenset[str]().union(*(part.get_column("source").unique() for part in self.read(rows, ["source"])))

    def read(self, rows: PlannedRows, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """`rows`, file by file, or only those columns. Raises `UnreadableSourceError` where a file is damaged."""
        firsts = [piece.first for piece in self.pieces]
        for number in range(max(bisect_right(firsts, rows.first) - 1, 0), bisect_left(firsts, rows.end)):
            piece = self.pieces[number]
            first, count = max(rows.first - piece.first, 0), rows.end - max(rows.first, piece.first)
            part = pl.scan_parquet(piece.path, glob=False, hive_partitioning=False).slice(first, count)
            try:
                yield (part if columns is None else part.select(columns)).collect()
            except (OSError, pl.exceptions.PolarsError) as error:
                raise UnreadableSourceError(piece.path, str(error).splitlines()[0]) from error
