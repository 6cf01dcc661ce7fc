"""Whether one schema can read what another has written, by the rules of Avro, and whether m2's event can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.avro.leaves import dtype_of
from m2cli.avro.resolve import choose_fields
from m2cli.events import MONEY, TIME
from m2cli.files.rule import INPUT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from m2cli.avro.types import Field, Type

# What a value may be read as besides what it was written as.
_PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}


def find_obstacles(reader: Type, writer: Type) -> list[str]:
    """Why `reader` cannot read what `writer` has written, a line for each place; nothing if it can."""
    return list(dict.fromkeys(_Resolution().obstacles(reader, writer, "")))


def find_obstacles_of_event(record: Type, mapping: Mapping[str, str], relatives: Sequence[Type]) -> list[str]:
    """Why m2 could make no event, or not all of it, of what `record` says."""
    if record.kind != "record":
        return ["it is no record"]
    chosen = choose_fields(record, mapping, relatives)
    found = [] if "event_time" in chosen else ["no field is `event_time`, and none is mapped to it"]
    types = {field.name: field.type for field in record.fields}
    for column, field in chosen.items():
        if field in types and not _can_become(dtype_of(types[field]), INPUT_COLUMNS[column], column):
            found.append(f"{field}: {_say(types[field])} cannot become {column}")
    return found


def _can_become(given: pl.DataType, wanted: object, column: str) -> bool:
    is_plain = given.is_numeric() or given in (pl.String, pl.Binary, pl.Null)
    if wanted == TIME:
        return is_plain or given.is_temporal()
    if column == "attributes":
        return given.is_nested() or given in (pl.String, pl.Binary, pl.Null)
    if wanted == MONEY or wanted in (pl.Int32, pl.Int64):
        return is_plain
    return True


class _Resolution:
    """One comparison; each pair of types is looked at once, or one that holds itself would be for ever."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], list[str]] = {}

    def obstacles(self, reader: Type, writer: Type, place: str) -> list[str]:
        reader, writer = _named(reader), _named(writer)
        pair = (id(reader), id(writer))
        if pair not in self._known:
            self._known[pair] = []  # as long as nothing else is known
            self._known[pair] = list(self._find(reader, writer, place))
        return self._known[pair]

    def _find(self, reader: Type, writer: Type, place: str) -> Iterator[str]:
        if writer.kind == "union":
            for branch in writer.branches:
                yield from self.obstacles(reader, branch, place)
        elif reader.kind == "union":
            yield from self._of_branches(reader, writer, place)
        elif reader.kind != writer.kind:
            if reader.kind not in _PROMOTIONS.get(writer.kind, ()):
                yield f"{_at(place)}{_say(writer)} is not read as {_say(reader)}"
        else:
            yield from self._of_kind(reader, writer, place)

    def _of_branches(self, reader: Type, writer: Type, place: str) -> Iterator[str]:
        """None if one of the branches reads it; else why the nearest does not."""
        found = [self.obstacles(branch, writer, place) for branch in reader.branches]
        same = [each for each, branch in zip(found, reader.branches, strict=True) if branch.kind == writer.kind]
        if all(found):
            yield from same[0] if same else [f"{_at(place)}{_say(writer)} is none of {_say(reader)}"]

    def _of_kind(self, reader: Type, writer: Type, place: str) -> Iterator[str]:
        if (reader.logical, reader.scale) != (writer.logical, writer.scale):
            yield f"{_at(place)}{_say(writer)} would be taken for {_say(reader)}: the same bytes mean another value"
        if reader.kind in ("record", "enum", "fixed") and not _is_same_name(reader, writer):
            yield f"{_at(place)}`{writer.name}` is not `{reader.name}`, nor one of its aliases"
        elif reader.kind == "record":
            yield from self._of_fields(reader, writer, place)
        elif reader.kind == "enum" and not reader.has_default:
            unknown = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
            if unknown:
                yield f"{_at(place)}no symbol is {', '.join(unknown)}, and none stands for those that are unknown"
        elif reader.kind == "fixed" and reader.size != writer.size:
            yield f"{_at(place)}{writer.size} bytes are not {reader.size}"
        elif reader.kind in ("array", "map"):
            yield from self.obstacles(reader.item, writer.item, f"{place}[]")

    def _of_fields(self, reader: Type, writer: Type, place: str) -> Iterator[str]:
        written = {field.name: field for field in writer.fields}
        for field in reader.fields:
            inner = f"{place}.{field.name}" if place else field.name
            match = _match(field, written)
            if match is not None:
                yield from self.obstacles(field.type, match.type, inner)
            elif not field.has_default:
                yield f"{inner}: it is not written, and has no default"


def _match(field: Field, written: Mapping[str, Field]) -> Field | None:
    return next((written[name] for name in (field.name, *field.aliases) if name in written), None)


def _named(whole: Type) -> Type:
    return whole.named[whole.name] if whole.kind == "recursive" else whole


def _is_same_name(reader: Type, writer: Type) -> bool:
    """By the last part of a name, as the specification has it: who moves a schema elsewhere still reads the old."""
    last = writer.name.rpartition(".")[2]
    return last in {name.rpartition(".")[2] for name in (reader.name, *reader.aliases)}


def _say(whole: Type) -> str:
    if whole.kind == "union":
        return " or ".join(map(_say, whole.branches))
    if whole.logical == "decimal":
        return f"{whole.kind} (decimal of {whole.scale} decimals)"
    return f"{whole.kind} ({whole.logical})" if whole.logical else whole.kind


def _at(place: str) -> str:
    return f"{place}: " if place else ""
