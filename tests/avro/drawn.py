"""Schemas of records and values of them, as hypothesis draws them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from tests.avro.material import record

if TYPE_CHECKING:
    from m2cli.avro.schema import AvroSchema

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Value = st.SearchStrategy[Any]


class Drawn(NamedTuple):
    schema: AvroSchema
    values: list[Any]


class Kind(NamedTuple):
    """A type as JSON has it, and its values as fastavro takes them."""

    type: Any
    values: Value


def micros(low: int = -(2**55), high: int = 2**57) -> Value:
    return st.integers(low, high).map(lambda each: EPOCH + timedelta(microseconds=each))


def millis() -> Value:
    return st.integers(-(2**44), 2**47).map(lambda each: EPOCH + timedelta(milliseconds=each))


def decimals(precision: int, scale: int) -> Value:
    bound = 10**precision - 1
    return st.integers(-bound, bound).map(lambda each: Decimal(each).scaleb(-scale))


PLAIN = (
    Kind("boolean", st.booleans()),
    Kind("int", st.integers(-(2**31), 2**31 - 1)),
    Kind("long", st.integers(-(2**63), 2**63 - 1)),
    Kind("float", st.floats(width=32, allow_nan=False)),
    Kind("double", st.floats(allow_nan=False)),
    Kind("string", st.text(max_size=200)),
    Kind("bytes", st.binary(max_size=200)),
    Kind({"type": "long", "logicalType": "timestamp-micros"}, micros()),
    Kind({"type": "long", "logicalType": "timestamp-millis"}, millis()),
    Kind({"type": "int", "logicalType": "date"}, st.dates(date(1900, 1, 1))),
    Kind({"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}, decimals(18, 4)),
    Kind({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0}, decimals(28, 0)),
)


@st.composite
def kinds(draw: st.DrawFn, names: list[int], depth: int = 2, *, in_union: bool = False) -> Kind:  # noqa: PLR0911  # one return for each kind
    """Any type; what has a name gets one of its own."""
    choices = ["plain", "enum", "fixed"] + ([] if in_union else ["nullable"])
    choices += ["array", "map", "record"] if depth else []
    match draw(st.sampled_from(choices)):
        case "plain":
            return draw(st.sampled_from(PLAIN))
        case "enum":
            symbols = ["A", "B", "C"]
            return Kind({"type": "enum", "name": name(names), "symbols": symbols}, st.sampled_from(symbols))
        case "fixed":
            size = draw(st.integers(1, 20))
            return Kind({"type": "fixed", "name": name(names), "size": size}, st.binary(min_size=size, max_size=size))
        case "nullable":
            inner = draw(kinds(names, depth, in_union=True))
            branches = draw(st.permutations(["null", inner.type]))
            return Kind(branches, st.none() | inner.values)
        case "array":
            inner = draw(kinds(names, depth - 1))
            return Kind({"type": "array", "items": inner.type}, st.lists(inner.values, max_size=4))
        case "map":
            inner = draw(kinds(names, depth - 1))
            return Kind(
                {"type": "map", "values": inner.type}, st.dictionaries(st.text(max_size=3), inner.values, max_size=3)
            )
        case _:
            fields = draw(st.lists(kinds(names, depth - 1), min_size=1, max_size=3))
            listed = [{"name": f"f{place}", "type": each.type} for place, each in enumerate(fields)]
            values = st.fixed_dictionaries({f"f{place}": each.values for place, each in enumerate(fields)})
            return Kind({"type": "record", "name": name(names), "fields": listed}, values)


def name(names: list[int]) -> str:
    names.append(len(names))
    return f"Named{len(names)}"


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    """A schema, and some values of it."""
    names: list[int] = []
    fields = draw(st.lists(kinds(names), min_size=1, max_size=6))
    schema = record("Drawn", *((f"f{place}", each.type) for place, each in enumerate(fields)))
    values = st.fixed_dictionaries({f"f{place}": each.values for place, each in enumerate(fields)})
    return Drawn(schema, draw(st.lists(values, min_size=1, max_size=6)))
