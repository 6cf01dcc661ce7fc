"""`m2 schema`: the schemas by which messages of Avro are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.options import PATH, console_options
from m2cli.commands.words import count_of
from m2cli.errors import M2Error, UsageError
from m2cli.process import open_stdout
from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from m2cli.avro.schema import AvroSchema
    from m2cli.avro.stores import SchemaStore
    from m2cli.console import Console

_SHORTEST = 4  # digits of a fingerprint that may stand for all sixteen

schemas_option = click.option(
    "--schemas",
    default="schemas",
    show_default=True,
    metavar="DIR|URL",
    help="Where schemas are kept: a folder, or the address of a Confluent schema registry.",
)


class NotReadableError(M2Error):
    """What `m2 schema check` ends with where something could not be read."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        super().__init__(f"`{name}` is not ready for use: {count_of(count, 'obstacle')}")


@click.group()
def schema() -> None:
    """Keep the schemas of messages, and try new ones against them.

    \b
    Examples:
      m2 schema add order.avsc
      m2 schema list
      m2 schema show 5c15e75029a552
      m2 schema check order-v2.avsc
    """


@schema.command()
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@schemas_option
@console_options
def add(*, files: tuple[Path, ...], schemas: str, console: Console) -> None:
    """Keep schemas, each under its fingerprint.

    A schema that has the fingerprint of one that is kept and differs from it is refused, and the difference shown:
    logical types, defaults, docs and aliases do not count in a fingerprint, but in what is read.
    """
    from m2cli.avro.stores import open_store

    store = open_store(_folder(schemas))
    read = [(file, _read(file)) for file in files]
    for file, each in read:
        if each.type.kind != "record":
            raise UsageError(f"`{file}` is of the type `{each.type.kind}`, and an event is a record; add that of yours")
    for _, each in read:
        is_known = store.find(each.fingerprint) == each
        store.add(each)
        console.say(f"{'kept already' if is_known else 'added'}: {each.hex} {each.name}")


@schema.command("list")
@schemas_option
@console_options
def list_schemas(*, schemas: str, console: Console) -> None:
    """List the schemas that are kept, and m2's own: fingerprint, name, number of fields."""
    from m2cli.avro.stores import open_store

    known = sorted(open_store(_folder(schemas)).list(), key=lambda each: (each.name, each.hex))
    width = max(len(escape_text(each.name)) for each in known)
    lines = [f"{each.hex}  {escape_text(each.name):<{width}}  {len(each.type.fields):>3} fields" for each in known]
    _print(lines)
    console.detail(count_of(len(known), "schema"))


@schema.command()
@click.argument("fingerprint")
@schemas_option
@console_options
def show(*, fingerprint: str, schemas: str, console: Console) -> None:
    """Print a schema, as it was added.

    FINGERPRINT is as `m2 schema list` has it; its first digits do where they stand for one only.
    """
    from m2cli.avro.stores import open_store

    found = _find(open_store(_folder(schemas)), fingerprint.lower())
    _print(found.text.splitlines(), escape=_escape_json)
    console.detail(f"{found.hex} {found.name}")


@schema.command()
@click.argument("file", type=PATH, metavar="NEW")
@click.option(
    "--map", "mapping", multiple=True, metavar="COLUMN=FIELD", help="An event's column and the field that holds it."
)
@schemas_option
@console_options
def check(*, file: Path, mapping: tuple[str, ...], schemas: str, console: Console) -> None:
    """Try a new schema before anybody writes by it.

    Can m2 make events of its messages, can the schemas of the same name that are kept read them, and can it read
    theirs? Each line of the output is an obstacle. Exit code 1: there are some.
    """
    from m2cli.avro.stores import open_store
    from m2cli.files.rule import FileRule
    from m2cli.settings import parse_mapping

    columns = FileRule(mapping=parse_mapping(mapping)).mapping  # which knows the columns that there are
    new = _read(file)
    store = open_store(_folder(schemas))
    relatives = [each for each in store.list() if each.name == new.name and each != new]
    lines = _obstacles(new, relatives, columns, store)
    _print(lines)
    console.summarize([("checked", f"{new.hex} {new.name}, with m2's event and {_count_kept(relatives)}")])
    if lines:
        raise NotReadableError(new.name, len(lines))
    console.summarize([("found", "nothing that is in the way")])


def _obstacles(
    new: AvroSchema, relatives: Sequence[AvroSchema], mapping: Mapping[str, str], store: SchemaStore
) -> list[str]:
    from m2cli.avro.differences import describe_differences
    from m2cli.avro.evolution import find_obstacles, find_obstacles_of_event

    types = [each.type for each in relatives]
    lines = [f"m2's event: {each}" for each in find_obstacles_of_event(new.type, mapping, types)]
    same = store.find(new.fingerprint)
    if same is not None and same != new:
        differences = describe_differences(same.definition, new.definition)
        lines += [f"the same fingerprint has {new.hex}, but: {each}" for each in differences]
    for each in (each for each in relatives if each.fingerprint != new.fingerprint):
        lines += [f"{each.hex} cannot read it: {line}" for line in find_obstacles(each.type, new.type)]
        lines += [f"it cannot read {each.hex}: {line}" for line in find_obstacles(new.type, each.type)]
    return lines


def _read(file: Path) -> AvroSchema:
    from m2cli.avro.folder import read_schema

    return read_schema(file)


def _find(store: SchemaStore, digits: str) -> AvroSchema:
    known = store.list()
    found = [each for each in known if each.hex.startswith(digits)] if len(digits) >= _SHORTEST else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"`{digits}` begins {len(found)} fingerprints: {', '.join(each.hex for each in found)}")
    raise UsageError(f"no schema of fingerprint `{digits}` is kept; `m2 schema list` shows those that are")


def _folder(schemas: str) -> str:
    if not schemas:
        raise UsageError("`--schemas` is empty; name a folder, or leave it out")
    return schemas


def _count_kept(relatives: Sequence[AvroSchema]) -> str:
    return f"{count_of(len(relatives), 'schema')} of that name" if relatives else "no other schema of that name"


def _escape_json(line: str) -> str:
    from m2cli.output.terminal import escape_json

    return escape_json(line)


def _print(lines: Iterable[str], escape: Callable[[str], str] = escape_text) -> None:
    stream = open_stdout()
    stream.write("".join(f"{escape(line)}\n" for line in lines).encode(errors="backslashreplace"))
    stream.flush()
