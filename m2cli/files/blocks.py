"""What every format is read into, a block at a time, and how text is cut into blocks of whole lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from m2cli.errors import UnreadableSourceError
from m2cli.files.find import CORRUPT, Compression, EventFile
from m2cli.files.texts import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOM = b"\xef\xbb\xbf"
WRONG = {"index": pl.Int64, "reason": pl.String}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of a file, parsed but not yet typed.

    `rows`: the input's columns; `index`: each row's place among all that was read of the file, from 0.
    (In the rows' own chunks: with others, the next step copies all: a fifth of reading them.)
    `wrong`: what could not be a row (index, reason). `ignored_count`: blank lines.
    `describe`: from indexes to `line_number`, `position_in_source` and `raw`, for the rejects among them.
    """

    rows: pl.DataFrame
    index: pl.Series
    wrong: pl.DataFrame
    read_count: int
    ignored_count: int
    describe: Callable[[pl.Series], pl.DataFrame]


@dataclass(frozen=True, kw_only=True)
class TextBlock:
    """Whole lines of a text file: the bytes as they are, and where they begin."""

    data: bytes
    first_byte: int
    first_line: int

    def text(self) -> bytes:
        """The bytes as UTF-8; those that are none are written as `\\xhh`."""
        try:
            self.data.decode()
        except UnicodeDecodeError:
            return self.data.decode("utf-8", "backslashreplace").encode()
        return self.data

    def lines(self) -> pl.Series:
        """The lines without their ends (`\\n` or `\\r\\n`)."""
        return pl.read_lines(self.text())["line"]

    def line_starts(self) -> pl.Series:
        """The offset of each line, and of the end, in the unpacked file, in its bytes as they are."""
        lengths = pl.Series([self.data.decode("latin-1")]).str.split("\n").explode().str.len_chars().cast(pl.Int64) + 1
        return pl.concat([pl.Series([0]), lengths]).cum_sum() + self.first_byte


def read_text(file: EventFile, block_bytes: int) -> Iterator[TextBlock]:
    """The file in blocks of whole lines, of about `block_bytes`, or one line where that is longer.

    Raises `UnreadableSourceError` where its compression is cut short or corrupt.
    """
    try:
        yield from _cut(_chunks(file, block_bytes))
    except CORRUPT as error:
        packed = file.compression != Compression.NONE
        reason = f"its {file.compression} is cut short or corrupt" if packed else str(error)
        raise UnreadableSourceError(file.name, reason) from error


def _chunks(file: EventFile, block_bytes: int) -> Iterator[bytes]:
    with file.open() as stream:
        while chunk := stream.read(block_bytes):
            yield chunk


def _cut(chunks: Iterator[bytes]) -> Iterator[TextBlock]:
    rest = next(chunks, b"")
    first_byte, first_line = (len(BOM), 0) if rest.startswith(BOM) else (0, 0)
    rest = rest[first_byte:]
    for chunk in chunks:
        end = rest.rfind(b"\n") + 1
        if end:
            yield TextBlock(data=rest[:end], first_byte=first_byte, first_line=first_line)
            first_byte, first_line = first_byte + end, first_line + rest.count(b"\n")
        rest = rest[end:] + chunk
    if rest:
        yield TextBlock(data=rest, first_byte=first_byte, first_line=first_line)


def describe_lines(block: TextBlock, line_indexes: pl.Series, raws: pl.Series) -> pl.DataFrame:
    """`line_number`, `position_in_source` (byte offset) and `raw` of the lines at `line_indexes`."""
    return pl.DataFrame(
        {
            "line_number": line_indexes.cast(pl.Int64) + (block.first_line + 1),
            "position_in_source": block.line_starts().gather(line_indexes),
            "raw": escape_controls(raws),
        }
    )
