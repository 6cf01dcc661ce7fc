"""Event files of a pipeline: which to take now, each whole and once, and reading them as it was planned.

A file is what is in it (DESIGN 3.2): its digest is its identity, under any name. An event file has no lines that
could be known again one by one, as a log has, so one that grows after it was taken gives nothing new.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import M2Error
from m2cli.files.blocks import read_text
from m2cli.files.find import Compression, Format, examine_file
from m2cli.files.listing import list_followed
from m2cli.files.planned import (
    DamagedFileError,
    KnownEventFile,
    PlannedFile,
    SourceChangedError,
    digest_file,
    look_at,
    read_planned,
    remember,
)
from m2cli.files.read import check_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from m2cli.files.find import EventFile
    from m2cli.files.rule import FileRule

__all__ = [
    "DamagedFileError",
    "FollowedFiles",
    "KnownEventFile",
    "PlannedFile",
    "SourceChangedError",
    "follow_event_files",
    "read_planned",
]

SETTLE = timedelta(minutes=1)
"""A text is taken when it has not changed for this long: nothing in it says that it is complete."""
_PIECE_SIZE = 1 << 20
_REMEDY = 'write `map = {{ event_time = "{}" }}`'


class FollowedFiles(NamedTuple):
    """What a plan is to take, and what it has seen.

    `planned`, in order of path; `files`, all there are now, to be remembered when the planned ones have been read,
    not before; `waiting`, paths of files that are not complete yet, and left for a later plan; `warnings` for
    people; `passed_over`, paths of files that hold what was taken, or is now, from elsewhere.
    """

    planned: tuple[PlannedFile, ...]
    files: tuple[KnownEventFile, ...]
    waiting: tuple[str, ...]
    warnings: tuple[str, ...]
    passed_over: tuple[str, ...]


def follow_event_files(  # noqa: PLR0913  # what is there, what is known, and how to look at it
    paths: Sequence[str],
    known_parts: Mapping[str, int],
    known_files: Mapping[str, KnownEventFile],
    *,
    now: datetime,
    rule: FileRule,
    settle: timedelta = SETTLE,
) -> FollowedFiles:
    """What is to be taken of the event files at `paths` (absolute paths of files and folders, and globs).

    `known_parts` are the contents ever taken, each with its size in bytes; `known_files` the `files` of the last
    plan, by path. A file whose status is as it was is not opened. Others are taken if they are complete and new:

    - Parquet has an end, and is complete when that is there; a text when it has not changed for `settle`, or was
      the same to the last plan, if its time lies ahead of `now`. What is not complete yet waits.
    - The same content as before, or twice, is passed over. A file that begins with what was taken from it has
      grown: it is warned of once for each change, and nothing of it is taken, for what is new has no beginning
      of its own that could be found in Parquet, CSV and NDJSON alike. Any other content is a new part.
    - What cannot be read, or has no time by `rule`, is warned of in each plan, and stops nothing else.

    Whoever plans for several sources adds what one has planned to the `known_parts` of the next.
    """
    listing = list_followed(paths)
    plan = _Plan(known_parts, known_files, now, rule, settle)
    for found in listing.files:
        plan.look_at(remember(*found))
    plan.warn_of_map()
    return FollowedFiles(
        planned=tuple(sorted(plan.planned.values(), key=lambda file: file.part_name)),
        files=tuple(plan.files),
        waiting=tuple(plan.waiting),
        warnings=(*listing.warnings, *plan.warnings),
        passed_over=tuple(plan.passed_over),
    )


class _Plan:
    """A plan in the making."""

    def __init__(
        self,
        known_parts: Mapping[str, int],
        known_files: Mapping[str, KnownEventFile],
        now: datetime,
        rule: FileRule,
        settle: timedelta,
    ) -> None:
        self._known_parts, self._by_path = known_parts, known_files
        self._now, self._rule, self._settle = now, rule, settle
        self._by_inode = {(file.device, file.inode): file for file in known_files.values()}
        self.planned: dict[str, PlannedFile] = {}
        self.files: list[KnownEventFile] = []
        self.waiting: list[str] = []
        self.warnings: list[str] = []
        self.passed_over: list[str] = []
        self.columns: set[str] = set()

    def look_at(self, file: KnownEventFile) -> None:
        """Decide about one file, and remember it with the content that was, or is to be, taken of it."""
        before = [known for known in (self._by_path.get(file.path), self._by_inode.get(file[1:3])) if known]
        same = [known for known in before if known[2:5] == file[2:5]]  # a device has another number after a reboot
        taken = [known.part_id for known in same if known.part_id in self._known_parts]
        if taken:
            part_id = taken[0]
        elif not file.size:
            part_id = None
        else:
            is_fresh = self._is_fresh(file, was_same=bool(same))
            part_id = self._examine(file, [known.part_id for known in before if known.part_id], is_fresh=is_fresh)
        self.files.append(file._replace(part_id=part_id))

    def _is_fresh(self, file: KnownEventFile, *, was_same: bool) -> bool:
        """Whether somebody may still be writing it."""
        age = self._now - file.modification_time
        return age < self._settle and not (was_same and age < timedelta(0))

    def _examine(self, file: KnownEventFile, before: Collection[str], *, is_fresh: bool) -> str | None:
        """The content of `file` if it is known or planned now, and None if nothing is taken of it yet."""
        try:
            found = examine_file(Path(file.path))
            if is_fresh and found.format != Format.PARQUET:
                self.waiting.append(file.path)
                return None
            part_id = self._identify(file, before)
            if part_id in self._known_parts or part_id in self.planned:
                return part_id
            columns = _check(found, self._rule)
            if look_at(file.path) != file:
                self.waiting.append(file.path)
                return None
        except (M2Error, OSError) as error:
            if is_fresh:
                self.waiting.append(file.path)
            else:
                self.warnings.append(str(error))
            return None
        self.columns.update(columns)
        self.planned[part_id] = PlannedFile(
            path=file.path,
            part_id=part_id,
            inode=file.inode,
            size=file.size,
            modified=file.modified,
            arrival_time=min(self._now, file.modification_time),
        )
        return part_id

    def _identify(self, file: KnownEventFile, before: Collection[str]) -> str:
        """The digest of `file`, or what was taken of it before it grew."""
        sizes = {part_id: self._known_parts[part_id] for part_id in before if part_id in self._known_parts}
        part_id, begun = digest_file(file.path, sizes.values())
        grown = [known for known, size in sizes.items() if begun.get(size) == known and size < file.size]
        if grown:
            more = file.size - sizes[grown[0]]
            self.warnings.append(
                f"`{file.path}` has grown by {more:,} bytes since it was taken, and they are not read: event files "
                "are taken whole, once; write what is new to a file of its own"
            )
            return grown[0]
        if part_id in self._known_parts or part_id in self.planned:
            self.passed_over.append(file.path)
        return part_id

    def warn_of_map(self) -> None:
        """Warn of columns that the map names and none of the planned files has."""
        absent = sorted(set(self._rule.mapping.values()) - self.columns) if self.columns else []
        self.warnings += [f"no new file has a column `{name}`, which `map` names" for name in absent]


def _check(file: EventFile, rule: FileRule) -> list[str]:
    """The columns of `file`, which can be read as events as far as can be told without parsing all of it.

    What is packed is unpacked once, for only that shows whether its end is there: 0.5 s for 100 MB of text.
    """
    if file.compression != Compression.NONE:
        for _ in read_text(file, _PIECE_SIZE):
            pass
    return check_columns(file, rule, _REMEDY)
