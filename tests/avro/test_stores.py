"""Where schemas are kept: a folder, a registry (a real HTTP server), m2's own; and no two under one fingerprint."""

from __future__ import annotations

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from m2cli.avro.decode import UNKNOWN_SCHEMA, Decoder
from m2cli.avro.own import own_schemas
from m2cli.avro.schema import AvroSchema, BadSchemaError, parse_schema
from m2cli.avro.stores import DirectoryStore, EmbeddedStore, OtherSchemaError, RegistryStore, StoreChain, open_store
from m2cli.errors import UnreachableError, UnreadableSourceError, UsageError
from tests.avro.material import arrived, body, message, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
ORDER = record("Order", ("event_time", MILLIS), namespace="shop")
VALUE = {"event_time": 1_795_262_398_000}
TWIN = record("Order", ("event_time", {**MILLIS, "logicalType": "timestamp-micros"}), namespace="shop")


def test_a_folder_keeps_a_schema_whole_under_its_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    assert DirectoryStore(folder).list() == []
    DirectoryStore(folder).add(ORDER)
    assert [path.name for path in folder.iterdir()] == [f"{ORDER.hex}.avsc"]
    assert DirectoryStore(folder).find(ORDER.fingerprint) == ORDER
    assert DirectoryStore(folder).list() == [ORDER]
    assert (folder / f"{ORDER.hex}.avsc").stat().st_mode & 0o777 == 0o644
    assert DirectoryStore(folder).find_id(1) is None


def test_a_file_of_any_name_is_found_by_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "order.avsc").write_text(ORDER.text)
    assert DirectoryStore(tmp_path).find(ORDER.fingerprint) == ORDER


def test_a_schema_that_is_added_meanwhile_is_known_in_the_next_batch(tmp_path: Path) -> None:
    decoder = Decoder(DirectoryStore(tmp_path))
    messages = arrived(message(ORDER, VALUE))
    assert decoder.decode(messages).rejects["reason"].to_list() == [UNKNOWN_SCHEMA]
    DirectoryStore(tmp_path).add(ORDER)
    assert decoder.decode(messages).events.height == 1


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        pytest.param(TWIN, '"timestamp-millis" is not "timestamp-micros"', id="logical type"),
        pytest.param(
            record("Order", {"name": "event_time", "type": MILLIS, "default": 0}, namespace="shop"),
            "default: 0 was not there",
            id="default",
        ),
        pytest.param(record("Order", ("event_time", MILLIS), namespace="shop", doc="An order."), "doc", id="doc"),
    ],
)
def test_another_schema_of_the_same_fingerprint_is_refused_with_the_difference(
    tmp_path: Path, other: AvroSchema, difference: str
) -> None:
    assert other.fingerprint == ORDER.fingerprint
    store = DirectoryStore(tmp_path)
    store.add(ORDER)
    store.add(ORDER)
    for again in (store, DirectoryStore(tmp_path), StoreChain(store, EmbeddedStore())):
        with pytest.raises(OtherSchemaError, match=difference):
            again.add(other)
    assert DirectoryStore(tmp_path).list() == [ORDER]


def test_of_two_that_add_at_once_the_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def later(source: str, target: Path) -> None:
        target.write_text(ORDER.text)
        link(source, target)

    monkeypatch.setattr("m2cli.avro.folder.os.link", later)
    with pytest.raises(OtherSchemaError):
        DirectoryStore(tmp_path).add(TWIN)
    assert [path.name for path in tmp_path.iterdir()] == [f"{ORDER.hex}.avsc"]


def test_a_file_that_is_not_what_its_name_says_is_told(tmp_path: Path) -> None:
    path = tmp_path / f"{ORDER.hex}.avsc"
    path.write_text('"int"')
    with pytest.raises(BadSchemaError, match="not what its name says"):
        DirectoryStore(tmp_path).find(ORDER.fingerprint)
    path.write_bytes(b"\xff")
    with pytest.raises(BadSchemaError, match="not UTF-8"):
        DirectoryStore(tmp_path).find(ORDER.fingerprint)


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "schemas").touch()
    with pytest.raises(UnreadableSourceError, match="not a directory"):
        DirectoryStore(tmp_path / "schemas").add(ORDER)


def test_m2_knows_its_own_schemas_and_no_others() -> None:
    store = EmbeddedStore()
    assert store.list() == list(own_schemas())
    store.add(own_schemas()[0])
    with pytest.raises(UsageError, match="name a folder"):
        store.add(ORDER)
    changed = parse_schema(json.dumps(own_schemas()[0].definition | {"doc": "mine"}))
    with pytest.raises(OtherSchemaError, match="m2 itself"):
        store.add(changed)


