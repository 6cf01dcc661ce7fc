"""Reading a lake by its snapshot: the five tables as lazy frames, each with its whole schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.lake.layout import DUPLICATES, EVENTS, LATE, REJECTS, VISITS, Schema, Table
from m2cli.lake.snapshot import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence


class LakeFrames(NamedTuple):
    """The tables of a lake, each with all its columns: what no file has is null (DESIGN 3.1)."""

    events: pl.LazyFrame
    visits: pl.LazyFrame
    late: pl.LazyFrame
    duplicates: pl.LazyFrame
    rejects: pl.LazyFrame


def scan_lake(lake: Path | str) -> LakeFrames:
    """The tables of `lake` as of its snapshot: whole batches, whatever is written meanwhile.

    Columns and types are those of `m2cli.events`; `late` has `late_reason` and `late_by` (a duration) as
    well. Raises `UnreadableSourceError` where there is no lake.
    """
    lake = Path(lake)
    snapshot = read_snapshot(lake)
    tables = (EVENTS, VISITS, LATE, DUPLICATES, REJECTS)
    return LakeFrames(*(scan_files(snapshot.paths(lake, table.name), table) for table in tables))


def scan_files(paths: Sequence[Path], table: Table, *, row: str | None = None, file: str | None = None) -> pl.LazyFrame:
    """The rows of `paths`, files of `table`, with all its columns.

    `row` names a column to add: the number of the row over all `paths` from 0, in their order; `file` one
    with the path.
    """
    schema: Schema = table.schema
    if not paths:
        return pl.LazyFrame(schema=schema | ({row: pl.UInt32} if row else {}) | ({file: pl.String} if file else {}))
    return pl.scan_parquet(
        list(paths),
        schema=schema,
        missing_columns="insert",
        hive_partitioning=False,
        glob=False,
        row_index_name=row,
        include_file_paths=file,
    )
