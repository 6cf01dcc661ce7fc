"""Which part each file of a plan is: by what was known of it, by marks, by comparing it with the others."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from m2cli.errors import UnreadableSourceError
from m2cli.logs.known import KnownFile, KnownPart
from m2cli.logs.look import NOTHING_PROVEN, OpenLog, Proof, look_at
from m2cli.logs.parts import Likeness, compare_texts, name_source, settle_parts
from m2cli.logs.reopen import open_inode

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Mapping

    from m2cli.logs.known import KnownParts
    from m2cli.logs.listing import FoundFile


class ComparisonError(UnreadableSourceError):
    """A file, at `place`, that could not be read on when it was compared with another."""

    def __init__(self, place: str, cause: UnreadableSourceError) -> None:
        self.place = place
        super().__init__(cause.path, cause.reason, "it is left for a later plan")


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What is known when a plan is made.

    `settled_before` and `settled_beyond` are times in nanoseconds: a file that was changed between them may be in
    the making; it also has settled if its clock is that far ahead.
    """

    parts: KnownParts
    files: Mapping[str, KnownFile]
    taken_ids: frozenset[str]
    settled_before: int
    settled_beyond: int

    @cached_property
    def by_inode(self) -> dict[tuple[int, int], KnownFile]:
        """The known files by device and inode."""
        return {(file.device, file.inode): file for file in self.files.values()}

    def find_part(self, file: KnownFile | None) -> KnownPart | None:
        """The part that `file` holds, if it is known."""
        return self.parts.get(file.part_id) if file and file.part_id else None

    def is_settled(self, modified: int) -> bool:
        """Whether a file that was changed at `modified` is what it is going to be."""
        return not self.settled_before < modified < self.settled_beyond

    def find_unchanged(self, path: str, status: os.stat_result) -> KnownFile | None:
        """What is known of the file at `path`, under whatever name, if it is still as it was.

        The number of a device is another one after a restart, so it counts for renamed files alone.
        """
        at_path = self.files.get(path)
        if at_path and at_path.inode == status.st_ino and _is_as_it_was(at_path, status):
            return at_path._replace(device=status.st_dev)
        renamed = self.by_inode.get((status.st_dev, status.st_ino))
        return renamed._replace(path=path) if renamed and _is_as_it_was(renamed, status) else None


def _is_as_it_was(file: KnownFile, status: os.stat_result) -> bool:
    return (file.size, file.modified) == (status.st_size, status.st_mtime_ns)


@dataclass(kw_only=True)
class Sight:
    """A file of a plan: its part, if it has one, how much text it has of that, and how far that is to be read."""

    file: KnownFile
    part: KnownPart | None = None
    text_size: int = 0
    end: int = 0
    name: str | None = None
    proof: Proof = NOTHING_PROVEN
    fault: str | None = None
    """Why compressed data ends early, if it does."""
    is_opened: bool = False
    """Whether it had to be looked into."""
    is_known: bool = True
    """Whether it is what it was taken for when it was last seen."""
    is_settled: bool = True
    is_compressed: bool = False

    @property
    def has_more(self) -> bool:
        """Whether there is something to be read in it that its part does not have yet."""
        return self.part is not None and not self.part.is_excluded and self.end > self.part.position


