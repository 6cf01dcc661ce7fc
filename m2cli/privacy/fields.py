"""What identifies: the columns that become pseudonyms, what they have in common, and their one form before hashing."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import polars as pl

from m2cli.stages.distinct import replace_rows

if TYPE_CHECKING:
    from m2cli.privacy.rule import PrivacyRule

EVENT, VISIT, VISITOR, SESSION, CUSTOMER, ADDRESS = "event", "visit", "visitor", "session", "customer", "address"
# Columns of one field can be joined; equal values of two fields have nothing in common.
FIELDS = {
    "event_id": EVENT,
    "cause_id": EVENT,
    "session_id": SESSION,
    "customer_id": CUSTOMER,
    "ip": ADDRESS,
    "visitor_id": VISITOR,
    "visit_id": VISIT,
    "continues_visit_id": VISIT,
}
# The start of the visit that a reference leads to, where that is another than the row's own.
REFERENCES = {"cause_id": "cause_start_time", "continues_visit_id": "continues_start_time"}

_IPV4 = r"^(?:[1-9][0-9]{0,2}|0)(?:\.(?:[1-9][0-9]{0,2}|0)){3}$"
_MAPPED = b"\0" * 10 + b"\xff\xff"


def normalize(values: pl.Series, field: str, rule: PrivacyRule) -> pl.Series:
    """`values` (String) in the one form that is hashed; null, empty and `-` become null.

    Addresses lose brackets, port, zone and the mapping of IPv4 into IPv6, and get the shortest form in lower case;
    the others lose blanks around them, and their case where `rule` says so.
    """
    stripped = values.str.strip_chars()
    is_none = (stripped == "") | (stripped == "-")
    if is_none.any():
        stripped = pl.select(pl.when(~is_none).then(pl.lit(stripped))).to_series()
    if field == ADDRESS:
        return _normalize_addresses(stripped).rename(values.name)
    return (stripped.str.to_lowercase() if field in rule.caseless else stripped).rename(values.name)


def _normalize_addresses(addresses: pl.Series) -> pl.Series:
    is_other = ~addresses.str.contains(_IPV4).fill_null(value=True)
    if not is_other.any():
        return addresses
    others = [_normalize_address(text) for text in addresses.filter(is_other)]
    return replace_rows(addresses, is_other, pl.Series(addresses.name, others, pl.String))


def _normalize_address(text: str) -> str:
    """`text` as the address that it is; in lower case where it is none.

    >>> [_normalize_address(text) for text in ("::FFFF:192.0.2.7", "[2001:DB8:0::1]:443", "fe80::1%eth0")]
    ['192.0.2.7', '2001:db8::1', 'fe80::1']
    """
    bare = text.strip().lower()
    if bare.startswith("[") and "]" in bare:
        bare = bare[1 : bare.index("]")]
    elif bare.count(":") == 1 and bare.rpartition(":")[2].isdigit():
        bare = bare.partition(":")[0]
    bare = bare.partition("%")[0]
    try:
        packed = socket.inet_pton(socket.AF_INET6, bare)
    except (OSError, ValueError):
        return _normalize_ipv4(bare, text)
    if packed[:12] == _MAPPED:
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def _normalize_ipv4(bare: str, text: str) -> str:
    try:
        return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, bare))
    except (OSError, ValueError):
        return text.strip().lower()
