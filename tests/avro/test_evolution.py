"""Which schema can read what another has written, as fastavro finds it out by trying; and what the event can read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from fastavro._read_common import SchemaResolutionError

from m2cli.avro.evolution import find_obstacles, find_obstacles_of_event
from m2cli.avro.own import own_schemas
from tests.avro.material import body, record

if TYPE_CHECKING:
    from m2cli.avro.schema import AvroSchema

ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b"]}
MORE = {"type": "enum", "name": "E", "symbols": ["a", "b", "c"]}
INNER = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}
INNER_MORE = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]}
CASES: dict[str, tuple[Any, Any, Any, bool]] = {  # written as, a value, read as, whether it can be
    "the same": ("int", 1, "int", True),
    "int as long": ("int", 1, "long", True),
    "long as int": ("long", 1, "int", False),
    "long as double": ("long", 1, "double", True),
    "double as float": ("double", 1.0, "float", False),
    "text as bytes": ("string", "a", "bytes", True),
    "bytes as text": ("bytes", b"a", "string", True),
    "text as int": ("string", "a", "int", False),
    "a value as a nullable one": ("int", 1, ["null", "int"], True),
    "an int as a nullable long": ("int", 1, ["null", "long"], True),
    "null as a value": (["null", "int"], None, "int", False),
    "a branch that is not there": (["int", "string"], "a", ["null", "int"], False),
    "all symbols": (ENUM, "b", MORE, True),
    "a symbol that is not there": (MORE, "c", ENUM, False),
    "a symbol that another stands for": (MORE, "c", {**ENUM, "default": "a"}, True),
    "an array promoted": ({"type": "array", "items": "int"}, [1], {"type": "array", "items": "long"}, True),
    "an array of something else": (
        {"type": "array", "items": "string"},
        ["a"],
        {"type": "array", "items": "int"},
        False,
    ),
    "a map promoted": ({"type": "map", "values": "int"}, {"a": 1}, {"type": "map", "values": "double"}, True),
    "a record with less": (INNER_MORE, {"x": 1, "y": 2}, INNER, True),
    "a record with more": (INNER, {"x": 1}, INNER_MORE, False),
    "a fixed of another size": (
        {"type": "fixed", "name": "F", "size": 2},
        b"ab",
        {"type": "fixed", "name": "F", "size": 3},
        False,
    ),
    "a record as an int": (INNER, {"x": 1}, "int", False),
}


def can_read(reader: AvroSchema, writer: AvroSchema, value: Any) -> bool:
    """Whether fastavro can, by trying."""
    data = io.BytesIO(body(writer, value))
    try:
        fastavro.schemaless_reader(
            data, fastavro.parse_schema(writer.definition), fastavro.parse_schema(reader.definition)
        )
    except (SchemaResolutionError, ValueError, EOFError):
        return False
    return True


@pytest.mark.parametrize("name", CASES)
def test_an_obstacle_is_found_where_reading_fails_and_nowhere_else(name: str) -> None:
    written, value, read, expected = CASES[name]
    writer, reader = record("A", ("f", written)), record("A", ("f", read))
    obstacles = find_obstacles(reader.type, writer.type)
    assert (obstacles == []) == expected, obstacles
    assert can_read(reader, writer, {"f": value}) == expected
    assert all(each.startswith("f") for each in obstacles)


def test_a_field_that_is_not_written_needs_a_default() -> None:
    old, new = record("A", ("a", "int")), record("A", ("a", "int"), ("b", "int"))
    assert find_obstacles(new.type, old.type) == ["b: it is not written, and has no default"]
    assert find_obstacles(old.type, new.type) == []
    new = record("A", ("a", "int"), {"name": "b", "type": "int", "default": 5})
    assert find_obstacles(new.type, old.type) == []


def test_a_renamed_field_needs_an_alias() -> None:
    old, new = record("A", ("a", "int")), record("A", {"name": "b", "type": "int", "aliases": ["a"]})
    assert find_obstacles(new.type, old.type) == []
    assert find_obstacles(old.type, new.type) == ["a: it is not written, and has no default"]


def test_another_unit_of_time_is_an_obstacle() -> None:
    times = [{"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros")]
    writer, reader = (record("A", ("f", each)) for each in times)
    assert find_obstacles(reader.type, writer.type) == [
        "f: long (timestamp-millis) would be taken for long (timestamp-micros): the same bytes mean another value"
    ]


def test_a_type_that_holds_itself_is_compared_once() -> None:
    old = record("L", ("v", "int"), ("next", ["null", "L"]))
    new = record("L", ("v", "long"), ("next", ["null", "L"]))
    assert find_obstacles(new.type, old.type) == []
    assert find_obstacles(old.type, new.type) == ["v: long is not read as int"]


def test_the_event_reads_what_has_a_time_and_types_that_fit() -> None:
    schema = record("A", ("at", "string"), ("amount", "boolean"), ("status", INNER), ("attributes", "int"))
    assert find_obstacles_of_event(schema.type, {}, []) == [
        "no field is `event_time`, and none is mapped to it",
        "status: record cannot become status",
        "amount: boolean cannot become amount",
        "attributes: int cannot become attributes",
    ]
    assert find_obstacles_of_event(record("A", ("at", "string")).type, {"event_time": "at"}, []) == []


def test_the_event_reads_m2s_own_events() -> None:
    assert [find_obstacles_of_event(each.type, {}, []) for each in own_schemas()[:2]] == [[], []]
