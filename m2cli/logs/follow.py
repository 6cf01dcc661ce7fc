"""Following logs: from what is known of them and what is there now to what is to be read (DESIGN 3.2, 4.6).

A file is what is in it. Where a file lies, its inode, size and time only decide what has to be looked at: one that
is as it was is not opened, one that grew shows its end, any other shows all of its text.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from glob import has_magic
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from m2cli.logs.known import (
    FollowRule,
    KnownFile,
    KnownPart,
    KnownParts,
    Mark,
    PartsById,
    PlannedRange,
    ReadRange,
)
from m2cli.logs.listing import list_logs
from m2cli.logs.look import Proof
from m2cli.logs.missing import describe_grown, find_lost, find_unseen
from m2cli.logs.parts import name_source
from m2cli.logs.ranges import RangeLostError, RangeReader
from m2cli.logs.sights import ComparisonError, Knowledge, Sights

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from m2cli.logs.listing import Listing
    from m2cli.logs.sights import Sight

__all__ = [
    "FollowRule",
    "Followed",
    "KnownFile",
    "KnownPart",
    "KnownParts",
    "Mark",
    "PartsById",
    "PlannedRange",
    "RangeLostError",
    "RangeReader",
    "ReadRange",
    "declared_sources",
    "follow_logs",
]

_ATTEMPTS = 3
# File systems count time in steps, of two seconds at most: a file that was just changed may change once more without
# its time telling, so it is looked into the next time.
_STEP_OF_TIME = timedelta(seconds=2)
_NEVER = -1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Followed(NamedTuple):
    """What a plan is to read, and what it has seen.

    `ranges`, those of older parts first; `files`, all there are now, to be remembered when the ranges have been
    read, not before; `unread`, sources with input that is left for a later plan; `warnings` for people;
    `passed_over`, files that were not there before and hold nothing but what another holds or was read.
    """

    ranges: tuple[PlannedRange, ...]
    files: tuple[KnownFile, ...]
    unread: tuple[str, ...]
    warnings: tuple[str, ...]
    passed_over: tuple[str, ...]


def declared_sources(paths: Sequence[str]) -> tuple[str, ...]:
    """The sources that are known before any file of theirs is: those of `paths` that are no globs."""
    return tuple(sorted({name_source(Path(path)) for path in paths if not has_magic(path)}))


def follow_logs(  # noqa: PLR0913 - what is known, and what decides
    paths: Sequence[str],
    known_parts: KnownParts,
    known_files: Mapping[str, KnownFile],
    *,
    now: datetime,
    rule: FollowRule,
    is_flush: bool = False,
    taken_ids: Collection[str] = (),
) -> Followed:
    """What is to be read of the logs at `paths`, which are absolute paths and globs.

    `known_parts` is asked about the parts of files that are known or are opened, and about no other; `known_files`
    are the `files` of the last plan for these `paths`, by path; `taken_ids` are ids of parts that others are given in
    the same plan. `now` is the time of the plan. With `is_flush` every file is taken as it is, whenever it changed.

    What cannot be read or told stands in the warnings, and the rest goes on.
    """
    settled_after = timedelta(0) if is_flush else rule.settled_after
    knowledge = Knowledge(
        parts=known_parts,
        files=known_files,
        taken_ids=frozenset(taken_ids),
        settled_before=_count_nanoseconds(now - settled_after),
        settled_beyond=_count_nanoseconds(now + settled_after),
    )
    left: dict[str, str] = {}
    attempt = 0
    while True:  # from the last attempt on, each leaves one more file
        attempt += 1
        listing = list_logs(paths, known_files)
        try:
            followed = _plan(listing, knowledge, now, left)
        except ComparisonError as error:
            if attempt >= _ATTEMPTS:
                left[error.place] = str(error)
            continue
        # A rotation while the folder is read, or the files are, hides a file behind a name that it has left.
        if attempt >= _ATTEMPTS or list_logs(paths, known_files).places == listing.places:
            return followed


def _count_nanoseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND * 1000


def _plan(listing: Listing, knowledge: Knowledge, now: datetime, left: Mapping[str, str]) -> Followed:
    """The plan for what is listed, without the files at the paths in `left`, each of which has its reason there."""
    sights = Sights(knowledge)
    for found in listing.files:
        if found.path in left:
            sights.leave(found, left[found.path])
        else:
            sights.see(found)
    sights.settle()
    _part_ways(sights)
    unseen = find_unseen(listing, knowledge)
    ranges, passed_over, unread = [], [], sights.unread | unseen.unread
    warnings = [*unseen.warnings, *sights.warnings]
    for part, files in _group(sights.all):
        chosen = _choose(files)
        end = chosen.end if chosen else part.position
        if chosen:
            ranges.append(_plan_range(part, chosen, now))
        if chosen and (fault := ranges[-1].fault):
            warnings.append(f"`{chosen.file.path}` is read up to byte {end:,} of its text: {fault}")
        if not part.is_excluded and max(file.text_size for file in files) > end:
            unread.add(part.source)
        warnings += describe_grown(part, files, knowledge)
        passed_over += [
            each.file.path for each in files if each is not chosen and not each.is_known and each.text_size <= end
        ]
    return Followed(
        ranges=tuple(sorted(ranges, key=lambda each: (each.part_id, each.source))),
        files=tuple(sorted((*(_remember(sight, now) for sight in sights.all), *unseen.files), key=attrgetter("path"))),
        unread=tuple(sorted(unread)),
        warnings=(*warnings, *find_lost(sights.all, knowledge, [*unseen.files, *sights.left])),
        passed_over=tuple(sorted(passed_over)),
    )


def _group(sights: Iterable[Sight]) -> list[tuple[KnownPart, list[Sight]]]:
    groups: defaultdict[str, list[Sight]] = defaultdict(list)
    parts: dict[str, KnownPart] = {}
    for sight in sights:
        if sight.part:
            part = parts.setdefault(sight.part.part_id, sight.part)
            groups[part.part_id].append(sight)
    return [(part, groups[part_id]) for part_id, part in parts.items()]


def _choose(files: Sequence[Sight]) -> Sight | None:
    """Which of a part's files is to be read: the one with most of it, rather one that is not compressed."""
    return max(
        (file for file in files if file.has_more), key=lambda file: (file.end, not file.is_compressed), default=None
    )


