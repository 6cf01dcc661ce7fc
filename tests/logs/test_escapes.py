"""Escapes are decoded, and what is no text is kept and marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.logs.fields.escapes import decode_escapes, escape_as_bytes
from tests.logs.reading import read_event
from tests.twins.logs_twin import decode

ESCAPES = {
    "a quote": (r"\"a\"", '"a"', True),
    "a backslash": (r"\\x41", r"\x41", True),
    "control characters": (r"\b\n\r\t\v", "\b\n\r\t\v", True),
    "a byte": (r"\x41\x0A", "A\n", True),
    "a character of two bytes": (r"\xc3\xa9", "é", True),
    "half a character": (r"\xc3", r"\xc3", False),
    "half a character between others": (r"a\xc3b\xc3\xa9", r"a\xc3bé", False),
    "no escape": (r"\q\x4g\x", r"\q\x4g\x", True),
    "a backslash at the end": ("a\\", "a\\", True),
}


@pytest.mark.parametrize(("text", "decoded", "is_text"), ESCAPES.values(), ids=ESCAPES.keys())
def test_an_escape_is_what_the_server_escaped(text: str, decoded: str, is_text: bool) -> None:
    assert decode_escapes(text) == (decoded, is_text)


@given(st.text(st.sampled_from('\\x"ntvbr4aAfFcC39é ')))
def test_escapes_are_decoded_as_the_twin_decodes_them(text: str) -> None:
    assert decode_escapes(text) == decode(text)


@given(st.text())
def test_escaped_text_is_printable_and_what_is_printable_stays(text: str) -> None:
    escaped = escape_as_bytes(text)
    assert escaped.isprintable()
    assert (escaped == text) == text.isprintable()


@pytest.mark.parametrize("field", [b"user", b"request", b"referrer", b"agent"])
@pytest.mark.parametrize(
    ("written", "kept", "is_marked"),
    [
        (b"\\xe9", "\\xe9", True),
        (b"\xe9", "\\xe9", True),
        (b"\xc3\xa9", "é", False),
        (b"\\xc3\\xa9", "é", False),
    ],
    ids=["escaped Latin-1", "Latin-1", "UTF-8", "escaped UTF-8"],
)
def test_bytes_that_are_no_text_are_kept_and_marked(field: bytes, written: bytes, kept: str, is_marked: bool) -> None:
    line = b'10.0.0.1 - user [17/May/2015:10:05:03 +0000] "request" 200 512 "referrer" "agent"'
    event = read_event(line.replace(field, b"a" + written))
    column = {b"user": "customer_id", b"request": "url", b"agent": "user_agent"}.get(field, "referrer")
    assert event[column] == f"a{kept}"
    assert event["attributes"] == ({"encoding": "not UTF-8"} if is_marked else None)


def test_a_hyphen_is_no_value_even_if_it_was_escaped() -> None:
    line = rb'10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512 "\x2d" "-"'
    event = read_event(line)
    assert (event["referrer"], event["user_agent"]) == (None, None)
