"""Marks: digests of text as it was read, by which a file proves later that it begins with that text."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from itertools import chain, takewhile
from typing import TYPE_CHECKING

from m2cli.logs.known import Mark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

TAIL_SIZE = 1 << 12
"""So many bytes before a position are looked at again before what lies behind it is read."""
_MARK_SIZE = 1 << 20
# A text that is shorter than a mark cannot be compared with it: at the beginning, where short texts end, marks are
# small.
_FIRST_CUTS = tuple(1 << power for power in range(8, 20, 2))
_DIGEST_SIZE = 16


def cut_marks(start: int, end: int) -> list[int]:
    """Where the marks of the text in [`start`, `end`) end.

    Each mebibyte, more often in the first one, and a little before the end, so that what stands there can be
    looked at without reading a mebibyte.

    >>> cut_marks(0, 10_000)
    [256, 1024, 4096, 5904, 10000]
    """
    steps = range((start // _MARK_SIZE + 1) * _MARK_SIZE, end, _MARK_SIZE)
    cuts = chain(_FIRST_CUTS, steps, [end - TAIL_SIZE])
    return [*sorted({cut for cut in cuts if start < cut < end}), end]


def find_tail(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """The last of `marks`, of at least `TAIL_SIZE` bytes if there are so many."""
    end = marks[-1].end if marks else 0
    tail = tuple(takewhile(lambda mark: mark.end > end - TAIL_SIZE, reversed(marks)))
    return tail[::-1]


class Digester:
    """Makes marks of a text that begins at `start`, and of which the marks end at `ends`, piece by piece."""

    def __init__(self, start: int, ends: Sequence[int]) -> None:
        self.marks: list[Mark] = []
        self._start = self._position = start
        self._ends = deque(ends)
        self._digest = blake2b(digest_size=_DIGEST_SIZE)

    @property
    def is_done(self) -> bool:
        """Whether all marks are made."""
        return not self._ends

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the text; what lies behind the last mark is passed over."""
        rest = memoryview(piece)
        while rest and self._ends:
            size = min(len(rest), self._ends[0] - self._position)
            self._digest.update(rest[:size])
            self._position += size
            rest = rest[size:]
            if self._position == self._ends[0]:
                self.marks.append(Mark(self._start, self._ends.popleft(), self._digest.hexdigest()))
                self._start, self._digest = self._position, blake2b(digest_size=_DIGEST_SIZE)


class MarkCheck:
    """Compares a text, piece by piece, with `marks`; the text begins where the first of them does."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._marks = marks
        self._digester = Digester(marks[0].start if marks else 0, [mark.end for mark in marks])
        self.verified = marks[0].start if marks else 0
        """Up to here the text is the one that the marks are of."""
        self.is_different = False

    @property
    def is_done(self) -> bool:
        """Whether more text changes nothing."""
        return self.is_different or self._digester.is_done

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the text."""
        if self.is_done:
            return
        made = self._digester.marks
        first = len(made)
        self._digester.feed(piece)
        for number in range(first, len(made)):
            if made[number] != self._marks[number]:
                self.is_different = True
                return
            self.verified = made[number].end


def feed_all(pieces: Iterable[bytes], checks: Collection[MarkCheck]) -> None:
    """Compare the text of `pieces` with all that `checks` know, until there is nothing more to be learnt."""
    for piece in pieces:
        for check in checks:
            check.feed(piece)
        if all(check.is_done for check in checks):
            return
