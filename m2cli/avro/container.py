"""Avro's container files, as messages: a schema of their own, and any number of rows in packed blocks.

By the letter of the specification, as `exact`: fastavro wants the header's values to be text, and unpacks without end.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from m2cli.avro.exact import NOT_OF_SCHEMA, TOO_DEEP, TOO_LONG, TOO_SHORT, Body, UnreadableError, read_value
from m2cli.avro.kinds import CONTAINER
from m2cli.avro.schema import AvroSchema, BadSchemaError, parse_schema
from m2cli.avro.types import Type, least_size

if TYPE_CHECKING:
    from collections.abc import Callable

BROKEN = "its container file is broken"
MOST_UNPACKED = 256 << 20  # bytes of a block: a message of Kafka, packed well, could else be gigabytes
MOST_EMPTY = 1000  # rows of a block that take no byte, of which a few bytes could make billions
_SYNC_SIZE = 16
_HEADER = Type(kind="map", items=Type(kind="bytes"))


class Contents(NamedTuple):
    """The schema of a container, and its rows as `read_value` gives them."""

    schema: AvroSchema
    values: list[Any]


def read_container(data: bytes) -> Contents:
    """All that is in a container file of any codec. Raises `UnreadableError` where it is not whole."""
    try:
        return _read(Body(data))
    except UnreadableError as error:
        raise UnreadableError(f"{BROKEN}: {error}") from error
    except BadSchemaError as error:
        raise UnreadableError(f"{BROKEN}: its schema is none") from error
    except RecursionError as error:
        raise UnreadableError(f"{BROKEN}: {TOO_DEEP}") from error


def _read(body: Body) -> Contents:
    body.take(len(CONTAINER))
    metadata: dict[str, bytes] = dict(read_value(_HEADER, body))
    codec = metadata.get("avro.codec", b"null").decode("utf-8", "replace")
    if codec not in CODECS:
        raise UnreadableError(f"its codec is none of {', '.join(CODECS)}")
    schema = parse_schema(metadata.get("avro.schema", b"").decode("utf-8", "replace"))
    sync = body.take(_SYNC_SIZE)
    values: list[Any] = []
    while body.left:
        count, packed = body.long(), body.take(body.long())
        if body.take(_SYNC_SIZE) != sync:
            raise UnreadableError("a block of it does not end as it should")
        values += _read_block(schema.type, count, _unpack(codec, packed))
    return Contents(schema, values)


def _read_block(whole: Type, count: int, data: bytes) -> list[Any]:
    body, least = Body(data), least_size(whole)
    if not 0 <= count <= (body.left // least if least else MOST_EMPTY):
        raise UnreadableError(TOO_SHORT if least else NOT_OF_SCHEMA)
    values = [read_value(whole, body) for _ in range(count)]
    if body.left:
        raise UnreadableError(TOO_LONG)
    return values


def _unpack(codec: str, packed: bytes) -> bytes:
    try:
        data = CODECS[codec](packed)
    # What the codecs raise for bytes that they have not written has no common base.
    except Exception as error:
        raise UnreadableError("a block of it cannot be unpacked") from error
    if len(data) > MOST_UNPACKED:
        raise UnreadableError("a block of it is too large")
    return data


def _inflate(packed: bytes) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, MOST_UNPACKED + 1)


def _unpack_bzip2(packed: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(packed, MOST_UNPACKED + 1)


def _unpack_xz(packed: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(packed, MOST_UNPACKED + 1)


def _unpack_snappy(packed: bytes) -> bytes:
    """Raw Snappy, and the checksum of what it was, four bytes, big endian."""
    from cramjam import snappy

    content, checksum = packed[:-4], packed[-4:]
    if snappy.decompress_raw_len(content) > MOST_UNPACKED:
        raise UnreadableError("a block of it is too large")
    data = bytes(snappy.decompress_raw(content))
    if zlib.crc32(data).to_bytes(4, "big") != checksum:
        raise ValueError("not what was packed")
    return data


def _unpack_zstandard(packed: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    data: bytes = zstd.ZstdDecompressor().decompress(packed, MOST_UNPACKED + 1)
    return data


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": lambda packed: packed,
    "deflate": _inflate,
    "bzip2": _unpack_bzip2,
    "snappy": _unpack_snappy,
    "xz": _unpack_xz,
    "zstandard": _unpack_zstandard,
}
