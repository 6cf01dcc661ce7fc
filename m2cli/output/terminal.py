"""Results on their way to a terminal, which must see no byte that it would obey or hide."""

from __future__ import annotations

import codecs
import io
from typing import TYPE_CHECKING, BinaryIO

from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer


class EscapedStream(io.RawIOBase):
    """Writes UTF-8 on to `stream`, each line of it escaped; a line's end stays what it is."""

    def __init__(self, stream: BinaryIO, escape: Callable[[str], str]) -> None:
        self._stream, self._escape = stream, escape
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a write may end within a character

    def writable(self) -> bool:
        """It is for writing only."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write on what is whole of `data`."""
        lines = self._decode(data).split("\n")
        self._stream.write("\n".join(map(self._escape, lines)).encode())
        return memoryview(data).nbytes


def escape_json(line: str) -> str:
    r"""`line`, text of JSON, with the same values and nothing that a terminal would obey or hide.

    >>> escape_json('{"a":"\x7f"}')
    '{"a":"\\u007f"}'
    """
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else _escape_character(c) for c in line)


def _escape_character(character: str) -> str:
    code = character.encode("utf-16-be").hex()  # JSON tells what lies beyond four digits in two halves
    return "".join(f"\\u{code[at : at + 4]}" for at in range(0, len(code), 4))


# What needs it: a table escapes its cells itself, before it aligns them.
ESCAPES: dict[str, Callable[[str], str]] = {"csv": escape_text, "json": escape_json, "ndjson": escape_json}
