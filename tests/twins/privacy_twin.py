"""Pseudonyms the long way: one value after the other, with the standard library alone."""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def pseudonym(field: str, value: str | None, start: datetime, keys: Mapping[int, bytes]) -> str | None:
    normal = normal_form(field, value)
    if normal is None:
        return None
    return hmac.new(keys[start.year], f"{field}:{normal}".encode(), "sha256").hexdigest()[:32]


def normal_form(field: str, value: str | None) -> str | None:
    text = (value or "").strip()
    if text in {"", "-"}:
        return None
    return address_form(text) if field == "address" else text


def address_form(text: str) -> str:
    for candidate in (text, text.partition("]")[0].lstrip("["), text.rpartition(":")[0]):
        try:
            address = ipaddress.ip_address(candidate.partition("%")[0])
        except ValueError:
            continue
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return str(mapped or address)
    return text.lower()
