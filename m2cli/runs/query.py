"""SQL over a lake or a pipeline: DuckDB in memory, the views of DESIGN 3.4, and nothing else within reach."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from m2cli.errors import UsageError
from m2cli.lake.layout import has_ledger
from m2cli.lake.snapshot import BrokenLakeError, read_snapshot
from m2cli.lake.views import OPEN_VIEWS, VIEWS, define_open_views, define_views, quote
from m2cli.runs.opened import Opened, open_pipelines_ledger, write_opened

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import pyarrow as pa

    from m2cli.pipeline import PipelineRule

_ROWS_AT_ONCE = 100_000
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# A PIVOT becomes several statements, which make a type and then read; with it in them COPY and CREATE are `MULTI` too.
_READING_WORDS = frozenset({"pivot", "select", "from", "with", "describe", "summarize", "("})
# Types that neither Polars nor Parquet has; they come as DuckDB's text.
_ONLY_DUCKDBS = re.compile(
    r"INTERVAL|BIT|UNION|TIME WITH TIME ZONE|TIMETZ|VARIANT|GEOMETRY|BIGNUM|VARINT|TIME_NS|TIMESTAMP_S"
)
_TIMES = re.compile(r"TIMESTAMP(TZ| WITH TIME ZONE)")


@contextmanager
def query_lake(sql: str, lake: Path) -> Iterator[Iterator[pl.DataFrame]]:
    """The result of the one statement `sql` over `lake`: an empty frame, then frames of up to 100,000 rows.

    The views are `events`, `visits`, `human_visits`, `pages`, `purchases`, `late`, `duplicates` and
    `rejects`, as of the lake's snapshot. Times are in UTC. Only reading is possible, and only of the lake.

    Raises `UsageError` with DuckDB's own words for SQL that cannot be done, `UnreadableSourceError` for a
    lake that cannot be read; both while the frames are taken, too.
    """
    with _make_folder() as spill, _query(sql, lake, Opened(read_snapshot(lake), {}), spill, VIEWS) as frames:
        yield frames


@contextmanager
def query_pipeline(sql: str, pipeline: PipelineRule) -> Iterator[Iterator[pl.DataFrame]]:
    """As `query_lake`, over the lake of `pipeline`, with two more views of what it has not written yet.

    `open_events` are the events of visits that are still open, with the visit that each is in so far; `open_visits`
    these visits as they would be if the input ended here, without `end_reason`, and with `open_until`, when they would
    be closed if nothing more came. All views are of one moment, whatever runs meanwhile. What is open is cut on the
    spot, and only for SQL that names one of the two.

    Raises what `query_lake` raises, and `UsageError` if the lake is another pipeline's.
    """
    asked = [view for view in OPEN_VIEWS if view in sql.lower()]
    with _make_folder() as spill:
        if asked:
            opened = write_opened(pipeline, asked, spill)
        else:
            open_pipelines_ledger(pipeline).close()
            opened = Opened(read_snapshot(pipeline.lake), {})
        with _query(sql, pipeline.lake, opened, spill, (*VIEWS, *OPEN_VIEWS)) as frames:
            yield frames


@contextmanager
def _make_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="m2-query-") as folder:
        yield Path(folder)


@contextmanager
def _query(
    sql: str, lake: Path, opened: Opened, spill: Path, views: Collection[str]
) -> Iterator[Iterator[pl.DataFrame]]:
    with duckdb.connect() as connection, _explain(lake, views):
        _open(connection, lake, opened, spill, views)
        _refuse_writing(connection, sql)
        relation = connection.sql(sql)
        if relation is None:
            raise UsageError("the statement has no result")
        yield _fetch(relation, lake, views)


def _open(
    connection: duckdb.DuckDBPyConnection, lake: Path, opened: Opened, spill: Path, views: Collection[str]
) -> None:
    """Make the views, then shut the door: no other file, no extension, no setting changed."""
    files = [*opened.snapshot.paths(lake), *chain.from_iterable(opened.paths.values())]
    for statement in (
        "SET TimeZone = 'UTC'",
        f"SET temp_directory = {quote(spill)}",
        *define_views(lake, opened.snapshot),
        *(define_open_views(opened.paths) if OPEN_VIEWS[0] in views else ()),
        f"SET allowed_paths = [{', '.join(map(quote, files))}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        connection.execute(statement)


def _refuse_writing(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise `UsageError` for all that could write: `COPY` could, to the very files that may be read."""
    statements = connection.extract_statements(_check_text(sql))
    if len(statements) != 1:
        raise UsageError(f"one statement is asked for, here are {len(statements)}")
    kind, words = statements[0].type, _split_words(sql)
    if kind not in _READING and not (kind == duckdb.StatementType.MULTI and words[0] in _READING_WORDS):
        name = f"{words[0].upper()} with a PIVOT" if kind == duckdb.StatementType.MULTI else kind.name
        raise UsageError(f"`{name}` is not allowed; `m2 query` reads only, with SELECT")
    if kind == duckdb.StatementType.EXPLAIN and _runs_what_it_explains(words):
        raise UsageError("EXPLAIN ANALYZE runs what it explains and is not allowed; use EXPLAIN")


