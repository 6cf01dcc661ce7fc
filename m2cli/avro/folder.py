"""Schemas in a folder: a file each, named by fingerprint, as `git` keeps them well."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from m2cli.avro.differences import describe_differences
from m2cli.avro.interface import OtherSchemaError
from m2cli.avro.schema import AvroSchema, BadSchemaError, parse_schema
from m2cli.errors import UnreadableSourceError, UnwritableSinkError

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIX = ".avsc"
_NONE = (FileNotFoundError, NotADirectoryError)


class DirectoryStore:
    """A folder of `FINGERPRINT.avsc`; other names are read too, when all are listed or a fingerprint is looked for.

    A folder that is not there is empty, until something is added. What has been read is remembered.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[bytes, AvroSchema] = {}
        self._read: set[tuple[str, int, int]] = set()
        self._is_listed = False

    def find(self, fingerprint: bytes) -> AvroSchema | None:
        """See `SchemaStore`. Raises `BadSchemaError` where its file is no schema, or another one."""
        if fingerprint not in self._known:
            self._read_named(fingerprint)
        if fingerprint not in self._known and not self._is_listed:
            self._read_others()
        return self._known.get(fingerprint)

    def find_id(self, schema_id: int) -> AvroSchema | None:  # noqa: ARG002  # the interface's
        """None: numbers are a registry's."""
        return None

    def add(self, schema: AvroSchema) -> None:
        """Keep `schema`, in place whole or not at all; of two that add at once, the first.

        Raises `OtherSchemaError`, and `UnwritableSinkError` where the folder cannot be written.
        """
        known = self.find(schema.fingerprint)
        if known is None:
            known = self._write(schema)
        if known != schema:
            differences = describe_differences(known.definition, schema.definition)
            raise OtherSchemaError(schema, f"`{self.folder}`", differences)
        self._known[schema.fingerprint] = schema

    def list(self) -> Sequence[AvroSchema]:
        """All, by name and fingerprint."""
        self._read_others()
        return sorted(self._known.values(), key=lambda schema: (schema.name, schema.fingerprint))

    def refresh(self) -> None:
        """See `SchemaStore`."""
        self._is_listed = False

    def _path(self, fingerprint: bytes) -> Path:
        return self.folder / (fingerprint.hex() + SUFFIX)

    def _read_named(self, fingerprint: bytes) -> None:
        path = self._path(fingerprint)
        schema = _read(path)
        if schema is not None:
            if schema.fingerprint != fingerprint:
                raise BadSchemaError(f"its fingerprint is {schema.hex}, not what its name says", str(path))
            self._known[fingerprint] = schema

    def _read_others(self) -> None:
        self._is_listed = True
        try:
            entries = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        for path in entries:
            if path.suffix != SUFFIX or path.name.startswith("."):
                continue
            status = path.stat()
            seen = (path.name, status.st_mtime_ns, status.st_size)
            if seen not in self._read and (schema := _read(path)) is not None:
                self._known.setdefault(schema.fingerprint, schema)
                self._read.add(seen)

    def _write(self, schema: AvroSchema) -> AvroSchema:
        """Link a file that is whole and on the disk to its name; what had that name first is what is kept."""
        path = self._path(schema.fingerprint)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnwritableSinkError(self.folder, (error.strerror or str(error)).lower()) from error
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", suffix=SUFFIX) as unfinished:
                unfinished.write(schema.text.encode())
                unfinished.flush()
                Path(unfinished.name).chmod(0o644)  # no secret, and others read by it
                os.fsync(unfinished.fileno())
                os.link(unfinished.name, path)
        except FileExistsError:
            return _read(path) or schema
        except OSError as error:
            raise UnwritableSinkError(self.folder, (error.strerror or str(error)).lower()) from error
        return schema


def read_schema(path: Path) -> AvroSchema:
    """The schema in a file. Raises `BadSchemaError`, `UnreadableSourceError`."""
    schema = _read(path)
    if schema is None:
        raise UnreadableSourceError(path, "no such file")
    return schema


def _read(path: Path) -> AvroSchema | None:
    try:
        return parse_schema(path.read_bytes().decode(), str(path))
    except _NONE:
        return None
    except UnicodeDecodeError as error:
        raise BadSchemaError("it is not UTF-8", str(path)) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UnreadableSourceError:
    return UnreadableSourceError(path, (error.strerror or str(error)).lower())
