"""Event files in: each file's blocks, made into events and rejects that add up to what was read."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from m2cli.errors import UsageError
from m2cli.files.delimited import csv_columns, read_csv
from m2cli.files.find import EventFile, Format, find_files
from m2cli.files.ndjson import ndjson_columns, read_ndjson
from m2cli.files.parquet import parquet_columns, parquet_times, read_parquet
from m2cli.files.raws import redact_names
from m2cli.files.rule import FileRule
from m2cli.files.shape import shape_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from m2cli.events import Intake

__all__ = ["EventFile", "FileRule", "find_files", "read_event_files"]

REMEDY = "pass `--map event_time={}`"
LISTED = 20  # columns that an error names
TIME_NAME = re.compile(r"(?i:time|date|stamp|(?:^|[^a-z])(?:ts|at)(?![a-z]))|[a-z](?:Ts|At)(?![a-z])")
READERS = {Format.PARQUET: read_parquet, Format.NDJSON: read_ndjson, Format.CSV: read_csv}


def read_event_files(files: Sequence[EventFile], rule: FileRule, *, arrival_time: datetime) -> Iterator[Intake]:
    """The events and rejects of `files`, a block at a time, in the order of the files.

    Every row read is an event, a reject or ignored (a blank line). Events have the columns that their input
    has, in the types of `m2cli.events`, and always `event_time`, `event_type` ("event" where nothing is
    said), `source` (else the file's path in full), `position_in_source` (else the row's number in its file,
    from 0) and
    `arrival_time` (else the smaller of `arrival_time` and the file's modification time). `part_id` is the
    input's; where the input has a `source` but neither part nor position it is the file's path, so that no
    two events have the same place. Columns that are none of an event's go to `attributes`; a visit id goes
    nowhere.

    Raises `UsageError` at once for a mapped column that no file has or a file without `event_time`, and
    `UnreadableSourceError` where a file proves to be cut short or corrupt, after what came before it.
    """
    _check_columns(files, rule)
    return (piece for file in files for piece in read_events(file, rule, arrival_time=arrival_time))


def read_events(file: EventFile, rule: FileRule, *, arrival_time: datetime) -> Iterator[Intake]:
    """The events and rejects of one file, whatever columns it has; a row without a time is a reject."""
    for block in READERS[file.format](file, rule):
        yield shape_events(block, file, rule, min(arrival_time, file.modification_time))


def check_columns(file: EventFile, rule: FileRule, remedy: str) -> list[str]:
    """The columns of `file`, none where it has no row. Raises `UsageError` for one without times.

    `remedy` is what to do about it, with `{}` for the column that may hold them.
    """
    columns = _columns(file, rule)
    if columns is None:
        return []
    asked = rule.mapping.get("event_time", "event_time")
    if "event_time" not in columns and asked not in columns:
        near = [name for name in columns if _can_be_time(name, file)] if asked == "event_time" else columns
        raise UsageError(f"`{file.name}` has no column `{asked}`{_hint(asked, columns, near, remedy)}")
    return columns


def _check_columns(files: Iterable[EventFile], rule: FileRule) -> None:
    """Headers are cheap and tell of a wrong map before any work; NDJSON is asked for its first block."""
    wanted = set(rule.mapping.values())
    seen: dict[str, None] = {}
    for file in files:
        seen.update(dict.fromkeys(check_columns(file, rule, REMEDY)))
    for name in sorted(wanted - set(seen)) if seen else ():
        raise UsageError(f"no input has a column `{name}`{_hint(name, list(seen), list(seen), REMEDY)}")


def _can_be_time(name: str, file: EventFile) -> bool:
    """Whether a column of `file` may hold times, by its name or, in Parquet, its type."""
    return bool(TIME_NAME.search(name)) or (file.format == Format.PARQUET and name in parquet_times(file))


def _columns(file: EventFile, rule: FileRule) -> list[str] | None:
    """None where a file has nothing that could have columns."""
    if file.format == Format.PARQUET:
        return parquet_columns(file)
    return csv_columns(file, rule) if file.format == Format.CSV else ndjson_columns(file, rule)


def _hint(name: str, columns: Sequence[str], offered: Sequence[str], remedy: str) -> str:
    near = redact_names(get_close_matches(name, offered, n=1, cutoff=0.5))
    names = redact_names(columns)[:LISTED]
    listed = ", ".join(f"`{column}`" for column in names) + (", ..." if len(columns) > len(names) else "")
    hint = f"; did you mean `{near[0]}`?" if near else f"; its columns are {listed}"
    return hint + (f" ({remedy.format(near[0] if near else 'COLUMN')})" if name == "event_time" else "")
