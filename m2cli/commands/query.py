"""`m2 query`: SQL over a lake."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from m2cli.commands.options import complete, console_options, lake_option
from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.process import open_stdout

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.console import Console


@click.command()
@click.argument("sql", metavar="SQL")
@lake_option
@click.option(
    "--format",
    "format_",
    default="table",
    show_default=True,
    metavar="FORMAT",
    shell_complete=complete("table", "csv", "json", "ndjson", "parquet"),
    help="table, csv, json, ndjson or parquet.",
)
@console_options
def query(*, sql: str, lake: Path, format_: str, console: Console) -> None:
    """Ask a lake in SQL.

    SQL is one SELECT in DuckDB's dialect, or - to read it from stdin. The views: events, visits, human_visits (no
    robots), pages, purchases, late, duplicates, rejects. Times are in UTC, and nothing can be written.

    \b
    Examples:
      m2 query "SELECT country, count(*) FROM visits GROUP BY ALL" --lake lake
      m2 query "FROM purchases LIMIT 10" --lake lake --format ndjson
      m2 query - --lake lake --format parquet < report.sql > report.parquet
    """
    from m2cli.output.formats import write_frames
    from m2cli.runs.query import query_lake

    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    if format_ == "parquet" and is_terminal:
        raise UsageError("Parquet is not for a terminal; send it to a file, as `> report.parquet`")
    text = _read_stdin() if sql == "-" else sql
    with query_lake(text, lake) as frames:
        write_frames(frames, format_, open_stdout(), for_terminal=is_terminal)
    console.detail(f"asked of {lake}")


def _read_stdin() -> str:
    if sys.stdin is None:
        raise UnreadableSourceError("-", "stdin is closed")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"SQL on stdin is not text: {error.reason} at byte {error.start}") from error
