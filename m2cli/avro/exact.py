"""Messages read one by one, by the letter of the specification: slow, and the judge of what no column can hold.

fastavro reads more than is there: it takes an index of -1, an int of 64 bits, and bytes behind the end, and a message
nested deep enough ends the process (its reader in C does not count how deep it is). So a judge of its own, which
the tests hold against fastavro for all that is well.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from m2cli.avro.leaves import dtype_of, number_times, to_meaning
from m2cli.avro.types import Type, least_size
from m2cli.files.texts import to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

TOO_SHORT = "it ends before its schema says"
TOO_LONG = "bytes follow the end that its schema says"
NOT_OF_SCHEMA = "it is not what its schema says"
TOO_DEEP = "it is nested too deep"


class UnreadableError(ValueError):
    """A message that is not of its schema; the text says how."""


class Branch(NamedTuple):
    """A value of a union of several types: which of them, and the value."""

    branch: int
    value: Any


class Body:
    """The bytes of one message, and how far they have been read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.at + count
        if count < 0:
            raise UnreadableError(NOT_OF_SCHEMA)
        if end > len(self.data):
            raise UnreadableError(TOO_SHORT)
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def long(self, bits: int = 64) -> int:
        """The next number, zigzag and of variable length."""
        number = 0
        for place in range(10):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                break
        else:
            raise UnreadableError(NOT_OF_SCHEMA)
        if number >> bits:
            raise UnreadableError(NOT_OF_SCHEMA)
        return (number >> 1) ^ -(number & 1)

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self.data) - self.at


def read_value(whole: Type, body: Body) -> Any:  # noqa: C901, PLR0911, PLR0912  # one return for each kind
    """The next value, before its logical type: Python's own types, lists of pairs for maps, `Branch` for unions.

    Raises `UnreadableError`.
    """
    match whole.kind:
        case "null":
            return None
        case "boolean":
            byte = body.take(1)[0]
            if byte > 1:
                raise UnreadableError(NOT_OF_SCHEMA)
            return byte == 1
        case "int":
            return body.long(32)
        case "long":
            return body.long()
        case "float":
            return struct.unpack("<f", body.take(4))[0]
        case "double":
            return struct.unpack("<d", body.take(8))[0]
        case "bytes":
            return body.take(body.long())
        case "string":
            return _text(body.take(body.long()))
        case "fixed":
            return body.take(whole.size)
        case "enum":
            return whole.symbols[_index(body, len(whole.symbols))]
        case "record":
            return {each.name: read_value(each.type, body) for each in whole.fields}
        case "array":
            return _read_items(body, whole.item, lambda: read_value(whole.item, body))
        case "map":
            return _read_items(body, whole.item, lambda: (_key(body), read_value(whole.item, body)), extra=1)
        case "union":
            return _read_union(whole, body)
        case _:
            return read_value(whole.named[whole.name], body)


def read_body(whole: Type, data: bytes) -> Any:
    """The one value that `data` is, all of it. Raises `UnreadableError`."""
    body = Body(data)
    try:
        value = read_value(whole, body)
    except RecursionError:
        raise UnreadableError(TOO_DEEP) from None
    if body.left:
        raise UnreadableError(TOO_LONG)
    return value


def build_column(whole: Type, values: Sequence[Any], name: str = "") -> pl.Series:
    """`values` as `read_value` gives them, as a column of the type that `dtype_of` says.

    Raises `UnreadableError` where a value is none that a column can hold.
    """
    match whole.kind:
        case "record":
            if not whole.fields:
                return _empty_structs(values, name)
            columns = [
                build_column(each.type, [None if value is None else value[each.name] for value in values], each.name)
                for each in whole.fields
            ]
            is_given = pl.Series([value is not None for value in values], dtype=pl.Boolean)
            return pl.select(pl.when(is_given).then(pl.struct(columns)).alias(name)).to_series()
        case "array" | "map":
            return _build_lists(whole, values, name)
        case "union":
            return _build_union(whole, values, name)
        case "recursive":
            return pl.Series(name, [None if value is None else _to_json(value) for value in values], dtype=pl.String)
        case _:
            column = pl.Series(name, values, dtype=_lying(whole))
            try:
                return to_meaning(column, whole).alias(name)
            except ValueError as error:
                raise UnreadableError(str(error)) from error


