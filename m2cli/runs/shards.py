"""More events than memory may hold: kept in scratch files parted by visitor, and given back shard by shard.

A visitor's hash says in which shard its events are, so that a shard holds all of what a visitor did and the kernel
can work on it alone. Shards are the leaves of a binary tree over the leading bits of the hash: what is written is
parted finely, once, and only when it is read is decided how much of it makes a shard, by what the parts weigh.

Measured on 1.25 million events of 5 columns (140 MiB in memory), two cores, parted in 64 (wall time to write, to
read, size): `partition_by` and Parquet with lz4 0.66 s, 0.14 s, 36 MiB; the same and IPC with lz4 1.03 s, 0.37 s,
59 MiB; IPC as it is 0.54 s, 0.29 s, 138 MiB; `sink_parquet(PartitionBy)` 0.6 to 0.9 s, 0.12 s, 36 MiB, of an
interface that is called unstable; one file in the order of the parts 1.7 s.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import polars as pl

from m2cli.lake.write import explain_unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OWN_GROUPS = Path("/proc/self/cgroup")
# Where a control group of the first version and of the second says what it may take.
_LIMITS = {
    "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    "": ("/sys/fs/cgroup", "memory.max"),
}
# Peaks of `m2 sessionize` over what its libraries and readers take, by the bytes of events in memory: 2.4 to 2.8 for
# 5 million events of 8 columns, 2.6 for a million lines of a log, 3.0 for 2 million events of 24 columns. Libraries
# alone are 170 MiB with the tables of browsers and countries.
_LIBRARIES = 250 << 20
_COPIES = 3
_LEAST_BUDGET = 16 << 20

_PARTS = 64
_BUCKETS = 65_536
_PER_PART = _BUCKETS // _PARTS
_HASHES = 1 << 64
# Of its own: joins part their rows by the same function, and would find all of a shard in one place.
_SEED = 4
_SUFFIX = ".spill"


def default_memory() -> int:
    """Half of the memory that the machine has, or that the container or service it runs in may take (cgroups)."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, own = line.split(":", 2)
            folder, name = _LIMITS.get(controllers, ("", ""))
            for group in (PurePosixPath(own), *PurePosixPath(own).parents) if name else ():
                with suppress(OSError, ValueError):  # `max` where there is no limit
                    limits.append(int(Path(folder, group.relative_to("/"), name).read_text()))
    return min(limits) // 2


