"""What has to be known of an event file before its batch is planned: its partitions, and how far its times reach."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from m2cli.files.find import PARQUET_MAGIC
from m2cli.files.follow import read_planned
from m2cli.files.read import FileRule
from m2cli.logs.read import LogRule
from m2cli.pipeline.rule import LEAST_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from m2cli.events import Intake
    from m2cli.files.follow import PlannedFile
    from m2cli.pipeline import AccessLogSource, EventsSource

# So much of the memory is a block of text; three are in work at a time, and each takes eight times its text.
_BLOCKS = 128
_MEMORY_OF_TEXT = 8


def make_log_rule(source: AccessLogSource, memory: int = LEAST_MEMORY) -> LogRule:
    """How the logs of `source` are read by a process that may take `memory` bytes."""
    return LogRule(format=source.format, fields=source.fields, block_size=min(LogRule.block_size, memory // _BLOCKS))


def make_file_rule(source: EventsSource, memory: int = LEAST_MEMORY) -> FileRule:
    """How the event files of `source` are read by a process that may take `memory` bytes."""
    block = memory // _BLOCKS
    return FileRule(
        mapping=source.mapping,
        time_zone=source.time_zone,
        block_bytes=min(FileRule.block_bytes, block),
        parquet_memory=min(FileRule.parquet_memory, _MEMORY_OF_TEXT * block),
    )


def read_whole(file: PlannedFile, source: EventsSource, memory: int = LEAST_MEMORY) -> Iterator[Intake]:
    """The events and rejects of a planned file; raises what `read_planned` raises."""
    return read_planned(file, make_file_rule(source, memory), source.name)


def look_into(file: PlannedFile, source: EventsSource) -> Contents:
    """What `file` holds; nothing is read before it is asked for."""
    return Contents(file, source)


class Contents:
    """What a planned event file holds."""

    def __init__(self, file: PlannedFile, source: EventsSource) -> None:
        self._file, self._source = file, source

    def reaches(self, until: datetime) -> bool:
        """Whether any of its events is at or after `until`."""
        return any((piece.events["event_time"] >= until).any() for piece in read_whole(self._file, self._source))

    @cached_property
    def sources(self) -> frozenset[str]:
        """The partitions that its events belong to: the pipeline's name for the source where a row says none."""
        path, column = Path(self._file.path), self._source.mapping.get("source", "source")
        with path.open("rb") as stream:
            is_parquet = stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        if is_parquet:
            rows = pl.scan_parquet(path, glob=False)
            dtype = rows.collect_schema().get(column)
            if dtype is None:
                return frozenset({self._source.name})
            if dtype == pl.String:  # a thousandth of the cost of making events
                named = rows.select(pl.col(column).fill_null(self._source.name).unique()).collect()
                return frozenset(named.to_series())
        return frozenset().union(*(piece.events["source"].unique() for piece in read_whole(self._file, self._source)))
