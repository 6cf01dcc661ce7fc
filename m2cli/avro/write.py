"""Columns as pieces of messages: the bytes of each value, by column, which are then joined row by row."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from m2cli.avro.leaves import to_leaf
from m2cli.avro.types import Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Piece = object  # bytes, the same for all rows, or an array of them

_SHORT = 1 << 12  # texts up to this length have their lengths looked up
_FOLDS = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))
    for low, high, shift in (
        (0x000000000FFFFFFF, 0x00FFFFFFF0000000, 4),
        (0x00003FFF00003FFF, 0x0FFFC0000FFFC000, 2),
        (0x007F007F007F007F, 0x3F803F803F803F80, 1),
    )
)
_BINARY = pa.large_binary()
_KEY = Type(kind="string")


def join_pieces(pieces: Sequence[Piece], count: int) -> pa.Array:
    """`count` values of bytes: the pieces one after the other, row by row."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += piece
        else:
            merged.append(piece)
    scalars = [pa.scalar(piece, _BINARY) if isinstance(piece, bytes) else piece for piece in merged]
    if all(isinstance(piece, bytes) for piece in merged):
        whole = b"".join(piece for piece in merged if isinstance(piece, bytes))
        return pa.array([whole], _BINARY).take(pa.array(np.zeros(count, np.int64)))
    return pc.binary_join_element_wise(*scalars, pa.scalar(b"", _BINARY), null_handling="replace", null_replacement=b"")


def write_column(whole: Type, column: pl.Series) -> list[Piece]:
    """The pieces of `column`, which has no nulls but where `whole` is a union with null."""
    if whole.kind == "union":
        return _write_union(whole, column)
    if whole.kind == "null":
        return []
    if whole.kind == "record":
        fields = column.struct.unnest()
        return [piece for each in whole.fields for piece in write_column(each.type, fields[each.name])]
    if whole.kind in ("array", "map"):
        return _write_lists(whole, column)
    return _write_leaf(whole, to_leaf(column, whole), b"", None)


def _write_union(union: Type, column: pl.Series) -> list[Piece]:
    value = union.values[0]
    place = union.branches.index(value)
    branch, null = _varint(place), _varint(1 - place)
    if not column.null_count():
        return [branch, *write_column(value, column)]
    if column.null_count() == len(column):
        return [null]
    if value.kind in ("record", "array", "map"):
        given = column.is_not_null()
        pieces = [branch, *write_column(value, column.drop_nulls())]
        joined = join_pieces(pieces, len(column) - column.null_count())
        whole = pa.concat_arrays([joined, pa.array([null], _BINARY)])
        is_given = given.to_numpy()
        return [whole.take(pa.array(np.where(is_given, np.cumsum(is_given) - 1, len(joined))))]
    return _write_leaf(value, to_leaf(column, value), branch, null)


def _write_leaf(leaf: Type, column: pl.Series, branch: bytes, null: bytes | None) -> list[Piece]:
    """The pieces of a leaf: `branch` before each value, or `null` alone where there is none."""
    if leaf.kind in ("string", "bytes"):
        lengths = column.str.len_bytes() if leaf.kind == "string" else column.bin.size()
        return [_write_lengths(lengths, branch, null), _to_arrow(column)]
    if leaf.kind == "fixed":
        return [_look_up(column.is_not_null().cast(pl.Int64), (null or b"", branch)), _to_arrow(column)]
    if leaf.kind == "boolean":
        table = (branch + b"\0", branch + b"\1", null or b"")
        return [_look_up(column.cast(pl.Int64).fill_null(2), table)]
    if leaf.kind in ("int", "long", "enum") and (column.min() or 0) >= 0:  # type: ignore[operator]  # of integers
        return [_write_lengths(column, branch, null)]  # which are numbers as well, and mostly as small
    is_given = None if null is None else column.is_not_null().to_numpy()
    if leaf.kind in ("float", "double"):
        size = 4 if leaf.kind == "float" else 8
        values = np.ascontiguousarray(column.fill_null(0).to_numpy(), dtype=f"<f{size}")
        body = values.view(np.uint8).reshape(len(values), size)
        return [_flatten(body, np.full(len(values), size), branch, null, is_given)]
    numbers = column.cast(pl.Int64).fill_null(0).to_numpy()
    body, sizes = _varints(numbers)
    return [_flatten(body, sizes, branch, null, is_given)]


