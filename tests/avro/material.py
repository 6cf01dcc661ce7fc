"""What Avro's own people made, where it is at hand; and messages, made the slow way."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest

from m2cli.avro.schema import AvroSchema, parse_schema

SHARED = Path(__file__).parents[3] / "shared" / "data" / "avro"
ARRIVED = datetime(2026, 11, 21, 12, tzinfo=UTC)

needs_material = pytest.mark.skipif(
    not SHARED.exists(), reason="the files of Apache Avro's own tests are not beside the checkout"
)


def record(name: str, *fields: Any, **more: Any) -> AvroSchema:
    """A schema of a record; a field is a pair of name and type, or as JSON has it."""
    listed = [field if isinstance(field, dict) else {"name": field[0], "type": field[1]} for field in fields]
    return parse_schema(json.dumps({"type": "record", "name": name, "fields": listed, **more}))


def body(schema: AvroSchema, value: Any) -> bytes:
    """`value` as fastavro writes it."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema.definition), value)
    return stream.getvalue()


def message(schema: AvroSchema, value: Any) -> bytes:
    """`value` as a message of single-object encoding."""
    return b"\xc3\x01" + schema.fingerprint + body(schema, value)


def arrived(*values: bytes | None) -> pl.DataFrame:
    """Messages as a partition has them, from offset 100 on."""
    return pl.DataFrame(
        {
            "value": pl.Series("value", list(values), dtype=pl.Binary),
            "source": "measurements-0",
            "position_in_source": pl.int_range(100, 100 + len(values), dtype=pl.Int64, eager=True),
            "arrival_time": pl.Series([ARRIVED] * len(values), dtype=pl.Datetime("us", "UTC")),
        }
    )
