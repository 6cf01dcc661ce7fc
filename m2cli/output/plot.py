"""Numbers as pictures: bars of text for a terminal, and the same as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
_BAR, _GAP, _LABEL, _LENGTH, _VALUE, _HEAD = 22, 8, 190, 420, 110, 44


def draw_bars(title: str, names: Sequence[str], values: Sequence[float], texts: Sequence[str]) -> Iterator[str]:
    """A line for each value, as long as it is; none is below zero.

    >>> print(*draw_bars("visits", ["10m", "1h"], [4, 1], ["4", "1"]), sep="\\n")
    visits
    10m  ████████████████████████████████████████ 4
    1h   ██████████ 1
    """
    yield title
    most, width = max(values, default=0) or 1, max(map(len, names), default=0)
    for name, value, text in zip(names, values, texts, strict=True):
        eighths = round(8 * _WIDTH * value / most)
        bar = (_FULL * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()
        yield f"{name:<{width}}  {bar} {text}"


def draw_svg(title: str, groups: Sequence[tuple[str, Sequence[str], Sequence[float], Sequence[str]]]) -> str:
    """The same bars as a picture: for each of `groups` its own title, names, values and texts."""
    parts, top = [], _HEAD
    for of_group, names, values, texts in groups:
        parts.append(f'<text x="12" y="{top}" font-weight="bold">{escape(of_group)}</text>')
        top += 12
        most = max(values, default=0) or 1
        for name, value, text in zip(names, values, texts, strict=True):
            length, middle = _LENGTH * value / most, top + _BAR / 2 + 4
            parts.append(f'<text x="12" y="{middle:.0f}">{escape(name)}</text>')
            parts.append(f'<rect x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="#4477aa"/>')
            parts.append(f'<text x="{_LABEL + length + 6:.1f}" y="{middle:.0f}">{escape(text)}</text>')
            top += _BAR + _GAP
        top += 26
    width = _LABEL + _LENGTH + _VALUE
    size = f'width="{width}" height="{top}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    name = f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, name, f'<text x="12" y="22" font-size="16">{escape(title)}</text>', *parts, "</svg>", ""])
