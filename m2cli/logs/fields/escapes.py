r"""Escapes, both ways: what a server escaped is decoded, and what is no text is escaped as a server would.

The escapes are those of Apache's `ap_escape_logitem` (server/util.c): `\b \n \r \t \v \\ \"` and `\xhh`, of
which nginx writes the last; any other backslash is only a backslash. Escaped bytes that are not UTF-8 stay
`\xhh`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

import polars as pl

from m2cli.logs.formats.kinds import Escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from m2cli.logs.formats.model import Field

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


def _decode_json(text: str) -> tuple[str, bool]:
    try:
        decoded: str = json.loads(f'"{text}"', strict=False)
        return decoded.encode(errors="surrogatepass").decode(errors="replace"), True
    except ValueError:
        return text, True


def _decode_percent(text: str) -> tuple[str, bool]:
    data = unquote_to_bytes(text)
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return data.decode(errors="backslashreplace"), False


def _decode_plus_percent(text: str) -> tuple[str, bool]:
    return _decode_percent(text.replace("+", " "))


def _decode_double_percent(text: str) -> tuple[str, bool]:
    # Once, a space is %2520; what was not encoded twice is decoded once, and once more changes nothing.
    once, _ = _decode_percent(text)
    return _decode_percent(once)


class _Decoder(NamedTuple):
    signs: str
    """The pattern of what has to be there for anything to change."""
    decode: Callable[[str], tuple[str, bool]]


_DECODERS = {
    Escape.BACKSLASH: _Decoder(r"\\", decode_escapes),
    Escape.JSON: _Decoder(r"\\", _decode_json),
    Escape.PERCENT: _Decoder("%", _decode_percent),
    Escape.PLUS: _Decoder(r"\+", lambda text: (text.replace("+", " "), True)),
    Escape.PLUS_PERCENT: _Decoder("[%+]", _decode_plus_percent),
    Escape.DOUBLE_PERCENT: _Decoder("%", _decode_double_percent),
    Escape.ENCODED_PERCENT: _Decoder("%25", lambda text: (text.replace("%25", "%"), True)),
    Escape.DOUBLED_QUOTES: _Decoder('""', lambda text: (text.replace('""', '"'), True)),
}
OF_EXACT = frozenset({Escape.BACKSLASH, Escape.JSON, Escape.DOUBLED_QUOTES})
"""Escapes that no line has which the fast parser takes."""
OF_ALL = frozenset(_DECODERS) - OF_EXACT


def decode_columns(
    frame: pl.DataFrame, fields: Iterable[Field], mark: str, escapes: frozenset[Escape] = OF_EXACT
) -> pl.DataFrame:
    """`frame` with those `escapes` in the columns of `fields` decoded, and `mark` true also where one is not UTF-8.

    A loop over the distinct values that hold an escape; there is no column function that decodes bytes.
    """
    for field in fields:
        if field.escape in escapes and field.name in frame.columns:
            frame = _decode_column(frame, field.name, mark, _DECODERS[field.escape])
    return frame


def _decode_column(frame: pl.DataFrame, name: str, mark: str, decoder: _Decoder) -> pl.DataFrame:
    value = pl.col(name)
    escaped = frame.get_column(name).filter(frame.get_column(name).str.contains(decoder.signs)).unique()
    if escaped.is_empty():
        return frame
    texts, are_text = zip(*map(decoder.decode, escaped), strict=True)
    decoded = pl.DataFrame(
        {name: escaped, "_decoded": texts, "_is_text": are_text},
        schema={name: pl.String, "_decoded": pl.String, "_is_text": pl.Boolean},
    )
    return (
        frame.join(decoded, on=name, how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("_decoded", value).alias(name),
            pl.col(mark) | ~pl.col("_is_text").fill_null(value=True),
        )
        .drop("_decoded", "_is_text")
    )


def decode_query(values: pl.Series) -> pl.Series:
    """`values` of a query's parameters, each distinct one decoded."""
    distinct = values.drop_nulls().unique()
    encoded = distinct.filter(distinct.str.contains("[%+]"))
    if encoded.is_empty():
        return values
    return values.replace(encoded, pl.Series([_decode_plus_percent(text)[0] for text in encoded], dtype=pl.String))


def _escape_one(found: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode())


_NOT_ASCII_TEXT = re.compile("[^ -~]")


def escape_as_bytes(text: str) -> str:
    r"""`text` with what is not printable (controls, marks of direction) as a server writes it: its bytes as `\xhh`.

    >>> escape_as_bytes("\x1b[31mré\x00")
    '\\x1b[31mré\\x00'
    """
    return _NOT_ASCII_TEXT.sub(lambda found: found[0] if found[0].isprintable() else _escape_one(found), text)
