"""Text from outside, made fit for a person's terminal, and names of files, made fit for any file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def escape_text(text: str) -> str:
    r"""`text` on one line, with all that a terminal would obey or hide made visible.

    >>> escape_text("a\x1b[2J\n")
    'a\\x1b[2J\\x0a'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape_character(ord(c)) for c in text)


def _escape_character(code: int) -> str:
    if code <= 0xFF:  # two hex digits hold no more
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def printable_path(path: Path | str) -> str:
    r"""`path` as text that any file can hold: bytes of it that are no UTF-8 as `\xhh`.

    >>> printable_path(os.fsdecode(b"caf\xe9.log"))
    'caf\\xe9.log'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")
