"""`m2 ingest`: access logs in, events out, and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.options import PATH, complete, console_options, max_rejects_option
from m2cli.commands.words import describe_rejects, warn_of_faults
from m2cli.console import format_rate
from m2cli.process import open_stdout

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.console import Console
    from m2cli.settings import RejectLimit


@click.group()
def ingest() -> None:
    """Make events of access logs, and nothing more."""


@ingest.command("access-log")
@click.argument("logs", nargs=-1, required=True, type=click.Path(allow_dash=True, readable=False), metavar="LOG...")
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="DIR", help="The folder to make, or - for NDJSON on stdout."
)
@click.option(
    "--log-format",
    default="combined",
    show_default=True,
    metavar="NAME",
    shell_complete=complete("combined", "common"),
    help="combined or common.",
)
@max_rejects_option
@console_options
def access_log(
    *, logs: tuple[str, ...], output: Path, log_format: str, max_rejects: RejectLimit | None, console: Console
) -> None:
    """Make events of access logs: DIR/events/*.parquet, and DIR/rejects/*.parquet for lines that are none.

    LOG is a file, a folder, a glob, or - for stdin; plain, gzip, bzip2 or zstd, in any order. A log that is named
    twice, as its rotated and compressed copy for instance, is read once. In a pipe rejects are counted, not kept.

    \b
    Examples:
      m2 ingest access-log /var/log/nginx/access.log* -o events
      cat access.log | m2 ingest access-log - -o - | head
    """
    from m2cli.clock import elapsed_since, now, stopwatch
    from m2cli.runs.ingest import IngestRule, ingest_logs
    from m2cli.runs.intake import IntakeRule

    start = stopwatch()
    rule = IngestRule(intake=IntakeRule(log_format=log_format), max_rejects=max_rejects)
    stdout = open_stdout() if str(output) == "-" else None
    with console.progress() as tell:
        facts = ingest_logs(logs, stdout or output, rule, now=now(), tell=tell)
    seconds = elapsed_since(start)
    console.summarize(
        [
            ("events", f"{facts.event_count:,}" + (f" in {output}" if stdout is None else "")),
            ("rejects", describe_rejects(facts)),
            ("time", f"{seconds:.1f} s, {format_rate(facts.read_count / max(seconds, 1e-9), 'lines')}"),
        ]
    )
    warn_of_faults(facts, console)
