"""The fast parser of JSON lines: objects that are like most of a block, of which only what is asked for is read.

What a sample of the lines holds settles of which kind each value is taken to be. A line with another is left over; from
those that are, the next sample is taken, and what is like nothing else is for the exact parser.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import polars as pl

from m2cli.logs.parsers.scalars import read_scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Paths = tuple[tuple[str, ...], ...]

_SAMPLE_COUNT = 64
_ROUNDS = 4
# Records at a time: so many are at hand when their columns are made, and they are gone before there are more.
_SLAB = 2048
_NOTHING, _TEXT, _RAW, _LIST, _OBJECT = "nothing", "text", "raw", "list", "object"
_NUMBER = "^-?[0-9]+(?:[.][0-9]+)?$"
_NULL = msgspec.Raw(b"null")


class _Shape(NamedTuple):
    """What a value is taken to be; of an object each key that is asked for."""

    kind: str
    inner: tuple[tuple[str, _Shape], ...] = ()


class _Column(NamedTuple):
    """Makes of many records what is at one path, texts or else pieces of JSON; None if nothing is."""

    kind: str
    read: Callable[[Sequence[Any]], pl.Series] | None


class _Reader(NamedTuple):
    """Makes a record of a line, and of many records the column of each path."""

    decode: Callable[[str], Any]
    columns: tuple[_Column, ...]


def split_alike(lines: pl.DataFrame, columns: Mapping[str, tuple[str, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Those of `lines` that are like many others, as `objects.split_objects` says, and those left over."""
    paths = tuple(columns.values())
    taken: list[pl.DataFrame] = []
    for _ in range(_ROUNDS if _can_be_read(paths) else 0):
        if lines.is_empty():
            break
        rows, is_like = _read_alike(lines, _read_sample(lines, paths), columns)
        if not is_like.any():
            break
        taken.append(rows)
        lines = lines.filter(~is_like)
    if len(taken) == 1:
        return taken[0], lines
    nothing = [pl.lit(None, pl.String).alias(name) for name in columns]
    none = lines.clear().select("position_in_source", "is_odd_text", *nothing)
    return pl.concat([none, *taken]).sort("position_in_source"), lines


def _can_be_read(paths: Paths) -> bool:
    """Whether records can have these paths: a list has its first item at the end of a path, no path goes on in another.

    Nobody's log is otherwise.
    """
    ordered = sorted(set(paths))
    has_parts = any(other[: len(one)] == one for one, other in pairwise(ordered))
    is_plain = all("0" not in path[:-1] and not set('"\\') & set("".join(path)) for path in paths)
    return is_plain and not has_parts and all(key.isprintable() for path in paths for key in path)


