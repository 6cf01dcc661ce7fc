"""`m2 query`: SQL over a lake, or over a pipeline with what is still open in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from m2cli.commands.options import PATH, complete, console_options
from m2cli.commands.pipelines import load
from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.process import open_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import polars as pl

    from m2cli.console import Console


@click.command()
@click.argument("sql", metavar="SQL")
@click.option("--lake", type=PATH, help="The lake to read.", metavar="LAKE")
@click.option(
    "--pipeline", type=PATH, metavar="PIPELINE", help="The pipeline whose lake to read, with the visits still open."
)
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
def query(*, sql: str, lake: Path | None, pipeline: Path | None, format_: str, console: Console) -> None:
    """Ask a lake in SQL.

    SQL is one SELECT in DuckDB's dialect, or - to read it from stdin. The views: events, visits, human_visits (no
    robots), pages, purchases, late, duplicates, rejects. With --pipeline also open_events and open_visits: what has
    not ended yet, as it is so far. Times are in UTC, and nothing can be written.

    \b
    Examples:
      m2 query "SELECT country, count(*) FROM visits GROUP BY ALL" --lake lake
      m2 query "FROM purchases LIMIT 10" --lake lake --format ndjson
      m2 query "SELECT max(open_until) FROM open_visits" --pipeline shop.toml
      m2 query - --lake lake --format parquet < report.sql > report.parquet
    """
    from m2cli.output.formats import write_frames

    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    if format_ == "parquet" and is_terminal:
        raise UsageError("Parquet is not for a terminal; send it to a file, as `> report.parquet`")
    text = _read_stdin() if sql == "-" else sql
    with _ask(text, lake, pipeline) as frames:
        write_frames(frames, format_, open_stdout(), for_terminal=is_terminal)
    console.detail(f"asked of {lake or pipeline}")


def _ask(sql: str, lake: Path | None, pipeline: Path | None) -> AbstractContextManager[Iterator[pl.DataFrame]]:
    from m2cli.runs.query import query_lake, query_pipeline

    if lake is not None and pipeline is None:
        return query_lake(sql, lake)
    if pipeline is not None and lake is None:
        return query_pipeline(sql, load(pipeline))
    raise UsageError("name what to ask: either `--lake LAKE` or `--pipeline PIPELINE`")


def _read_stdin() -> str:
    if sys.stdin is None:
        raise UnreadableSourceError("-", "stdin is closed")
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"SQL on stdin is not text: {error.reason} at byte {error.start}") from error
