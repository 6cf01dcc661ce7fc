"""Schemas, canonical forms and fingerprints: what Avro's own people say of them, and what is no schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastavro.schema import parse_schema as parse
from fastavro.schema import to_parsing_canonical_form

from m2cli.avro.decode import Decoder
from m2cli.avro.exact import read_body
from m2cli.avro.own import end_of_visit_schema, event_schema, tagged_event_schema
from m2cli.avro.schema import BadSchemaError, parse_schema
from m2cli.avro.stores import EmbeddedStore
from m2cli.events import LAKE_EVENT_SCHEMA, VISIT_SCHEMA
from tests.avro.material import SHARED, arrived, needs_material, record

CASES = json.loads((SHARED / "schema-tests.json").read_text())["cases"] if SHARED.exists() else []


@needs_material
def test_all_the_material_is_looked_at() -> None:
    assert (len(CASES), sum("fingerprint_int64" in case for case in CASES)) == (34, 26)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_canonical_form_and_its_fingerprint_are_what_the_reference_says(case: dict[str, Any]) -> None:
    assert json.loads(to_parsing_canonical_form(parse(json.loads(case["input"])))) == json.loads(case["canonical"])
    if "fingerprint_int64" in case:
        fingerprint = parse_schema(case["input"]).fingerprint
        assert int.from_bytes(fingerprint, "little", signed=True) == case["fingerprint_int64"]
        assert (b"\xc3\x01" + fingerprint).hex() == case["single_object_header_hex"]


@needs_material
def test_a_message_made_in_java_is_read() -> None:
    schema = parse_schema((SHARED / "messageV1" / "test_schema.avsc").read_text())
    data = (SHARED / "messageV1" / "test_message.bin").read_bytes()
    assert data[:10] == b"\xc3\x01" + schema.fingerprint
    assert read_body(schema.type, data[10:]) == {"id": 42, "name": "Bill", "tags": ["dog_lover", "cat_hater"]}
    intake = Decoder(EmbeddedStore([schema])).decode(arrived(data))
    assert intake.rejects["reason"].to_list() == ["event_time is missing"]
    assert json.loads(intake.rejects["raw"][0]) == {"id": "42", "name": "Bill", "tags": '["dog_lover","cat_hater"]'}


@needs_material
def test_a_schema_of_everything_is_known() -> None:
    assert parse_schema((SHARED / "interop.avsc").read_text()).name == "org.apache.avro.Interop"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "Expecting value", id="nothing"),
        pytest.param("{", "Expecting property name", id="half of JSON"),
        pytest.param("3", "not a schema", id="a number"),
        pytest.param('{"type": "record", "name": "A"}', "lacks", id="a record without fields"),
        pytest.param('{"type": "record", "fields": []}', "not a schema", id="a record without a name"),
        pytest.param('"shop.Order"', "`shop.Order` is no type", id="a name that is none"),
        pytest.param('{"type": "array"}', "lacks", id="an array of what"),
        pytest.param('["int", ["string"]]', "not a schema", id="a union within a union"),
        pytest.param("[" * 5000, "not a schema", id="what is nested too deep"),
        pytest.param('{"type": "enum", "name": "E", "symbols": ["a", "a"]}', "not a schema", id="a symbol twice"),
        pytest.param(
            '{"type": "record", "name": "A", "fields": [{"name": "b", "type": "int"}, {"name": "b", "type": "int"}]}',
            "`A` has two fields `b`",
            id="a field twice",
        ),
    ],
)
def test_what_is_no_schema_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadSchemaError, match=reason):
        parse_schema(text, "order.avsc")


def test_names_that_double_do_not_fill_the_memory() -> None:
    inner: Any = "int"
    for place in range(30):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"N{place - 1}" if place else "int"}]
        inner = {"type": "record", "name": f"N{place}", "fields": fields}
    with pytest.raises(BadSchemaError, match="more than 10,000 types"):
        parse_schema(json.dumps(inner))


def test_a_name_is_full() -> None:
    assert record("Order", ("a", "int"), namespace="shop").name == "shop.Order"
    assert record("shop.Order", ("a", "int"), namespace="other").name == "shop.Order"
    assert parse_schema('"int"').name == "int"


def test_names_are_found_from_where_they_stand() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]}
    schema = record("Outer", ("a", inner), ("b", "Inner"), ("c", ["null", "shop.Inner"]), namespace="shop")
    assert [field.type.kind for field in schema.type.fields] == ["record", "record", "union"]


def test_the_own_schemas_have_all_columns() -> None:
    assert [field.name for field in tagged_event_schema().type.fields] == list(LAKE_EVENT_SCHEMA)
    assert [field.name for field in end_of_visit_schema().type.fields] == list(VISIT_SCHEMA)
    assert {"event_time", "amount", "attributes", "visitor_id"} <= {each.name for each in event_schema().type.fields}


@pytest.mark.parametrize(
    ("schema", "fingerprint"),
    [
        pytest.param(event_schema, "5c15e75029a55292", id="Event"),
        pytest.param(tagged_event_schema, "6b85fdf1ed44d00d", id="TaggedEvent"),
        pytest.param(end_of_visit_schema, "df055f28b644b289", id="EndOfVisit"),
    ],
)
def test_the_own_schemas_stay_what_they_are(schema: Any, fingerprint: str) -> None:
    """Others read by them: a new column is a new fingerprint, and both must be readable."""
    assert schema().hex == fingerprint
