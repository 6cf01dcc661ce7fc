"""All ways of reading and writing say the same: by column, one by one, and fastavro."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from m2cli.avro.columns import is_columnar, read_columns
from m2cli.avro.encode import Encoder
from m2cli.avro.exact import TOO_DEEP, TOO_LONG, TOO_SHORT, UnreadableError, build_column, read_body
from m2cli.avro.leaves import dtype_of
from tests.avro.drawn import Drawn, drawn
from tests.avro.material import body, message, record

if TYPE_CHECKING:
    import random

    from m2cli.avro.schema import AvroSchema

HEADER = b"0123456789"


def read_exactly(schema: AvroSchema, bodies: list[bytes]) -> pl.DataFrame:
    return build_column(schema.type, [read_body(schema.type, each) for each in bodies]).struct.unnest()


def read_by_column(schema: AvroSchema, bodies: list[bytes]) -> tuple[pl.DataFrame, list[bool]]:
    rows, is_wrong = read_columns(schema.type, pl.Series([HEADER + each for each in bodies]), len(HEADER))
    return rows, is_wrong.tolist()


def as_fastavro(value: Any, whole: Any) -> Any:
    """A value of a column as fastavro has it: maps as dictionaries."""
    if value is None:
        return None
    if whole.kind == "union":
        return as_fastavro(value, whole.values[0])
    if whole.kind == "record":
        return {each.name: as_fastavro(value[each.name], each.type) for each in whole.fields}
    if whole.kind == "map":
        return {each["key"]: as_fastavro(each["value"], whole.item) for each in value}
    if whole.kind == "array":
        return [as_fastavro(each, whole.item) for each in value]
    return value


@given(drawn())
def test_a_column_a_judge_and_fastavro_read_the_same(case: Drawn) -> None:
    schema, values = case
    bodies = [body(schema, value) for value in values]
    by_column, is_wrong = read_by_column(schema, bodies)
    assert not any(is_wrong)
    assert_frame_equal(by_column, read_exactly(schema, bodies))
    parsed = fastavro.parse_schema(schema.definition)
    for row, each in zip(by_column.to_dicts(), bodies, strict=True):
        assert as_fastavro(row, schema.type) == fastavro.schemaless_reader(io.BytesIO(each), parsed, None)


@given(drawn())
def test_what_is_written_by_column_is_what_fastavro_writes(case: Drawn) -> None:
    schema, values = case
    messages = [message(schema, value) for value in values]
    rows, _ = read_by_column(schema, [each[10:] for each in messages])
    written = Encoder(schema).encode(rows).to_list()
    parsed = fastavro.parse_schema(schema.definition)
    for ours, theirs in zip(written, messages, strict=True):
        if ours != theirs:  # to a decimal of -128, -32768 and so on fastavro gives a byte more than it needs
            assert len(ours) < len(theirs)
            assert "decimal" in str(schema.definition)
            read = [fastavro.schemaless_reader(io.BytesIO(each[10:]), parsed, None) for each in (ours, theirs)]
            assert read[0] == read[1]


@given(drawn(), st.data())
def test_a_column_and_the_judge_agree_on_any_bytes(case: Drawn, data: st.DataObject) -> None:
    """And a broken message changes nothing in those beside it."""
    schema, values = case
    bodies = [mutate(body(schema, value), data.draw(st.randoms(use_true_random=False))) for value in values]
    assert_agree(schema, bodies)


def assert_agree(schema: AvroSchema, bodies: list[bytes]) -> None:
    by_column, is_wrong = read_by_column(schema, bodies)
    well = []
    for each, wrong in zip(bodies, is_wrong, strict=True):
        try:
            read_body(schema.type, each)
            build_column(schema.type, [read_body(schema.type, each)])
            well.append(each)
            assert not wrong
        except UnreadableError:
            assert wrong
    if well:
        assert_frame_equal(by_column.filter(~pl.Series(is_wrong)), read_exactly(schema, well))


def mutate(data: bytes, chance: random.Random) -> bytes:
    """`data`, or most of it."""
    changed = bytearray(data)
    for _ in range(chance.randrange(3)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                del changed[at : at + chance.randrange(1, 9)]
            case 1:
                changed[at:at] = chance.randbytes(chance.randrange(1, 12))
            case 2 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case _:
                changed[at : at + 1] = chance.choice([b"\xff", b"\x80", b"\x01", b"\x00", b"\xff" * 9 + b"\x01"])
    return bytes(changed)


TWO = {"type": "record", "name": "Two", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "string"}]}
MIXED = record(
    "Mixed",
    ("any", ["null", "string", "long", "boolean", "double", {"type": "array", "items": "int"}, TWO]),
    ("nothing", "null"),
    ("single", ["string"]),
    ("last", "int"),
)
MIXED_VALUES = [None, "text", 2**40, True, 0.1, [1, 2], {"a": 1, "b": "é"}]


def test_a_union_of_several_types_is_text_either_way() -> None:
    values = [{"any": each, "nothing": None, "single": "x", "last": place} for place, each in enumerate(MIXED_VALUES)]
    bodies = [body(MIXED, each) for each in values]
    rows, is_wrong = read_by_column(MIXED, bodies)
    assert not any(is_wrong)
    assert_frame_equal(rows, read_exactly(MIXED, bodies))
    assert rows["any"].to_list() == [None, "text", str(2**40), "true", "0.1", "[1,2]", '{"a":1,"b":"é"}']


CHAIN = record("Chain", ("value", "int"), ("next", ["null", "Chain"]))


def test_what_holds_itself_is_read_one_by_one_and_becomes_json() -> None:
    assert not is_columnar(CHAIN.type)
    value = {"value": 1, "next": {"value": 2, "next": None}}
    rows = read_exactly(CHAIN, [body(CHAIN, value)])
    assert rows.rows() == [(1, '{"value": 2, "next": null}')]


def test_a_message_that_is_nested_too_deep_ends_no_process() -> None:
    with pytest.raises(UnreadableError, match=TOO_DEEP):
        read_body(CHAIN.type, b"\x02\x02" * 500_000 + b"\x02\x00")


LISTS = record("Lists", ("numbers", {"type": "array", "items": "int"}), ("texts", {"type": "map", "values": "string"}))


def test_a_long_list_is_left_to_the_judge_and_read_all_the_same() -> None:
    long = body(LISTS, {"numbers": list(range(5000)), "texts": {}})
    short = body(LISTS, {"numbers": [1], "texts": {"a": "b"}})
    rows, is_wrong = read_by_column(LISTS, [short, long, short])
    assert is_wrong == [False, True, False]
    assert rows["numbers"].to_list()[0] == [1]
    assert len(read_exactly(LISTS, [long])["numbers"][0]) == 5000


def test_blocks_that_say_their_size_are_read() -> None:
    sized = bytes.fromhex("03 04 02 040000")  # two numbers in four bytes, in one block; no texts
    rows, is_wrong = read_by_column(LISTS, [sized])
    assert (rows["numbers"].to_list(), is_wrong) == ([[1, 2]], [False])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", TOO_SHORT, id="nothing"),
        pytest.param(b"\x00\x00x", TOO_LONG, id="bytes behind the end"),
        pytest.param(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", TOO_SHORT, id="a list of 2^63 items"),
        pytest.param(b"\x00\x02\x01\x00", "not what its schema says", id="a text of a negative length"),
        pytest.param(b"\x00\x02\x02\xff\x00\x00", "not UTF-8", id="a key that is no text"),
        pytest.param(b"\xff" * 11, "not what its schema says", id="a number without an end"),
        pytest.param(b"\x02\x80\x80\x80\x80\x20\x00\x00", "not what its schema says", id="an int of 34 bits"),
    ],
)
def test_a_broken_message_says_how(data: bytes, reason: str) -> None:
    assert read_by_column(LISTS, [data])[1] == [True]
    with pytest.raises(UnreadableError, match=reason):
        read_body(LISTS.type, data)


NOTHINGS = record("Nothings", ("nothings", {"type": "array", "items": "null"}))


def test_a_list_of_nothing_is_not_billions_long() -> None:
    data = b"\xfe\xff\xff\xff\x1f\x00"
    assert read_by_column(NOTHINGS, [data])[1] == [True]
    with pytest.raises(UnreadableError):
        read_body(NOTHINGS.type, data)
    assert read_exactly(NOTHINGS, [b"\x04\x00"]).rows() == [([None, None],)]


def test_an_empty_text_at_the_very_end_looks_at_nothing_behind_it() -> None:
    schema = record("Text", ("text", "string"), ("wide", ["null", {"type": "fixed", "name": "W", "size": 16}]))
    bodies = [body(schema, {"text": "", "wide": None}), body(schema, {"text": "x" * 13, "wide": b"y" * 16})]
    assert_agree(schema, [*bodies, bodies[1][:-1], bodies[1][:-15], bodies[0][:1]])


@settings(max_examples=30)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_numbers_of_every_length(numbers: list[int]) -> None:
    schema = record("Number", ("n", "long"), ("m", ["null", "long"]))
    bodies = [body(schema, {"n": number, "m": number}) for number in numbers]
    rows, is_wrong = read_by_column(schema, bodies)
    assert not any(is_wrong)
    assert rows["n"].to_list() == rows["m"].to_list() == numbers
    assert [each[10:] for each in Encoder(schema).encode(rows)] == bodies


def test_the_column_of_nothing_has_its_type() -> None:
    schema = record(
        "Empty",
        ("a", ["null", {"type": "map", "values": "string"}]),
        ("b", {"type": "array", "items": MIXED.definition}),
    )
    rows, _ = read_by_column(schema, [b"\x00\x00"])
    assert [column.dtype for column in rows] == [dtype_of(field.type) for field in schema.type.fields]
