"""Rows written as messages, single-object encoding: by column, each field of all rows, then all joined row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.avro.leaves import dtype_of
from m2cli.avro.own import end_of_visit_schema, event_schema, tagged_event_schema
from m2cli.avro.write import join_pieces, write_column
from m2cli.errors import UsageError

if TYPE_CHECKING:
    from m2cli.avro.cipher import Cipher
    from m2cli.avro.schema import AvroSchema
    from m2cli.avro.types import Field, Type

SINGLE_OBJECT = b"\xc3\x01"
CHUNK = 1 << 15  # rows at a time: their columns stay in the cache


class Encoder:
    """Writes rows by one schema, sealed by `codec` where there is one.

    Raises `UsageError` for a schema that no frame can be written by: one that is no record, or that has unions of
    several types or a type that holds itself.
    """

    def __init__(self, schema: AvroSchema, codec: Cipher | None = None) -> None:
        self.schema, self._codec = schema, codec
        self._header = SINGLE_OBJECT + schema.fingerprint
        if schema.type.kind != "record" or not _is_writable(schema.type):
            raise UsageError(f"`{schema.name}` cannot be written by column: {_WRITABLE}")

    def encode(self, frame: pl.DataFrame) -> pl.Series:
        """The rows of `frame` as messages (Binary): header, fingerprint, body.

        Columns are found by the fields' names and cast to their types; what is not there is null. Raises `UsageError`
        where a field that cannot be null would be, `polars.exceptions.InvalidOperationError` where a value does not
        fit.
        """
        columns = [_column(frame, field) for field in self.schema.type.fields]
        chunks = [self._encode(columns, start, frame.height) for start in range(0, frame.height, CHUNK)]
        messages = pl.concat(chunks) if chunks else pl.Series(dtype=pl.Binary)
        return (self._codec.seal(messages) if self._codec else messages).alias("value")

    def _encode(self, columns: list[pl.Series], start: int, height: int) -> pl.Series:
        pieces: list[object] = [self._header]
        for field, column in zip(self.schema.type.fields, columns, strict=True):
            pieces += write_column(field.type, column[start : start + CHUNK])
        return pl.Series(pl.from_arrow(join_pieces(pieces, min(CHUNK, height - start))))


_WRITABLE = "a record of fields with one type each, or one and null"


def _is_writable(whole: Type) -> bool:
    if whole.kind == "union":
        return len(whole.branches) <= 2 and len(whole.values) == 1 and _is_writable(whole.values[0])
    inner = [each.type for each in whole.fields] + ([whole.items] if whole.items else [])
    return whole.kind != "recursive" and all(map(_is_writable, inner))


def _column(frame: pl.DataFrame, field: Field) -> pl.Series:
    dtype = dtype_of(field.type)
    if field.name in frame.columns:
        column = frame[field.name]
        column = column if column.dtype == dtype else column.cast(dtype)
    else:
        column = pl.Series([None], dtype=dtype).new_from_index(0, frame.height)
    can_be_null = field.type.kind in ("union", "null")
    if column.null_count() and not can_be_null:
        raise UsageError(
            f"`{field.name}` is null in {column.null_count():,} rows, and its schema says that it never is"
        )
    return column


__all__ = ["Encoder", "end_of_visit_schema", "event_schema", "tagged_event_schema"]
