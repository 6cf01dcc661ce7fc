"""Messages of one schema read by column: each field of all of them, then the next (in NumPy, without a loop over them).

Per field and event it takes 20 to 40 ns. Native readers of Avro were tried first: pyruhvro has no bytes, hence no
decimals, and overlooks bytes behind an end; Polars and polars-avro read messages joined into one block, in which a
broken one shifts all behind it, and panic or never end where this marks a lane as failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from m2cli.avro.exact import coalesce_texts, gather_lists
from m2cli.avro.lanes import Lanes
from m2cli.avro.leaves import dtype_of, fits_decimal, to_meaning
from m2cli.avro.types import Type, children, is_recursive, least_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]
    Mask = NDArray[np.bool_]

MOST_ROUNDS = 256  # items of one list that are read by column, each in a round of its own
LONGEST = 1 << 16  # bytes of a message with lists that are read so
_WIDTHS = {"float": (4, "<f4"), "double": (8, "<f8")}


class Read(NamedTuple):
    """The fields of messages, a row each, and which of these could not be read: of those the row says nothing."""

    rows: pl.DataFrame
    is_wrong: Mask


class _Part(NamedTuple):
    column: pl.Series
    places: Places


def is_columnar(record: Type) -> bool:
    """Whether messages of `record` can be read by column: records all of whose types have an end."""
    return record.kind == "record" and bool(record.fields) and not is_recursive(record)


def read_columns(record: Type, messages: pl.Series, header_size: int = 0) -> Read:
    """The fields of `messages` (Binary, no nulls), which begin with `header_size` bytes of something else.

    What is wrong is what `exact` may yet read: a list of more than `MOST_ROUNDS` items is only too long for here.
    """
    lanes = Lanes(messages)
    reader = _Reader(lanes, lanes.ends)
    places = np.minimum(lanes.starts + header_size, lanes.failed)
    if _has_lists(record):
        places = np.where(lanes.ends - lanes.starts > LONGEST, lanes.failed, places)
    columns = []
    for field in record.fields:
        column, places = reader.read(field.type, places, lanes.ends)
        columns.append(column.alias(field.name))
    return Read(pl.DataFrame(columns), places != lanes.ends)


def _has_lists(whole: Type) -> bool:
    return whole.kind in ("array", "map") or any(map(_has_lists, children(whole)))


class _Reader:
    """Reads one type at many places; what fails stands at `lanes.failed` from then on."""

    def __init__(self, lanes: Lanes, ends: Places) -> None:
        self.lanes, self.ends = lanes, ends

    def read(self, whole: Type, places: Places, ends: Places) -> _Part:
        """The values at `places` of messages that end at `ends`, and the places behind them."""
        match whole.kind:
            case "record":
                return self._read_record(whole, places, ends)
            case "array" | "map":
                return self._read_lists(whole, places, ends)
            case "union":
                return self._read_union(whole, places, ends)
            case "null":
                return _Part(_nulls(whole, len(places)), places)
            case _:
                raw, places = self._read_leaf(whole, places)
                return self._to_column(whole, raw, places, None)

    def _read_leaf(self, leaf: Type, places: Places) -> tuple[Any, Places]:  # noqa: PLR0911  # one return for each kind
        lanes = self.lanes
        match leaf.kind:
            case "long":
                return lanes.longs(places)
            case "int":
                values, after = lanes.longs(places)
                return values.astype(np.int32), self._fail(after, values != values.astype(np.int32))
            case "enum":
                values, after = lanes.longs(places)
                is_wrong = values.view(np.uint64) >= len(leaf.symbols)
                return np.where(is_wrong, 0, values), self._fail(after, is_wrong)
            case "boolean":
                flags = lanes.bytes[places]
                return flags == 1, self._fail(lanes.clamp(places + 1), flags > 1)
            case "float" | "double":
                size, dtype = _WIDTHS[leaf.kind]
                words = lanes.words[places]
                values = words.astype(np.uint32).view(dtype) if size == 4 else words.view(dtype)
                return values, lanes.clamp(places + size)
            case "fixed":
                return lanes.fixed(places, leaf.size)
            case _:
                return lanes.views(places)

    def _fail(self, places: Places, is_wrong: Mask) -> Places:
        return np.where(is_wrong, self.lanes.failed, places) if is_wrong.any() else places

    def _to_column(self, leaf: Type, raw: Any, places: Places, is_given: Mask | None) -> _Part:
        """`raw` as a column, null where nothing is given; texts that are none and decimals too long fail."""
        if leaf.kind in ("bytes", "string", "fixed"):
            column = self.lanes.to_binary(raw, is_given)
        else:
            column = pl.Series(raw if is_given is None else pl.from_arrow(pa.array(raw, mask=~is_given)))
        try:
            return _Part(_finish(leaf, column), places)
        except (ValueError, pl.exceptions.ComputeError):
            values = column.to_list()
            is_wrong = np.array([not _is_well(leaf, value) for value in values])
            kept = [None if wrong else value for value, wrong in zip(values, is_wrong, strict=True)]
            column = pl.Series(kept, dtype=pl.Binary)  # anew: a mask would leave the bytes in, and they are looked at
            return _Part(_finish(leaf, column), self._fail(places, is_wrong))

    def _read_record(self, record: Type, places: Places, ends: Places) -> _Part:
        columns = []
        for field in record.fields:
            column, places = self.read(field.type, places, ends)
            columns.append(column.alias(field.name))
        if not columns:
            return _Part(pl.Series([{}] * len(places), dtype=pl.Struct([])), places)
        return _Part(pl.DataFrame(columns).to_struct(), places)

    def _read_union(self, union: Type, places: Places, ends: Places) -> _Part:
        if len(union.branches) == 2 and len(union.values) == 1 and union.values[0].kind in ("string", "bytes"):
            return self._read_nullable_text(union, places)
        indexes, places = self.lanes.longs(places)
        is_wrong = indexes.view(np.uint64) >= len(union.branches)
        places = self._fail(places, is_wrong)
        columns = []
        for index, branch in enumerate(union.branches):
            if branch.kind != "null":
                column, places = self._read_where(branch, indexes == index, places, ends)
                columns.append(column)
        if not columns:
            return _Part(_nulls(union, len(places)), places)
        return _Part(columns[0] if len(columns) == 1 else coalesce_texts(columns), places)

    def _read_nullable_text(self, union: Type, places: Places) -> _Part:
        text = union.values[0]
        given = 2 * union.branches.index(text)
        views, is_given, places = self.lanes.nullable_views(places, given, 2 - given)
        if not is_given.any():
            return _Part(_nulls(text, len(places)), places)
        return self._to_column(text, views, places, None if is_given.all() else is_given)

    def _read_where(self, branch: Type, is_given: Mask, places: Places, ends: Places) -> _Part:
        """The values of `branch` where they are given, null elsewhere."""
        if is_given.all():
            return self.read(branch, places, ends)
        which = np.flatnonzero(is_given)
        if not len(which):
            return _Part(_nulls(branch, len(places)), places)
        places = places.copy()
        if branch.kind in ("record", "array", "map", "union"):
            column, places[which] = self.read(branch, places[which], ends[which])
            index = pl.Series(np.cumsum(is_given) - 1).set(pl.Series(~is_given), None)
            return _Part(column.gather(index), places)
        found, places[which] = self._read_leaf(branch, places[which])
        raw = np.zeros((len(is_given), *found.shape[1:]), found.dtype)
        raw[which] = found
        return self._to_column(branch, raw, places, is_given)

    def _read_lists(self, whole: Type, places: Places, ends: Places) -> _Part:
        """Lists and maps: the first item of all of them, then the second, for as long as some have one."""
        rows: list[Places] = []
        items: list[pl.Series] = []
        places = places.copy()
        least = least_size(whole.item) + (whole.kind == "map")
        open_lanes = np.arange(len(places))
        while len(open_lanes):
            counts, after = self._count_items(places[open_lanes], ends[open_lanes], least)
            places[open_lanes] = after
            open_lanes, left = open_lanes[counts > 0], counts[counts > 0]
            reading = open_lanes
            while len(reading):
                if len(rows) >= MOST_ROUNDS:
                    places[reading] = self.lanes.failed  # where it finds no further block
                    break
                column, places[reading] = self._read_item(whole, places[reading], ends[reading])
                rows.append(reading)
                items.append(column)
                left = left - 1
                reading, left = reading[left > 0], left[left > 0]
        return _Part(_gather(whole, rows, items, len(places)), places)

    def _count_items(self, places: Places, ends: Places, least: int) -> tuple[Places, Places]:
        """How many items the next block has; a count that the rest of the message cannot hold fails."""
        counts, places = self.lanes.longs(places)
        is_sized = counts < 0
        if is_sized.any():  # a block that also says how many bytes it takes
            which = np.flatnonzero(is_sized)
            places = places.copy()
            places[which] = self.lanes.longs(places[which]).places
            counts = np.where(is_sized, -counts, counts)
        room = np.maximum(ends - places, 0) // least if least else np.full(len(places), MOST_ROUNDS)
        is_wrong = (counts < 0) | (counts > room)
        return np.where(is_wrong, 0, counts), self._fail(places, is_wrong)

    def _read_item(self, whole: Type, places: Places, ends: Places) -> _Part:
        if whole.kind == "array":
            return self.read(whole.item, places, ends)
        keys, places = self.read(_KEY, places, ends)
        values, places = self.read(whole.item, places, ends)
        return _Part(pl.DataFrame([keys.alias("key"), values.alias("value")]).to_struct(), places)


_KEY = Type(kind="string")


def _finish(leaf: Type, column: pl.Series) -> pl.Series:
    if leaf.kind == "string":
        return column.cast(pl.String)
    if leaf.kind == "enum":
        return pl.Series(leaf.symbols, dtype=pl.String).gather(column)
    return to_meaning(column, leaf)


def _is_well(leaf: Type, value: bytes | None) -> bool:
    if value is None:
        return True
    try:
        return bool(value.decode() or True) if leaf.kind == "string" else fits_decimal(value)
    except UnicodeDecodeError:
        return False


def _nulls(whole: Type, count: int) -> pl.Series:
    return pl.Series([None], dtype=dtype_of(whole)).new_from_index(0, count)


def _gather(whole: Type, rows: list[Places], items: list[pl.Series], count: int) -> pl.Series:
    dtype = dtype_of(whole)
    if not rows:
        return pl.Series([[]], dtype=dtype).new_from_index(0, count)
    joined = np.concatenate(rows)
    ordered = pl.concat(items).gather(np.argsort(joined, kind="stable"))
    return gather_lists(ordered, pl.Series(np.bincount(joined, minlength=count)), dtype)
