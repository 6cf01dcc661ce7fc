"""What a file holds is told by its first bytes; what was cut or damaged gives all that came before."""

from __future__ import annotations

import bz2
import gzip
import io
import random
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.logs.streams import DAMAGED, ENDS_EARLY, CountingReader, CutError, read_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = b"".join(b"line %d of a log, no two the same\n" % number for number in range(20_000))
LONG = random.Random(3).randbytes(1_000_000).hex().encode()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "zstd": zstd}
KINDS = pytest.mark.parametrize("compress", COMPRESS.values(), ids=COMPRESS.keys())


def read(data: bytes, piece_size: int = 1 << 16) -> tuple[bytes, str | None]:
    """What can be read of `data`, and why no more could."""
    pieces, fault = [], None
    try:
        pieces.extend(_collect(data, piece_size, pieces))
    except CutError as error:
        fault = str(error)
    return b"".join(pieces), fault


def _collect(data: bytes, piece_size: int, pieces: list[bytes]) -> list[bytes]:
    for piece in read_pieces(CountingReader(io.BytesIO(data)), piece_size):
        pieces.append(piece)  # noqa: PERF402  (what came before an exception has to be kept)
    return []


@KINDS
def test_compressed_text_is_read(compress: Callable[[bytes], bytes]) -> None:
    assert read(compress(TEXT)) == (TEXT, None)


@KINDS
def test_one_member_after_another_is_one_text(compress: Callable[[bytes], bytes]) -> None:
    assert read(compress(TEXT) + compress(b"") + compress(b"the end")) == (TEXT + b"the end", None)


@KINDS
def test_nothing_compressed_is_nothing(compress: Callable[[bytes], bytes]) -> None:
    assert read(compress(b"")) == (b"", None)


@KINDS
@pytest.mark.parametrize("share", [0.01, 0.3, 0.999])
def test_what_was_cut_gives_what_came_before(compress: Callable[[bytes], bytes], share: float) -> None:
    compressed = compress(LONG)
    text, fault = read(compressed[: int(len(compressed) * share)])
    assert fault == ENDS_EARLY
    assert LONG.startswith(text)
    assert len(text) > 0 or share < 0.999


def test_a_cut_gzip_loses_nothing_that_was_there() -> None:
    """The whole of the deflated data is there, of the eight bytes after it one is not."""
    assert read(gzip.compress(TEXT)[:-1]) == (TEXT, ENDS_EARLY)


@KINDS
def test_damage_gives_what_came_before(compress: Callable[[bytes], bytes]) -> None:
    compressed = bytearray(compress(LONG))
    middle = len(compressed) // 2
    compressed[middle : middle + 200_000] = bytes(200_000)  # pyarrow writes zstd without a checksum
    text, fault = read(bytes(compressed))
    assert fault == DAMAGED
    assert len(text) > 0


@pytest.mark.parametrize("name", ["gzip", "bzip2"])
def test_zeros_after_the_end_are_padding(name: str) -> None:
    assert read(COMPRESS[name](TEXT) + bytes(1000)) == (TEXT, None)


@KINDS
def test_anything_else_after_the_end_is_damage(compress: Callable[[bytes], bytes]) -> None:
    assert read(compress(TEXT) + b"something else")[1] == DAMAGED


@pytest.mark.parametrize(
    "data",
    [b"", b"\x1f", b"B", b"BZh", b"BZhost.example - -", b"BZh9host - -", b"\x28\xb5\x2f", TEXT],
    ids=[
        "nothing",
        "half of gzip's",
        "a B",
        "BZh",
        "a host",
        "a host with a digit",
        "most of zstd's",
        "text",
    ],
)
@pytest.mark.parametrize("piece_size", [1, 7, 1 << 20])
def test_what_begins_like_no_compression_is_read_as_it_is(data: bytes, piece_size: int) -> None:
    assert read(data[:2000], piece_size) == (data[:2000], None)


@given(st.binary(max_size=50), st.sampled_from([b"\x1f\x8b\x08", b"BZh91AY&SY", b"\x28\xb5\x2f\xfd", b""]))
def test_any_bytes_end_well_or_with_a_cut(data: bytes, magic: bytes) -> None:
    _, fault = read(magic + data)
    assert fault in {None, ENDS_EARLY, DAMAGED}


def test_the_bytes_on_disk_are_counted_once() -> None:
    compressed = gzip.compress(TEXT)
    reader = CountingReader(io.BytesIO(compressed))
    sizes = [reader.read_size for _ in read_pieces(reader, 1 << 16)]
    assert sizes == sorted(sizes)
    assert reader.read_size == len(compressed)


class Dribble(io.RawIOBase):
    """A pipe that gives a byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 1))


@KINDS
def test_a_pipe_that_gives_a_byte_at_a_time_is_read_whole(compress: Callable[[bytes], bytes]) -> None:
    short = TEXT[:3000]
    pieces = read_pieces(CountingReader(Dribble(compress(short))), 1 << 16)
    assert b"".join(pieces) == short
