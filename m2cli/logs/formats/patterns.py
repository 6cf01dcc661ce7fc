"""What is common to all who write patterns: texts that stand for themselves, and the place of a mistake in a layout."""

from __future__ import annotations

import re

from m2cli.errors import UsageError
from m2cli.texts import escape_text

_META = re.compile(r"[\\.+*?()|\[\]{}^$#&~-]")


def escape_pattern(text: str) -> str:
    r"""`text` as a pattern that matches it and nothing else, for Rust's regex crate.

    >>> escape_pattern("[a.b]")
    '\\[a\\.b\\]'
    """
    return _META.sub(lambda found: "\\" + found[0], text)


class LayoutError(UsageError):
    """A log format that is none; shows it with a caret under the place where it stops being one."""

    def __init__(self, layout: str, place: int, fault: str, hint: str = "") -> None:
        self.layout, self.place, self.fault = layout, place, fault
        caret = point_at(layout, place)
        super().__init__(f"{fault}" + (f"; {hint}" if hint else "") + f"\n{caret}")


_BEFORE, _AFTER = 60, 40


def point_at(text: str, place: int) -> str:
    """`text` on one line, and on the next a caret under its character at `place`; a long text is cut around it.

    >>> print(point_at("%h %y", 3))
      %h %y
         ^
    """
    start = max(0, place - _BEFORE)
    head, rest = escape_text(text[start:place]), escape_text(text[place : place + _AFTER])
    dots = "..." if start else ""
    return f"  {dots}{head}{rest}\n  {' ' * (len(dots) + len(head))}^"