def budget_events(memory: int) -> int:
    """How many bytes of events a process that may take `memory` bytes can hold at a time, and work on."""
    return max(_LEAST_BUDGET, (memory - _LIBRARIES) // _COPIES)


def size_in_memory(events: pl.DataFrame) -> int:
    """About how many bytes `events` take when every row has its own.

    `estimated_size` counts a text's bytes, but not the 16 that each row has besides to find them, and a column of
    one value as one row: it says 280 MiB of what are 590.
    """
    cells = sum(16 if dtype == pl.String else 8 for dtype in events.dtypes)
    maps = events.select(pl.col(name).map.len().sum() for name, dtype in events.schema.items() if dtype == pl.Map)
    entry_count = sum(maps.row(0)) if maps.width else 0
    return int(events.estimated_size()) + events.height * cells + 32 * entry_count


def in_shard(number: int, count: int) -> pl.Expr:
    """Whether `visitor_id` belongs to shard `number` of `count`; the same throughout a process."""
    return pl.lit(value=True) if count == 1 else _hash() // -(-_HASHES // count) == number


@dataclass(frozen=True)
class Shard:
    """All events of some visitors: those that are `in_shard(number, count)`."""

    number: int
    count: int
    events: pl.DataFrame


class Spill:
    """Takes in events with a `visitor_id`, and gives them back in shards that memory can hold."""

    def __init__(self, folder: Path, budget: int, *, named: Path | None = None) -> None:
        """Hold up to `budget` bytes (`size_in_memory`), more in files in `folder`; errors call that `named`."""
        self._folder, self._budget, self._named = folder, budget, named or folder
        self._schema: dict[str, pl.DataType] = {}
        self._held: list[pl.DataFrame] = []
        self._held_size = 0
        self._flush_count = 0
        self._weights = [0.0] * _BUCKETS

    def beside(self, name: str) -> Spill:
        """An empty one for other events, with a quarter of the budget, in a folder `name` of this one's.

        Raises `UnwritableSinkError` where that cannot be made.
        """
        with explain_unwritable(self._named):
            (self._folder / name).mkdir()
        return Spill(self._folder / name, self._budget // 4, named=self._named)

    @property
    def is_spilled(self) -> bool:
        """Whether anything is on disk."""
        return bool(self._flush_count)

    @property
    def shard_count(self) -> int:
        """How many shards there are of what has been added; 1 while everything is in memory.

        Raises `UnwritableSinkError` where a scratch file cannot be written.
        """
        return len(self._plan(1))

    def add(self, events: pl.DataFrame) -> None:
        """Take in `events`, with a `visitor_id` (String) that is never null; frames may differ in their columns.

        Raises `UnwritableSinkError` where a scratch file cannot be written.
        """
        self._schema |= events.schema
        self._held.append(events)
        self._held_size += size_in_memory(events)
        if self._held_size > self._budget:
            self._flush()

    def shards(self, least_count: int = 1) -> Iterator[Shard]:
        """All that was added, in at least `least_count` shards; any number of times.

        Each shard has all columns that any frame had. A visitor's events are in one shard, in the order in which they
        were added. A shard may be empty; one is larger than the budget only if one visitor is, or one of 65,536 parts.
        To hold one at a time, let go of a shard before asking for the next. Raises `UnwritableSinkError` where a
        scratch file cannot be written.
        """
        for number, count in self._plan(least_count):
            yield Shard(number, count, self._read(number, count))

    def drain(self, least_count: int = 1) -> Iterator[Shard]:
        """`shards`, for the last time: what has been given is held here no more, neither in memory nor on disk."""
        for number, count in self._plan(least_count):
            yield self._take(number, count)

    def read(self, number: int, count: int) -> pl.DataFrame:
        """What was added that is `in_shard(number, count)`, where `count` is a power of two.

        Raises `UnwritableSinkError` where a scratch file cannot be written.
        """
        self.settle()
        return self._read(number, count)

    def _flush(self) -> None:
        bucket = (_hash() // (_HASHES // _BUCKETS)).cast(pl.UInt16).alias("_bucket")
        # Frame by frame, so that no second copy of all of them is made; a file gets the rows of all.
        parts: dict[int, list[pl.DataFrame]] = {}
        while self._held:
            rows = self._held.pop(0).with_columns(bucket)
            keyed = rows.with_columns(_part=pl.col("_bucket") // _PER_PART)
            for (part,), of_part in keyed.partition_by("_part", as_dict=True, include_key=False).items():
                parts.setdefault(part, []).append(of_part)
        self._held_size = 0
        for part, frames in sorted(parts.items()):
            of_part = pl.concat(frames, how="diagonal")
            self._weigh(of_part)
            with explain_unwritable(self._named):
                of_part.drop("_bucket").write_parquet(
                    self._file(self._flush_count, part), compression="lz4", statistics=False
                )
            frames.clear()
        self._flush_count += 1

    def _weigh(self, rows: pl.DataFrame) -> None:
        """Count the bytes of each bucket, as if all rows were of one size."""
        row_size = size_in_memory(rows) / rows.height
        for bucket, row_count in rows["_bucket"].value_counts().iter_rows():
            self._weights[bucket] += row_count * row_size

    def settle(self) -> None:
        """Bring everything to the disk if anything is there; then `read` may be called by several threads."""
        if self.is_spilled and self._held:
            self._flush()

    def _plan(self, least_count: int) -> list[tuple[int, int]]:
        self.settle()
        return list(plan_shards(self._weights, self._budget, least_count))

    def _read(self, number: int, count: int) -> pl.DataFrame:
        frames = [pl.DataFrame(schema=self._schema)]
        if not self.is_spilled:
            frames += [held if count == 1 else held.filter(in_shard(number, count)) for held in self._held]
        for file in self._files(number, count):
            rows = pl.read_parquet(file, glob=False, hive_partitioning=False)
            frames.append(rows if count <= _PARTS else rows.filter(in_shard(number, count)))
        return pl.concat(frames, how="diagonal")

    def _take(self, number: int, count: int) -> Shard:
        """A shard; what no later one has anything of is let go of."""
        shard = Shard(number, count, self._read(number, count))
        if number + 1 == count:
            self._held, self._held_size = [], 0
        if count <= _PARTS or (number + 1) % (count // _PARTS) == 0:
            for file in self._files(number, count):
                file.unlink()
        return shard

    def _files(self, number: int, count: int) -> list[Path]:
        """The files with events of a shard, in the order in which they were written."""
        first, end = number * _PARTS // count, max(1, _PARTS // count)
        parts = range(first, first + end)
        files = [self._file(flush, part) for flush in range(self._flush_count) for part in parts]
        return [file for file in files if file.exists()]

    def _file(self, flush: int, part: int) -> Path:
        return self._folder / f"{flush:05}-{part:02}{_SUFFIX}"


def plan_shards(weights: Sequence[float], budget: float, least_count: int = 1) -> Iterator[tuple[int, int]]:
    """The fewest leaves (number, count) of the binary tree over `weights`, each within `budget` or of one weight.

    There are `least_count` or more, and all weights are in one of them. As many weights as a power of two.

    >>> list(plan_shards([1, 1, 1, 5], 4))
    [(0, 2), (2, 4), (3, 4)]
    """
    sums = list(accumulate(weights, initial=0.0))
    waiting = [(0, 1)]
    while waiting:
        number, count = waiting.pop()
        width = len(weights) // count
        is_small = sums[(number + 1) * width] - sums[number * width] <= budget
        if width == 1 or (is_small and count >= least_count):
            yield number, count
        else:
            waiting += [(2 * number + 1, 2 * count), (2 * number, 2 * count)]


def _hash() -> pl.Expr:
    return pl.col("visitor_id").hash(_SEED)
