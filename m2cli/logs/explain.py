"""One line of a log taken apart for a person: what each field says, or where the line stops being one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.logs.grammar import find_steps, split_exact
from m2cli.logs.times import parse_times
from m2cli.logs.values import read_value

if TYPE_CHECKING:
    from m2cli.logs.formats.model import Field, LogFormat


class Found(NamedTuple):
    """What one field of a line says; None where it says nothing."""

    field: Field
    value: str | None


class TakenApart(NamedTuple):
    """A line: what its fields say, and its time; or if it does not fit, why not, and after how many characters."""

    fields: tuple[Found, ...]
    time: datetime | None
    fault: str | None = None
    place: int = 0


def take_apart(text: str, log_format: LogFormat) -> TakenApart:
    """What `text`, one line without its end, is as a line of `log_format`, which has fields at fixed places."""
    lines = pl.DataFrame({"line": [text], "line_number": [1], "position_in_source": [0], "is_odd_text": [False]})
    good, bad = split_exact(lines, log_format)
    if good.is_empty():
        return TakenApart((), None, bad["reason"].item(), find_fault(text, log_format))
    values = good.select(read_value(each).alias(each.name) for each in log_format.fields).row(0)
    time = parse_times(good, log_format).item()
    found = tuple(Found(each, value) for each, value in zip(log_format.fields, values, strict=True))
    return TakenApart(found, time if time is None else time.astimezone(UTC))


def find_fault(text: str, log_format: LogFormat) -> int:
    """After how many characters `text` stops being a line of `log_format`."""
    steps = [pattern for pattern, _ in find_steps(log_format)]
    longest = 0
    for pattern in steps:
        size = pl.select(pl.lit(text).str.extract(f"({pattern})", 1).str.len_chars()).item()
        if size is None:
            return longest
        longest = max(longest, size)
    return longest
