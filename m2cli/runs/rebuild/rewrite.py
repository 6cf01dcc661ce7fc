"""The files of the lake that a rebuild changes: what stays of each, written anew."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from m2cli.lake.layout import DUPLICATES, EVENTS, LATE, REJECTS, VISITS, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from m2cli.lake.batch import LakeBatch
    from m2cli.lake.lists import LakeFile


# Where an added event comes from: a file of the lake and its row there; null for what is new to the lake.
FROM_FILE, FROM_ROW = "from_file", "from_row"
FROM: Schema = {FROM_FILE: pl.String, FROM_ROW: pl.UInt32}
SAME_EVENT = ["visitor_id", "event_id", "event_time"]
_NEEDED: Schema = {name: EVENTS.schema[name] for name in ("visitor_id", "event_time")}
_SPAN = ("visit_id", "visitor_id", "start_time", "end_time")


class Rewriter:
    """Takes rows out of files of the lake, one at a time, and writes what is left of these to a batch."""

    def __init__(self, files: Sequence[tuple[LakeFile, Path]], batch: LakeBatch) -> None:
        self._files, self.batch = files, batch
        self.replaced: list[LakeFile] = []

    def take_events(self, visits: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Take the events of `visits` (`visit_id`, `start_time`) out, file by file; each visit's rows are adjacent."""
        return self._take_ids(EVENTS.name, visits, self._write_events)

    def take_ends(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Take the rows of `visits` (`visit_id`, `start_time`) out: `visitor_id`, `end_time`, `end_reason`."""
        names = ("visitor_id", "end_time", "end_reason")
        taken = self._take_ids(VISITS.name, visits, self.batch.write_visits)
        return join_rows((rows.select(names) for rows in taken), {name: VISITS.schema[name] for name in names})

    def _take_ids(
        self, kind: str, visits: pl.DataFrame, write: Callable[[pl.DataFrame], None]
    ) -> Iterator[pl.DataFrame]:
        ids = visits["visit_id"].implode()
        for file, path in self._of(kind):
            if not _may_hold(file, visits):
                continue
            is_asked = _read(path, "visit_id")["visit_id"].is_in(ids)
            if is_asked.any():
                rows = _read(path)
                write(rows.filter(~is_asked))
                self.replaced.append(file)
                yield rows.filter(is_asked)

    def find_copies(self, events: pl.DataFrame, excluded: pl.Series) -> pl.DataFrame:
        """The duplicates of `events` that are of no excluded part, with `from_file` and `from_row`.

        `events` has `visitor_id`, `event_id` and `event_time`. When they are taken out, one of these is no
        duplicate any more (DESIGN 4.8).
        """
        found: list[pl.DataFrame] = []
        if events.is_empty():
            return pl.DataFrame(schema=_NEEDED | FROM)
        for file, path in self._of(DUPLICATES.name):
            rows = _read(path).with_row_index(FROM_ROW)
            copies = rows.join(events, on=SAME_EVENT, how="semi", maintain_order="left")
            kept = copies.filter(~is_of_parts(copies, excluded))
            found.append(kept.with_columns(pl.lit(file.path).alias(FROM_FILE)))
        return join_rows(found, _NEEDED | FROM)

    def take_rows(self, moved: pl.DataFrame, excluded: pl.Series) -> Counter[str]:
        """Take `moved` rows (`from_file`, `from_row`) out of late events, rejects and duplicates.

        Late events and duplicates of `excluded` parts are taken out as well, whatever their date: nobody will ask for
        them again. Of these, how many there were of each. Rejects stay, as what was read of a part.
        """
        writers: dict[str, Callable[[pl.DataFrame], None]] = {
            LATE.name: self.batch.write_late,
            REJECTS.name: self.batch.write_rejects,
            DUPLICATES.name: self.batch.write_duplicates,
        }
        excluded_counts: Counter[str] = Counter()
        for kind, write in writers.items():
            leaving = excluded.clear() if kind == REJECTS.name else excluded
            for file, path in self._of(kind):
                here = moved.filter(pl.col(FROM_FILE) == file.path)[FROM_ROW]
                if here.is_empty() and leaving.is_empty():
                    continue
                rows = _read(path)
                is_moved = pl.int_range(rows.height, dtype=pl.UInt32, eager=True).is_in(here.implode())
                is_excluded = is_of_parts(rows, leaving) & ~is_moved
                if (is_moved | is_excluded).any():
                    write(rows.filter(~(is_moved | is_excluded)))
                    self.replaced.append(file)
                    excluded_counts[kind] += int(is_excluded.sum())
        return excluded_counts

    def _of(self, kind: str) -> Iterator[tuple[LakeFile, Path]]:
        return ((file, path) for file, path in self._files if file.kind == kind)

    def _write_events(self, rows: pl.DataFrame) -> None:
        if not rows.height:
            return
        runs = rows["visit_id"].rle().struct.unnest()
        count = runs["len"].cast(pl.Int64)
        start_time = rows["event_time"].gather(count.cum_sum() - count)
        self.batch.write_events(rows, pl.DataFrame({"start_time": start_time, "event_count": count}))


def find_changed(files: Sequence[tuple[LakeFile, Path]], excluded: pl.Series) -> pl.DataFrame:
    """The visits that have events of excluded parts: `visit_id`, `visitor_id`, `start_time`, `end_time`."""
    visits: list[pl.DataFrame] = []
    for file, path in files if len(excluded) else ():
        if file.kind == EVENTS.name and is_of_parts(_read(path, "part_id"), excluded).any():
            rows = _read(path, "visit_id", "visitor_id", "event_time", "part_id")
            of_visit = rows.with_columns(is_excluded=is_of_parts(rows, excluded)).group_by("visit_id", "visitor_id")
            spans = of_visit.agg(
                start_time=pl.col("event_time").min(),
                end_time=pl.col("event_time").max(),
                is_excluded=pl.col("is_excluded").any(),
            )
            visits.append(spans.filter("is_excluded").drop("is_excluded"))
    return pl.concat([pl.DataFrame(schema={name: VISITS.schema[name] for name in _SPAN}), *visits])


def join_rows(frames: Iterable[pl.DataFrame], empty: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """`frames` as one; those without rows lend it no columns, for what is absent says something as well.

    (A source without user agents is not one whose clients have none.)
    """
    return pl.concat([frame for frame in frames if frame.height] or [pl.DataFrame(schema=empty)], how="diagonal")


def is_of_parts(rows: pl.DataFrame, parts: pl.Series) -> pl.Series:
    """Which of `rows` came from one of `parts`."""
    if "part_id" not in rows.columns or not len(parts):
        return pl.repeat(value=False, n=rows.height, eager=True)
    return rows["part_id"].is_in(parts.implode()).fill_null(value=False)


def _may_hold(file: LakeFile, visits: pl.DataFrame) -> bool:
    if file.min_start_time is None or file.max_start_time is None:
        return True
    return visits["start_time"].is_between(file.min_start_time, file.max_start_time).any()


def _read(path: Path, *columns: str) -> pl.DataFrame:
    rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    there = [name for name in columns if name in rows.collect_schema()]
    return (rows.select(there) if columns else rows).collect()
