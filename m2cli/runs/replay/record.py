"""A tape made of events in any order, of any number: parted by arrival in scratch files, then span by span in order.

A file whose events stand already as they can be read is a piece of the tape as it is: what comes in order is written
once.
"""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.files.tape import Piece, Tape
from m2cli.lake.write import explain_unwritable
from m2cli.runs.replay.arrivals import READ_TIME, Arrivals, find_bounds, gather_rows
from m2cli.runs.shards import size_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from m2cli.runs.replay.rule import ReplayRule

    Place = tuple[str, int]
    """A part and a position in it."""

_SPAN = 15 * 60 * 1_000_000
"""µs of arrival that are brought in order at a time."""
_SECOND = 1_000_000
_PIECE = 500_000  # events of a file of the tape, where they are not parted
_SHARE = 8  # of the memory that may be taken, so much is held before it goes to the disk


class _File(NamedTuple):
    """A scratch file: events that arrived in one span."""

    path: Path
    places: dict[str, tuple[Place, Place]]
    """Of each partition its first and its last place there."""
    first: int
    """When, in µs since 1970, the first of its events arrived, and the `last`."""
    last: int
    seconds: list[tuple[int, int]]
    """Where the events stand as they can be read: before which second how many can; else nothing."""


class Recorder:
    """Takes in events with `arrival_time`, and makes a tape of them in `folder`; at most one span is in memory."""

    def __init__(self, folder: Path, rule: ReplayRule) -> None:
        self._folder, self._rule = folder, rule
        self._held: list[pl.DataFrame] = []
        self._held_size, self._file_count = 0, 0
        self._files: dict[int, list[_File]] = {}
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
        if self._files or self.event_count > _PIECE:
            self._flush()
        else:
            self._note(self._held)
        arrivals = Arrivals(self._rule.faults, self._rule.visit, self._rule.faults.find_lags(self._sources))
        pieces, seconds, row_count = list[Piece](), Counter[int](), 0
        for path, of_piece in self._order(arrivals) if self._files else self._order_held(arrivals):
            pieces.append(Piece(path, row_count))
            row_count += sum(count for _, count in of_piece)
            for second, count in of_piece:
                seconds[second] += count
        times = sorted(seconds)
        return Tape(
            pieces=tuple(pieces),
            row_count=row_count,
            partitions=tuple(sorted(self._sources)),
            times=times,
            ends=list(accumulate(seconds[time] for time in times)),
        )

    def _flush(self) -> None:
        held, self._held, self._held_size = self._held, [], 0
        if not held:
            return
        self._note(held)
        for span, events in _part_spans(pl.concat(held, how="diagonal")):
            arrived, parts = events["arrival_time"], _describe_parts(events)
            is_as_read = not self._rule.faults.moves_events and arrived.is_sorted() and _are_in_order(parts)
            seconds = _count_seconds(arrived) if is_as_read else []
            file = _File(self._write(events), _find_places(parts), *find_bounds(arrived.to_physical()), seconds)
            self._files.setdefault(span, []).append(file)

    def _note(self, frames: list[pl.DataFrame]) -> None:
        self._sources.update(*(frame["source"].unique() for frame in frames))

    def _write(self, events: pl.DataFrame) -> Path:
        path = self._folder / f"{self._file_count:06}.tape"
        self._file_count += 1
        with explain_unwritable(self._folder):
            events.write_parquet(path, compression="lz4", statistics=False)
        return path

    def _put(self, dated: pl.DataFrame) -> tuple[Path, list[tuple[int, int]]]:
        """A piece of the tape: events in the order of their `read_time`."""
        return self._write(dated.drop(READ_TIME)), _count_seconds(dated[READ_TIME])

    def _order_held(self, arrivals: Arrivals) -> Iterator[tuple[Path, list[tuple[int, int]]]]:
        """All pieces in the order in which they can be read, where memory holds them."""
        held, self._held = self._held, []
        if held:
            for dated in _date(pl.concat(held, how="diagonal"), arrivals).iter_slices(_PIECE):
                yield self._put(dated)

    def _order(self, arrivals: Arrivals) -> Iterator[tuple[Path, list[tuple[int, int]]]]:
        """All pieces in the order in which they can be read, a span at a time."""
        later = _find_later_places(self._files)
        waiting, dated = pl.DataFrame(), pl.DataFrame()
        spans = sorted(self._files)
        for span in spans:
            files = self._files[span]
            nothing_waits = not (waiting.height or _any_waits(files, later[span]))
            if nothing_waits and not dated.height and _are_as_read(files):
                yield from ((file.path, file.seconds) for file in sorted(files, key=_order_of_arrival))
                continue
            events = pl.concat([waiting, *(_take_away(file.path) for file in files)], how="diagonal")
            events, waiting = (events, events.clear()) if nothing_waits else _part(events, later[span])
            dated = pl.concat([dated, _date(events, arrivals)], how="diagonal")
            # What lags, or is moved, may be read after what arrives in the next span, but nothing there before it. A
            # shuffle moves events to within it after their own time, which may be before the span.
            due_time = arrivals.find_earliest(later[span]) if self._rule.faults.shuffle else (span + 1) * _SPAN
            is_due = pl.col(READ_TIME).to_physical() < due_time
            due, dated = (dated, dated.clear()) if span == spans[-1] else (dated.filter(is_due), dated.filter(~is_due))
            if due.height:
                is_sorted = due[READ_TIME].is_sorted()
                yield self._put(due if is_sorted else due.sort(READ_TIME, maintain_order=True))