def _write_lengths(lengths: pl.Series, branch: bytes, null: bytes | None) -> Piece:
    if (lengths.max() or 0) < _SHORT:  # type: ignore[operator]  # max of UInt32 is an int
        table = _length_table(branch, null)
        return table.take(pa.array(lengths.cast(pl.Int64).fill_null(_SHORT).to_numpy()))
    is_given = None if null is None else lengths.is_not_null().to_numpy()
    body, sizes = _varints(lengths.cast(pl.Int64).fill_null(0).to_numpy())
    return _flatten(body, sizes, branch, null, is_given)


@cache
def _length_table(branch: bytes, null: bytes | None) -> pa.Array:
    return pa.array([*(branch + _varint(length) for length in range(_SHORT)), null or b""], _BINARY)


def _look_up(indexes: pl.Series, table: tuple[bytes, ...]) -> Piece:
    return pa.array(table, _BINARY).take(pa.array(indexes.to_numpy()))


def _write_lists(whole: Type, column: pl.Series) -> list[Piece]:
    """One block of all items, then the end; where there are none the end alone."""
    lengths = column.list.len().cast(pl.Int64).to_numpy()
    items = column.filter(lengths > 0).explode()
    if whole.kind == "map":
        pieces = [
            *write_column(_KEY, items.struct.field("key")),
            *write_column(whole.item, items.struct.field("value")),
        ]
    else:
        pieces = write_column(whole.item, items)
    joined = join_pieces(pieces, len(items))
    offsets = np.frombuffer(joined.buffers()[1], dtype=np.int64)[joined.offset :]
    bounds = offsets[np.concatenate([[0], np.cumsum(lengths)])]
    gathered = pa.Array.from_buffers(_BINARY, len(lengths), [None, pa.py_buffer(bounds), joined.buffers()[2]])
    body, sizes = _varints(lengths)
    return [_flatten(body, np.where(lengths == 0, 0, sizes), b"", None, None), gathered, b"\0"]


def _flatten(
    body: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    branch: bytes,
    null: bytes | None,
    is_given: NDArray[np.bool_] | None,
) -> Piece:
    """The first `sizes` bytes of each row of `body`, behind `branch`; `null` where nothing is given."""
    if branch:
        body = np.concatenate([np.full((len(body), 1), branch[0], np.uint8), body], axis=1)
        sizes = sizes + 1
    if is_given is not None and null is not None:
        body = np.where(is_given[:, None], body, null[0])
        sizes = np.where(is_given, sizes, 1)
    flat = body[np.arange(body.shape[1]) < np.asarray(sizes)[:, None]]
    offsets = np.zeros(len(body) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return pa.Array.from_buffers(_BINARY, len(body), [None, pa.py_buffer(offsets), pa.py_buffer(flat)])


def _varints(numbers: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Numbers, zigzag and of variable length: ten bytes each, and how many of these count."""
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    most = int(zigzag.max()) if len(zigzag) else 0
    body = np.zeros((len(numbers), 10), np.uint8)
    sizes = np.ones(len(numbers), np.int64)
    for place in range(1, 10):
        if most >> (7 * place):
            sizes += zigzag >= np.uint64(1 << (7 * place))
    spread = zigzag & np.uint64((1 << 56) - 1)
    for low, high, shift in _FOLDS:
        spread = (spread & low) | ((spread & high) << shift)
    body[:, :8] = spread.view(np.uint8).reshape(-1, 8)
    if most >> 56:
        body[:, 8], body[:, 9] = (zigzag >> np.uint64(56)) & np.uint64(0x7F), zigzag >> np.uint64(63)
    for place in range(min(9, (most.bit_length() + 6) // 7)):
        body[:, place] |= (sizes > place + 1).astype(np.uint8) << 7
    return body, sizes


def _varint(number: int) -> bytes:
    """A small number as Avro writes it."""
    zigzag, out = number << 1, bytearray()
    while zigzag >= 0x80:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*out, zigzag])


def _to_arrow(column: pl.Series) -> pa.Array:
    arrow = column.cast(pl.Binary).to_arrow(compat_level=pl.CompatLevel.oldest())
    return arrow.cast(_BINARY) if arrow.type != _BINARY else arrow
