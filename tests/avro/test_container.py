"""Container files as messages: every codec, and every way of being broken."""

from __future__ import annotations

import io
import json
import random
from contextlib import suppress
from typing import Any

import fastavro
import pytest

from m2cli.avro.container import BROKEN, read_container
from m2cli.avro.decode import Decoder, decode_raw
from m2cli.avro.exact import UnreadableError
from m2cli.avro.stores import EmbeddedStore
from tests.avro.material import SHARED, arrived, needs_material, record

EVENT = record("Event", ("event_time", {"type": "long", "logicalType": "timestamp-millis"}), ("url", "string"))
TIMES = [1_767_225_600_000 + each for each in range(3)]


def container(*rows: Any, codec: str = "null", schema: Any = EVENT.definition) -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, schema, rows, codec=codec)
    return stream.getvalue()


def events(*times: int) -> list[dict[str, Any]]:
    return [{"event_time": time, "url": "/" * 50} for time in times]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard"])
def test_a_container_of_every_codec_becomes_its_events(codec: str) -> None:
    intake = Decoder(EmbeddedStore()).decode(arrived(container(*events(*TIMES), codec=codec)))
    assert intake.events["event_id"].to_list() == [f"measurements-0-100-{row}" for row in range(3)]
    assert (intake.read_count, intake.ignored_count, intake.rejects.height) == (3, 0, 0)


def test_rows_of_a_container_that_are_no_events_are_rejects_of_their_own() -> None:
    intake = Decoder(EmbeddedStore()).decode(arrived(container(*events(TIMES[0], 2**60)), None))
    assert (intake.events.height, intake.read_count, intake.ignored_count) == (1, 3, 1)
    assert intake.rejects["reason"].to_list() == ["event_time is not a time"]


def test_a_container_without_rows_is_ignored() -> None:
    intake = Decoder(EmbeddedStore()).decode(arrived(container()))
    assert (intake.events.height, intake.read_count, intake.ignored_count) == (0, 1, 1)


GOOD = {
    "weather.avro": 5,
    "weather-deflate.avro": 5,
    "weather-snappy.avro": 5,
    "weather-sorted.avro": 5,
    "weather-zstd.avro": 5,
    "person-10.avro": 10,
    "syncInMeta.avro": 6001,
    "schemas/simple/data.avro": 3,
    "schemas/withUnion/data.avro": 3,
    "bad/avro-1237-good.avro": 2,
    "bad/avro-1238-good.avro": 2,
    "bad/avro-1279-codec.avro": 3,
    "bad/avro-1279-no-codec.avro": 3,
}
BAD = {
    "bad/avro-1237-bad-union-discriminant.avro": "not what its schema says",
    "bad/avro-1238-truncated.avro": "ends before",
    "person-10.no-codec.avro": "ends before",  # a line end follows its last block
}


@needs_material
@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_has_its_rows(name: str) -> None:
    assert len(read_container((SHARED / name).read_bytes()).values) == GOOD[name]


@needs_material
@pytest.mark.parametrize("name", BAD)
def test_a_broken_file_is_a_clear_reject(name: str) -> None:
    data = (SHARED / name).read_bytes()
    intake = Decoder(EmbeddedStore()).decode(arrived(data))
    assert intake.rejects["reason"].str.contains(BROKEN).to_list() == [True]
    assert intake.rejects["reason"].str.contains(BAD[name]).to_list() == [True]
    assert decode_raw(intake.rejects["raw"]).to_list() == [data]


@needs_material
def test_a_file_of_avro_1_2_is_of_no_known_kind() -> None:
    intake = Decoder(EmbeddedStore()).decode(arrived((SHARED / "test.avro12").read_bytes()))
    assert intake.rejects["reason"].to_list() == ["its first bytes are of no kind that is known"]


@needs_material
def test_all_container_files_of_the_material_are_looked_at() -> None:
    found = {str(path.relative_to(SHARED)) for path in SHARED.rglob("*.avro*")}
    assert found == {*GOOD, *BAD, "test.avro12"}


@needs_material
def test_the_weather_is_what_its_makers_say() -> None:
    lines = (SHARED / "weather.json").read_text().splitlines()
    values = read_container((SHARED / "weather-zstd.avro").read_bytes()).values
    assert values == [json.loads(line) for line in lines]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard"])
def test_a_mutated_container_is_read_or_refused(codec: str) -> None:
    whole, chance = container(*events(*TIMES), codec=codec), random.Random(codec)
    for _ in range(300):
        data = bytearray(whole)
        data[chance.randrange(4, len(data))] = chance.randrange(256)
        data = data[: chance.choice([len(data), chance.randrange(4, len(data))])]
        with suppress(UnreadableError):
            assert read_container(bytes(data)).schema


def test_a_block_that_unpacks_to_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2cli.avro.container.MOST_UNPACKED", 1000)
    for codec in ("deflate", "bzip2", "xz", "snappy", "zstandard"):
        with pytest.raises(UnreadableError, match=r"too large|cannot be unpacked"):
            read_container(container({"event_time": 1, "url": "/" * 5000}, codec=codec))


def test_a_container_of_no_records_is_a_reject() -> None:
    intake = Decoder(EmbeddedStore()).decode(arrived(container(1, 2, schema="int")))
    assert intake.rejects["reason"].to_list() == ["its schema is no record"]
