r"""A rejected message as text that leads back to it: shown where redaction must see it, else kept whole."""

from __future__ import annotations

import re

import polars as pl

_WHOLE = "base64:"
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_PLAIN = rb"[^\x20-\x5b\x5d-\x7e]"


def encode_raw(messages: pl.Series) -> pl.Series:
    r"""Messages (Binary) as text in which redaction finds what it can read: all but printable ASCII as `\xhh`.

    >>> encode_raw(pl.Series([b"\xc3\x01?password=a\\b"])).to_list()
    ['\\xc3\\x01?password=a\\x5cb']
    """
    escaped = [None if message is None else _escape(message) for message in messages.to_list()]
    return pl.Series("raw", escaped, dtype=pl.String)


def encode_whole(messages: pl.Series) -> pl.Series:
    """Messages (Binary) as text that nothing changes: of those whose schema is not known yet (DESIGN 6.6)."""
    return pl.select((_WHOLE + messages.bin.encode("base64")).alias("raw")).to_series()


def decode_raw(raws: pl.Series) -> pl.Series:
    r"""The messages (Binary) of the texts that either has made, or of JSON; redacted ones are as redaction left them.

    >>> decode_raw(pl.Series(["base64:w4MB", "{}", "\\x00\\x5c"])).to_list()
    [b'\xc3\x83\x01', b'{}', b'\x00\\']
    """
    return pl.Series("value", [None if raw is None else _decode(raw) for raw in raws.to_list()], dtype=pl.Binary)


def _escape(message: bytes) -> str:
    return re.sub(_PLAIN, lambda found: b"\\x%02x" % found[0][0], message).decode("ascii")


def _decode(raw: str) -> bytes:
    import base64

    if raw.startswith(_WHOLE):
        return base64.b64decode(raw[len(_WHOLE) :])
    if raw.startswith("{"):
        return raw.encode()
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), raw.encode())
