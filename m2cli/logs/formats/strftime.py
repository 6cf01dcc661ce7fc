"""What `%{...}t` may hold: the conversions of strftime, each as a pattern and the element of time that it writes."""

from __future__ import annotations

from typing import NamedTuple

from m2cli.logs.formats.kinds import Kind
from m2cli.logs.formats.patterns import escape_pattern


class Conversion(NamedTuple):
    """One conversion: the element of time that it writes, None for one that says nothing, and how."""

    element: str | None
    pattern: str


_NAME = r"[\p{L}]+\.?"
_TWO = "[0-9]{2}"
_PADDED = "[ 0-9]?[0-9]"
_ANY_SPACE = Conversion(None, r"\s*")

# POSIX.1-2024, strftime; what glibc adds to it has its own remark.
CONVERSIONS = {
    "a": Conversion("weekday_name", _NAME),
    "A": Conversion("weekday_name", _NAME),
    "b": Conversion("month_name", _NAME),
    "B": Conversion("month_name", _NAME),
    "h": Conversion("month_name", _NAME),
    "C": Conversion("century", _TWO),
    "d": Conversion("day_of_month", "[0-3][0-9]"),
    "e": Conversion("day_of_month", "[ 0-3]?[0-9]"),
    "g": Conversion("iso_year2", _TWO),
    "G": Conversion("iso_year", "[0-9]{4}"),
    "H": Conversion("hour", "[0-2][0-9]"),
    "k": Conversion("hour", _PADDED),  # glibc
    "I": Conversion("hour12", "[01][0-9]"),
    "l": Conversion("hour12", _PADDED),  # glibc
    "j": Conversion("day_of_year", "[0-3][0-9]{2}"),
    "m": Conversion("month", "[01][0-9]"),
    "M": Conversion("minute", "[0-5][0-9]"),
    "n": _ANY_SPACE,  # Apache writes what the log's reader would take for the end of the line
    "t": _ANY_SPACE,
    "p": Conversion("half", r"[\p{L}.]*"),  # nothing, where the locale has no such words
    "P": Conversion("half", r"[\p{L}.]*"),  # glibc
    "s": Conversion("epoch", "[0-9]{1,10}"),  # glibc
    "S": Conversion("second", "[0-6][0-9]"),
    "u": Conversion("weekday", "[1-7]"),
    "w": Conversion("weekday0", "[0-6]"),
    "U": Conversion("sunday_week", "[0-5][0-9]"),
    "W": Conversion("monday_week", "[0-5][0-9]"),
    "V": Conversion("iso_week", "[0-5][0-9]"),
    "y": Conversion("year2", _TWO),
    "Y": Conversion("year", "[0-9]{4}"),
    "z": Conversion("zone", "[+-][0-9]{2}:?[0-9]{2}|Z"),
    "Z": Conversion("zone_name", r"[\p{L}]{1,6}|[+-][0-9]{2,4}"),
    "%": Conversion(None, "%"),
}
COMPOSED = {
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "R": "%H:%M",
    "T": "%H:%M:%S",
    "r": "%I:%M:%S %p",
    "c": "%a %b %e %H:%M:%S %Y",  # in the locale C, as the next two
    "x": "%m/%d/%y",
    "X": "%H:%M:%S",
}
# Apache's own, in the place of a strftime text (mod_log_config.c, log_request_time).
SPECIAL = {
    "sec": Conversion("epoch", "[0-9]{1,10}"),
    "msec": Conversion("epoch_ms", "[0-9]{1,13}"),
    "usec": Conversion("epoch_us", "[0-9]{1,16}"),
    "msec_frac": Conversion("fraction", "[0-9]{3}"),
    "usec_frac": Conversion("fraction", "[0-9]{6}"),
}


class StrftimeError(ValueError):
    """A conversion that is none, and where it stands."""

    def __init__(self, place: int, fault: str) -> None:
        self.place, self.fault = place, fault
        super().__init__(fault)


def compile_time(text: str) -> Kind:
    """How the time that `text` describes is written: a word of Apache's own, or a text for strftime.

    >>> compile_time("%Y-%m").groups
    ('year', 'month')

    Raises `StrftimeError` for a conversion that does not exist.
    """
    if text in SPECIAL:
        element, pattern = SPECIAL[text]
        return Kind("time", f"(?P<{{name}}_{element}>{pattern})", groups=(str(element),))
    parts: list[str] = []
    elements: list[str] = []
    _compile(text, 0, parts, elements)
    return Kind("time", "".join(parts), groups=tuple(elements), may_hold_spaces=True)


def _compile(text: str, offset: int, parts: list[str], elements: list[str]) -> None:
    at = 0
    while at < len(text):
        if text[at] != "%":
            end = text.find("%", at) if "%" in text[at:] else len(text)
            parts.append(escape_pattern(text[at:end]))
            at = end
            continue
        sign = text[at + 1 : at + 2]
        # E and O ask for another calendar or other digits, which the locale C does not have.
        size = 3 if sign in ("E", "O") and text[at + 2 : at + 3] in CONVERSIONS else 2
        sign = text[at + size - 1 : at + size]
        if sign in COMPOSED:
            _compile(COMPOSED[sign], offset + at, parts, elements)
        elif sign in CONVERSIONS:
            parts.append(_capture(CONVERSIONS[sign], elements))
        else:
            fault = f"`%{sign}` is no conversion of strftime" if sign.strip() else "a `%` of strftime without a letter"
            raise StrftimeError(offset + at, fault)
        at += size


def _capture(conversion: Conversion, elements: list[str]) -> str:
    element, pattern = conversion
    if element is None:
        return pattern
    if element in elements:  # said twice: the first counts
        return f"(?:{pattern})"
    elements.append(element)
    return f"(?P<{{name}}_{element}>{pattern})"
