"""However a text is cut into pieces and blocks, its lines stay whole and in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from m2cli.logs.blocks import KEPT_SIZE, TOO_LONG, Block, cut_blocks
from m2cli.logs.streams import CutError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"d\n", b"\n\n", b"efg\nh"]))
SIZES = st.integers(1, 12)


def fails_after(pieces: list[bytes]) -> Iterator[bytes]:
    yield from pieces
    raise CutError("cut")


@given(PIECES, SIZES)
def test_blocks_are_the_text_cut_at_the_ends_of_lines(pieces: list[bytes], block_size: int) -> None:
    text = b"".join(pieces)
    blocks = list(cut_blocks(pieces, block_size, 1000))
    assert b"".join(block.data for block in blocks) == text
    assert all(text[block.position :].startswith(block.data) for block in blocks)
    assert all(block.data.endswith(b"\n") for block in blocks[:-1])
    assert not any(block.fault for block in blocks)
    assert all(block.data for block in blocks)
    assert all(block.data == text for block in blocks if block.is_whole)
    assert any(block.is_whole for block in blocks) or not 0 < len(text) < block_size


@given(PIECES, SIZES)
def test_what_follows_the_last_line_before_a_cut_is_the_cut(pieces: list[bytes], block_size: int) -> None:
    text = b"".join(pieces)
    *blocks, last = cut_blocks(fails_after(pieces), block_size, 1000)
    end = text.rfind(b"\n") + 1
    assert b"".join(block.data for block in blocks) == text[:end]
    assert last == Block(text[end:], end, "cut")


@given(PIECES, SIZES, st.integers(1, 4))
def test_a_line_too_long_is_passed_and_all_others_are_in_their_place(
    pieces: list[bytes], block_size: int, max_line_size: int
) -> None:
    text = b"".join(pieces)
    blocks = list(cut_blocks(pieces, block_size, max_line_size))
    assert sum(block.data.count(b"\n") if not block.fault else 1 for block in blocks) in {
        text.count(b"\n"),
        text.count(b"\n") + 1,
    }
    for block in blocks:
        assert text[block.position :].startswith(block.data)
        if block.fault:
            assert block.fault == TOO_LONG
            assert len(text[block.position :].split(b"\n")[0]) > max_line_size


def test_memory_is_bounded_where_no_line_ends() -> None:
    held = []

    def endless() -> Iterator[bytes]:
        for _ in range(3000):
            held.append(1)
            yield b"a" * 1000
        yield b"\nlast"

    blocks = list(cut_blocks(endless(), 10_000, 20_000))
    assert blocks == [Block(b"a" * 21_000, 0, TOO_LONG), Block(b"last", 3_000_001)]
    assert KEPT_SIZE > 21_000


def test_a_cut_within_a_line_too_long_is_the_cut() -> None:
    pieces = [b"a\n", b"b" * 10, b"b" * 10, b"b" * 10]
    assert list(cut_blocks(fails_after(pieces), 5, 15)) == [
        Block(b"a\n", 0),
        Block(b"b" * 20, 2, "cut"),
    ]
