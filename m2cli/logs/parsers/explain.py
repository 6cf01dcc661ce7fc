"""Lines of a log taken apart for a person: what each field says, or where a line stops being one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import EVENT_SCHEMA, TIME
from m2cli.logs.fields.assemble import ADDRESSES, UIDS
from m2cli.logs.fields.times import MEANINGS, parse_times
from m2cli.logs.fields.values import read_value
from m2cli.logs.formats.model import Shape, Wrapper
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.lines import cut_lines
from m2cli.logs.parse import Origin, Place, parse_block
from m2cli.logs.parsers.grammar import find_steps, split_exact
from m2cli.logs.parsers.wrappers import unwrap_lines
from m2cli.stages.redaction import SECRET_NAMES, RedactionRule, redact_intake
from m2cli.stages.secret_spans import REDACTED, find_secrets, is_secret_name, redact_one

if TYPE_CHECKING:
    from m2cli.logs.formats.model import Field, LogFormat

_TARGETS = {
    "request": "method, url, protocol",
    "method": "method",
    "url": "url",
    "path": "url",
    "query": "url",
    "status": "status",
    "bytes": "bytes",
    "referrer": "referrer",
    "user_agent": "user_agent",
    "user": "customer_id",
    "session_id": "session_id",
    "ident": "attributes: ident",
    "protocol": "attributes: protocol, where it is an unusual one",
    **dict.fromkeys(UIDS, "session_id"),
    **dict.fromkeys(MEANINGS, "event_time"),
}


def describe_target(field: Field, log_format: LogFormat) -> str:
    """What `field` becomes: a column of the event, or an attribute if it is kept."""
    first = [*log_format.find(*ADDRESSES)[:1], *log_format.find("bytes", "bytes_sent")[:1]]
    if field in first:
        return "ip" if field.meaning in ADDRESSES else "bytes"
    if field.meaning in _TARGETS:
        return _TARGETS[field.meaning]
    if field.kind.type == "further fields":
        return "nothing"
    return f"attributes: {field.meaning}, with --keep"


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
    """What `text`, one line without its end, is as a line of `log_format`, which is a text."""
    lines = pl.DataFrame({"line": [text], "line_number": [1], "position_in_source": [0], "is_odd_text": [False]})
    good, bad = split_exact(lines, log_format)
    if good.is_empty():
        return TakenApart((), None, bad["reason"].item(), find_fault(text, log_format))
    values = good.select(read_value(each).alias(each.name) for each in log_format.fields).row(0)
    time = parse_times(good, log_format).item()
    found = tuple(Found(each, value) for each, value in zip(log_format.fields, values, strict=True))
    return TakenApart(found, time if time is None else time.astimezone(UTC))


def find_fault(text: str, log_format: LogFormat) -> int:
    """After how many characters `text` stops being a line of `log_format`, which is a text."""
    longest = 0
    for pattern, _ in find_steps(log_format):
        size = pl.select(pl.lit(text).str.extract(f"({pattern})", 1).str.len_chars()).item()
        if size is None:
            return longest
        longest = max(longest, size - pattern.endswith("[^ ]"))  # what is there is looked at, and may be wrong
    return longest


class ExplainedLine(NamedTuple):
    """A line of a log: what its event says, by column and attribute; or why it is none, and the place."""

    number: int
    text: str
    format_name: str
    values: tuple[tuple[str, str], ...] = ()
    fault: str | None = None
    place: int = 0


_NOWHERE = Origin(source="", part_id="", file="", arrival_time=datetime(1970, 1, 1, tzinfo=UTC))
_OF_PLACE = frozenset({"event_id", "source", "part_id", "position_in_source", "arrival_time", "attributes"})


def take_lines_apart(head: bytes, log_format: LogFormat, count: int) -> list[ExplainedLine]:
    """The first `count` lines of the log that begins with `head`, without those that are blank or directives.

    What they say is shown as it would be kept: secrets are redacted.
    """
    lines = cut_lines(head[: head.rfind(b"\n") + 1] or head, 0)
    if not all_say_when(log_format):
        return [_explain_undated(*row, log_format) for row in _list_lines(lines, count)]
    kept = log_format.with_options(FieldRule(keep=("all",), time_zone=log_format.options.time_zone))
    explained: list[ExplainedLine] = []
    texts = lines.select("line_number", "line", "position_in_source").rows()
    parsed = parse_block(head[: head.rfind(b"\n") + 1] or head, Place(kept, _NOWHERE, 0), max_line_size=len(head) + 1)
    intake = redact_intake(parsed, RedactionRule())
    events = {event["position_in_source"]: event for event in intake.events.to_dicts()}
    faults = {reject["line_number"]: reject["reason"] for reject in intake.rejects.to_dicts()}
    for number, text, position in texts:
        if position in events:
            explained.append(ExplainedLine(number, text, log_format.name, tuple(_list_values(events[position]))))
        elif number in faults:
            place = _find_place(text, log_format)
            shown, place = _hide_secrets(text, place)
            explained.append(ExplainedLine(number, shown, log_format.name, fault=faults[number], place=place))
        if len(explained) == count:
            break
    return explained


def _hide_secrets(text: str, place: int) -> tuple[str, int]:
    """`text` as it would be kept, and where `place` is in it."""
    moved = place
    for span, _ in find_secrets(text, SECRET_NAMES, is_url=False):
        if span.end <= place:
            moved += len(REDACTED) - (span.end - span.start)
        elif span.start < place:
            moved -= place - span.start
    return redact_one(text, SECRET_NAMES, is_url=False), moved


def all_say_when(log_format: LogFormat) -> bool:
    """Whether every line of `log_format` can be an event."""
    from m2cli.logs.fields.times import plan_time

    return log_format.shape is not Shape.TEXT or plan_time(log_format) is not None


def _list_lines(lines: pl.DataFrame, count: int) -> list[tuple[int, str]]:
    shown = lines.filter(~pl.col("line").str.contains(r"^(?:#|[ \t]*$)")).head(count)
    return [(number, line) for number, line in shown.select("line_number", "line").rows()]


def _explain_undated(number: int, text: str, log_format: LogFormat) -> ExplainedLine:
    taken = take_apart(text, log_format)
    if taken.fault is not None:
        shown, place = _hide_secrets(text, taken.place)
        return ExplainedLine(number, shown, log_format.name, fault=taken.fault, place=place)
    values = tuple(
        (each.directive, REDACTED if is_secret_name(each.meaning, SECRET_NAMES) else _hide_secrets(value, 0)[0])
        for each, value in taken.fields
        if value is not None
    )
    return ExplainedLine(number, text, log_format.name, values)


def _list_values(event: dict[str, object]) -> list[tuple[str, str]]:
    values = []
    for name in EVENT_SCHEMA:
        value = event.get(name)
        if name in _OF_PLACE or value is None:
            continue
        values.append((name, f"{value:%Y-%m-%d %H:%M:%S.%f} UTC" if EVENT_SCHEMA[name] == TIME else str(value)))
    attributes = event.get("attributes") or {}
    assert isinstance(attributes, dict)  # noqa: S101 - a map is a dictionary
    return values + [(f"  {name}", str(value)) for name, value in attributes.items()]


def _find_place(text: str, log_format: LogFormat) -> int:
    """After how many characters `text`, as it stands in the log, stops being a line."""
    if log_format.wrapper is not Wrapper.NONE:
        lines = pl.DataFrame({"line": [text], "line_number": [1], "position_in_source": [0], "is_odd_text": [False]})
        inner, _ = unwrap_lines(lines, log_format.wrapper)
        if inner.is_empty():
            return 0
        unwrapped = inner["line"].item()
        return (len(text) - len(unwrapped) if text.endswith(unwrapped) else 0) + _find_place_in(unwrapped, log_format)
    return _find_place_in(text, log_format)


def _find_place_in(text: str, log_format: LogFormat) -> int:
    if log_format.shape is Shape.TEXT:
        return max(find_fault(text, each) for each in (log_format, *log_format.others) if each.shape is Shape.TEXT)
    if log_format.shape is Shape.DELIMITED:
        return len(text)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos
    except (ValueError, RecursionError):
        return 0
    return 0
