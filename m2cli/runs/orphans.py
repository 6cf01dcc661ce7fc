"""Causes that are named and not there, counted over shards of events."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import polars as pl

from m2cli.lake.write import explain_unwritable

if TYPE_CHECKING:
    from pathlib import Path

# So many digests of causes are looked for at a time: 64 MB.
_MOST_WANTED = 8_000_000


class OrphanCount:
    """How many events name a cause that is not in the data, be it of their own visitor or of another.

    Ids are compared by 64-bit digests, a fifth of the cost of comparing the texts; two different ids of ten
    million have one digest with odds of 1 in 180,000, and then one orphan goes uncounted. Most causes are in the
    shard of their effect; the others are looked for among the ids of all shards at the end. Until then the digests
    are on disk, 8 bytes an event.
    """

    def __init__(self, folder: Path, *, named: Path) -> None:
        """Keep digests in `folder`, which errors call `named`."""
        self._folder, self._named = folder, named
        self._wanted: list[pl.Series] = []
        self._files: dict[str, list[Path]] = {"ids": [], "wanted": []}

    def add(self, events: pl.DataFrame, *, is_only: bool = False) -> None:
        """Count the events of a shard; `is_only` says that there is no other."""
        if "cause_id" not in events.columns or "event_id" not in events.columns:
            return
        ids = events["event_id"].drop_nulls().hash()
        self._wanted.append(_find_absent(events["cause_id"].drop_nulls().hash(), ids))
        if not is_only:
            self._write("ids", ids)
        if sum(map(len, self._wanted)) > _MOST_WANTED:
            self._write("wanted", pl.concat(self._wanted))
            self._wanted = []

    def count(self) -> int:
        """The orphans of all shards."""
        held = [pl.concat(self._wanted)] if self._wanted else []
        return sum(map(self._count_absent, chain(map(_read_digests, self._files["wanted"]), held)))

    def _count_absent(self, wanted: pl.Series) -> int:
        for file in self._files["ids"] if len(wanted) else ():
            wanted = _find_absent(wanted, _read_digests(file))
        return len(wanted)

    def _write(self, kind: str, digests: pl.Series) -> None:
        files = self._files[kind]
        files.append(self._folder / f"{len(files):05}.{kind}")
        with explain_unwritable(self._named):
            digests.to_frame().write_parquet(files[-1], compression="uncompressed", statistics=False)


def _find_absent(wanted: pl.Series, ids: pl.Series) -> pl.Series:
    return wanted.filter(~wanted.is_in(ids.implode()))


def _read_digests(file: Path) -> pl.Series:
    return pl.read_parquet(file, glob=False, hive_partitioning=False).to_series()
