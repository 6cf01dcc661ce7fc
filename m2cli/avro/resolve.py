"""Which field of a writer's schema is which column of the event: by name, by alias, or as a person has said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.avro.leaves import number_times
from m2cli.avro.own import WHERE_FROM
from m2cli.errors import UsageError
from m2cli.events import TEXTS
from m2cli.files.rule import INPUT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from m2cli.avro.types import Type

_ENTRIES = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Raises `UsageError` for a map of what only the topic can say."""
    for name in WHERE_FROM:
        if name in mapping:
            raise UsageError(f"`{name}` is told by where a message stands in its topic, and cannot be mapped")


def choose_fields(record: Type, mapping: Mapping[str, str], relatives: Iterable[Type]) -> dict[str, str]:
    """Event column -> field of `record`.

    A column's field is the one that `mapping` says, else the one of its own name. A field of another name is meant
    where it has that name as an alias, or where the field of that name has *its* name as an alias in one of the
    `relatives`, the other schemas of the same name: so a field that was renamed is read from before and after.
    Fields that say where an event came from are not chosen: the topic says that.
    """
    others = [relative for relative in relatives if relative.kind == "record"]
    found = {}
    for column in (each for each in INPUT_COLUMNS if each not in WHERE_FROM):
        for asked in (mapping.get(column), column):
            field = _find(asked, record, others) if asked else None
            if field is not None:
                found[column] = field
                break
    return found


def _find(asked: str, record: Type, others: Sequence[Type]) -> str | None:
    names = {field.name for field in record.fields}
    if asked in names or asked.partition(".")[0] in names:
        return asked
    for field in record.fields:
        if asked in field.aliases:
            return field.name
    renamed = [alias for other in others for field in other.fields if field.name == asked for alias in field.aliases]
    return next((alias for alias in renamed if alias in names), None)


def take_out(rows: pl.DataFrame, chosen: Mapping[str, str]) -> pl.DataFrame:
    """`rows` with what is chosen from within records (`entity.type`) as columns, and maps as maps.

    Times within what becomes JSON are the numbers that were written."""
    inner = {path: _step_in(rows, path) for path in chosen.values() if path not in rows.columns}
    maps = [column.cast(TEXTS) for column in rows if column.dtype == _ENTRIES]
    nested = [number_times(column) for column in rows if column.dtype.is_nested()]
    return rows.with_columns(nested).with_columns(maps).with_columns(**inner)


def _step_in(rows: pl.DataFrame, path: str) -> pl.Series:
    head, *steps = path.split(".")
    column = rows[head]
    for step in steps:
        fields = column.dtype.fields if isinstance(column.dtype, pl.Struct) else []
        if step not in [field.name for field in fields]:
            return pl.Series([None], dtype=pl.Null).new_from_index(0, rows.height)
        column = column.struct.field(step)
    return column
