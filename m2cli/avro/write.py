"""Columns as pieces of messages: the bytes of each value, by column, which are then joined row by row."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from m2cli.avro.leaves import to_leaf
from m2cli.avro.types import Type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Piece = object  # bytes, the same for all rows; `_Chosen` for each row; or an array of them

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


class _Table:
    """A few short values."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._values = tuple(values)
        self._behind: dict[bytes, pa.Array] = {}

    def behind(self, before: bytes) -> pa.Array:
        """Each of the values with `before` before it."""
        if before not in self._behind:
            self._behind[before] = pa.array([before + each for each in self._values], _BINARY)
        return self._behind[before]


class _Chosen(NamedTuple):
    """For each row one value of a table."""

    table: _Table
    indexes: NDArray[np.integer]

    def take(self, before: bytes) -> pa.Array:
        """The bytes of each row, with `before` before them."""
        return self.table.behind(before).take(pa.array(self.indexes))


def join_pieces(pieces: Sequence[Piece], count: int) -> pa.Array:
    """`count` values of bytes: the pieces one after the other, row by row.

    Each piece costs about the same, whatever its size: what is the same for all rows goes with the next piece.
    """
    arrays: list[pa.Array | pa.Scalar] = []
    before = b""
    for piece in pieces:
        if isinstance(piece, bytes):
            before += piece
        elif isinstance(piece, _Chosen):
            arrays.append(piece.take(before))
            before = b""
        else:
            arrays += [pa.scalar(before, _BINARY), piece] if before else [piece]
            before = b""
    if not arrays:
        return pa.array([before], _BINARY).take(pa.array(np.zeros(count, np.int64)))
    last = pa.scalar(b"", _BINARY)
    arrays += [pa.scalar(before, _BINARY)] if before else []
    return pc.binary_join_element_wise(*arrays, last, null_handling="replace", null_replacement=b"")


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
        if value.kind in ("null", "record", "array", "map"):
            return [branch, *write_column(value, column)]
        return _write_leaf(value, to_leaf(column, value), branch, None)
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
    if leaf.kind in ("string", "bytes", "fixed"):
        texts = _to_arrow(column)
        is_given = _find_given(texts, null)
        if leaf.kind != "fixed":
            return [_write_numbers(_find_lengths(texts), is_given, branch, null), texts]
        if is_given is None:
            return [branch, texts]
        return [_Chosen(_small_table(null or b"", branch), is_given.astype(np.int32)), texts]
    if leaf.kind == "boolean":
        column = column.cast(pl.Int64)
    values = column.to_arrow(compat_level=pl.CompatLevel.oldest())
    is_given = _find_given(values, null)
    if leaf.kind in ("float", "double"):
        size = 4 if leaf.kind == "float" else 8
        body = np.ascontiguousarray(_to_numbers(values, f"<f{size}")).view(np.uint8).reshape(len(values), size)
        return [_flatten(body, np.full(len(values), size), branch, null, is_given)]
    numbers = _to_numbers(values, np.dtype(values.type.to_pandas_dtype()).newbyteorder("<")).astype(np.int64)
    if leaf.kind == "boolean":
        table = _small_table(branch + b"\0", branch + b"\1", null or b"")
        return [_Chosen(table, numbers if is_given is None else np.where(is_given, numbers, 2))]
    return [_write_numbers(numbers, is_given, branch, null)]


def _find_given(values: pa.Array, null: bytes | None) -> Mask | None:
    """Which of `values` are given; None where all are."""
    return None if null is None else values.is_valid().to_numpy(zero_copy_only=False)


def _find_lengths(texts: pa.Array) -> NDArray[np.int64]:
    """The length of each of `texts`, in bytes; of one that is not given, whatever it is."""
    return np.diff(np.frombuffer(texts.buffers()[1], dtype="<i8")[texts.offset : texts.offset + len(texts) + 1])


def _to_numbers(values: pa.Array, dtype: str | np.dtype[np.integer]) -> NDArray[np.int64]:
    """The numbers of `values`, and of one that is not given, whatever it is."""
    return np.frombuffer(values.buffers()[1], dtype=dtype)[values.offset : values.offset + len(values)]


def _write_numbers(numbers: NDArray[np.int64], is_given: Mask | None, branch: bytes, null: bytes | None) -> Piece:
    if is_given is not None:
        numbers = np.where(is_given, numbers, 0)
    if len(numbers) and numbers.min() >= 0 and numbers.max() < _SHORT:  # lengths, and most numbers too
        indexes = numbers if is_given is None else np.where(is_given, numbers, _SHORT)
        return _Chosen(_length_table(branch, null), indexes)
    body, sizes = _varints(numbers)
    return _flatten(body, sizes, branch, null, is_given)


@cache
def _length_table(branch: bytes, null: bytes | None) -> _Table:
    return _Table([*(branch + _varint(length) for length in range(_SHORT)), null or b""])


@cache
def _small_table(*values: bytes) -> _Table:
    return _Table(values)


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
    is_given: Mask | None,
) -> Piece:
    """The first `sizes` bytes of each row of `body`, behind `branch`; `null` where nothing is given."""
    if branch:
        body = np.concatenate([np.full((len(body), 1), branch[0], np.uint8), body], axis=1)
        sizes = sizes + 1
    if is_given is not None and null is not None:
        body = np.where(is_given[:, None], body, null[0])
        sizes = np.where(is_given, sizes, 1)
    size = int(sizes[0]) if len(sizes) else 0
    if (sizes == size).all():  # as of times
        flat = np.ascontiguousarray(body[:, :size])
        offsets = np.arange(len(body) + 1, dtype=np.int64) * size
    else:
        flat = body[np.arange(body.shape[1]) < sizes[:, None]]
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
