"""One log file that is followed: its text from anywhere, how much of it can be read, and which part it proves to be."""

from __future__ import annotations

import os
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from m2cli.logs.evidence import MarkCheck, feed_all, find_tail
from m2cli.logs.inputs import check_encoding, reading
from m2cli.logs.parts import find_first_line, name_part
from m2cli.logs.streams import MAGIC_SIZE, CountingReader, CutError, is_compressed, read_pieces, read_plain
from m2cli.texts import printable_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from types import TracebackType

    from m2cli.logs.known import KnownPart

_PIECE_SIZE = 1 << 16
# Most first lines and last lines end within so many bytes.
_NEAR_SIZE = 1 << 12


class OpenLog:
    """A log file that is open, as it was then: what is written to it later is not seen.

    Raises `UnreadableSourceError` if it is not there or may not be read.
    """

    def __init__(self, path: str) -> None:
        self.path, self.name = path, printable_path(path)
        with reading(self.name):
            self._raw = Path(path).open("rb", buffering=0)  # noqa: SIM115 - closed by `__exit__`
            self.status = os.fstat(self._raw.fileno())
            self.is_compressed = is_compressed(self._raw.read(MAGIC_SIZE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._raw.close()

    def read_text(self, start: int = 0, end: int | None = None, piece_size: int = _PIECE_SIZE) -> Iterator[bytes]:
        """The text in [`start`, `end`), decompressed, in pieces; less if there is less.

        Raises `CutError` where compressed data that is cut short or damaged ends before `end`.
        """
        with reading(self.name):
            if self.is_compressed:
                self._raw.seek(0)
                pieces = _skip(read_pieces(CountingReader(self._raw), piece_size), start)
            else:
                self._raw.seek(start)
                pieces = read_plain(CountingReader(self._raw), piece_size)
                end = self.status.st_size if end is None else min(end, self.status.st_size)
            yield from pieces if end is None else _take(pieces, end - start)

    def find_line_end(self, floor: int) -> int:
        """Where the last line of a file that is not compressed ends; `floor` if none does behind that."""
        end, size = self.status.st_size, _NEAR_SIZE
        while end > floor:
            start = max(floor, end - size)
            found = b"".join(self.read_text(start, end)).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end, size = start, _PIECE_SIZE
        return floor

    def name_part(self, end: int | None = None) -> str | None:
        """What the part is called that the text up to `end` is of; None if there is no line in it."""
        pieces = self.read_text(end=end, piece_size=_NEAR_SIZE)
        line = check_encoding(find_first_line(pieces), self.name)
        return None if line is None else name_part(line)


def _skip(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces:
        if len(piece) > size:
            yield piece[size:]
        size = max(0, size - len(piece))


def _take(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    for piece in pieces if size > 0 else ():
        yield piece[:size]
        size -= len(piece)
        if size <= 0:
            return


class Extent(NamedTuple):
    """How much text there is, where its last line ends, and why compressed data ends early, if it does."""

    text_size: int
    line_end: int
    fault: str | None = None


def measure_extent(pieces: Iterator[bytes], checks: Collection[MarkCheck] = ()) -> Extent:
    """The extent of the text of `pieces`, which `checks` are given on the way."""
    size = line_end = 0
    try:
        for piece in pieces:
            feed_all([piece], checks)
            found = piece.rfind(b"\n")
            if found >= 0:
                line_end = size + found + 1
            size += len(piece)
    except CutError as error:
        return Extent(size, line_end, str(error))
    return Extent(size, line_end)


class Proof(NamedTuple):
    """What marks say of a text: the part that it certainly is, or the beginning of.

    Where there is none: `possible` are parts of which it is too short a beginning to tell, each with how much of it
    is proven; `resembles` names a part that begins as the text does before they part.
    """

    part: KnownPart | None = None
    possible: tuple[tuple[KnownPart, int], ...] = ()
    resembles: str | None = None


NOTHING_PROVEN = Proof()


class Look(NamedTuple):
    """What a file holds: `end` is how far it is to be read; without a name, there is no line in it so far."""

    extent: Extent
    end: int
    name: str | None
    proof: Proof


class _Question(NamedTuple):
    """Whether a text is that of `part`."""

    part: KnownPart
    check: MarkCheck


def look_at(
    log: OpenLog,
    hint: KnownPart | None,
    find_named: Callable[[str], Sequence[KnownPart]],
    *,
    is_settled: bool,
    is_trusted: bool,
) -> Look:
    """What `log` holds.

    `hint` is what it was when it was last looked at; `is_trusted` says that it is that, so that only its end is
    looked for. `find_named` gives all parts that it may be, by the name that its first line gives. Raises
    `UnreadableSourceError`.
    """
    if is_trusted and hint:
        extent = _measure(log, hint.position)
        return Look(extent, _end_of(extent, is_settled=is_settled), hint.name, Proof(hint))
    if log.is_compressed:
        asked = _ask(hint, find_named, log.name_part())
        extent = measure_extent(log.read_text(), [question.check for question in asked])
    else:
        extent = _measure(log, 0)
        name = log.name_part(_end_of(extent, is_settled=is_settled))
        if hint and hint.name == name and _has_tail(log, hint):
            return Look(extent, _end_of(extent, is_settled=is_settled), name, Proof(hint))
        asked = _ask(hint, find_named, name)
        feed_all(log.read_text(), [question.check for question in asked])
    end = _end_of(extent, is_settled=is_settled)
    return Look(extent, end, log.name_part(end), _judge(asked, extent.text_size, log.name_part(extent.line_end)))


def _ask(hint: KnownPart | None, find_named: Callable[[str], Sequence[KnownPart]], name: str | None) -> list[_Question]:
    asked = [hint] if hint else []
    asked += [part for part in (find_named(name) if name else ()) if not hint or part.part_id != hint.part_id]
    return [_Question(part, MarkCheck(part.marks)) for part in asked]


def _measure(log: OpenLog, floor: int) -> Extent:
    if log.is_compressed:
        return measure_extent(log.read_text())
    return Extent(log.status.st_size, log.find_line_end(min(floor, log.status.st_size)))


def _end_of(extent: Extent, *, is_settled: bool) -> int:
    return extent.text_size if is_settled else extent.line_end


def _has_tail(log: OpenLog, part: KnownPart) -> bool:
    if log.status.st_size < part.position:
        return False
    tail = find_tail(part.marks)
    check = MarkCheck(tail)
    feed_all(log.read_text(tail[0].start if tail else 0, part.position), [check])
    return check.verified == part.position


def _judge(asked: Sequence[_Question], text_size: int, name: str | None) -> Proof:
    """What marks say of a text whose first line, if it has an end, is called `name`."""
    alike = [(part, check.verified) for part, check in asked if not check.is_different]
    certain = [(part, verified) for part, verified in alike if verified == min(part.position, text_size)]
    if certain:
        return Proof(max(certain, key=itemgetter(1))[0])
    nearest = max(asked, key=lambda question: question.check.verified, default=None)
    return Proof(
        possible=tuple((part, verified) for part, verified in alike if name in {None, part.name}),
        resembles=nearest.part.part_id if nearest and nearest.check.verified else None,
    )
