"""A schema as it was written, and what names it: the fingerprint that messages carry, and its full name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from m2cli.avro.types import Type, compile_type
from m2cli.errors import UsageError


class BadSchemaError(UsageError):
    """A text that is no schema of Avro."""

    def __init__(self, reason: str, where: str = "") -> None:
        self.reason, self.where = reason, where
        place = f" in `{where}`" if where else ""
        super().__init__(f"not a schema of Avro{place}: {reason}; see avro.apache.org for what a schema may say")


@dataclass(frozen=True)
class AvroSchema:
    """A schema of Avro, whole: also what its fingerprint does not tell, as defaults, logical types and docs.

    `definition`: the schema as JSON has it. `fingerprint`: CRC-64-AVRO of its canonical form, 8 bytes, little endian
    as in the header of a message. `name`: its full name, or its type where it has none.
    """

    definition: Any
    fingerprint: bytes
    name: str

    @property
    def text(self) -> str:
        """The schema as JSON, indented; two schemas are the same if these are."""
        return json.dumps(self.definition, indent=2, ensure_ascii=False) + "\n"

    @property
    def hex(self) -> str:
        """The fingerprint in 16 digits, as it stands in the header."""
        return self.fingerprint.hex()

    @cached_property
    def type(self) -> Type:
        """What its messages are made of. Raises `BadSchemaError` where that is more than anything can read."""
        try:
            return compile_type(self.definition)
        except ValueError as error:
            raise BadSchemaError(str(error), self.name) from error


def parse_schema(text: str, where: str = "") -> AvroSchema:
    """The schema that `text` (JSON) is. Raises `BadSchemaError`, which says what is wrong, and that in `where`.

    A default that is not of its field's type is let pass, as many writers do: no message is read by it.
    """
    from fastavro.schema import (
        SchemaParseException,
        UnknownType,
        fingerprint,
        parse_schema,
        to_parsing_canonical_form,
    )

    try:
        definition = json.loads(text)
        parsed = parse_schema(json.loads(text), _ignore_default_error=True)
        digest = fingerprint(to_parsing_canonical_form(parsed), "CRC-64-AVRO")
        schema = AvroSchema(definition, bytes.fromhex(digest), _name(definition))
        _ = schema.type  # what cannot be read is found out now
    except BadSchemaError as error:
        raise BadSchemaError(error.reason, where) from error
    except UnknownType as error:
        raise BadSchemaError(f"`{error.name}` is no type", where) from error
    except (SchemaParseException, ValueError) as error:
        raise BadSchemaError(str(error) or type(error).__name__, where) from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadSchemaError(f"something lacks or is of another kind ({error})", where) from error
    return schema


def _name(definition: Any) -> str:
    """The full name, as the specification makes it of name and namespace."""
    if isinstance(definition, list):
        return "union"
    if isinstance(definition, str):
        return definition
    name = definition.get("name", definition["type"] if isinstance(definition["type"], str) else "union")
    namespace = definition.get("namespace")
    return f"{namespace}.{name}" if namespace and "." not in name and "name" in definition else str(name)