def _part_ways(sights: Sights) -> None:
    """Make parts of their own of files that began as a known part and went on each in another way."""
    parted = []
    for part, files in _group(sight for sight in sights.all if sight.has_more):
        chosen = _choose(files) if part.position else None
        for file in files if chosen else ():
            if chosen and file is not chosen and not sights.is_alike(file, chosen, part.position):
                file.proof = Proof(resembles=part.part_id)
                parted.append(file)
    sights.settle_new(parted)


def _plan_range(part: KnownPart, sight: Sight, now: datetime) -> PlannedRange:
    mark = part.marks[-1] if part.marks else None
    return PlannedRange(
        part_id=part.part_id,
        name=part.name,
        source=part.source,
        path=sight.file.path,
        inode=sight.file.inode,
        start=part.position,
        end=sight.end,
        line_count=part.line_count,
        arrival_time=min(now, _EPOCH + sight.file.modified // 1000 * _MICROSECOND),
        mark_start=mark.start if mark else None,
        mark_digest=mark.digest if mark else None,
        fault=sight.fault,
    )


def _remember(sight: Sight, now: datetime) -> KnownFile:
    file = sight.file
    if sight.is_opened and file.modified > _count_nanoseconds(now - _STEP_OF_TIME):
        file = file._replace(modified=_NEVER)
    if not sight.part:
        return file
    return file._replace(part_id=sight.part.part_id, text_size=sight.text_size if sight.is_compressed else None)
