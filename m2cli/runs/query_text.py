"""Text for people: what could steer a terminal made visible, and how wide a text is there."""

from __future__ import annotations

import unicodedata


def escape_text(text: str) -> str:
    r"""`text` on one line, with all that a terminal would obey or hide made visible.

    >>> escape_text("a\x1b[2J\n")
    'a\\x1b[2J\\x0a'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape_character(ord(c)) for c in text)


def _escape_character(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def measure_text(text: str) -> int:
    """How many columns of a terminal the printable `text` takes.

    >>> measure_text("日本")
    4
    """
    if text.isascii():
        return len(text)
    return sum(_measure_character(c) for c in text)


def _measure_character(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut_text(text: str, width: int) -> str:
    """`text`, or if it is wider than `width`, its beginning and an ellipsis.

    >>> cut_text("recommendation", 6)
    'recom…'
    """
    if measure_text(text) <= width:
        return text
    used, kept = 0, []
    for character in text:
        used += _measure_character(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"