class Registry(BaseHTTPRequestHandler):
    """As much of Confluent's registry as others use."""

    schemas: list[dict[str, Any]]
    asked: list[str]
    password: str | None = None
    refuse: int | None = None

    def do_GET(self) -> None:
        self.asked.append(self.path)
        wanted = "Basic " + base64.b64encode(f"anna:{self.password}".encode()).decode()
        if self.password and self.headers["Authorization"] != wanted:
            self.answer(401, {"error_code": 401})
        elif self.refuse:
            self.answer(self.refuse, {"message": "not now"})
        elif self.path == "/schemas":
            self.answer(200, self.schemas)
        else:
            number = int(self.path.removeprefix("/schemas/ids/"))
            found = [each for each in self.schemas if each["id"] == number]
            self.answer(200 if found else 404, found[0] if found else {"error_code": 40403})

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(self.path)
        if self.refuse:
            self.answer(self.refuse, {"message": "incompatible with version 1"})
            return
        self.schemas.append({"id": len(self.schemas) + 1, "schema": given["schema"]})
        self.answer(200, {"id": len(self.schemas)})

    def answer(self, code: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[type[Registry]]:
    fresh: Any = type("Fresh", (Registry,), {"schemas": [], "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), fresh) as server:
        fresh.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield fresh
        server.shutdown()
        thread.join()


def confluent(schema_id: int) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + body(ORDER, VALUE)


def test_a_registry_is_asked_once_for_a_number(registry: Any) -> None:
    registry.schemas.append({"id": 41, "schema": ORDER.text, "schemaType": "AVRO"})
    decoder = Decoder(RegistryStore(registry.url))
    for _ in range(3):
        assert decoder.decode(arrived(confluent(41), confluent(41))).events.height == 2
    assert registry.asked.count("/schemas/ids/41") == 1


def test_an_unknown_number_is_a_reject_and_asked_for_again_in_the_next_batch(registry: Any) -> None:
    decoder = Decoder(RegistryStore(registry.url))
    messages = arrived(*[confluent(5)] * 10)
    assert decoder.decode(messages).rejects["reason"].to_list() == [UNKNOWN_SCHEMA] * 10
    assert registry.asked.count("/schemas/ids/5") == 1
    registry.schemas.append({"id": 5, "schema": ORDER.text})
    assert decoder.decode(messages).events.height == 10


def test_a_registry_finds_by_fingerprint_among_all_it_has(registry: Any) -> None:
    registry.schemas += [
        {"id": 1, "schema": "syntax = 3", "schemaType": "PROTOBUF"},
        {"id": 2, "schema": "no schema"},
        {"id": 3, "schema": ORDER.text},
    ]
    store = RegistryStore(registry.url)
    assert store.find(ORDER.fingerprint) == ORDER
    assert store.find(b"12345678") is None
    assert store.find(b"87654321") is None
    assert registry.asked == ["/schemas"]
    assert store.find_id(1) is None


def test_a_schema_is_registered_under_its_name_or_a_subject(registry: Any) -> None:
    RegistryStore(registry.url).add(ORDER)
    RegistryStore(registry.url, subject="orders-value").add(ORDER)
    assert registry.asked == ["/subjects/shop.Order/versions", "/subjects/orders-value/versions"]
    assert parse_schema(registry.schemas[0]["schema"]) == ORDER
    registry.refuse = 409
    with pytest.raises(UsageError, match="incompatible with version 1"):
        RegistryStore(registry.url).add(ORDER)


def test_a_password_is_sent_and_never_shown(registry: Any) -> None:
    registry.password = "tulip"  # noqa: S105  # of this test alone
    registry.schemas.append({"id": 1, "schema": ORDER.text})
    address = registry.url.replace("//", "//anna:{}@")
    assert RegistryStore(address.format("tulip")).find_id(1) == ORDER
    with pytest.raises(UnreachableError, match="401") as caught:
        RegistryStore(address.format("rose")).find_id(1)
    assert "rose" not in str(caught.value)


@pytest.mark.parametrize("code", [500, 503, 302, 429])
def test_a_registry_that_does_not_answer_is_out_of_reach_and_no_reject(registry: Any, code: int) -> None:
    registry.refuse = code
    with pytest.raises(UnreachableError, match=str(code)):
        Decoder(RegistryStore(registry.url)).decode(arrived(confluent(1)))


def test_a_registry_that_is_not_there_is_out_of_reach() -> None:
    with pytest.raises(UnreachableError, match=r"cannot reach the schema registry at http://127\.0\.0\.1:9"):
        RegistryStore("http://anna:tulip@127.0.0.1:9").find_id(1)


def test_what_answers_but_is_no_registry_is_told(registry: Any) -> None:
    registry.schemas.append({"id": 1, "page": "hello"})
    with pytest.raises(UnreachableError, match="no registry of schemas"):
        RegistryStore(registry.url).find_id(1)


@pytest.mark.parametrize("url", ["ftp://host", "host:8081", "https://", "http://anna:tulip@"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address of a registry") as caught:
        RegistryStore(url)
    assert "tulip" not in str(caught.value)


def test_a_chain_asks_one_after_the_other_and_adds_to_the_first(tmp_path: Path, registry: Any) -> None:
    registry.schemas.append({"id": 9, "schema": ORDER.text})
    folder = DirectoryStore(tmp_path)
    chain = StoreChain(folder, RegistryStore(registry.url), EmbeddedStore())
    assert chain.find_id(9) == ORDER
    assert {each.name for each in chain.list()} == {"shop.Order", "m2.Event", "m2.TaggedEvent", "m2.EndOfVisit"}
    other = record("Other", ("a", "int"))
    chain.add(other)
    assert folder.list() == [other]


def test_a_setting_means_a_folder_or_a_registry(tmp_path: Path, registry: Any) -> None:
    registry.schemas.append({"id": 9, "schema": ORDER.text})
    assert ORDER in open_store(registry.url).list()
    assert [each.name for each in open_store(tmp_path).list()] == [
        "m2.Event",
        "m2.TaggedEvent",
        "m2.EndOfVisit",
    ]
