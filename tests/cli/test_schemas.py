"""What a person sees of `m2 schema`, when all is well and when it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import compare_with_golden, run_m2, show

Prepare = Callable[[Path], None]
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def write(folder: Path, name: str, *fields: Any) -> None:
    definition = {"type": "record", "name": "Order", "namespace": "shop", "fields": list(fields)}
    (folder / name).write_text(json.dumps(definition, indent=1))


def new(folder: Path) -> None:
    write(folder, "order.avsc", {"name": "event_time", "type": MILLIS}, {"name": "url", "type": "string"})


def kept(folder: Path) -> None:
    new(folder)
    run_m2("schema", "add", "order.avsc", folder=folder)


def better(folder: Path) -> None:
    kept(folder)
    added = {"name": "campaign", "type": ["null", "string"], "default": None}
    write(folder, "next.avsc", {"name": "event_time", "type": MILLIS}, {"name": "url", "type": "string"}, added)


def worse(folder: Path) -> None:
    kept(folder)
    write(folder, "next.avsc", {"name": "when", "type": "string"}, {"name": "status", "type": "boolean"})


def twin(folder: Path) -> None:
    kept(folder)
    write(folder, "next.avsc", {"name": "event_time", "type": MICROS}, {"name": "url", "type": "string"})


def text_alone(folder: Path) -> None:
    (folder / "text.avsc").write_text('"string"')


def broken(folder: Path) -> None:
    (folder / "order.avsc").write_text('{"type": "record", "name": "Order"')


CASES: dict[str, tuple[Prepare, tuple[str, ...]]] = {
    "schema_help": (new, ("schema", "--help")),
    "schema_add": (new, ("schema", "add", "order.avsc")),
    "schema_add_again": (kept, ("schema", "add", "order.avsc")),
    "schema_add_another_of_the_same_fingerprint": (twin, ("schema", "add", "next.avsc")),
    "schema_add_no_schema": (broken, ("schema", "add", "order.avsc")),
    "schema_add_no_record": (text_alone, ("schema", "add", "text.avsc")),
    "schema_add_no_file": (new, ("schema", "add", "ordr.avsc")),
    "schema_list": (kept, ("schema", "list")),
    "schema_list_quietly": (kept, ("schema", "list", "--quiet")),
    "schema_show": (kept, ("schema", "show", "3a9abe")),
    "schema_show_none": (kept, ("schema", "show", "0000000000000000")),
    "schema_check": (better, ("schema", "check", "next.avsc")),
    "schema_check_with_obstacles": (worse, ("schema", "check", "next.avsc")),
    "schema_check_mapped": (worse, ("schema", "check", "next.avsc", "--map", "event_time=when")),
    "schema_check_another_of_the_same_fingerprint": (twin, ("schema", "check", "next.avsc")),
    "schema_of_no_registry": (new, ("schema", "list", "--schemas", "http://127.0.0.1:9")),
}


@pytest.mark.parametrize("name", CASES)
def test_a_person_sees(name: str, tmp_path: Path) -> None:
    prepare, args = CASES[name]
    prepare(tmp_path)
    compare_with_golden(name, show(run_m2(*args, folder=tmp_path), tmp_path))
