"""Log formats for people: what m2 knows by name, what a format's fields become, what the lines of a log say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m2cli.errors import UsageError
from m2cli.logs.fields.assemble import list_kept
from m2cli.logs.fields.times import plan_time
from m2cli.logs.formats.find import AUTO, find_format
from m2cli.logs.formats.model import Shape, Wrapper
from m2cli.logs.formats.named import ALIASES, FORMATS
from m2cli.logs.formats.nginx import is_known
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.formats.patterns import point_at
from m2cli.logs.inputs import open_input
from m2cli.logs.parsers.detect import HEAD_SIZE, detect_format
from m2cli.logs.parsers.explain import describe_target, take_lines_apart
from m2cli.logs.parsers.plan import describe_plan
from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from m2cli.logs.formats.model import Field, LogFormat
    from m2cli.logs.parsers.explain import ExplainedLine

_LAYOUT_WIDTH = 100


def list_formats() -> str:
    """All formats with a name: the name, where it is laid down, its layout."""
    others: dict[str, list[str]] = {}
    for alias, name in ALIASES.items():
        others.setdefault(name, []).append(alias)
    return "\n".join(_describe(each, others.get(each.name, [])) for each in FORMATS.values())


def _describe(log_format: LogFormat, aliases: Sequence[str]) -> str:
    also = f" (also {', '.join(aliases)})" if aliases else ""
    layout = log_format.layout if log_format.shape is not Shape.JSON else "JSON, one object a line"
    shown = layout if len(layout) <= _LAYOUT_WIDTH else layout[: _LAYOUT_WIDTH - 3] + "..."
    return f"{log_format.name}{also}\n    {log_format.about}\n    {shown}"


def explain_format(text: str, sample: Path | None, time_zone: str) -> tuple[LogFormat, str]:
    """The format that `text` says, and a table of its fields; `auto` is that of the first lines of `sample`.

    Raises `UsageError` for a format that is none, or `auto` without a sample; `UnreadableSourceError` for the sample.
    """
    lines: list[str] = []
    if text == AUTO:
        if sample is None:
            raise UsageError("`auto` tells the format by a log; name one with `--sample`")
        detection = detect_format(open_input(sample).read_head(HEAD_SIZE))
        found = detection.log_format
        lines.append(f"format   {detection.describe() if detection.line_count else found.name}")
    else:
        found = find_format(text)
        lines.append(f"format   {found.name}")
    found = found.with_options(FieldRule(time_zone=time_zone))
    if found.about:
        lines.append(f"source   {found.about}")
    is_mixed = any(each.name != found.name for each in found.others)
    for each in (found, *found.others):
        head = [""] * bool(found.others) + [f"tried    {each.name}"] * is_mixed
        lines += [*head, *_explain_one(each)]
    return found, "\n".join(lines)


def _explain_one(log_format: LogFormat) -> list[str]:
    lines = [f"parser   {_describe_parser(log_format)}"]
    if log_format.wrapper is not Wrapper.NONE:
        lines.append(f"wrapper  {log_format.wrapper.value}, taken off first")
    if log_format.fields and plan_time(log_format) is None:
        lines.append("time     none to the second: lines can be taken apart, but are no events")
    rows = [(each.directive, each.kind.type, _describe_target(each, log_format)) for each in log_format.fields]
    widths = [max((len(row[place]) for row in rows), default=0) for place in (0, 1)]
    lines += [f"  {one:<{widths[0]}}  {two:<{widths[1]}}  {three}".rstrip() for one, two, three in rows]
    if kept := list_kept(log_format):
        lines.append(f"keep     {' '.join(kept)}")
    return lines


def _describe_target(field: Field, log_format: LogFormat) -> str:
    target = describe_target(field, log_format)
    variable = field.directive.strip("${}")
    if field.directive.startswith("$") and not is_known(variable):
        return f"{target}; nginx has no such variable: `set` or `map` makes it"
    return target


def _describe_parser(log_format: LogFormat) -> str:
    if log_format.shape is Shape.JSON:
        return "JSON, lines that are alike at a time; one that is like no other by itself"
    if log_format.shape is Shape.DELIMITED:
        return "by columns, split as the log's own `#Fields` say"
    return f"by columns, {describe_plan(log_format)}; lines with escapes or oddities by the exact grammar"


def explain_lines(log_format: LogFormat, sample: Path, count: int) -> tuple[str, bool]:
    """The first `count` lines of `sample` taken apart, and whether all of them are of `log_format`."""
    explained = take_lines_apart(open_input(sample).read_head(HEAD_SIZE), log_format, count)
    if not explained:
        return "\nthe log has no line", True
    return "\n".join(_show_line(each) for each in explained), all(each.fault is None for each in explained)


def _show_line(line: ExplainedLine) -> str:
    head = f"\nline {line.number}"
    if line.fault is not None:
        return f"{head}: {line.fault}\n{point_at(line.text, line.place)}"
    width = max((len(name) for name, _ in line.values), default=0)
    rows = [f"  {name:<{width}}  {escape_text(value)}" for name, value in line.values]
    return "\n".join([f"{head} ({line.format_name})", *rows])