def _read_sample(lines: pl.DataFrame, paths: Paths) -> _Shape:
    documents = []
    for line in lines.get_column("line").gather_every(max(1, len(lines) // _SAMPLE_COUNT)):
        try:
            documents.append(json.loads(line))
        except (ValueError, RecursionError):
            continue  # it is a line as well that is like no other
    return _find_shape(documents, paths)


def _find_shape(values: list[Any], paths: Paths) -> _Shape:
    values = [value for value in values if value is not None]
    if not values:
        return _Shape(_NOTHING)
    if paths == ((),):
        return _Shape(_TEXT if all(isinstance(value, str) for value in values) else _RAW)
    if paths == (("0",),) and not any(isinstance(value, dict) for value in values):
        return _Shape(_LIST)
    objects = [value for value in values if isinstance(value, dict)]
    below: dict[str, dict[tuple[str, ...], None]] = {}
    for key, *path in paths:
        below.setdefault(key, {})[tuple(path)] = None
    inner = ((key, _find_shape([each.get(key) for each in objects], tuple(rest))) for key, rest in below.items())
    return _Shape(_OBJECT, tuple(inner))


def _read_alike(
    lines: pl.DataFrame, shape: _Shape, columns: Mapping[str, tuple[str, ...]]
) -> tuple[pl.DataFrame, pl.Series]:
    """The rows of those of `lines` that have `shape`, and which these are."""
    if shape.kind != _OBJECT:
        return lines.clear(), pl.Series([False]).new_from_index(0, len(lines))
    reader = _make_reader(shape, tuple(columns.values()))
    pieces: list[list[pl.Series]] = [[] for _ in columns]
    unlike: list[int] = []
    texts = lines.get_column("line")
    for start in range(0, len(texts), _SLAB):
        records, others = _decode_all(reader.decode, texts[start : start + _SLAB].to_list())
        unlike += [start + other for other in others]
        for of_column, column in zip(pieces, reader.columns, strict=True):
            if column.read:
                of_column.append(column.read(records))
    is_like = pl.Series([True]).new_from_index(0, len(lines))
    if unlike:
        is_like[unlike] = False
    rows = (lines.filter(is_like) if unlike else lines).select("position_in_source", "is_odd_text")
    series = [
        _join(of_column, column.kind).alias(name) if of_column else pl.lit(None, pl.String).alias(name)
        for name, of_column, column in zip(columns, pieces, reader.columns, strict=True)
    ]
    return rows.with_columns(series), is_like


def _join(pieces: list[pl.Series], kind: str) -> pl.Series:
    values = pl.concat(pieces, rechunk=True)
    return values if kind == _TEXT else _read_raw(values, is_list=kind == _LIST)


def _decode_all(decode: Callable[[str], Any], lines: list[str]) -> tuple[list[Any], list[int]]:
    """The records of `lines`, and the numbers of those lines that are none."""
    records: list[Any] = []
    unlike: list[int] = []
    texts = iter(lines)
    while True:
        try:  # a line that raises is gone, and the records before it are there: a third less than a line at a time
            records.extend(map(decode, texts))
        except (msgspec.MsgspecError, RecursionError):
            unlike.append(len(records) + len(unlike))
        else:
            return records, unlike


@lru_cache(maxsize=256)
def _make_reader(shape: _Shape, paths: Paths) -> _Reader:
    record, _ = _make_type(shape)
    return _Reader(msgspec.json.Decoder(record).decode, tuple(_make_column(shape, path) for path in paths))


def _make_type(shape: _Shape) -> tuple[Any, Any]:
    """The type of values of `shape`, and what stands for one that is missing."""
    if shape.kind == _OBJECT:
        fields = [(f"f{number}", *_make_type(inner)) for number, (_, inner) in enumerate(shape.inner)]
        keys = {f"f{number}": key for number, (key, _) in enumerate(shape.inner)}
        record = msgspec.defstruct("Record", fields, rename=keys, frozen=True, gc=False)
        return record, record()
    return {_NOTHING: (None, None), _TEXT: (str | None, None), _RAW: (msgspec.Raw, _NULL), _LIST: (msgspec.Raw, _NULL)}[
        shape.kind
    ]


def _make_column(shape: _Shape, path: tuple[str, ...]) -> _Column:
    """How the column of `path` is made of records of `shape`."""
    names: list[str] = []
    for key in path:
        if shape.kind == _OBJECT:
            number = [name for name, _ in shape.inner].index(key)
            names.append(f"f{number}")
            shape = shape.inner[number][1]
    if shape.kind == _NOTHING:
        return _Column(shape.kind, None)
    find = attrgetter(".".join(names))
    make = _list_texts if shape.kind == _TEXT else _list_raw
    return _Column(shape.kind, lambda records: make(map(find, records)))


def _list_texts(values: Iterable[str | None]) -> pl.Series:
    return pl.Series(list(values), dtype=pl.String)


def _list_raw(values: Iterable[msgspec.Raw]) -> pl.Series:
    # Each is a piece of a line, so there is no end of a line in it; none is empty.
    text = b"\n".join(values).decode()
    return pl.Series(text.split("\n") if text else [], dtype=pl.String)


def _read_raw(raw: pl.Series, *, is_list: bool) -> pl.Series:
    """What pieces of JSON say: numbers as they are written, texts without their quotes; null for what is no text.

    Of a list it is what the first item says; where one is expected, one value is as good.
    """
    if raw.str.contains(_NUMBER).all():
        return raw
    value, size = pl.col("raw"), 2 if is_list else 1
    plain_text = r'^\["[^"\\]*"\]$' if is_list else r'^"[^"\\]*"$'
    frame = raw.alias("raw").to_frame()
    texts = frame.with_columns(
        pl.when(value.str.contains(_NUMBER))
        .then(value)
        .when(value.str.contains(plain_text))
        .then(value.str.slice(size).str.head(-size))
        .alias("text")
    )
    others = texts.filter(pl.col("text").is_null())["raw"].unique()
    read = pl.Series([read_scalar(text, is_list=is_list) for text in others], dtype=pl.String)
    return texts.select(pl.coalesce("text", value.replace_strict(others, read, default=None))).to_series()
