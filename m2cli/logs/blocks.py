"""Pieces of text, cut anywhere, into blocks of whole lines: memory is bounded whatever the file holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from m2cli.logs.streams import CutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TOO_LONG = "the line is too long"
KEPT_SIZE = 1 << 16
"""So many bytes are kept of a line that is too long."""


class Block(NamedTuple):
    """Whole lines; or, where there is a `fault`, one that cannot be a line, perhaps only its beginning.

    `position` is where the first line begins, in bytes from the beginning of the text; `is_whole` says that
    the block is all that was read (of as much as a block may hold, that is not known).
    """

    data: bytes
    position: int
    fault: str | None = None
    is_whole: bool = False


def cut_blocks(pieces: Iterable[bytes], block_size: int, max_line_size: int, start: int = 0) -> Iterator[Block]:
    """The text of `pieces` in blocks of about `block_size` bytes, which end where a line or the text ends.

    The first piece begins at byte `start` of the text. A line of more than `max_line_size` bytes that crosses a
    block's end becomes a block with the fault `TOO_LONG`. What follows the last line's end where the pieces end with
    a `CutError` becomes one with that fault, even if it is empty.
    """
    held: list[bytes] = []
    held_size, position = 0, start
    pieces = iter(pieces)
    fault = None
    while True:
        try:
            piece = next(pieces, b"")
        except CutError as error:
            piece, fault = b"", str(error)
        held.append(piece)
        held_size += len(piece)
        if piece and held_size < block_size:
            continue
        data = b"".join(held)
        cut = data.rfind(b"\n") + 1 if piece or fault else len(data)
        if cut:
            is_whole = not (piece or fault or position > start)
            yield Block(data if cut == len(data) else data[:cut], position, is_whole=is_whole)
        data, position = data[cut:], position + cut
        if fault:
            yield Block(data[:KEPT_SIZE], position, fault)
        if not piece:
            return
        if len(data) > max_line_size:
            begin, (size, data, fault) = data[:KEPT_SIZE], _skip_line(len(data), pieces)
            yield Block(begin, position, fault or TOO_LONG)
            if fault:
                return
            position += size
        held, held_size = [data], len(data)


def _skip_line(size: int, pieces: Iterator[bytes]) -> tuple[int, bytes, str | None]:
    """The size of a line of which `size` bytes are read, what was read beyond it, and why no more was."""
    try:
        for piece in pieces:
            end = piece.find(b"\n") + 1
            if end:
                return size + end, piece[end:], None
            size += len(piece)
    except CutError as error:
        return size, b"", str(error)
    return size, b"", None
