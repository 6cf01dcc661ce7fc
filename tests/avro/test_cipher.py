"""Messages that are sealed: opened with the key, told why not without, and never with a key that others can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.avro.cipher import CUT_SHORT, NOT_OPENED, SEALED, UNKNOWN_KEY, AesGcm, BadKeyError, read_keys
from m2cli.avro.decode import Decoder, decode_raw
from m2cli.avro.encode import Encoder, event_schema
from m2cli.avro.kinds import FOREIGN
from m2cli.avro.stores import EmbeddedStore
from m2cli.errors import ExitCode, UsageError
from tests.avro.material import ARRIVED, arrived

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"2026": bytes(range(32)), "2025": bytes(16)}
EVENTS = pl.DataFrame({"event_id": ["a", "b"], "event_time": [ARRIVED, ARRIVED], "url": ["/secret", "/"]})
PLAIN = Encoder(event_schema()).encode(EVENTS)


def seal(messages: pl.Series = PLAIN, key_id: str = "2026") -> list[bytes]:
    return AesGcm(KEYS, key_id).seal(messages).to_list()


def test_what_was_sealed_is_opened() -> None:
    sealed = Encoder(event_schema(), codec=AesGcm(KEYS, "2026")).encode(EVENTS)
    assert not sealed.bin.contains(b"secret").any()
    intake = Decoder(EmbeddedStore(), codec=AesGcm(KEYS)).decode(arrived(*sealed))
    assert intake.events["url"].to_list() == ["/secret", "/"]


def test_sealed_and_plain_messages_of_several_keys_can_be_mixed() -> None:
    mixed = [seal()[0], PLAIN[1], None, *seal(key_id="2025")]
    intake = Decoder(EmbeddedStore(), codec=AesGcm(KEYS)).decode(arrived(*mixed))
    assert intake.events["event_id"].to_list() == ["a", "b", "a", "b"]
    assert intake.events["position_in_source"].to_list() == [100, 101, 103, 104]
    assert intake.ignored_count == 1


def test_no_two_messages_are_sealed_alike() -> None:
    same = PLAIN[:1].new_from_index(0, 100)
    assert len(set(seal(same) + seal(same))) == 200


@pytest.mark.parametrize("place", range(0, 60, 3))
def test_a_sealed_message_that_was_changed_is_a_reject(place: int) -> None:
    sealed = bytearray(seal()[0])
    sealed[len(SEALED) + place] ^= 1
    intake = Decoder(EmbeddedStore(), codec=AesGcm(KEYS)).decode(arrived(bytes(sealed)))
    assert intake.rejects["reason"][0] in {NOT_OPENED, UNKNOWN_KEY, CUT_SHORT}
    assert decode_raw(intake.rejects["raw"]).to_list() == [bytes(sealed)]


@pytest.mark.parametrize("size", range(len(SEALED), 50))
def test_a_sealed_message_that_is_cut_is_a_reject(size: int) -> None:
    intake = Decoder(EmbeddedStore(), codec=AesGcm(KEYS)).decode(arrived(seal()[0][:size]))
    assert intake.rejects["reason"].to_list() in ([CUT_SHORT], [NOT_OPENED])


def test_a_message_of_an_unknown_key_is_kept_until_the_key_is_there() -> None:
    intake = Decoder(EmbeddedStore(), codec=AesGcm({"2025": KEYS["2025"]})).decode(arrived(*seal()))
    assert intake.rejects["reason"].to_list() == [UNKNOWN_KEY] * 2
    again = decode_raw(intake.rejects["raw"])
    assert Decoder(EmbeddedStore(), codec=AesGcm(KEYS)).decode(arrived(*again)).events.height == 2


def test_without_a_codec_a_sealed_message_is_kept_too() -> None:
    intake = Decoder(EmbeddedStore()).decode(arrived(*seal()))
    assert intake.rejects["reason"].to_list() == [UNKNOWN_KEY] * 2
    assert decode_raw(intake.rejects["raw"]).to_list()[0].startswith(SEALED)


def test_another_key_of_the_same_id_opens_nothing() -> None:
    intake = Decoder(EmbeddedStore(), codec=AesGcm({"2026": bytes(32)})).decode(arrived(*seal()))
    assert intake.rejects["reason"].to_list() == [NOT_OPENED] * 2


def test_a_seal_of_ones_own_can_be_plugged_in() -> None:
    class Backwards:
        mark = b"REV"

        def seal(self, messages: pl.Series) -> pl.Series:
            return pl.Series([self.mark + each[::-1] for each in messages])

        def open(self, messages: pl.Series) -> tuple[pl.Series, pl.Series]:
            opened = pl.Series([each[3:][::-1] for each in messages])
            return opened, pl.Series([None] * len(opened), dtype=pl.String)

    sealed = Encoder(event_schema(), codec=Backwards()).encode(EVENTS)  # type: ignore[arg-type]  # a plain pair
    intake = Decoder(EmbeddedStore(), codec=Backwards()).decode(arrived(*sealed, b"zzz"))  # type: ignore[arg-type]
    assert intake.events["event_id"].to_list() == ["a", "b"]
    assert intake.rejects["reason"].to_list() == [FOREIGN]


def write_key(folder: Path, name: str, content: str, mode: int = 0o600) -> None:
    (folder / name).write_text(content)
    (folder / name).chmod(mode)


def test_keys_are_read_from_files_that_nobody_else_can_read(tmp_path: Path) -> None:
    write_key(tmp_path, "2026.key", KEYS["2026"].hex() + "\n")
    write_key(tmp_path, "notes.txt", "no key", 0o644)
    assert read_keys(tmp_path) == {"2026": KEYS["2026"]}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    write_key(tmp_path, "2026.key", KEYS["2026"].hex(), mode)
    with pytest.raises(BadKeyError, match="others can read") as caught:
        read_keys(tmp_path)
    assert caught.value.exit_code == ExitCode.PRIVACY
    assert KEYS["2026"].hex() not in str(caught.value)


@pytest.mark.parametrize("content", ["", "tulip", "00" * 17, "é"])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    write_key(tmp_path, "2026.key", content)
    with pytest.raises(BadKeyError, match="is no key") as caught:
        read_keys(tmp_path)
    assert not content or content not in str(caught.value)


def test_a_key_to_seal_with_must_be_there() -> None:
    with pytest.raises(BadKeyError, match="no key `2027`"):
        AesGcm(KEYS, "2027")
    with pytest.raises(UsageError, match="with which key"):
        AesGcm(KEYS).seal(PLAIN)
    with pytest.raises(BadKeyError, match="17 bytes"):
        AesGcm({"a": bytes(17)})
