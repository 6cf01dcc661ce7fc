"""A tape made of events in any order, of any number: parted by arrival in scratch files, then span by span in order."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

import polars as pl

from m2cli.files.tape import Piece, Tape
from m2cli.lake.write import explain_unwritable
from m2cli.runs.replay.arrivals import PLACE, READ_TIME, Arrivals
from m2cli.runs.shards import size_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from m2cli.runs.replay.rule import ReplayRule

_SPAN = 15 * 60 * 1_000_000
"""µs of arrival that are brought in order at a time."""
_SECOND = 1_000_000
_PIECE = 500_000  # events of a file of the tape, where they are not parted
_SHARE = 8  # of the memory that may be taken, so much is held before it goes to the disk


class Recorder:
    """Takes in events with `arrival_time`, and makes a tape of them in `folder`; at most one span is in memory."""

    def __init__(self, folder: Path, rule: ReplayRule) -> None:
        self._folder, self._rule = folder, rule
        self._held: list[pl.DataFrame] = []
        self._held_size, self._file_count = 0, 0
        self._files: dict[int, list[Path]] = {}
        self._firsts: list[pl.DataFrame] = []
        self._sources: set[str] = set()
        self.event_count = 0

    def add(self, events: pl.DataFrame) -> None:
        """Take in `events`, of all of which it is known when they arrived."""
        if not events.height:
            return
        self._held.append(events)
        self._held_size += size_in_memory(events)
        self.event_count += events.height
        if self._held_size > self._rule.memory // _SHARE:
            self._flush()

    def finish(self) -> Tape:
        """The tape. Raises `UsageError` for a lag of a partition that there is not."""
        if self._file_count:
            self._flush()
        else:
            self._note(self._held)
        arrivals = Arrivals(self._rule.faults, self._rule.visit, self._rule.faults.find_lags(self._sources))
        pieces, seconds, row_count = list[Piece](), Counter[int](), 0
        for number, events in enumerate(self._order(arrivals) if self._file_count else self._order_held(arrivals)):
            path = self._folder / f"{number:05}.tape"
            with explain_unwritable(self._folder):
                events.drop(READ_TIME).write_parquet(path, compression="lz4", statistics=False)
            pieces.append(Piece(path, row_count))
            row_count += events.height
            second = events.select(pl.col(READ_TIME).to_physical() // _SECOND + 1).to_series()
            seconds.update(dict(second.value_counts().iter_rows()))
        times = sorted(seconds)
        return Tape(
            pieces=tuple(pieces),
            row_count=row_count,
            partitions=tuple(sorted(self._sources)),
            times=times,
            ends=list(accumulate(seconds[time] for time in times)),
        )

    def _flush(self) -> None:
        span = (pl.col("arrival_time").to_physical() // _SPAN).alias("_span")
        held, self._held, self._held_size = self._held, [], 0
        if not held:
            return
        events = pl.concat(held, how="diagonal").with_columns(span)
        self._note([events])
        place = pl.struct(*PLACE[1:])
        self._firsts.append(events.group_by("source", "_span").agg(_first=place.sort().first()))
        for (number,), of_span in events.partition_by("_span", as_dict=True, include_key=False).items():
            path = self._folder / f"{self._file_count:06}.span"
            self._file_count += 1
            with explain_unwritable(self._folder):
                of_span.write_parquet(path, compression="lz4", statistics=False)
            self._files.setdefault(number, []).append(path)

    def _note(self, frames: list[pl.DataFrame]) -> None:
        self._sources.update(*(frame["source"].unique() for frame in frames))

    def _order_held(self, arrivals: Arrivals) -> Iterator[pl.DataFrame]:
        """All events in the order in which they can be read, where memory holds them."""
        held, self._held = self._held, []
        if held:
            dated = arrivals.date(pl.concat(held, how="diagonal")).sort(READ_TIME, maintain_order=True)
            yield from dated.iter_slices(_PIECE)

    def _order(self, arrivals: Arrivals) -> Iterator[pl.DataFrame]:
        """All events in the order in which they can be read, a span at a time."""
        firsts = self._find_later_firsts()
        waiting, dated = pl.DataFrame(), pl.DataFrame()
        spans = sorted(self._files)
        for span in spans:
            events = pl.concat([waiting, *map(_take_away, self._files[span])], how="diagonal")
            events, waiting = _part(events, firsts.filter(pl.col("_span") == span))
            dated = pl.concat([dated, arrivals.date(events)], how="diagonal")
            # What lags, or is moved, may be read after what arrives in the next span, but nothing there before it.
            is_due = pl.col(READ_TIME).to_physical() < self._find_due(span)
            due, dated = (dated, dated.clear()) if span == spans[-1] else (dated.filter(is_due), dated.filter(~is_due))
            if due.height:
                yield due.sort(READ_TIME, maintain_order=True)

    def _find_due(self, span: int) -> int:
        """Before when everything is there that can be read, once all of `span` has arrived."""
        shuffle = self._rule.faults.shuffle
        # A shuffle takes events to within it after their own time, which may be long before they arrived.
        return (span + 1) * _SPAN if not shuffle else -1

    def _find_later_firsts(self) -> pl.DataFrame:
        """For each partition and span, the first place in the partition of all that arrives in later spans."""
        schema = {"source": pl.String, "_span": pl.Int64}
        if not self._firsts:
            return pl.DataFrame(schema=schema)
        each = pl.concat(self._firsts).group_by("source", "_span").agg(pl.col("_first").sort().first())
        grid = (
            each.select("source")
            .unique()
            .join(pl.DataFrame({"_span": sorted(self._files)}, schema={"_span": pl.Int64}), how="cross")
        )
        rows = grid.join(each, on=["source", "_span"], how="left").sort("source", "_span", descending=[False, True])
        found: list[tuple[str, int, tuple[str, int] | None]] = []
        later: tuple[str, int] | None = None
        source = None
        for name, span, first in rows.iter_rows():
            if name != source:
                source, later = name, None
            found.append((name, span, later))
            key = None if first is None else (first[PLACE[1]] or "", first[PLACE[2]] or 0)
            later = key if later is None else later if key is None else min(later, key)
        return pl.DataFrame(
            [(name, span, *(later or (None, None))) for name, span, later in found],
            schema=schema | {"_part": pl.String, "_position": pl.Int64},
            orient="row",
        )


def _part(events: pl.DataFrame, later: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`events` before which, in their partition, nothing stands that arrives later, and those that wait for it."""
    known = events.join(later.drop("_span"), on="source", how="left", maintain_order="left")
    part, position = pl.col("part_id").fill_null(""), pl.col("position_in_source").fill_null(0)
    waits = (part > pl.col("_part")) | ((part == pl.col("_part")) & (position > pl.col("_position")))
    waits = waits.fill_null(value=False)
    own = known.drop("_part", "_position")
    is_waiting = known.select(waits.alias("waits"))["waits"]
    return (own, own.clear()) if not is_waiting.any() else (own.filter(~is_waiting), own.filter(is_waiting))


def _take_away(path: Path) -> pl.DataFrame:
    rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    path.unlink()
    return rows
