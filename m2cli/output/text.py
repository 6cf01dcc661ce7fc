"""How wide a text is on a terminal, and where to cut it."""

from __future__ import annotations

import unicodedata


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


def cut_text(text: str, width: int, ellipsis: str = "…") -> str:
    """`text`, or if it is wider than `width`, its beginning and an ellipsis.

    >>> cut_text("recommendation", 6)
    'recom…'
    """
    if measure_text(text) <= width:
        return text
    used, kept = 0, []
    for character in text:
        used += _measure_character(character)
        if used > width - len(ellipsis):
            break
        kept.append(character)
    return "".join(kept) + ellipsis
