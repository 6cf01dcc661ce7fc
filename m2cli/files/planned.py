"""Event files as a plan sees them: what is remembered of one, what stands in a plan, and reading it as planned."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import UnreadableSourceError
from m2cli.files.find import examine_file
from m2cli.files.read import read_events

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from m2cli.events import Intake
    from m2cli.files.find import EventFile
    from m2cli.files.rule import FileRule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGEST_SIZE = 16
_PIECE_SIZE = 1 << 20


class KnownEventFile(NamedTuple):
    """A file as a plan last saw it; `modified` is its `st_mtime_ns`, `part_id` its content, if that was taken."""

    path: str
    device: int
    inode: int
    size: int
    modified: int
    part_id: str | None = None

    @property
    def modification_time(self) -> datetime:
        """`modified` as a time, in microseconds."""
        return _EPOCH + timedelta(microseconds=self.modified // 1000)


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """A file to be read whole: where, what (`part_id`, a digest of all its bytes), and its status when planned."""

    path: str
    part_id: str
    inode: int
    size: int
    modified: int
    arrival_time: datetime

    @property
    def part_name(self) -> str:
        """What its events have as `part_id`: the path, so that parts sort as they are read, and the content."""
        return f"{self.path}#{self.part_id}"


class SourceChangedError(UnreadableSourceError):
    """A planned file that is no longer what was planned; what it is now is for a later plan."""

    def __init__(self, planned: PlannedFile, reason: str) -> None:
        self.planned = planned
        super().__init__(planned.path, reason, "the next plan takes what is there then")


class DamagedFileError(UnreadableSourceError):
    """A planned file that is what was planned, and cannot be read to its end."""

    def __init__(self, planned: PlannedFile, reason: str) -> None:
        self.planned = planned
        super().__init__(planned.path, reason, "move it away or put a whole one in its place")


def read_planned(planned: PlannedFile, rule: FileRule, source_name: str) -> Iterator[Intake]:
    """The events and rejects of `planned`, a block at a time; columns as of `read_event_files`.

    Where the file says no `source`, it is `source_name`, with `part_name` as `part_id`: one partition for all
    files. Raises `SourceChangedError` if the file is not what was planned, before reading or after, and
    `DamagedFileError` if it is, and corrupt.
    """
    before, found = _open_planned(planned)
    file = replace(found, source=source_name, part_id=planned.part_name, modification_time=planned.arrival_time)
    try:
        yield from read_events(file, rule, arrival_time=planned.arrival_time)
    except UnreadableSourceError as error:
        _require_same(planned, before)
        raise DamagedFileError(planned, error.reason) from error
    _require_same(planned, before)


def digest_file(path: str, sizes: Collection[int] = ()) -> tuple[str, dict[int, str]]:
    """The digest of the file at `path`, and those of its first bytes, for each of `sizes`; 600 MB a second."""
    digest, begun, done = blake2b(digest_size=_DIGEST_SIZE), {}, 0
    with Path(path).open("rb", buffering=0) as file:
        for stop in (*sorted(set(sizes)), None):
            while piece := file.read(_PIECE_SIZE if stop is None else min(_PIECE_SIZE, stop - done)):
                digest.update(piece)
                done += len(piece)
            if stop == done:
                begun[stop] = digest.hexdigest()
    return digest.hexdigest(), begun


def look_at(path: str) -> KnownEventFile:
    """The file at `path` as it is now. Raises `OSError`."""
    return remember(path, os.stat(path))  # noqa: PTH116  # by way of a Path it takes three times as long


def remember(path: str, status: os.stat_result) -> KnownEventFile:
    """The file at `path`, whose status is `status`."""
    return KnownEventFile(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _open_planned(planned: PlannedFile) -> tuple[KnownEventFile, EventFile]:
    """The file of `planned`: its status is as it was then, or else its content, which then is digested, is."""
    try:
        now = look_at(planned.path)
        is_same = (now.inode, now.size, now.modified) == (planned.inode, planned.size, planned.modified)
        if not is_same:
            is_same = now.size == planned.size and digest_file(planned.path)[0] == planned.part_id
        found = examine_file(Path(planned.path)) if is_same else None
    except FileNotFoundError as error:
        raise SourceChangedError(planned, "it is no longer there") from error
    except UnreadableSourceError as error:
        raise DamagedFileError(planned, error.reason) from error
    except OSError as error:
        raise DamagedFileError(planned, (error.strerror or str(error)).lower()) from error
    if found is None:
        raise SourceChangedError(planned, "its content is not what was planned")
    return now, found


def _require_same(planned: PlannedFile, before: KnownEventFile) -> None:
    """Raise `SourceChangedError` unless the file is as it was `before` it was read."""
    try:
        is_same = look_at(planned.path) == before
    except OSError:
        is_same = False
    if not is_same:
        raise SourceChangedError(planned, "it changed while it was read")
