"""Lists of a lake's files: what a lake says of each, as values and as columns of JSON."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

# Column by column: of 200,000 files that takes half the time and room of a JSON object for each.
Columns = dict[str, list[Any]]


class LakeFile(NamedTuple):
    """One Parquet file of a lake; `path` is relative to the lake's folder, `kind` the name of its table.

    Of visits and their events, `start_date` is the UTC date on which they start, and `min_start_time` to
    `max_start_time` when they do. `min_event_time` to `max_event_time` is the time of the events that are in the
    file, or, in a file of visits, in these visits. What does not hold of a table, and what an earlier m2 did not say,
    is null.
    """

    path: str
    kind: str
    row_count: int
    byte_count: int
    start_date: date | None = None
    visit_count: int | None = None
    min_start_time: datetime | None = None
    max_start_time: datetime | None = None
    min_event_time: datetime | None = None
    max_event_time: datetime | None = None

    @property
    def stem(self) -> str:
        """Its batch and number: no other file of a pipeline's lake has them."""
        return PurePosixPath(self.path).stem

    def to_dict(self) -> dict[str, Any]:
        """The file as JSON can have it: times and dates as text."""
        return {name: column[0] for name, column in to_columns([self]).items()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> LakeFile:
        """The file that `to_dict` made this of."""
        return next(from_columns({name: [value] for name, value in found.items()}))


_PARSERS: dict[str, Callable[[str], date]] = {
    "start_date": date.fromisoformat,
    **dict.fromkeys(("min_start_time", "max_start_time", "min_event_time", "max_event_time"), datetime.fromisoformat),
}


def to_columns(files: Sequence[LakeFile]) -> Columns:
    """`files` as JSON can have them, a list for each field."""
    columns: Columns = {name: [file[place] for file in files] for place, name in enumerate(LakeFile._fields)}
    for name in _PARSERS:
        columns[name] = [None if value is None else value.isoformat() for value in columns[name]]
    return columns


def from_columns(columns: Columns) -> Iterator[LakeFile]:
    """The files that `to_columns` made these of. Raises `ValueError` for what is no list of a lake's files."""
    count = count_files(columns)
    if any(path.startswith("/") or "/../" in f"/{path}/" for path in columns["path"]):
        raise ValueError("a path lies outside the lake")
    values = [_parse(name, columns.get(name) or [None] * count) for name in LakeFile._fields]
    return map(LakeFile._make, zip(*values, strict=True))


def count_files(columns: Columns) -> int:
    """How many files are listed."""
    return len(columns["path"])


def join_lists(lists: Iterable[Columns]) -> Columns:
    """The files of `lists`, one after the other; a field that one of them does not have is null there."""
    lists = list(lists)
    names = dict.fromkeys(name for columns in lists for name in columns)
    return {
        name: [value for columns in lists for value in columns.get(name) or [None] * count_files(columns)]
        for name in names
    }


def leave_out(columns: Columns, paths: frozenset[str]) -> Columns:
    """The files of `columns` but for those at `paths`; `columns` itself if there are none of these."""
    if paths.isdisjoint(columns["path"]):
        return columns
    kept = [number for number, path in enumerate(columns["path"]) if path not in paths]
    return {name: [values[number] for number in kept] for name, values in columns.items()}


def _parse(name: str, values: list[Any]) -> list[Any]:
    parse = _PARSERS.get(name)
    return values if parse is None else [None if value is None else parse(value) for value in values]
