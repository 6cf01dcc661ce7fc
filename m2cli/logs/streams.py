"""Files and pipes as text, whatever they are compressed with: told by their first bytes, not their name."""

from __future__ import annotations

import bz2
import re
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDS_EARLY = "the compressed data ends early"
DAMAGED = "the compressed data is damaged"

MAGIC_SIZE = 10
_COMPRESSED_PIECE = 1 << 16
# 8 KiB of bzip2 can hold 150 MB of zeros.
_BZIP2_PIECE = 1 << 13
# pyarrow forgets what it had decompressed when it finds the end missing: so much of the text before a cut is
# lost.
_ZSTD_PIECE = 1 << 12


class CutError(Exception):
    """Raised after the last piece of data that could be decompressed; says why there is no more."""


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class CountingReader:
    """A binary stream that counts the bytes that were read from it, `read_size`, and can put some back."""

    closed = False

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._head, self.read_size = raw, b"", 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none only at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        data = self._raw.read(size)
        self.read_size += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end, which stay to be read."""
        while len(self._head) < size and (data := self._raw.read(size - len(self._head))):
            self._head += data
            self.read_size += len(data)
        return self._head[:size]

    def close(self) -> None:
        """Close the stream below."""
        self._raw.close()


def read_pieces(reader: CountingReader, piece_size: int) -> Iterator[bytes]:
    """The text in `reader`, decompressed, in pieces of `piece_size` bytes (any size if it was compressed).

    Takes gzip, bzip2 and zstd, of one member or of many, and everything else as it is. Raises `CutError` at
    the end of compressed data that is cut short or damaged.
    """
    decompress = _find_compression(reader.peek(MAGIC_SIZE))
    return decompress(reader) if decompress else read_plain(reader, piece_size)


def is_compressed(magic: bytes) -> bool:
    """Whether a file whose first `MAGIC_SIZE` bytes are `magic` is compressed."""
    return _find_compression(magic) is not None


def _find_compression(magic: bytes) -> Callable[[CountingReader], Iterator[bytes]] | None:
    return next((decompress for pattern, decompress in _COMPRESSIONS if pattern.match(magic)), None)


def read_plain(reader: CountingReader, piece_size: int) -> Iterator[bytes]:
    """What is in `reader`, as it is, in pieces of `piece_size` bytes."""
    while data := reader.read(piece_size):
        yield data


def _decompress_members(
    reader: CountingReader, make_decoder: Callable[[], _Decoder], piece_size: int
) -> Iterator[bytes]:
    decoder, is_between = make_decoder(), True
    while data := reader.read(piece_size):
        while data := data.lstrip(b"\0") if is_between else data:  # zeros pad the end of tapes and of copies
            try:
                text = decoder.decompress(data)
            except (zlib.error, OSError):
                raise CutError(DAMAGED) from None
            if text:
                yield text
            data, is_between = decoder.unused_data, decoder.eof
            if decoder.eof:
                decoder = make_decoder()
    if not is_between:
        raise CutError(ENDS_EARLY)


def _decompress_gzip(reader: CountingReader) -> Iterator[bytes]:
    return _decompress_members(reader, lambda: zlib.decompressobj(wbits=31), _COMPRESSED_PIECE)


def _decompress_bzip2(reader: CountingReader) -> Iterator[bytes]:
    return _decompress_members(reader, bz2.BZ2Decompressor, _BZIP2_PIECE)


def _decompress_zstd(reader: CountingReader) -> Iterator[bytes]:
    # The standard library has zstd from Python 3.14 on.
    import pyarrow as pa  # a twentieth of a second, for zstd alone

    stream = pa.CompressedInputStream(pa.PythonFile(reader, mode="r"), "zstd")
    try:
        while data := stream.read(_ZSTD_PIECE):
            yield data
    except OSError as error:
        raise CutError(ENDS_EARLY if "Truncated" in str(error) else DAMAGED) from None


_COMPRESSIONS: tuple[tuple[re.Pattern[bytes], Callable[[CountingReader], Iterator[bytes]]], ...] = (
    (re.compile(rb"\x1f\x8b"), _decompress_gzip),  # RFC 1952
    # A block, or the end of an empty file: "BZh" alone could be a host.
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90|.{0,5}\Z)", re.DOTALL), _decompress_bzip2),
    (
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        _decompress_zstd,
    ),  # RFC 8878; a skippable frame
)