def _check_text(sql: str) -> str:
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the SQL is not UTF-8 at character {error.start + 1}; save or type it as UTF-8") from error
    return sql


def _split_words(sql: str) -> list[str]:
    """The words and signs of `sql` in small letters, without quotes of names and without comments."""
    text, tokens = sql.encode(), duckdb.tokenize(sql)
    ends = [*(start for start, _ in tokens[1:]), len(text)]
    return [
        text[start:end].decode(errors="replace").strip().strip('"').lower()
        for (start, kind), end in zip(tokens, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]


def _runs_what_it_explains(words: list[str]) -> bool:
    """Whether an EXPLAIN is one with ANALYZE, as a word or, before the first `)`, among its options."""
    if words[1:2] != ["("]:
        return words[1:2] in (["analyze"], ["analyse"])
    options = words[: words.index(")")]
    return "analyze" in options or "analyse" in options


def _fetch(relation: duckdb.DuckDBPyRelation, lake: Path, views: Collection[str]) -> Iterator[pl.DataFrame]:
    with _explain(lake, views):
        reader = _present(relation).to_arrow_reader(_ROWS_AT_ONCE)
        yield _to_frame(reader.schema.empty_table())
        for batch in reader:
            yield _to_frame(batch)


def _to_frame(rows: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a result is a table")
    return frame


def _present(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """`relation` with types that Polars has, and with a name of its own for each column."""
    if len(set(relation.columns)) == len(relation.columns) and not any(map(_is_only_duckdbs, relation.types)):
        return relation
    columns, seen = [], set[str]()
    for number, (name, dtype) in enumerate(zip(relation.columns, relation.types, strict=True), start=1):
        value = f"CAST(#{number} AS VARCHAR)" if _is_only_duckdbs(dtype) else f"#{number}"
        unique = next(n for n in chain([name], (f"{name}_{i}" for i in count(2))) if n not in seen)
        seen.add(unique)
        quoted = unique.replace('"', '""')
        columns.append(f'{value} AS "{quoted}"')
    return relation.project(", ".join(columns))


def _is_only_duckdbs(dtype: object) -> bool:
    name = str(dtype)
    is_nested_bytes = "BLOB" in name and name != "BLOB"
    return is_nested_bytes or _ONLY_DUCKDBS.search(_TIMES.sub("", name)) is not None


@contextmanager
def _explain(lake: Path, views: Collection[str]) -> Iterator[None]:
    """Turn DuckDB's errors into m2's: what it says, with its hints and its caret."""
    try:
        yield
    except duckdb.IOException as error:
        raise BrokenLakeError(lake, error) from error
    except duckdb.Error as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UsageError("\n".join(_offer_view(lines, lake, views))) from error


def _offer_view(lines: list[str], lake: Path, views: Collection[str]) -> Iterator[str]:
    """DuckDB's words, with a view where it offers one of its own tables for a name that it does not know."""
    unknown = re.search(r"Table with name (\S+) does not exist", lines[0])
    if unknown and unknown[1].lower() in OPEN_VIEWS:
        hint = "ask with `--pipeline PIPELINE` in the place of `--lake`"
        owner = hint if has_ledger(lake) else "this lake was made at once, and nothing is open"
        yield f"`{unknown[1].lower()}` is a view of a pipeline, what is open is in no lake yet; {owner}"
        return
    for line in lines:
        offered = re.fullmatch(r'Did you mean "(.+)"\?', line)
        if unknown and offered and offered[1] not in views:
            near = get_close_matches(unknown[1], views, n=1)
            yield f'Did you mean "{near[0]}"?' if near else f"The views are {', '.join(views)}."
        else:
            yield line
