"""`m2 explain`: why a visit begins and ends where it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from m2cli.commands.options import complete, console_options, lake_option
from m2cli.commands.words import count_of
from m2cli.errors import UnknownNameError
from m2cli.process import open_stdout
from m2cli.settings import format_duration
from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from m2cli.console import Console
    from m2cli.runs.explain import Explained

_FORMATS = ("text", "json")
_LABEL_WIDTH = 11
_SHOWN = 10  # late events


@click.command()
@click.argument("visit_id", metavar="VISIT_ID")
@lake_option
@click.option(
    "--format",
    "format_",
    default="text",
    show_default=True,
    metavar="FORMAT",
    shell_complete=complete(*_FORMATS),
    help="text or json.",
)
@console_options
def explain(*, visit_id: str, lake: Path, format_: str, console: Console) -> None:  # noqa: ARG001  # every verb has one
    """Show why a visit begins and ends where it does.

    The silence before it and after it, the limit that was met, the batch that closed it and its W, where a pipeline's
    ledger is in the lake, and the events of the visitor that came too late for it.

    \b
    Examples:
      m2 explain 5f0c2b1a9d3e4f60 --lake lake
      m2 explain 5f0c2b1a9d3e4f60 --lake lake --format json
    """
    from m2cli.output.terminal import escape_json
    from m2cli.runs.explain import explain_visit

    if format_ not in _FORMATS:
        raise UnknownNameError("format", format_, _FORMATS)
    found = explain_visit(visit_id, lake)
    if format_ == "json":
        lines = [escape_json(line) for line in json.dumps(found.to_dict(), indent=2).splitlines()]
    else:
        lines = [escape_text(f"{label:<{_LABEL_WIDTH}} {sentence}".rstrip()) for label, sentence in _describe(found)]
    stream = open_stdout()
    stream.write("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
    stream.flush()


def _describe(found: Explained) -> Iterator[tuple[str, str]]:
    yield "visit", f"{found.visit_id} of visitor {found.visitor_id}: {count_of(found.event_count, 'event')}"
    yield "begins", f"{_time(found.start_time)}: {_describe_begin(found)}"
    yield "ends", f"{_time(found.end_time)}: {_describe_end(found)}"
    yield "limit", _describe_limit(found)
    yield "closed", _describe_closing(found)
    if not found.missed:
        yield "late", "nothing of the visitor came too late for it"
        return
    yield "late", f"{count_of(len(found.missed), 'event')} of the visitor came too late for it"
    for missed in found.missed[:_SHOWN]:
        by = format_duration(missed.late_by)
        yield "", f"{missed.event_id} at {_time(missed.event_time)}, {by} too late ({missed.late_reason})"
    if len(found.missed) > _SHOWN:
        yield "", f"and {len(found.missed) - _SHOWN:,} more; `--format json` has them all"


def _describe_begin(found: Explained) -> str:
    before = found.before
    if before is None:
        return "the visitor's first event in the lake"
    silence, inactivity = format_duration(before.silence), format_duration(found.inactivity)
    if before.silence <= found.inactivity:
        longest = f"more than {format_duration(found.max_duration)} after the start of {before.visit_id}"
        return f"{longest}, which it continues after {silence} of silence"
    return f"{silence} of silence after {before.visit_id}, more than {inactivity}"


def _describe_end(found: Explained) -> str:
    after = found.after
    if after is None:
        return "the visitor's last event in the lake"
    then = f"{format_duration(after.silence)} of silence, then {after.visit_id}"
    if after.silence <= found.inactivity:
        return f"{then}, more than {format_duration(found.max_duration)} after the start of this one"
    return then


def _describe_limit(found: Explained) -> str:
    is_longest = found.limit == "max_duration"
    limit, since = (found.max_duration, "first") if is_longest else (found.inactivity, "last")
    text = f"{found.limit}, {format_duration(limit)} after its {since} event: until {_time(found.limit_time)}"
    if found.end_reason != found.limit:
        text += f"; nothing later had been read, so it is said to end by {found.end_reason}"
    return text if found.is_rule_known else text + " (by the limits that m2 begins with)"


def _describe_closing(found: Explained) -> str:
    closed = found.closed
    if closed is None:
        return "no ledger says by which batch"
    how = ", which flushed" if closed.is_flush else ""
    return f"by {closed.batch_id}, planned {_time(closed.plan_time)}{how}: W {_time(closed.W)}"


def _time(time: datetime | None) -> str:
    if time is None:
        return "none"
    return f"{time:%Y-%m-%d %H:%M:%S}{f'.{time.microsecond:06}'.rstrip('0') if time.microsecond else ''}"
