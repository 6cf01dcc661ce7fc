"""A trace as a tree for people: the root at the top, what was chosen below it, what competed beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from m2cli.output.text import cut_text, measure_text
from m2cli.runs.trace import format_time
from m2cli.stages.trace import CYCLE, ORPHAN
from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from m2cli.runs.trace import Trace

    Event = dict[str, Any]

_CHOSEN, _COMPETITOR, _MISSING = "●", "○", "◌"
# What stands for them on a terminal that has only ASCII.
_ASCII_ELLIPSIS = "..."
_TO_ASCII = str.maketrans("●○◌├└─", "*o?|+-") | {ord("…"): _ASCII_ELLIPSIS}
_COMPETITORS_SHOWN = 5
_ENDS_SHOWN = 15
# These are told by their URL even where they have an entity.
_OF_URLS = ("page", "request", "enter")
# A URL or an id longer than this is cut; `--format json` has it whole.
_LABEL_WIDTH = 60


class _Line(NamedTuple):
    time: datetime | None
    label: str
    detail: str = ""


def render_tree(
    trace: Trace, *, is_whole: bool = False, width: int | None = None, ascii_only: bool = False
) -> list[str]:
    """The lines of `trace`: time in UTC, the tree, and what is known of each event.

    Unless `is_whole`, only the first five of many competitors are shown, by position, the two ends of a long
    path, and the first sixty columns of a long text. Text of the data is escaped. Lines are cut at `width`
    columns, all of them. `ascii_only` draws with ASCII's marks, and escapes all other characters.
    """
    lines = [*_head(trace), *_body(trace, is_whole=is_whole)]
    notes = list(_notes(trace))
    if ascii_only:
        lines = [line._replace(label=_to_ascii(line.label), detail=_to_ascii(line.detail)) for line in lines]
        notes = [_to_ascii(note) for note in notes]
    ellipsis = _ASCII_ELLIPSIS if ascii_only else "…"
    if not is_whole:
        lines = [line._replace(label=_cut(line.label, ellipsis), detail=_cut(line.detail, ellipsis)) for line in lines]
    rows = [*_lay_out(lines), *notes]
    return rows if width is None else [cut_text(row, width, ellipsis) for row in rows]


def _lay_out(lines: list[_Line]) -> Iterator[str]:
    width = max(measure_text(line.label) for line in lines)
    times = _format_times([line.time for line in lines])
    for time, line in zip(times, lines, strict=True):
        gap = " " * (width - measure_text(line.label))
        yield f"{time}  {line.label}{gap}  {line.detail}".rstrip()


def _to_ascii(text: str) -> str:
    return text.translate(_TO_ASCII).encode("ascii", "backslashreplace").decode()


def _head(trace: Trace) -> Iterator[_Line]:
    if trace.end == ORPHAN:
        yield _Line(None, f"{_MISSING} {escape_text(trace.missing_cause_id or '')}", "not in the data: an orphan")
    if trace.end == CYCLE:
        cause_id = escape_text(trace.steps["cause_id"][0] or "")
        yield _Line(None, f"{_MISSING} {cause_id}", "a cycle: this cause is one of its own effects, below")


def _body(trace: Trace, *, is_whole: bool) -> Iterator[_Line]:
    competitors: dict[int, list[Event]] = {}
    for event in trace.competitors.iter_rows(named=True):
        competitors.setdefault(event["step"], []).append(event)
    depth = int(trace.end in (ORPHAN, CYCLE))
    before = None
    left_out = range(0) if is_whole else _fold_steps(trace.steps.height)
    for step, event in enumerate(trace.steps.iter_rows(named=True)):
        if step in left_out:
            if step == left_out.start:
                yield _Line(None, f"{_indent(depth)}└─… {len(left_out)} steps")
                depth += 1
            continue
        yield from _lines_beside(competitors.get(step, []), _indent(depth), is_whole=is_whole)
        yield _step_line(event, before, depth)
        before, depth = event, depth + 1


def _fold_steps(count: int) -> range:
    """The steps to leave out of a path of `count`: those in the middle of a long one."""
    return range(_ENDS_SHOWN, count - _ENDS_SHOWN) if count > 2 * _ENDS_SHOWN + 1 else range(0)


def _lines_beside(competitors: list[Event], indent: str, *, is_whole: bool) -> Iterator[_Line]:
    are_all = is_whole or len(competitors) <= _COMPETITORS_SHOWN + 1
    shown = competitors if are_all else competitors[:_COMPETITORS_SHOWN]
    for event in shown:
        yield _Line(event["event_time"], f"{indent}├─{_COMPETITOR} {_name(event)}", _describe(event))
    if not are_all:
        yield _Line(None, f"{indent}├─… and {len(competitors) - len(shown)} more")


def _step_line(event: Event, before: Event | None, depth: int) -> _Line:
    branch = f"{_indent(depth)}└─" if depth else ""
    detail = _describe(event)
    if before is not None and event["visit_id"] != before["visit_id"]:
        detail = f"{detail}  in another visit".lstrip()
    return _Line(event["event_time"], f"{branch}{_CHOSEN} {_name(event)}", detail)


def _indent(depth: int) -> str:
    return "  " * (depth - 1)


def _name(event: Event) -> str:
    """What happened, to what."""
    is_of_url = event["entity_id"] is None or (event["event_type"] in _OF_URLS and event["url"] is not None)
    about = [event["url"]] if is_of_url else [event["entity_type"], event["entity_id"]]
    words = (event["event_type"] or "event", *about)
    return " ".join(escape_text(word) for word in words if word)


def _describe(event: Event) -> str:
    """How it came about: position and reason, the hook, what was bought."""
    parts = []
    if event["position"] is not None:
        parts.append(f"#{event['position']}")
    parts += [escape_text(event[name]) for name in ("hook", "reason") if event[name]]
    if event["quantity"] is not None:
        parts.append(f"{event['quantity']} pieces" if event["quantity"] != 1 else "1 piece")
    if event["amount"] is not None:
        parts.append(f"{_format_money(event['amount'])} {escape_text(event['currency'] or '')}".rstrip())
    return "  ".join(parts)


def _format_money(amount: Decimal) -> str:
    """The amount exactly, with cents at least."""
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount.normalize():,f}"


def _cut(text: str, ellipsis: str) -> str:
    indent = text[: len(text) - len(text.lstrip(" "))]
    return indent + cut_text(text[len(indent) :], _LABEL_WIDTH, ellipsis)


def _format_times(times: Iterable[datetime | None]) -> list[str]:
    """The times, all as fine as the finest needs, each with its date where that is a new one."""
    times = [None if time is None else time.astimezone(UTC) for time in times]
    microseconds = {time.microsecond for time in times if time}
    fine = "seconds"
    if any(microseconds):
        fine = "microseconds" if any(microsecond % 1000 for microsecond in microseconds) else "milliseconds"
    texts, date = [], None
    for time in times:
        text = ""
        if time is not None:
            text = time.time().isoformat(fine)
            if time.date() != date:
                date = time.date()
                text = f"{date} {text}"
        texts.append(text)
    width = max(map(len, texts))
    return [text.rjust(width) for text in texts]


def _notes(trace: Trace) -> Iterator[str]:
    if len(trace.occurrences) > 1:
        shown_time = trace.steps["event_time"][-1]
        yield ""
        yield f"{len(trace.occurrences)} events have this id; above is that of {format_time(shown_time)}"
        others = [time for time in trace.occurrences if time != shown_time]
        yield from (f"  another: {format_time(time)}" for time in others[:_COMPETITORS_SHOWN])
        if len(others) > _COMPETITORS_SHOWN:
            yield f"  … and {len(others) - _COMPETITORS_SHOWN} more"
