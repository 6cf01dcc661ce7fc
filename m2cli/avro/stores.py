"""The stores of schemas: a folder, a registry, m2's own; several as one; and which one a setting means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from m2cli.avro.differences import describe_differences
from m2cli.avro.folder import DirectoryStore
from m2cli.avro.interface import OtherSchemaError, SchemaStore
from m2cli.avro.own import own_schemas
from m2cli.avro.registry import RegistryStore
from m2cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m2cli.avro.schema import AvroSchema


def open_store(where: Path | str) -> SchemaStore:
    """The store that `where` means, a folder or the address of a registry, and behind it m2's own schemas."""
    return StoreChain(open_place(where), EmbeddedStore())


def open_place(where: Path | str) -> SchemaStore:
    """The folder or the registry alone: what is added goes there, though it be one of m2's own."""
    is_address = isinstance(where, str) and "://" in where
    return RegistryStore(str(where)) if is_address else DirectoryStore(Path(where))


class EmbeddedStore:
    """Schemas that come with the program: m2's own, or those that are passed."""

    def __init__(self, schemas: Sequence[AvroSchema] | None = None) -> None:
        self._schemas = {schema.fingerprint: schema for schema in (own_schemas() if schemas is None else schemas)}

    def find(self, fingerprint: bytes) -> AvroSchema | None:
        """See `SchemaStore`."""
        return self._schemas.get(fingerprint)

    def find_id(self, schema_id: int) -> AvroSchema | None:  # noqa: ARG002  # the interface's
        """None: numbers are a registry's."""
        return None

    def add(self, schema: AvroSchema) -> None:
        """Refused but for what is there: it would be forgotten with the process."""
        known = self.find(schema.fingerprint)
        if known is not None and known != schema:
            raise OtherSchemaError(schema, "m2 itself", describe_differences(known.definition, schema.definition))
        if known is None:
            raise UsageError(f"`{schema.name}` cannot be added to m2's own schemas; name a folder with `--schemas`")

    def list(self) -> Sequence[AvroSchema]:
        """See `SchemaStore`."""
        return list(self._schemas.values())

    def refresh(self) -> None:
        """Nothing can be new."""


class StoreChain:
    """Stores asked one after the other; what is added goes to the first."""

    def __init__(self, *stores: SchemaStore) -> None:
        self._stores = stores

    def find(self, fingerprint: bytes) -> AvroSchema | None:
        """See `SchemaStore`."""
        return next((found for store in self._stores if (found := store.find(fingerprint))), None)

    def find_id(self, schema_id: int) -> AvroSchema | None:
        """See `SchemaStore`."""
        return next((found for store in self._stores if (found := store.find_id(schema_id))), None)

    def add(self, schema: AvroSchema) -> None:
        """See `SchemaStore`; one that any of them has already is not added again."""
        holds = (store for store in self._stores if store.find(schema.fingerprint) is not None)
        next(holds, self._stores[0]).add(schema)

    def list(self) -> Sequence[AvroSchema]:
        """All of all stores, each once."""
        return list(
            {schema.fingerprint: schema for store in reversed(self._stores) for schema in store.list()}.values()
        )

    def refresh(self) -> None:
        """See `SchemaStore`."""
        for store in self._stores:
            store.refresh()


__all__ = [
    "DirectoryStore",
    "EmbeddedStore",
    "OtherSchemaError",
    "RegistryStore",
    "SchemaStore",
    "StoreChain",
    "open_store",
]
