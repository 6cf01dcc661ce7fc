"""What a log file is, by what is in it: its part, its source, and which of several are the same (DESIGN 3.2).

`ingest`, `sessionize` and `run` ask here, and nowhere else. Nothing here opens a file: the first line and the
comparison come in as arguments.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cmp_to_key
from hashlib import blake2b
from itertools import count, groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from m2cli.logs.fields.times import find_time
from m2cli.logs.streams import CutError
from m2cli.texts import printable_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

NO_TIME = "00000000T000000Z"
"""Stands for the time of a first line that has none that can be read; sorts before all others."""
_DIGEST_SIZE = 6
_FIRST_LINE_SIZE = 1 << 16
_IGNORED = re.compile(rb"(?:\xef\xbb\xbf)?(?:#|[ \t]*\r?\Z)")

_COMPRESSED = re.compile(r"\.(?:gz|bz2|zst|zstd)$", re.IGNORECASE)
_DAY = r"(?:19|20)\d\d-?(?:0\d|1[0-2])-?[0-3]\d"
_HOUR = r"(?:[-_.T]?\d\d(?:[-_:]?\d\d){0,2})?"
# logrotate: .1, -20261122, -2026112214, -20261122-1763800000 (dateformat); rotatelogs: .1763769600,
# .2026-11-22-00_00_00; and a date before the ending, which is logrotate's `extension`.
_ROTATED = (
    re.compile(rf"[-_.]{_DAY}(?:-\d{{10}}|{_HOUR})$"),
    re.compile(r"\.\d{10}$"),
    re.compile(r"\.\d{1,4}$"),
    re.compile(rf"[-_.]{_DAY}{_HOUR}(?=\.\w+$)"),
)


class Likeness(Enum):
    """How the content of one file is to that of another."""

    EQUAL = "equal"
    BEGINS = "the one begins the other"
    GROWN = "the one is the other, grown"
    BEFORE = "they differ, and the one sorts before the other"
    AFTER = "they differ, and the one sorts after the other"


class Settled(NamedTuple):
    """What one file is: a part, or a copy (the same, or older and shorter) of the file at `copy_of`."""

    part_id: str
    copy_of: int | None


def name_source(path: Path) -> str:
    """The log that the file at `path` is of: its absolute path without what rotation and compression added.

    Bytes of it that are no UTF-8 are `\\xhh`.

    >>> from pathlib import Path
    >>> name_source(Path("/logs/access.log-20261122.gz"))
    '/logs/access.log'
    """
    name = _COMPRESSED.sub("", path.name) or path.name
    for rotated in _ROTATED:
        name = rotated.sub("", name) or name
    return printable_path(path.parent.resolve() / name)


def find_first_line(pieces: Iterable[bytes]) -> bytes | None:
    """The first line in `pieces` that is neither blank nor a directive, without its end; None without one.

    Of a line longer than 64 KiB, the first 64 KiB.
    """
    rest = b""
    try:
        for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if not _IGNORED.match(line):
                    return _trim_line(line)
            if len(rest) > _FIRST_LINE_SIZE and not _IGNORED.match(rest):
                return _trim_line(rest)
    except CutError:
        pass  # reported when the file is read
    return _trim_line(rest) if not _IGNORED.match(rest) else None


def _trim_line(line: bytes) -> bytes:
    return line[:_FIRST_LINE_SIZE].removesuffix(b"\r")


def name_part(first_line: bytes) -> str:
    """The part whose first line is `first_line`, but for a suffix: the line's time in UTC, and its digest.

    >>> name_part(b'::1 - - [17/May/2015:10:05:03 +0200] "GET / HTTP/1.1" 200 1')
    '20150517T080503Z-d32e73a2c5cd'

    A line whose time cannot be read gives `NO_TIME`. Parts sort in the order in which they were begun.
    """
    time = find_time(first_line)
    digest = blake2b(first_line, digest_size=_DIGEST_SIZE).hexdigest()
    return f"{time:%Y%m%dT%H%M%SZ}-{digest}" if time else f"{NO_TIME}-{digest}"


def compare_texts(left: Iterable[bytes], right: Iterable[bytes]) -> Likeness:
    """How `left` is to `right`: two texts in pieces, cut anywhere; a `CutError` is the end of one."""
    left, right = _until_cut(left), _until_cut(right)
    one = other = memoryview(b"")
    while True:
        one = one or memoryview(next(left, b""))
        other = other or memoryview(next(right, b""))
        size = min(len(one), len(other))
        if not size:
            break
        if one[:size] != other[:size]:
            return Likeness.BEFORE if bytes(one[:size]) < bytes(other[:size]) else Likeness.AFTER
        one, other = one[size:], other[size:]
    if one:
        return Likeness.GROWN
    return Likeness.BEGINS if other else Likeness.EQUAL


def _until_cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from filter(None, pieces)
    except CutError:
        return


def settle_parts(
    names: Sequence[str], compare: Callable[[int, int], Likeness], taken: Collection[str] = ()
) -> list[Settled]:
    """What each of several files is, given what `name_part` calls them and how their texts compare.

    Of files that are equal the first is a part, of files that begin another the longest; the others are
    copies. Different files of one name get `-2`, `-3` and so on after it, in the order of their texts,
    whatever order they come in; what other parts have, `taken`, is left out.
    """
    settled: dict[int, Settled] = {}
    for name, group in groupby(sorted(range(len(names)), key=names.__getitem__), key=names.__getitem__):
        free_ids = (part_id for part_id in list_ids(name) if part_id not in taken)
        settled |= _settle_namesakes(free_ids, list(group), compare)
    return [settled[number] for number in range(len(names))]


def list_ids(name: str) -> Iterator[str]:
    """The ids of parts that are called `name`, in the order in which they are given."""
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def _settle_namesakes(
    free_ids: Iterator[str], group: list[int], compare: Callable[[int, int], Likeness]
) -> dict[int, Settled]:
    def sorts_before(one: int, other: int) -> int:
        likeness = compare(one, other)
        if likeness is Likeness.EQUAL:
            return other - one
        return -1 if likeness in {Likeness.BEFORE, Likeness.BEGINS} else 1

    # In this order whatever begins any other begins the next one.
    in_order = sorted(group, key=cmp_to_key(sorts_before))
    is_begun = [compare(one, other) in {Likeness.BEGINS, Likeness.EQUAL} for one, other in pairwise(in_order)]
    settled: dict[int, Settled] = {}
    copies: list[int] = []
    for number, is_copy in zip(in_order, [*is_begun, False], strict=True):
        if is_copy:
            copies.append(number)
            continue
        part_id = next(free_ids)
        settled[number] = Settled(part_id, None)
        settled |= {copy: Settled(part_id, number) for copy in copies}
        copies = []
    return settled
