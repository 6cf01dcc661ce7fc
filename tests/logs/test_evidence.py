"""Marks: where they are set, and what they tell of a text."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from m2cli.logs.evidence import TAIL_SIZE, Digester, MarkCheck, cut_marks, feed_all, find_tail

if TYPE_CHECKING:
    from m2cli.logs.known import Mark

MEBIBYTE = 1 << 20


def make_marks(text: bytes, cuts: list[int], size: int = 1 << 16) -> tuple[Mark, ...]:
    """The marks of `text`, read in ranges that end at `cuts`, in pieces of `size`."""
    marks: list[Mark] = []
    start = 0
    for end in cuts:
        digester = Digester(start, cut_marks(start, end))
        feed_all((text[at : min(at + size, end)] for at in range(start, end, size)), [digester])
        assert digester.is_done
        marks += digester.marks
        start = end
    return tuple(marks)


@given(start=st.integers(0, 5 * MEBIBYTE), size=st.integers(1, 5 * MEBIBYTE))
def test_marks_are_at_most_a_mebibyte_and_the_last_is_small(start: int, size: int) -> None:
    cuts = [start, *cut_marks(start, start + size)]
    sizes = [end - begin for begin, end in pairwise(cuts)]
    assert sum(sizes) == size
    assert min(sizes) > 0
    assert max(sizes) <= MEBIBYTE
    assert sizes[-1] <= TAIL_SIZE


def test_the_marks_of_a_short_text_are_small() -> None:
    assert cut_marks(0, 3_000) == [256, 1_024, 3_000]
    assert cut_marks(3_000, 3_100) == [3_100]


@given(sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=9))
def test_the_tail_is_some_kibibytes_however_small_the_ranges_were(sizes: list[int]) -> None:
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    tail = find_tail(make_marks(bytes(ends[-1]), ends))
    assert tail[-1].end == ends[-1]
    assert min(TAIL_SIZE, ends[-1]) <= ends[-1] - tail[0].start <= 3 * TAIL_SIZE


def test_nothing_has_no_tail() -> None:
    assert find_tail(()) == ()


@given(
    known=st.integers(1, 3_000),
    text=st.integers(0, 4_000),
    change=st.integers(0, 3_999),
    cuts=st.sets(st.integers(1, 2_999)),
    size=st.integers(1, 700),
)
def test_a_text_is_verified_up_to_the_last_mark_before_it_differs(
    known: int, text: int, change: int, cuts: set[int], size: int
) -> None:
    original = bytes(range(256)) * 16
    marks = make_marks(original[:known], [*sorted(cut for cut in cuts if cut < known), known], size)
    other = bytearray(original)
    other[change] ^= 1
    check = MarkCheck(marks)
    feed_all((bytes(other[:text])[at : at + size] for at in range(0, text, size)), [check])
    same = min(change, text)
    assert check.verified == max((mark.end for mark in marks if mark.end <= same), default=0)
    # A change shows as soon as the mark that it lies in is complete.
    assert check.is_different == any(mark.start <= change < mark.end <= text for mark in marks)


def test_a_text_is_read_no_further_than_needed() -> None:
    def pieces() -> object:
        yield b"b" * 300
        raise AssertionError

    check = MarkCheck(make_marks(b"a" * 1_000, [1_000]))
    feed_all(pieces(), [check])
    assert check.is_different
