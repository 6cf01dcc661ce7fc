"""Writing the files of a lake: contiguous slices of whole visits, one file for each date and call.

Measured on 5 million events of 12 columns, two cores (wall time, size): zstd at Polars' level 3 in row groups
of 262,144 rows 2.93 s, 127 MB; level 1 1.97 s, 123 MB; level 1 in groups of 65,536 rows with pages of 128 KiB
2.0 s, 125 MB; pyarrow's writer 4.3 s. Small groups cost nothing and let a reader take one visit by its row
numbers in 8 ms. Bloom filters only pyarrow writes, and Polars does not read them: they would double the time
of writing to spare `m2 trace` one scan of `event_id`, 0.12 s of these 5 million. Ids from logs grow with
time, so there the statistics of row groups serve.
"""

from __future__ import annotations

import errno
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from m2cli.errors import UnwritableSinkError
from m2cli.lake.layout import (
    DUPLICATES,
    EVENTS,
    LATE,
    PRIVATE,
    PRIVATE_FILE,
    REJECTS,
    SCHEMA_VERSION,
    UNFINISHED_SUFFIX,
    VISITS,
    Table,
    place_file,
)
from m2cli.lake.lists import LakeFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from datetime import date
    from pathlib import Path

_ROW_GROUP_SIZE = 65_536
_PAGE_SIZE = 128 * 1024
_ZSTD_LEVEL = 1


class LakeWriter:
    """Writes the files of one batch into `folder`, unfinished, and syncs them in the background."""

    def __init__(self, folder: Path, batch_id: str, *, named: Path) -> None:
        self.folder, self.batch_id = folder, batch_id
        self._named = named  # what errors call it
        self._files: list[LakeFile] = []
        self._synced: list[Future[None]] = []
        # One thread: syncing waits for the disk while the next file is compressed.
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="m2-sync")

    def write_events(self, whole: pl.DataFrame, visits: pl.DataFrame) -> None:
        """Write whole visits: the rows of a visit adjacent, visits in order of start.

        `visits` has the same visits in the same order, of which `start_time` and `event_count` are read.
        Raises `ValueError` if the two do not fit each other, `UnwritableSinkError` if the sink takes no more.
        """
        slices = list(_slice_dates(visits))
        if sum(part.event_count for part in slices) != whole.height:
            raise ValueError(f"the visits do not have the {whole.height} events that are to be written")
        offsets = accumulate((part.event_count for part in slices), initial=0)
        for part, offset in zip(slices, offsets, strict=False):
            starts = visits["start_time"].slice(part.offset, part.visit_count)
            self._write(EVENTS, whole.slice(offset, part.event_count), starts, part.start_date)

    def write_visits(self, visits: pl.DataFrame) -> None:
        """Write the rows of visits, in order of start."""
        for part in _slice_dates(visits):
            rows = visits.slice(part.offset, part.visit_count)
            self._write(VISITS, rows, rows["start_time"], part.start_date)

    def write_late(self, late: pl.DataFrame) -> None:
        """Write late events, with `late_reason` and `late_by`; nothing if there are none."""
        self._write(LATE, late)

    def write_duplicates(self, duplicates: pl.DataFrame) -> None:
        """Write the events that are copies of kept ones; nothing if there are none."""
        self._write(DUPLICATES, duplicates)

    def write_rejects(self, rejects: pl.DataFrame) -> None:
        """Write rejects; nothing if there are none."""
        self._write(REJECTS, rejects)

    def finish(self) -> tuple[LakeFile, ...]:
        """Wait until every file is on the disk, give each its name, and return them all."""
        with explain_unwritable(self._named):
            for synced in self._synced:
                synced.result()
            for file in self._files:
                path = self._path(file.path)
                unfinished(path).rename(path)
        return tuple(self._files)

    def close(self) -> None:
        """Stop what still runs in the background."""
        self._syncer.shutdown(cancel_futures=True)

    def _path(self, place: str) -> Path:
        """Where the file that is listed as `place` is written."""
        return self.folder / place

    def _number(self, table: Table) -> int:
        """The number of the next file of `table`."""
        return sum(file.kind == table.name for file in self._files)

    def _write(
        self, table: Table, frame: pl.DataFrame, starts: pl.Series | None = None, start_date: date | None = None
    ) -> None:
        """Write a file of `frame`; `starts` are the sorted times at which its visits start, all on `start_date`."""
        if not frame.height:
            return
        place = place_file(table, self.batch_id, self._number(table), start_date)
        path = unfinished(self._path(str(place)))
        with explain_unwritable(self._named):
            path.parent.mkdir(parents=True, exist_ok=True)
            if table in PRIVATE:
                path.touch(mode=PRIVATE_FILE)  # before there is anything in it
                path.chmod(PRIVATE_FILE)
            _put_in_order(frame, table).write_parquet(
                path,
                compression="zstd",
                compression_level=_ZSTD_LEVEL,
                row_group_size=_ROW_GROUP_SIZE,
                data_page_size=_PAGE_SIZE,
                metadata={
                    "m2.version": m2_version(),
                    "m2.schema_version": str(SCHEMA_VERSION),
                    "m2.kind": table.name,
                },
            )
            size = path.stat().st_size
        facts = {"start_date": start_date} | _span_starts(starts) | _span_events(frame)
        self._files.append(LakeFile(path=str(place), kind=table.name, row_count=frame.height, byte_count=size, **facts))
        self._synced.append(self._syncer.submit(sync_file, path))


