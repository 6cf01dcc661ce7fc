"""What is taken out of the fields of a log besides the event's own columns: cookies, parameters, addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl

from m2cli.errors import UnknownNameError, UsageError
from m2cli.events import EVENT_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Network = IPv4Network | IPv6Network

ALL = "all"
"""As a name to keep: every field."""
_OWN = frozenset({"source", "part_id", "position_in_source", "arrival_time", "event_id", "event_time", "attributes"})
_TEXT_COLUMNS = frozenset(name for name, dtype in EVENT_SCHEMA.items() if dtype == pl.String) - _OWN
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class ClientRule:
    """Which field names the client behind proxies, and which addresses are the shop's own proxies.

    The field is a list of addresses to which each proxy has added the one it was asked by, as `X-Forwarded-For`. From
    right to left, beginning with the address that the server saw, the first one that is no trusted proxy is the client:
    whatever stands further left the client may have written itself.
    """

    field: str
    trusted: tuple[Network, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FieldRule:
    """What is made of a log's fields beyond the event's own columns.

    `keep`: standard names of fields that go to `attributes`, or `all`. `cookies` and `queries`: which column, or
    attribute, gets the value of which cookie or parameter. `client`: where the address of the client is.
    `time_zone`: of times that name none. Raises `UsageError` for a column that holds no text of the input.
    """

    keep: tuple[str, ...] = ()
    # Sources of a pipeline are keys of dictionaries, and have a rule each.
    cookies: Mapping[str, str] = field(default_factory=dict, hash=False)
    queries: Mapping[str, str] = field(default_factory=dict, hash=False)
    client: ClientRule | None = None
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        for column in (*self.cookies, *self.queries):
            is_column = column in EVENT_SCHEMA or not _ATTRIBUTE.fullmatch(column)
            if is_column and column not in _TEXT_COLUMNS:
                raise UsageError(
                    f"`{column}` cannot be filled from a cookie or a query; "
                    f"name one of {', '.join(sorted(_TEXT_COLUMNS))}, or an attribute of your own"
                )
        try:
            ZoneInfo(self.time_zone)
        except (OSError, ValueError):
            raise UsageError(f"there is no time zone `{self.time_zone}`; write it as `Europe/Amsterdam`") from None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for that costs anything."""
        return not (self.keep or self.cookies or self.queries or self.client)


def is_column(name: str) -> bool:
    """Whether a value called `name` goes to a column of the event, not to its attributes."""
    return name in _TEXT_COLUMNS


def parse_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """`COLUMN=NAME` as a dictionary.

    >>> parse_pairs("--cookie", ["session_id=SID"])
    {'session_id': 'SID'}
    """
    found: dict[str, str] = {}
    for pair in pairs:
        column, equals, name = pair.partition("=")
        if not (column and equals and name):
            raise UsageError(f"`{option} {pair}` is not like `{option} session_id=SID`: COLUMN=NAME")
        if column in found:
            raise UsageError(f"`{option}` fills `{column}` twice; once is enough")
        found[column] = name
    return found


def parse_client(text: str) -> ClientRule:
    """The rule that `FIELD` or `FIELD:trusted=NETWORK,NETWORK` says; private networks are trusted where none is named.

    >>> parse_client("x_forwarded_for:trusted=10.0.0.0/8,::1").trusted
    (IPv4Network('10.0.0.0/8'), IPv6Network('::1/128'))
    """
    name, colon, rest = text.partition(":")
    key, _, networks = rest.partition("=")
    if not name or (colon and (key != "trusted" or not networks)):
        raise UsageError(f"`--client-ip {text}` is not like `x_forwarded_for:trusted=10.0.0.0/8,192.0.2.7`")
    return ClientRule(
        field=name.lower().replace("-", "_"),
        trusted=tuple(map(_parse_network, networks.split(",") if colon else PRIVATE)),
    )


# RFC 1918, RFC 4193, and the machine itself.
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128")


def _parse_network(text: str) -> Network:
    try:
        return ip_network(text.strip())
    except ValueError as error:
        raise UsageError(f"`{text}` is no network: {error}; write it as `10.0.0.0/8` or `2001:db8::/32`") from None


def check_keep(keep: Sequence[str], known: Sequence[str]) -> None:
    """Raise `UnknownNameError` for a name to keep that is no field of the format."""
    for name in keep:
        if name != ALL and name not in known:
            raise UnknownNameError("field to keep", name, [*known, ALL])
