"""`m2 trace`: from an event up its causes to the root, with what competed at every step."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from m2cli.commands.options import console_options, lake_option
from m2cli.errors import UsageError
from m2cli.process import open_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

    from m2cli.console import Console


@click.command()
@click.argument("event_id", required=False, metavar="[EVENT_ID]")
@lake_option
@click.option("--type", "event_type", metavar="TYPE", help="Trace every event of this type, as purchase.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["tree", "json", "ndjson"]),
    help="tree (default) or json for one event, ndjson (default) for many.",
)
@click.option("--all", "is_whole", is_flag=True, help="Show every competitor, however many.")
@console_options
def trace(  # noqa: PLR0913  # one parameter an option
    *,
    event_id: str | None,
    lake: Path,
    event_type: str | None,
    format_: str | None,
    is_whole: bool,
    console: Console,
) -> None:
    """Show an event's causes up to the root, with what competed at every step.

    The root is at the top. Beside each event that was shown and chosen stand its competitors: the shows with the
    same cause, their position, and the reason they were put there. An event whose cause is not in the data is
    shown as an orphan, causes that go round as a cycle.

    \b
    Examples:
      m2 trace 4ubhsgcacq2bk --lake lake
      m2 trace 4ubhsgcacq2bk --lake lake --format json
      m2 trace --type purchase --lake lake --format ndjson > chains.ndjson
    """
    if (event_id is None) == (event_type is None):
        raise UsageError("name one EVENT_ID, or `--type` for all events of a type")
    if event_id is not None:
        _trace_one(event_id, lake, format_ or "tree", is_whole=is_whole)
    elif format_ in (None, "ndjson"):
        _trace_all(event_type or "", lake, console)
    else:
        raise UsageError(f"`--format {format_}` is for one event; with `--type` it is `ndjson`")


def _trace_one(event_id: str, lake: Path, format_: str, *, is_whole: bool) -> None:
    import json

    from m2cli.output.tree import render_tree
    from m2cli.runs.trace import trace_event, trace_to_dict

    if format_ == "ndjson":
        raise UsageError("`--format ndjson` is for `--type`; for one event use `json` or `tree`")
    open_stdout()  # it is there, or this says that it is not
    traced = trace_event(event_id, lake)
    if format_ == "json":
        click.echo(json.dumps(trace_to_dict(traced), indent=2, ensure_ascii=False))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in render_tree(traced, is_whole=is_whole, width=width, ascii_only=not _can_draw(sys.stdout.encoding)):
        click.echo(line)


def _can_draw(encoding: str) -> bool:
    try:
        "●○└─├│…".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _trace_all(event_type: str, lake: Path, console: Console) -> None:
    from m2cli.output.formats import write_frames
    from m2cli.runs.trace import trace_events

    stdout = open_stdout()
    count = 0

    def count_traces() -> Iterator[pl.DataFrame]:
        nonlocal count
        for traces in trace_events(lake, event_type):
            count += traces.height
            yield traces

    write_frames(count_traces(), "ndjson", stdout, for_terminal=sys.stdout.isatty())
    console.say(f"{count:,} events of type `{event_type}` traced")
