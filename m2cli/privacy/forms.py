"""The forms in which an identifier may show up where it should not: as it is, encoded, or hashed without a salt."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import polars as pl
import polars_hash

from m2cli.privacy.salts import PSEUDONYM_DIGITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# RFC 3986: what an encoder leaves as it is.
_ENCODABLE = r"[^A-Za-z0-9_.~-]"
# Shorter ones are in any text: a visitor called `7` is no finding in a date.
LEAST_TOKEN, LEAST_BYTES = 4, 8


class Form(NamedTuple):
    """One way to write identifiers: `texts` (String), one for each of those it was made of."""

    name: str
    texts: pl.Series


def write_forms(identifiers: pl.Series) -> Iterator[Form]:
    """Each form of `identifiers` (String, distinct, no nulls); those that would only repeat another are left out."""
    lower = identifiers.str.to_lowercase()
    for case, texts in (("plain", identifiers), ("lower case", lower.filter(lower != identifiers))):
        if not len(texts):
            continue
        yield Form(case, texts)
        encodable = texts.filter(texts.str.contains(_ENCODABLE))
        if len(encodable):
            encoded = pl.Series(texts.name, [quote(text, safe="") for text in encodable], pl.String)
            yield Form("URL-encoded", encoded)
            yield Form("URL-encoded", encoded.str.to_lowercase())
        # Padding goes, so that a longer text that begins with it is found too.
        base64 = texts.cast(pl.Binary).bin.encode("base64").str.strip_chars_end("=")
        yield Form("base64", base64)
        is_unsafe = base64.str.contains("[+/]")
        if is_unsafe.any():
            unsafe = base64.filter(is_unsafe)
            yield Form("base64", unsafe.str.replace_all("+", "-", literal=True).str.replace_all("/", "_", literal=True))
        for name, digest in DIGESTS.items():
            digested = digest(texts)
            yield Form(name, digested)
            if name == "SHA-256":  # as long as a pseudonym of m2
                yield Form(name, digested.str.head(PSEUDONYM_DIGITS))


def _each(function: Callable[[bytes], hashlib._Hash]) -> Callable[[pl.Series], pl.Series]:
    return lambda texts: pl.Series(texts.name, [function(text.encode()).hexdigest() for text in texts], pl.String)


DIGESTS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "MD5": _each(hashlib.md5),
    "SHA-1": _each(hashlib.sha1),
    "SHA-256": lambda texts: (
        texts.to_frame("text").select(polars_hash.col("text").chash.sha2_256()).to_series().rename(texts.name)
    ),
}