def _part_spans(events: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """`events` by the span in which they arrived; slices of them where they stand in that order."""
    span = events.select(pl.col("arrival_time").to_physical() // _SPAN).to_series()
    if span.is_sorted():
        first = 0
        for count, number in span.rle().struct.unnest().iter_rows():
            yield number, events.slice(first, count)
            first += count
        return
    parted = events.with_columns(_span=span).partition_by("_span", as_dict=True, include_key=False)
    for (number,), of_span in parted.items():
        yield int(number), of_span


def _date(events: pl.DataFrame, arrivals: Arrivals) -> pl.DataFrame:
    """`events` with `read_time`, in its order."""
    dated = arrivals.date(events).sort(READ_TIME, maintain_order=True)
    return gather_rows(events, dated["row"]).with_columns(dated[READ_TIME])


def _count_seconds(times: pl.Series) -> list[tuple[int, int]]:
    """Of times in order: for each second before which there are any that were not before the last, and how many."""
    runs = (times.to_physical() // _SECOND + 1).rle().struct
    return list(zip(runs.field("value").to_list(), runs.field("len").to_list(), strict=True))


def _describe_parts(events: pl.DataFrame) -> pl.DataFrame:
    """For each part, in the order in which they are met: its first and last position, and whether it is in order."""
    position = pl.col("position_in_source").fill_null(0)
    ends = {"first": position.min(), "last": position.max(), "is_behind": (position.diff() < 0).any()}
    return events.group_by("source", "part_id", maintain_order=True).agg(**ends)


def _are_in_order(parts: pl.DataFrame) -> bool:
    """Whether every partition stands in its order; where one has several parts it is not asked."""
    return not parts["is_behind"].any() and parts["source"].is_unique().all()


def _find_places(parts: pl.DataFrame) -> dict[str, tuple[Place, Place]]:
    found: dict[str, tuple[Place, Place]] = {}
    for source, part, first, last in parts.drop("is_behind").iter_rows():
        ends = ((part or "", first), (part or "", last))
        known = found.get(source, ends)
        found[source] = (min(known[0], ends[0]), max(known[1], ends[1]))
    return found


def _find_later_places(files: dict[int, list[_File]]) -> dict[int, dict[str, Place]]:
    """For each span, of each partition the first place of all that arrives in later spans."""
    found: dict[int, dict[str, Place]] = {}
    later: dict[str, Place] = {}
    for span in sorted(files, reverse=True):
        found[span] = dict(later)
        for file in files[span]:
            for source, (first, _) in file.places.items():
                later[source] = min(later.get(source, first), first)
    return found


def _any_waits(files: list[_File], later: dict[str, Place]) -> bool:
    """Whether any event has to wait for one that stands before it and arrives in a later span."""
    ends = [(source, last) for file in files for source, (_, last) in file.places.items()]
    return any(source in later and last > later[source] for source, last in ends)


def _are_as_read(files: list[_File]) -> bool:
    """Whether the files of a span are pieces of the tape, one after the other."""
    if not all(file.seconds for file in files):
        return False
    return all(
        one.last <= other.first
        and all(one.places[source][1] <= other.places[source][0] for source in one.places.keys() & other.places.keys())
        for one, other in pairwise(sorted(files, key=_order_of_arrival))
    )


def _order_of_arrival(file: _File) -> tuple[int, int]:
    return file.first, file.last


def _part(events: pl.DataFrame, later: dict[str, Place]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`events` before which, in their partition, nothing stands that arrives later, and those that wait for it."""
    known = pl.DataFrame(
        [(source, *place) for source, place in later.items()],
        schema={"source": pl.String, "_part": pl.String, "_position": pl.Int64},
        orient="row",
    )
    placed = events.select("source", "part_id", "position_in_source").join(
        known, on="source", how="left", maintain_order="left"
    )
    part, position = pl.col("part_id").fill_null(""), pl.col("position_in_source").fill_null(0)
    waits = (part > pl.col("_part")) | ((part == pl.col("_part")) & (position > pl.col("_position")))
    is_waiting = placed.select(waits.fill_null(value=False).alias("waits"))["waits"]
    return events.filter(~is_waiting), events.filter(is_waiting)


def _take_away(path: Path) -> pl.DataFrame:
    rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    path.unlink()
    return rows
