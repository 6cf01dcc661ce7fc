r"""Escapes, both ways: what a server escaped is decoded, and what is no text is escaped as a server would.

The escapes are those of Apache's `ap_escape_logitem` (server/util.c): `\b \n \r \t \v \\ \"` and `\xhh`, of
which nginx writes the last; any other backslash is only a backslash. Escaped bytes that are not UTF-8 stay
`\xhh`.
"""

from __future__ import annotations

import re

import polars as pl

_ESCAPE = re.compile(rb'\\(?:x([0-9A-Fa-f]{2})|([bnrtv\\"]))')
_LETTERS = {b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\", b'"': b'"'}
_BYTES = {f"{byte:02x}".encode(): bytes([byte]) for byte in range(256)}


def _decode_one(found: re.Match[bytes]) -> bytes:
    digits, letter = found.groups()
    return _BYTES[digits.lower()] if digits else _LETTERS[letter]


def decode_escapes(text: str) -> tuple[str, bool]:
    r"""`text` with its escapes decoded, and whether the outcome is all UTF-8; what is not stays `\xhh`.

    >>> decode_escapes(r"\"caf\xc3\xa9\" \xe9")
    ('"café" \\xe9', False)
    """
    data = _ESCAPE.sub(_decode_one, text.encode())
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return data.decode(errors="backslashreplace"), False


def decode_columns(frame: pl.DataFrame, names: list[str], mark: str) -> pl.DataFrame:
    """`frame` with the escapes in the columns `names` decoded, and `mark` true also where one is not UTF-8.

    A loop over the distinct values that hold a backslash; there is no column function that decodes bytes.
    """
    for name in names:
        value = pl.col(name)
        escaped = frame.get_column(name).filter(frame.get_column(name).str.contains("\\", literal=True)).unique()
        if escaped.is_empty():
            continue
        texts, are_text = zip(*map(decode_escapes, escaped), strict=True)
        decoded = pl.DataFrame({name: escaped, "_decoded": texts, "_is_text": are_text})
        frame = (
            frame.join(decoded, on=name, how="left", maintain_order="left")
            .with_columns(
                pl.coalesce("_decoded", value).alias(name),
                pl.col(mark) | ~pl.col("_is_text").fill_null(value=True),
            )
            .drop("_decoded", "_is_text")
        )
    return frame


def _escape_one(found: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode())


_NOT_ASCII_TEXT = re.compile("[^ -~]")


def escape_as_bytes(text: str) -> str:
    r"""`text` with what is not printable (controls, marks of direction) as a server writes it: its bytes as `\xhh`.

    >>> escape_as_bytes("\x1b[31mré\x00")
    '\\x1b[31mré\\x00'
    """
    return _NOT_ASCII_TEXT.sub(lambda found: found[0] if found[0].isprintable() else _escape_one(found), text)
