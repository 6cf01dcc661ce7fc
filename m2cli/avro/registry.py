"""Confluent's registry of schemas, over HTTP."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

from m2cli.avro.schema import AvroSchema, BadSchemaError, parse_schema
from m2cli.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryStore:
    """Schemas by their number in a registry (Confluent's, and those that speak as it does).

    `url`: where it is, with `user:password@` where it wants that; `subject`: under which name schemas are added,
    by default the full name. What was found is remembered for as long as the process lives, for a number never
    changes its meaning; what was not is asked for again after `refresh`. A fingerprint that is not among what is
    remembered is looked for among all that the registry has.
    """

    def __init__(self, url: str, *, subject: str | None = None, timeout: float = 10) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"`{_without_password(url)}` is no address of a registry; write `https://host:8081`")
        self._headers = {"Accept": _TYPE, "Content-Type": _TYPE}
        if parts.username is not None:
            given = f"{parts.username}:{parts.password or ''}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(given.encode()).decode()
        self.url = _without_password(url).rstrip("/")
        self._subject, self._timeout = subject, timeout
        self._by_id: dict[int, AvroSchema] = {}
        self._missing: set[int] = set()
        self._is_listed = False

    def find(self, fingerprint: bytes) -> AvroSchema | None:
        """See `SchemaStore`."""
        found = self._remembered(fingerprint)
        if found is None and not self._is_listed:
            self.list()
            found = self._remembered(fingerprint)
        return found

    def find_id(self, schema_id: int) -> AvroSchema | None:
        """See `SchemaStore`; None also for what is no schema of Avro (the registry has others, too)."""
        if schema_id not in self._by_id and schema_id not in self._missing:
            answer = self._ask(f"/schemas/ids/{schema_id}")
            schema = self._parse(answer, f"{self.url}, number {schema_id}") if answer else None
            if schema is not None:
                self._by_id[schema_id] = schema
            else:
                self._missing.add(schema_id)
        return self._by_id.get(schema_id)

    def add(self, schema: AvroSchema) -> None:
        """Register `schema` under its subject. Raises `UsageError` where the registry does not want it."""
        subject = self._subject or schema.name
        answer = self._ask(f"/subjects/{subject}/versions", {"schema": json.dumps(schema.definition)})
        if answer is None:
            raise UsageError(f"{self.url} has no subject `{subject}`")
        self._by_id[answer["id"]] = schema
        self._missing.discard(answer["id"])

    def list(self) -> Sequence[AvroSchema]:
        """All schemas of Avro that the registry has."""
        self._is_listed = True
        for entry in self._ask("/schemas") or []:
            if entry.get("id") not in self._by_id:
                try:
                    schema = self._parse(entry, self.url)
                except BadSchemaError:  # one that nobody can use hides no other
                    continue
                if schema is not None:
                    self._by_id[entry["id"]] = schema
        return list(self._by_id.values())

    def refresh(self) -> None:
        """See `SchemaStore`."""
        self._missing.clear()
        self._is_listed = False

    def _remembered(self, fingerprint: bytes) -> AvroSchema | None:
        return next((each for each in self._by_id.values() if each.fingerprint == fingerprint), None)

    def _parse(self, answer: Any, where: str) -> AvroSchema | None:
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise UnreachableError(f"{where} answers what no registry of schemas does")
        if answer.get("schemaType", "AVRO") != "AVRO":
            return None
        if answer.get("references"):
            raise BadSchemaError("it refers to other schemas of the registry, which m2 does not follow", where)
        return parse_schema(answer["schema"], where)

    def _ask(self, path: str, body: object = None) -> Any:
        """What the registry answers; None where it knows of no such thing. Raises `UnreachableError`."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, self._headers)  # noqa: S310  # http or https: see above
        try:
            with urlopen(request, timeout=self._timeout) as answer:  # noqa: S310  # the same
                return json.loads(answer.read())
        except HTTPError as error:
            with error:
                return self._refused(error)
        except ValueError as error:
            raise UnreachableError(f"{self.url} answers what no registry of schemas does") from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(f"cannot reach the schema registry at {self.url}: {reason}") from error

    def _refused(self, error: HTTPError) -> None:
        if error.code == HTTPStatus.NOT_FOUND:
            return
        if error.code in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise UsageError(f"the schema registry at {self.url} does not take the schema: {_said(error)}")
        hint = "; is `user:password@` in its address right?" if error.code in (401, 403) else ""
        raise UnreachableError(f"the schema registry at {self.url} answers {error.code} {error.reason}{hint}")


def _said(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"{error.code} {error.reason}"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