class Sights:
    """The files of a plan, seen one after another, then settled among each other."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._known = knowledge
        self.all: list[Sight] = []
        self.unread: set[str] = set()
        self.left: list[KnownFile] = []
        self.warnings: list[str] = []
        self.name_source = cache(lambda path: name_source(Path(path)))
        self._taken_ids = set(knowledge.taken_ids)

    def see(self, found: FoundFile) -> None:
        """Take a file, and look into it unless it is as it was and all of it is known."""
        known = self._known.find_unchanged(found.path, found.status)
        if known and (sight := self._recall(known)):
            self.all.append(sight)
            return
        try:
            with OpenLog(found.path) as log:
                self.all.append(self._look(log))
        except UnreadableSourceError as error:
            self.warnings.append(str(error))
            if not self._known.is_settled(found.status.st_mtime_ns):
                self.unread.add(self.name_source(found.path))
            self._keep(found)

    def leave(self, found: FoundFile, reason: str) -> None:
        """Leave a file for a later plan without a look into it."""
        self.warnings.append(reason)
        self.unread.add(self.name_source(found.path))
        self.left += self._keep(found)

    def _keep(self, found: FoundFile) -> list[KnownFile]:
        """Remember of a file what was known of it before."""
        before = self._known.files.get(found.path)
        self.all += [Sight(file=before)] if before else []
        return [before] if before else []

    def _recall(self, known: KnownFile) -> Sight | None:
        part = self._known.find_part(known)
        size = known.seen_size
        if part and (part.is_excluded or size <= part.position):
            return Sight(file=known, part=part, text_size=size, end=size, is_compressed=known.text_size is not None)
        is_nothing = known.part_id is None and (known.text_size is not None or known.size == 0)
        return Sight(file=known) if is_nothing else None

    def _look(self, log: OpenLog) -> Sight:
        status = log.status
        unchanged = self._known.find_unchanged(log.path, status)
        before = unchanged or self._known.by_inode.get((status.st_dev, status.st_ino))
        hint = self._known.find_part(before)
        is_settled = self._known.is_settled(status.st_mtime_ns)
        look = look_at(log, hint, self._known.parts.find_named, is_settled=is_settled, is_trusted=unchanged is not None)
        file = KnownFile(log.path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        sight = Sight(
            file=file,
            name=look.name,
            proof=look.proof,
            fault=look.extent.fault,
            is_opened=True,
            is_known=bool(hint and look.proof.part and hint.part_id == look.proof.part.part_id),
            is_settled=is_settled,
            is_compressed=log.is_compressed,
        )
        if look.extent.fault and not is_settled:
            self._leave(sight)
        elif look.proof.part or look.name:
            sight.part, sight.text_size, sight.end = look.proof.part, look.extent.text_size, look.end
        elif look.end < look.extent.text_size:
            self._leave(sight)
        else:
            sight.file = file._replace(text_size=look.extent.text_size)  # nothing in it
        return sight

    def _leave(self, sight: Sight) -> None:
        """Leave a file for a later plan."""
        sight.part, sight.text_size, sight.end = None, 0, 0
        self.unread.add(self.name_source(sight.file.path))

    def settle(self) -> None:
        """Give every file that has a line its part, if that can be told. Raises `ComparisonError`."""
        open_questions = [sight for sight in self.all if sight.part is None and sight.text_size]
        self.settle_new([sight for sight in open_questions if not self._prove(sight)])

    def _prove(self, sight: Sight) -> bool:
        """Whether `sight` is no part of its own: compared with a file of each part that it may begin."""
        undecided = []
        for part, proven in sight.proof.possible:
            longer = [each for each in self._of_part(part) if each.text_size >= sight.text_size]
            if not longer:
                undecided.append(part)
            elif self.is_alike(sight, longer[0], proven):
                sight.part = part
                return True
        if undecided and sight.is_settled:
            self.warnings.append(
                f"`{sight.file.path}` is taken for a beginning of part `{undecided[0].part_id}`, which it is too short "
                "to prove, and there is no other file of that part to compare it with; nothing of it is read"
            )
            sight.part = undecided[0]
        elif undecided:
            self._leave(sight)
        return bool(undecided)

    def _of_part(self, part: KnownPart) -> list[Sight]:
        return [each for each in self.all if each.part and each.part.part_id == part.part_id]

    def is_alike(self, one: Sight, other: Sight, start: int) -> bool:
        """Whether, from `start` on, one of two texts begins the other. Raises `ComparisonError`."""
        return self._compare(one, other, start) not in {Likeness.BEFORE, Likeness.AFTER}

    @staticmethod
    def _compare(one: Sight, other: Sight, start: int = 0) -> Likeness:
        with closing(_read_again(one, start)) as left, closing(_read_again(other, start)) as right:
            return compare_texts(left, right)

    def settle_new(self, sights: list[Sight]) -> None:
        """Give `sights`, which are of no known part, parts of their own. Raises `ComparisonError`."""
        sights.sort(key=lambda sight: (self.name_source(sight.file.path), sight.file.path))
        names = {sight.name or "" for sight in sights}
        namesakes = {part.part_id for name in names for part in self._known.parts.find_named(name)}
        settled = settle_parts(
            [sight.name or "" for sight in sights],
            lambda one, other: self._compare(sights[one], sights[other]),
            self._taken_ids | namesakes,
        )
        for sight, place in zip(sights, settled, strict=True):
            source = self.name_source((sight if place.copy_of is None else sights[place.copy_of]).file.path)
            sight.part = KnownPart(
                part_id=place.part_id, name=sight.name or "", source=source, position=0, line_count=0, marks=()
            )
            self._taken_ids.add(place.part_id)
            if sight.proof.resembles and place.copy_of is None:
                self.warnings.append(
                    f"`{sight.file.path}` begins as part `{sight.proof.resembles}` does, and then differs: it is read "
                    f"from its beginning, as part `{place.part_id}`; what both have is read twice"
                )


def _read_again(sight: Sight, start: int) -> Generator[bytes]:
    """The text of `sight` from `start` on."""
    try:
        with open_inode(sight.file.path, sight.file.inode) as log:
            yield from log.read_text(start, sight.text_size)
    except UnreadableSourceError as error:
        raise ComparisonError(sight.file.path, error) from error
