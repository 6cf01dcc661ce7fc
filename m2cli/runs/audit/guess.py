"""Guessing: all addresses of a network tried against the pseudonyms, by every way that needs no salt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import polars as pl
import polars_hash

from m2cli.errors import UsageError
from m2cli.privacy.fields import ADDRESS
from m2cli.privacy.forms import DIGESTS
from m2cli.privacy.salts import PSEUDONYM_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterator

_IPV4 = r"^([0-9]{1,3}\.[0-9]{1,3})\.[0-9]{1,3}\.[0-9]{1,3}$"
_NETWORKS = 256  # of 2^8 addresses each
# What a careless maker of pseudonyms may have taken: no key, and the shipped example of a well-known one.
_WEAK_KEYS = ("", "salt", "secret", "pepper123")


class Guesses(NamedTuple):
    """All addresses of a network of 2^16."""

    network: str
    addresses: pl.Series

    @classmethod
    def of_network(cls, addresses: pl.Series, network: str | None) -> Self | None:
        """The network that is named, as `192.0`, or the one with most of `addresses`; None if none is of IPv4."""
        if network is None:
            networks = addresses.str.extract(_IPV4).drop_nulls()
            if not len(networks):
                return None
            network = str(networks.value_counts(sort=True, name="address_count").row(0)[0])
        parts = network.removesuffix(".0.0/16").split(".")
        if len(parts) != 2 or not all(part.isdigit() and int(part) < 256 for part in parts):
            raise UsageError(f"`{network}` is no network to guess; write it as `192.0.0.0/16`")
        prefix = ".".join(parts)
        guessed = [f"{prefix}.{third}.{fourth}" for third in range(_NETWORKS) for fourth in range(256)]
        return cls(f"{prefix}.0.0/16", pl.Series("ip", guessed))


def guess_addresses(guesses: Guesses, pseudonyms: pl.Series) -> int:
    """How many of `pseudonyms` are found back from `guesses` without the salt."""
    found: set[str] = set()
    there = pseudonyms.str.to_lowercase().unique()
    for texts in _write_unsalted(guesses.addresses):
        for cut in (texts, texts.str.head(PSEUDONYM_DIGITS)):
            found.update(there.filter(there.is_in(cut.implode())))
    return len(found)


def _write_unsalted(addresses: pl.Series) -> Iterator[pl.Series]:
    named = f"{ADDRESS}:" + addresses
    yield addresses
    for texts in (addresses, named):
        for digest in DIGESTS.values():
            yield digest(texts)
        for key in _WEAK_KEYS:
            keyed = texts.to_frame("text").select(polars_hash.col("text").chash.hmac_sha256(key=key))
            yield keyed.to_series()
            yield DIGESTS["SHA-256"](texts + key)