class _DateSlice(NamedTuple):
    """Consecutive visits that start on one date."""

    start_date: date
    offset: int
    visit_count: int
    event_count: int


def _slice_dates(visits: pl.DataFrame) -> Iterator[_DateSlice]:
    if not visits["start_time"].is_sorted():
        raise ValueError("the visits are not in the order of their start")
    runs = visits["start_time"].dt.date().rle().struct.unnest()
    offset = 0
    for visit_count, start_date in runs.iter_rows():
        event_count = int(visits["event_count"].slice(offset, visit_count).sum())
        yield _DateSlice(start_date, offset, visit_count, event_count)
        offset += visit_count


def _put_in_order(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """`frame` with its columns in the table's order; any other column is a bug of the caller."""
    wrong = {name: dtype for name, dtype in frame.schema.items() if table.schema.get(name) != dtype}
    if wrong:
        raise ValueError(f"not columns of `{table.name}`: {wrong}")
    return frame.select(name for name in table.schema if name in frame.columns)


def _span_starts(starts: pl.Series | None) -> dict[str, Any]:
    if starts is None:
        return {}
    return {"visit_count": len(starts), "min_start_time": starts[0], "max_start_time": starts[-1]}


def _span_events(frame: pl.DataFrame) -> dict[str, Any]:
    """The time of the events in `frame`, or, if it has visits, of these visits' events."""
    first, last = ("start_time", "end_time") if "start_time" in frame.columns else ("event_time", "event_time")
    if not {first, last} <= set(frame.columns):
        return {}
    return {"min_event_time": frame[first].min(), "max_event_time": frame[last].max()}


def unfinished(path: Path) -> Path:
    """What the file at `path` is called until it is whole and on the disk."""
    return path.with_name(path.name + UNFINISHED_SUFFIX)


def sync_file(path: Path) -> None:
    """Bring the content of a file to the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


@contextmanager
def explain_unwritable(path: Path) -> Iterator[None]:
    """Turn what the system says when it cannot write below `path` into `UnwritableSinkError`."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error.errno) from error
    except pl.exceptions.ComputeError as error:
        # Polars' writer wraps what the system said in a text of its own, which ends with the number.
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise _unwritable(path, int(found[1])) from error


def _unwritable(path: Path, code: int | None) -> UnwritableSinkError:
    hint = "free some room or name another place" if code in (errno.ENOSPC, errno.EDQUOT) else ""
    return UnwritableSinkError(path, os.strerror(code or errno.EIO).lower(), hint)


@cache
def m2_version() -> str:
    """The version of this m2, as its package says."""
    try:
        return version("m2cli")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "unknown"
