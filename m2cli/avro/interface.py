"""What a store of schemas is, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from m2cli.errors import M2Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m2cli.avro.schema import AvroSchema


class SchemaStore(Protocol):
    """Keeps schemas whole. What it does not know is None; what cannot be reached raises `UnreachableError`."""

    def find(self, fingerprint: bytes) -> AvroSchema | None:
        """The schema of that fingerprint (8 bytes, as in the header)."""

    def find_id(self, schema_id: int) -> AvroSchema | None:
        """The schema that a registry has given that number."""

    def add(self, schema: AvroSchema) -> None:
        """Keep `schema`. Raises `OtherSchemaError` where another one has its fingerprint."""

    def list(self) -> Sequence[AvroSchema]:
        """All schemas that are at hand."""

    def refresh(self) -> None:
        """Look again for what was not found; each batch begins with it."""


class OtherSchemaError(M2Error):
    """Two schemas with one fingerprint: it is made without logical types, defaults, docs and aliases.

    `differences`: what is not the same, a line each.
    """

    def __init__(self, schema: AvroSchema, where: str, differences: Sequence[str]) -> None:
        self.schema, self.differences = schema, differences
        super().__init__(
            f"`{schema.name}` differs from the schema that {where} has under the same fingerprint `{schema.hex}`: "
            f"{'; '.join(differences)}; messages cannot tell the two apart: keep the one that they were written by"
        )
