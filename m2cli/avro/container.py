"""Avro's container files, as messages: a schema of their own, and any number of rows in compressed blocks."""

from __future__ import annotations

import io
import json
from typing import Any, NamedTuple

from m2cli.avro.exact import NOT_OF_SCHEMA, TOO_DEEP, TOO_LONG, TOO_SHORT, Body, UnreadableError, read_value
from m2cli.avro.schema import AvroSchema, BadSchemaError, parse_schema
from m2cli.avro.types import least_size

MOST_EMPTY = 1000  # rows of a block that take no byte, of which a number of 4 bytes could make billions
BROKEN = "its container file is broken"


class Contents(NamedTuple):
    """The schema of a container, and its rows as `read_value` gives them."""

    schema: AvroSchema
    values: list[Any]


def read_container(data: bytes) -> Contents:
    """All that is in a container file of any codec. Raises `UnreadableError` where it is not whole."""
    try:
        return _read(data)
    except UnreadableError as error:
        raise UnreadableError(f"{BROKEN}: {error}") from error
    except BadSchemaError as error:
        raise UnreadableError(f"{BROKEN}: its schema is none") from error
    except RecursionError as error:
        raise UnreadableError(f"{BROKEN}: {TOO_DEEP}") from error
    except EOFError as error:
        raise UnreadableError(f"{BROKEN}: it is cut short") from error
    # What the codecs raise for bytes that they have not written has no common base.
    except Exception as error:
        raise UnreadableError(f"{BROKEN}: {_first_words(error)}") from error


def _read(data: bytes) -> Contents:
    import fastavro

    stream = io.BytesIO(data)
    blocks = fastavro.block_reader(stream)
    text = blocks.metadata["avro.schema"]
    schema = parse_schema(text if isinstance(text, str) else json.dumps(text))
    values: list[Any] = []
    for block in blocks:
        body = Body(block.bytes_.getvalue())  # type: ignore[attr-defined]  # its types leave it out
        least = least_size(schema.type)
        if block.num_records < 0 or block.num_records > (body.left // least if least else MOST_EMPTY):
            raise UnreadableError(TOO_SHORT if least else NOT_OF_SCHEMA)
        values += [read_value(schema.type, body) for _ in range(block.num_records)]
        if body.left:
            raise UnreadableError(TOO_LONG)
    return Contents(schema, values)


def _first_words(error: Exception) -> str:
    """What kind of error, without its numbers and bytes: reasons are counted."""
    said = {"ValueError": "a part of it is none of a container's", "KeyError": "its header lacks something"}
    return said.get(type(error).__name__, "a block of it cannot be unpacked")
