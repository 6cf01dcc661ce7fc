"""The client behind proxies: the list of forwarded addresses, read from right to left past the proxies one trusts."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

import polars as pl

from m2cli.logs.fields.values import read_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from m2cli.logs.formats.model import LogFormat
    from m2cli.logs.formats.options import Network

Address = IPv4Address | IPv6Address


def find_clients(events: pl.DataFrame, log_format: LogFormat) -> pl.Series:
    """The client's address for each row of `events`; of `event ip`, if it has that, the address that the server saw.

    A loop over the distinct pairs of that address and the forwarded list.
    """
    client = log_format.options.client
    assert client is not None  # noqa: S101 - who calls has asked
    fields = log_format.find(client.field)
    seen = pl.col("event ip") if "event ip" in events.columns else pl.lit(None, pl.String)
    pairs = events.select(seen.alias("seen"), pl.coalesce(map(read_value, fields)).alias("forwarded"))
    distinct = pairs.unique()
    found = [find_client(seen, forwarded, client.trusted) for seen, forwarded in distinct.iter_rows()]
    clients = distinct.with_columns(pl.Series("client", found, dtype=pl.String))
    joined = pairs.join(clients, on=["seen", "forwarded"], how="left", nulls_equal=True, maintain_order="left")
    return joined.get_column("client")


def find_client(seen: str | None, forwarded: str | None, trusted: Iterable[Network]) -> str | None:
    """The last address of `forwarded` and `seen` that is none of `trusted`; the first if all are.

    >>> from ipaddress import ip_network
    >>> find_client("10.0.0.1", "198.51.100.9, 203.0.113.7", [ip_network("10.0.0.0/8")])
    '203.0.113.7'

    What is no address ends the search: it was written by somebody who is not trusted, and the one before it is taken.
    """
    networks = tuple(trusted)
    nearest = seen
    hops = [*(forwarded or "").split(","), *([seen] if seen else [])]
    for hop in reversed(hops):
        address = parse_address(hop)
        if address is None:
            return nearest
        nearest = str(address)
        if not any(address.version == network.version and address in network for network in networks):
            return nearest
    return nearest


@lru_cache(maxsize=1 << 14)
def parse_address(text: str) -> Address | None:
    """The address that `text` is, whatever it is written with: quotes, a port, brackets, `for=`; None if it is none.

    An address of version 4 in one of version 6 is one of version 4.

    >>> parse_address('for="[2001:db8::1]:4711"')
    IPv6Address('2001:db8::1')
    """
    text = text.strip().strip('"').removeprefix("for=").strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
