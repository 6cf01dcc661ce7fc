"""What is known of logs that are followed, and what a plan says to read: all that has to outlive a process."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from m2cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


class Mark(NamedTuple):
    """Evidence of what was read: the digest of a part's text in [`start`, `end`), in bytes."""

    start: int
    end: int
    digest: str


class KnownFile(NamedTuple):
    """A file as a plan last saw it.

    `modified` is its `st_mtime_ns`, -1 if it was changed so shortly before the plan that a later change need not show.
    `part_id` is the part that it holds, None while that cannot be told. `text_size` is how many bytes of text there
    are in it, where that is known: if it is compressed, or if there is nothing in it but directives and blank lines
    (`part_id` is None then).
    """

    path: str
    device: int
    inode: int
    size: int
    modified: int
    part_id: str | None = None
    text_size: int | None = None

    @property
    def seen_size(self) -> int:
        """Bytes of text that it was seen to hold."""
        return self.size if self.text_size is None else self.text_size


@dataclass(frozen=True, kw_only=True)
class KnownPart:
    """A part of which something was read.

    `name` is its id without a suffix (`parts.name_part`), `position` how many bytes of its text were read,
    `line_count` how many lines these are, `marks` their digests without a gap from 0 to `position`. An excluded
    part is never read again.
    """

    part_id: str
    name: str
    source: str
    position: int
    line_count: int
    marks: Sequence[Mark]
    is_excluded: bool = False


class KnownParts(Protocol):
    """All parts that were ever read. There are more of them every day, so they are asked for and never gone through."""

    def get(self, part_id: str, /) -> KnownPart | None:
        """The part of that id."""

    def find_named(self, name: str, /) -> Sequence[KnownPart]:
        """All parts of that name, whatever their suffix."""


class PartsById:
    """`KnownParts` of those in `parts`, by id, as they are now."""

    def __init__(self, parts: Mapping[str, KnownPart]) -> None:
        self._by_id = dict(parts)
        self._by_name: defaultdict[str, list[KnownPart]] = defaultdict(list)
        for part in parts.values():
            self._by_name[part.name].append(part)

    def get(self, part_id: str, /) -> KnownPart | None:
        """The part of that id."""
        return self._by_id.get(part_id)

    def find_named(self, name: str, /) -> Sequence[KnownPart]:
        """All parts of that name, whatever their suffix."""
        return self._by_name.get(name, ())


@dataclass(frozen=True, kw_only=True)
class PlannedRange:
    """The bytes [`start`, `end`) of a part's text, to be read from the file at `path`, whose inode is `inode`.

    Before them lie `line_count` lines; what stands in [`mark_start`, `start`) has the digest `mark_digest`. `fault`
    says why the text cannot be decompressed beyond `end`, if that is so: a reject then stands there.
    """

    part_id: str
    name: str
    source: str
    path: str
    inode: int
    start: int
    end: int
    line_count: int
    arrival_time: datetime
    mark_start: int | None = None
    mark_digest: str | None = None
    fault: str | None = None


class ReadRange(NamedTuple):
    """What is to be remembered of a range that was read: the part's position and lines now, and what was added."""

    part_id: str
    end: int
    line_count: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True)
class FollowRule:
    """How logs are followed.

    A file that has not changed for `settled_after` is taken as it is: a last line without an end is a line, and
    compressed data that ends early has ended. Raises `UsageError` for a negative one.
    """

    settled_after: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        if self.settled_after < timedelta(0):
            raise UsageError(f"`settled_after` is {self.settled_after}; it cannot be negative")