def _lying(leaf: Type) -> pl.DataType:
    """The column type of a leaf's values as they lie in the bytes."""
    return dtype_of(Type(kind=leaf.kind))


def _empty_structs(values: Sequence[Any], name: str) -> pl.Series:
    return pl.Series(name, [None if value is None else {} for value in values], dtype=pl.Struct([]))


def _build_lists(whole: Type, values: Sequence[Any], name: str) -> pl.Series:
    items = [item for value in values if value is not None for item in value]
    if whole.kind == "map":
        keys = pl.Series("key", [key for key, _ in items], dtype=pl.String)
        column = pl.select(pl.struct(keys, build_column(whole.item, [item for _, item in items], "value"))).to_series()
    else:
        column = build_column(whole.item, items)
    lengths = pl.Series([None if value is None else len(value) for value in values], dtype=pl.Int64)
    return gather_lists(column, lengths, dtype_of(whole)).alias(name)


def gather_lists(items: pl.Series, lengths: pl.Series, dtype: pl.DataType) -> pl.Series:
    """`items` in lists of `lengths`, one after the other; null where the length is."""
    import numpy as np
    import pyarrow as pa

    counts = lengths.fill_null(0).to_numpy()
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    inner = items.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    validity = pa.py_buffer(np.packbits(lengths.is_not_null().to_numpy(), bitorder="little"))
    arrow = pa.Array.from_buffers(
        pa.large_list(inner.type), len(counts), [validity, pa.py_buffer(offsets)], children=[inner]
    )
    return pl.Series(pl.from_arrow(arrow)).cast(dtype)


def _build_union(whole: Type, values: Sequence[Any], name: str) -> pl.Series:
    kept = [(index, branch) for index, branch in enumerate(whole.branches) if branch.kind != "null"]
    if not kept:
        return pl.Series(name, [None] * len(values), dtype=pl.Null)
    columns = []
    for index, branch in kept:
        mine = [value.value if value is not None and value.branch == index else None for value in values]
        columns.append(build_column(branch, mine, name))
    return columns[0] if len(columns) == 1 else coalesce_texts(columns).alias(name)


def coalesce_texts(columns: Sequence[pl.Series]) -> pl.Series:
    """One column of texts of the branches of a union, of which a row has one."""
    texts = [to_text(number_times(each)) for each in columns if each.null_count() < len(each)]
    if not texts:
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(columns[0]))
    return pl.select(pl.coalesce(texts)).to_series()


def _to_json(value: Any) -> str:
    import json

    def plain(each: Any) -> Any:
        if isinstance(each, Branch):
            return plain(each.value)
        if isinstance(each, dict):
            return {key: plain(inner) for key, inner in each.items()}
        if isinstance(each, list):
            pairs = all(isinstance(inner, tuple) for inner in each) and each
            return {key: plain(inner) for key, inner in each} if pairs else [plain(inner) for inner in each]
        return each.decode("utf-8", "backslashreplace") if isinstance(each, bytes) else each

    return json.dumps(plain(value), ensure_ascii=False)


def _read_items(body: Body, item: Type, read: Any, extra: int = 0) -> list[Any]:
    items: list[Any] = []
    size = least_size(item) + extra
    while count := body.long():
        if count < 0:
            count = -count
            body.long()  # the block's size in bytes, for who wants to skip it
        if count > (body.left // size if size else sys.getrecursionlimit()):
            raise UnreadableError(TOO_SHORT if size else NOT_OF_SCHEMA)
        items.extend(read() for _ in range(count))
    return items


def _read_union(whole: Type, body: Body) -> Any:
    index = _index(body, len(whole.branches))
    value = read_value(whole.branches[index], body)
    return None if whole.branches[index].kind == "null" else Branch(index, value)


def _index(body: Body, count: int) -> int:
    index = body.long(32)
    if not 0 <= index < count:
        raise UnreadableError(NOT_OF_SCHEMA)
    return index


def _key(body: Body) -> str:
    return _text(body.take(body.long()))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UnreadableError("a text in it is not UTF-8") from None
