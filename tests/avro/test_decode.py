"""Messages of a topic as events: every kind, every schema, in order, and each lands in exactly one place."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from m2cli.avro.decode import UNKNOWN_SCHEMA, Decoder, decode_raw
from m2cli.avro.encode import Encoder, event_schema, tagged_event_schema
from m2cli.avro.stores import EmbeddedStore
from m2cli.errors import UnknownNameError, UsageError
from m2cli.events import EVENT_SCHEMA, REJECT_SCHEMA, Intake
from m2cli.stages.redaction import RedactionRule, redact
from tests.avro.material import ARRIVED, arrived, body, message, record

if TYPE_CHECKING:
    from m2cli.avro.schema import AvroSchema

TIME = datetime(2026, 11, 21, 11, 59, 58, 123456, UTC)
MICROS = 1_795_262_398_123_456
TIMED = ("event_time", {"type": "long", "logicalType": "timestamp-micros"})


def decode(*values: bytes | None, schemas: tuple[AvroSchema, ...] = (), **settings: Any) -> Intake:
    intake = Decoder(EmbeddedStore(schemas), **settings).decode(arrived(*values))
    assert intake.events.height + intake.rejects.height + intake.ignored_count == intake.read_count
    assert intake.rejects.schema == pl.Schema(REJECT_SCHEMA)
    assert all(
        intake.events.schema[name] == EVENT_SCHEMA[name] for name in intake.events.columns if name in EVENT_SCHEMA
    )
    return intake


def decode_one(schema: AvroSchema, value: Any, **settings: Any) -> dict[str, Any]:
    intake = decode(message(schema, value), schemas=(schema,), **settings)
    assert intake.rejects["reason"].to_list() == []
    return intake.events.row(0, named=True)


def reason_of(schema: AvroSchema, value: Any, **settings: Any) -> str:
    intake = decode(message(schema, value), schemas=(schema,), **settings)
    assert intake.events.is_empty()
    return str(intake.rejects["reason"][0])


class Registry:
    """A store of numbers, as a registry has them."""

    def __init__(self, *schemas: AvroSchema) -> None:
        self.schemas = dict(enumerate(schemas, 7))

    def find(self, fingerprint: bytes) -> AvroSchema | None:
        return next((each for each in self.schemas.values() if each.fingerprint == fingerprint), None)

    def find_id(self, schema_id: int) -> AvroSchema | None:
        return self.schemas.get(schema_id)

    def add(self, schema: AvroSchema) -> None: ...

    def list(self) -> list[AvroSchema]:
        return [*self.schemas.values()]

    def refresh(self) -> None: ...


ORDER = record("Order", TIMED, ("event_type", "string"), ("url", ["null", "string"]))


def order(url: str | None = "/", time: int = MICROS) -> dict[str, Any]:
    return {"event_time": time, "event_type": "page", "url": url}


def test_four_kinds_and_tombstones_are_told_apart_in_one_topic() -> None:
    confluent = b"\x00" + (7).to_bytes(4, "big") + body(ORDER, order("/confluent"))
    text = b'{"event_time": "2026-11-21T11:59:58Z",\r\n "url": "/json"}'
    values = [message(ORDER, order("/single")), None, confluent, text, message(ORDER, order("/last"))]
    intake = Decoder(Registry(ORDER)).decode(arrived(*values))
    assert intake.events["url"].to_list() == ["/single", "/confluent", "/json", "/last"]
    assert intake.events["position_in_source"].to_list() == [100, 102, 103, 104]
    assert intake.events["event_type"].to_list() == ["page", "page", "event", "page"]
    assert (intake.read_count, intake.ignored_count, intake.rejects.height) == (5, 1, 0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"\xc3\x01abc", "it ends within its header", id="half a header"),
        pytest.param(b"\x00\x00", "it ends within its header", id="half a number"),
        pytest.param(b"\xc3\x02", "its first bytes are of no kind that is known", id="another version"),
        pytest.param(b"hello", "its first bytes are of no kind that is known", id="foreign"),
        pytest.param(b"{", "it is not a JSON object", id="half of JSON"),
        pytest.param(b'{"a": "\xff"}', "it is not a JSON object", id="JSON that is no text"),
        pytest.param(b'{"event_time": "yesterday"}', "event_time is not a time", id="JSON without a time"),
        pytest.param(message(ORDER, order())[:-1], "it ends before its schema says", id="cut short"),
        pytest.param(message(ORDER, order()) + b"x", "bytes follow the end that its schema says", id="too long"),
        pytest.param(message(ORDER, order(time=2**62)), "event_time is not a time", id="a time beyond time"),
    ],
)
def test_what_is_no_event_is_a_reject_that_can_be_decoded_again(value: bytes, reason: str) -> None:
    intake = decode(value, message(ORDER, order()), schemas=(ORDER,))
    assert intake.rejects.select("source", "file", "position_in_source", "reason", "arrival_time").rows() == [
        ("measurements-0", "measurements-0", 100, reason, ARRIVED)
    ]
    assert intake.events.height == 1
    again = decode_raw(intake.rejects["raw"])
    assert decode(*again, schemas=(ORDER,)).rejects["reason"].to_list() == [reason]


def test_a_message_of_an_unknown_schema_is_kept_whole_until_its_schema_is_known() -> None:
    value = message(ORDER, order("/?password=tulip"))
    intake = decode(value)
    assert intake.rejects["reason"].to_list() == [UNKNOWN_SCHEMA]
    raws = redact(intake.rejects, RedactionRule())["raw"]
    assert decode_raw(raws).to_list() == [value]
    assert decode(*decode_raw(raws), schemas=(ORDER,)).events["url"].to_list() == ["/?password=tulip"]
    assert decode(b"\x00\x00\x00\x00\x07abc").rejects["reason"].to_list() == [UNKNOWN_SCHEMA]


@pytest.mark.parametrize("change", [lambda whole: whole + b"x", lambda whole: whole.replace(b"\xb8", b"\xff")])
def test_no_secret_stays_in_a_reject_of_a_known_schema(change: Any) -> None:
    schema = record("Late", ("event_time", ["null", "long"]), ("url", "string"))
    values = [change(message(schema, {"event_time": None, "url": "/?password=tulip&a=b"}))]
    values.append(message(schema, {"event_time": None, "url": "/?password=tulip&a=b"}))
    rejects = redact(decode(*values, schemas=(schema,)).rejects, RedactionRule())
    assert rejects.height == 2
    assert not rejects["raw"].str.contains("tulip").any()


def test_without_a_time_an_event_is_a_reject_of_its_fields() -> None:
    schema = record(
        "Late", ("event_time", ["null", "long"]), ("url", "string"), ("n", {"type": "map", "values": "int"})
    )
    intake = decode(message(schema, {"event_time": None, "url": '/"é', "n": {"a": 1}}), schemas=(schema,))
    assert intake.rejects["reason"].to_list() == ["event_time is missing"]
    assert json.loads(intake.rejects["raw"][0])["url"] == '/"é'
    again = decode_raw(intake.rejects["raw"])
    assert decode(*again, mapping={"event_time": "n"}).rejects["reason"].to_list() == ["event_time is not a time"]


AS_TIMES: dict[str, tuple[Any, Any]] = {
    "micros": ({"type": "long", "logicalType": "timestamp-micros"}, MICROS),
    "millis": ({"type": "long", "logicalType": "timestamp-millis"}, MICROS // 1000),
    "nanos": ({"type": "long", "logicalType": "timestamp-nanos"}, MICROS * 1000 + 999),
    "local micros": ({"type": "long", "logicalType": "local-timestamp-micros"}, MICROS),
    "a plain long of milliseconds": ("long", MICROS // 1000),
    "a plain double of seconds": ("double", MICROS / 1e6),
    "text": ("string", "2026-11-21T11:59:58.123456Z"),
    "text of another zone": ("string", "2026-11-21T12:59:58.123456+01:00"),
    "bytes of text": ("bytes", b"2026-11-21T11:59:58.123456Z"),
    "a union with null": (["null", {"type": "long", "logicalType": "timestamp-micros"}], MICROS),
    "a union of text and number": (["long", "string"], "2026-11-21T11:59:58.123456Z"),
    "that union's other half": (["long", "string"], MICROS),
}


@pytest.mark.parametrize("name", AS_TIMES)
def test_a_time_is_read_from(name: str) -> None:
    written, value = AS_TIMES[name]
    read = decode_one(record("A", ("event_time", written)), {"event_time": value})["event_time"]
    assert read.replace(microsecond=read.microsecond // 1000) == TIME.replace(microsecond=123)


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}
AS_MONEY: dict[str, tuple[Any, Any, str]] = {
    "decimal": (DECIMAL, Decimal("387.90"), "387.9"),
    "negative decimal": (DECIMAL, Decimal("-0.01"), "-0.01"),
    "fixed decimal": ({**DECIMAL, "type": "fixed", "name": "F", "size": 9}, Decimal("-387.90"), "-387.9"),
    "decimal of many digits": ({**DECIMAL, "precision": 60, "scale": 30}, Decimal("1.5"), "1.5"),
    "double": ("double", 0.1 + 0.2, "0.3"),
    "float": ("float", 123456.78, "123456.78"),
    "text": ("string", "12.3400", "12.34"),
    "int": ("int", 12, "12"),
}


@pytest.mark.parametrize("name", AS_MONEY)
def test_an_amount_is_read_without_noise_from(name: str) -> None:
    written, value, amount = AS_MONEY[name]
    read = decode_one(record("A", TIMED, ("amount", written)), {"event_time": MICROS, "amount": value})
    assert read["amount"] == Decimal(amount)


@pytest.mark.parametrize(
    ("column", "written", "value", "reason"),
    [
        pytest.param("amount", DECIMAL, Decimal(10**15), "amount is out of range", id="too much"),
        pytest.param(
            "amount", {**DECIMAL, "scale": 6}, Decimal("0.000001"), "amount has more than 4 decimals", id="fine"
        ),
        pytest.param("amount", "double", float("nan"), "amount is not a number", id="nan"),
        pytest.param("status", "long", 2**31, "status is out of range", id="a long that is no int"),
        pytest.param("quantity", "double", 1.5, "quantity is not a whole number", id="half a piece"),
        pytest.param("quantity", "string", "two", "quantity is not a whole number", id="a word"),
        pytest.param("attributes", "string", "no map", "attributes is not a map of texts", id="no map"),
    ],
)
def test_a_value_that_does_not_fit_is_a_reject_with_the_reason(
    column: str, written: Any, value: Any, reason: str
) -> None:
    assert reason_of(record("A", TIMED, (column, written)), {"event_time": MICROS, column: value}) == reason


def test_numbers_are_promoted_and_symbols_are_text() -> None:
    enum = {"type": "enum", "name": "Kind", "symbols": ["page", "click"]}
    schema = record(
        "A", TIMED, ("event_type", enum), ("status", "long"), ("quantity", "int"), ("url", "bytes"), ("ip", "int")
    )
    value = {"event_time": MICROS, "event_type": "click", "status": 200, "quantity": 3, "url": b"/", "ip": 5}
    read = decode_one(schema, value)
    assert [read[name] for name in ("event_type", "status", "quantity", "url", "ip")] == ["click", 200, 3, "/", "5"]


def test_what_no_column_is_called_goes_into_the_attributes() -> None:
    place = {
        "type": "record",
        "name": "Place",
        "fields": [{"name": "shelf", "type": "int"}, {"name": "day", "type": {"type": "int", "logicalType": "date"}}],
    }
    schema = record(
        "A",
        TIMED,
        ("attributes", {"type": "map", "values": "string"}),
        ("channel", "string"),
        ("nothing", ["null", "string"]),
        ("place", place),
        ("tags", {"type": "array", "items": "string"}),
        ("counts", {"type": "map", "values": "int"}),
        ("source", "string"),
        ("uuid", {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}),
        ("visit_id", "string"),
    )
    value = {
        "event_time": MICROS,
        "attributes": {"a": "b", "channel": "old"},
        "channel": "app",
        "nothing": None,
        "place": {"shelf": 3, "day": 5},
        "tags": ["x", "y"],
        "counts": {"n": 1},
        "source": "kiosk",
        "uuid": bytes(range(16)),
        "visit_id": "theirs",
    }
    read = decode_one(schema, value)
    attributes = (
        dict(read["attributes"])
        if isinstance(read["attributes"], dict)
        else {e["key"]: e["value"] for e in read["attributes"]}
    )
    counts = attributes.pop("counts")
    assert attributes == {
        "a": "b",
        "channel": "app",
        "place": '{"shelf":3,"day":5}',
        "tags": '["x","y"]',
        "source": "kiosk",
        "uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f",
    }
    assert "n" in counts
    assert read["source"] == "measurements-0"


def test_a_time_that_no_calendar_has_panics_nothing() -> None:
    date = {"type": "int", "logicalType": "date"}
    millis = {"type": "long", "logicalType": "timestamp-millis"}
    schema = record(
        "A",
        TIMED,
        ("day", date),
        ("when", millis),
        ("days", {"type": "array", "items": date}),
        ("any", ["null", date, "string"]),
    )
    parsed = record(
        "A",
        ("event_time", "long"),
        ("day", "int"),
        ("when", "long"),
        ("days", {"type": "array", "items": "int"}),
        ("any", ["null", "int", "string"]),
    )
    value = body(
        parsed, {"event_time": MICROS, "day": 2**31 - 1, "when": 2**63 - 1, "days": [-(2**31)], "any": 2**31 - 1}
    )
    read = decode(b"\xc3\x01" + schema.fingerprint + value, schemas=(schema,)).events["attributes"][0]
    attributes = read if isinstance(read, dict) else {each["key"]: each["value"] for each in read}
    assert attributes["day"] == "2147483647 days"
    assert attributes["when"] == "9223372036854775807 ms"


def test_fields_within_records_can_be_mapped() -> None:
    entity = {
        "type": "record",
        "name": "Entity",
        "fields": [{"name": "kind", "type": "string"}, {"name": "id", "type": "long"}],
    }
    schema = record("A", TIMED, ("entity", ["null", entity]))
    mapping = {"entity_type": "entity.kind", "entity_id": "entity.id", "hook": "entity.nothing"}
    read = decode_one(schema, {"event_time": MICROS, "entity": {"kind": "product", "id": 7}}, mapping=mapping)
    assert (read["entity_type"], read["entity_id"], read["hook"]) == ("product", "7", None)
    read = decode_one(schema, {"event_time": MICROS, "entity": None}, mapping=mapping)
    assert (read["entity_type"], read["entity_id"]) == (None, None)


def test_a_mapping_of_what_the_topic_says_is_refused() -> None:
    with pytest.raises(UsageError, match="told by where a message stands"):
        decode(mapping={"arrival_time": "received"})
    with pytest.raises(UnknownNameError):
        decode(mapping={"arival": "received"})


def test_an_event_without_an_id_is_called_by_its_place_also_beside_those_that_have_one() -> None:
    named = record("Named", TIMED, ("event_id", "string"))
    values = [message(ORDER, order()), message(named, {"event_time": MICROS, "event_id": "mine"})]
    assert decode(*values, schemas=(ORDER, named)).events["event_id"].to_list() == ["measurements-0-100", "mine"]


def test_a_renamed_field_is_read_from_before_and_after_by_its_alias() -> None:
    old = record("A", TIMED, ("link", "string"))
    new = record("A", TIMED, {"name": "url", "type": "string", "aliases": ["link"]})
    newer = record("A", {"name": "at", "type": TIMED[1], "aliases": ["event_time"]}, ("url", "string"))
    values = [
        message(old, {"event_time": MICROS, "link": "/old"}),
        message(new, {"event_time": MICROS, "url": "/new"}),
        message(newer, {"at": MICROS, "url": "/newer"}),
    ]
    assert decode(*values, schemas=(old, new, newer)).events["url"].to_list() == ["/old", "/new", "/newer"]


def test_a_year_of_twenty_schemas_in_one_topic_is_read_in_order() -> None:
    """Fields come, go, are renamed, change their types; old messages keep coming beside the new."""
    versions = [version(number) for number in range(20)]
    chance = random.Random(20)
    written = [
        (number, chance.choice(range(max(0, number - 3), number + 1))) for number in range(20) for _ in range(50)
    ]
    values = [message(*write(versions[one], one, place)) for place, (_, one) in enumerate(written)]
    intake = decode(*values, schemas=tuple(versions))
    assert intake.rejects.is_empty()
    assert intake.events["event_id"].to_list() == [f"e{place}" for place in range(len(values))]
    assert intake.events["position_in_source"].to_list() == list(range(100, 100 + len(values)))
    assert intake.events["event_time"].n_unique() == len(values)
    assert intake.events["amount"].to_list() == [Decimal(place) / 4 for place in range(len(values))]
    assert intake.events["status"].to_list() == [200 if one >= 5 else None for _, one in written]
    assert intake.events["url"].to_list() == [f"/{place}" for place in range(len(values))]


def version(number: int) -> AvroSchema:
    times = [
        "long",
        {"type": "long", "logicalType": "timestamp-millis"},
        {"type": "long", "logicalType": "timestamp-micros"},
        "string",
    ]
    amounts = ["double", "string", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}]
    url = {"name": "url", "type": ["null", "string"], "aliases": ["link"]} if number >= 8 else ("link", "string")
    fields: list[Any] = [
        ("event_id", "string"),
        ("event_time", times[number // 5]),
        url,
        ("amount", amounts[number // 7]),
    ]
    if number >= 5:
        fields.append({"name": "status", "type": "int" if number < 12 else "long", "default": 200})
    fields += [{"name": f"extra{each}", "type": ["null", "string"], "default": None} for each in range(number % 4)]
    fields.append((f"version{number}", "boolean"))
    return record("shop.Order", *fields)


def write(schema: AvroSchema, number: int, place: int) -> tuple[AvroSchema, dict[str, Any]]:
    micros = MICROS // 1000 * 1000 + place * 1000
    iso = datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="milliseconds")
    value: dict[str, Any] = {
        "event_id": f"e{place}",
        "event_time": [micros // 1000, micros // 1000, micros, iso][number // 5],
        "url" if number >= 8 else "link": f"/{place}",
        "amount": [place / 4, f"{place / 4:.4f}", Decimal(place) / 4][number // 7],
        f"version{number}": True,
    }
    return schema, value | ({"status": 200} if number >= 5 else {})


def test_m2s_own_events_come_back_as_they_went() -> None:
    events = pl.DataFrame(
        {
            "event_id": ["a", None],
            "event_time": [TIME, ARRIVED],
            "event_type": ["purchase", "page"],
            "status": [None, 404],
            "amount": [Decimal("-12.3400"), None],
            "attributes": [{"k": "v", "é": ""}, None],
            "visitor_id": ["v", "w"],
        },
        schema_overrides={
            "amount": EVENT_SCHEMA["amount"],
            "attributes": EVENT_SCHEMA["attributes"],
            "status": pl.Int32,
        },
    )
    for schema in (event_schema(), tagged_event_schema()):
        intake = decode(*Encoder(schema).encode(events), schemas=(schema,))
        assert intake.events.select(events.columns).rows() == events.rows()


def test_nothing_is_decoded_from_nothing() -> None:
    assert decode().read_count == 0
    assert decode(None, None).ignored_count == 2


def test_an_int_that_is_no_event_says_so() -> None:
    from m2cli.avro.schema import parse_schema

    schema = parse_schema('"int"')
    assert reason_of(schema, 5) == "its schema is no record"


MUTATED = (
    ORDER,
    record("Chain", TIMED, ("next", ["null", "Chain"])),
    record(
        "Lists",
        TIMED,
        ("tags", {"type": "array", "items": ["null", "string"]}),
        ("attributes", {"type": "map", "values": "string"}),
    ),
    record(
        "Many",
        TIMED,
        ("any", ["null", "string", "long", {"type": "map", "values": "double"}]),
        ("amount", ["null", DECIMAL]),
    ),
    event_schema(),
)
MUTATED_VALUES: tuple[Any, ...] = (
    order("/" + "x" * 100),
    {"event_time": MICROS, "next": {"event_time": 5, "next": None}},
    {"event_time": MICROS, "tags": [None, "a", "b" * 30], "attributes": {"a": "b"}},
    {"event_time": MICROS, "any": {"a": 0.5}, "amount": Decimal("1.5")},
    {"event_time": MICROS, "event_id": "e", "amount": Decimal("1.5"), "attributes": {"a": "b"}, "url": "/é"},
)


def mutate(value: bytes, chance: random.Random) -> bytes:
    changed = bytearray(value)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                del changed[at:]
            case 1:
                changed[at:at] = chance.randbytes(chance.randrange(1, 12))
            case 2:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                changed[at : at + 10] = chance.choice(
                    (b"\xff" * 9 + b"\x01", b"\x80" * 5, b"\x01", b"\xfe\xff\xff\x0f")
                )
            case _ if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case _:
                pass
    return bytes(changed)


def check_mutations(count: int) -> None:
    chance = random.Random(count)
    decoder = Decoder(Registry(*MUTATED))
    whole = [message(schema, value) for schema, value in zip(MUTATED, MUTATED_VALUES, strict=True)]
    whole += [
        b"\x00" + (7 + place).to_bytes(4, "big") + body(schema, value)
        for place, (schema, value) in enumerate(zip(MUTATED, MUTATED_VALUES, strict=True))
    ]
    whole.append(b'{"event_time": 1795262398, "url": "/", "attributes": {"a": "b"}, "amount": 1.5}')
    for _ in range(count // 10_000):
        values = [None if chance.random() < 0.01 else mutate(chance.choice(whole), chance) for _ in range(10_000)]
        intake = decoder.decode(arrived(*values))
        assert intake.read_count == len(values)
        assert intake.events.height + intake.rejects.height + intake.ignored_count == len(values)
        assert intake.ignored_count == values.count(None)
        positions = pl.concat([intake.events["position_in_source"], intake.rejects["position_in_source"]])
        assert positions.n_unique() == len(values) - intake.ignored_count
        assert intake.events["position_in_source"].is_sorted()
        again = decode_raw(intake.rejects["raw"])
        assert again.null_count() == 0
        assert decoder.decode(arrived(*again)).events.is_empty()


def test_a_hundred_thousand_mutated_messages_are_events_rejects_or_tombstones() -> None:
    check_mutations(100_000)


@pytest.mark.soak
def test_a_million_mutated_messages_are_events_rejects_or_tombstones() -> None:
    check_mutations(1_000_000)
