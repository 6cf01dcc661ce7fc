"""m2's own schemas, generated from the columns of the event and the visit."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.avro.schema import AvroSchema, parse_schema
from m2cli.events import LAKE_EVENT_SCHEMA, TIME, VISIT_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NAMESPACE = "m2"
# What m2 finds out, or what the place of a message says.
_FOUND_OUT = ("visit_id", "country", "is_robot", "browser", "device")
WHERE_FROM = ("source", "part_id", "position_in_source", "arrival_time")
_PRIMITIVES: dict[Any, str] = {pl.String: "string", pl.Int32: "int", pl.Int64: "long", pl.Boolean: "boolean"}


@cache
def event_schema() -> AvroSchema:
    """`m2.Event`: an event as somebody measures it, of the same columns as the event, and the visitor if known."""
    return _make("Event", LAKE_EVENT_SCHEMA, (*_FOUND_OUT, *WHERE_FROM))


@cache
def tagged_event_schema() -> AvroSchema:
    """`m2.TaggedEvent`: an event with its final visit, as the lake has it."""
    return _make("TaggedEvent", LAKE_EVENT_SCHEMA)


@cache
def end_of_visit_schema() -> AvroSchema:
    """`m2.EndOfVisit`: a visit that has ended, as the lake has it."""
    return _make("EndOfVisit", VISIT_SCHEMA)


def own_schemas() -> tuple[AvroSchema, ...]:
    """All of them."""
    return event_schema(), tagged_event_schema(), end_of_visit_schema()


def _make(name: str, columns: Mapping[str, Any], without: Collection[str] = ()) -> AvroSchema:
    """A schema of nullable fields. Without docs: a better wording would be another schema of the same fingerprint."""
    fields = [
        {"name": column, "type": ["null", _type(dtype)], "default": None}
        for column, dtype in columns.items()
        if column not in without
    ]
    return parse_schema(json.dumps({"type": "record", "name": name, "namespace": NAMESPACE, "fields": fields}))


def _type(dtype: Any) -> Any:
    if dtype == TIME:
        return {"type": "long", "logicalType": "timestamp-micros"}
    if isinstance(dtype, pl.Decimal):
        return {"type": "bytes", "logicalType": "decimal", "precision": dtype.precision, "scale": dtype.scale}
    if isinstance(dtype, pl.Map):
        return {"type": "map", "values": _type(dtype.value)}
    return _PRIMITIVES[dtype if isinstance(dtype, type) else type(dtype)]
