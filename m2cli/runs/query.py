"""SQL over a lake: DuckDB in memory, the views of DESIGN 3.4, and nothing else within reach."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from itertools import chain, count
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.lake.snapshot import read_snapshot
from m2cli.lake.views import define_views, quote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from m2cli.lake.snapshot import Snapshot

_ROWS_AT_ONCE = 100_000
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# Types that neither Polars nor Parquet has; they come as DuckDB's text.
_ONLY_DUCKDBS = re.compile(r"INTERVAL|BIT|UNION|TIME WITH TIME ZONE|TIMETZ|VARIANT|GEOMETRY|BIGNUM|VARINT|TIME_NS")
_TIMES = re.compile(r"TIMESTAMP(TZ| WITH TIME ZONE)")


@contextmanager
def query_lake(sql: str, lake: Path) -> Iterator[Iterator[pl.DataFrame]]:
    """The result of the one statement `sql` over `lake`: an empty frame, then frames of up to 100,000 rows.

    The views are `events`, `visits`, `human_visits`, `pages`, `purchases`, `late`, `duplicates` and
    `rejects`, as of the lake's snapshot. Times are in UTC. Only reading is possible, and only of the lake.

    Raises `UsageError` with DuckDB's own words for SQL that cannot be done, `UnreadableSourceError` for a
    lake that cannot be read; both while the frames are taken, too.
    """
    snapshot = read_snapshot(lake)
    with (
        tempfile.TemporaryDirectory(prefix="m2-query-") as spill,
        duckdb.connect() as connection,
        _explain(lake),
    ):
        _open(connection, lake, snapshot, spill)
        _refuse_writing(connection, sql)
        relation = connection.sql(sql)
        if relation is None:
            raise UsageError("the statement has no result")
        yield _fetch(relation, lake)


def _open(connection: duckdb.DuckDBPyConnection, lake: Path, snapshot: Snapshot, spill: str) -> None:
    """Make the views, then shut the door: no other file, no extension, no setting changed."""
    files = [lake / file.path for file in snapshot.files]
    for statement in (
        "SET TimeZone = 'UTC'",
        f"SET temp_directory = '{spill}'",
        *define_views(lake, snapshot),
        f"SET allowed_paths = [{', '.join(map(quote, files))}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        connection.execute(statement)


def _refuse_writing(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise `UsageError` for all that could write: `COPY` could, to the very files that may be read."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise UsageError(f"one statement is asked for, here are {len(statements)}")
    if statements[0].type not in _READING:
        raise UsageError(f"`{statements[0].type.name}` is not allowed; `m2 query` reads only, with SELECT")
    if statements[0].type == duckdb.StatementType.EXPLAIN and re.search(r"\banalyze\b", sql, re.IGNORECASE):
        raise UsageError("EXPLAIN ANALYZE runs what it explains and is not allowed; use EXPLAIN")


def _fetch(relation: duckdb.DuckDBPyRelation, lake: Path) -> Iterator[pl.DataFrame]:
    with _explain(lake):
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
def _explain(lake: Path) -> Iterator[None]:
    """Turn DuckDB's errors into m2's: what it says, with its hints and its caret."""
    try:
        yield
    except duckdb.IOException as error:
        reason = "a file of it is gone or damaged; was it replaced meanwhile?"
        raise UnreadableSourceError(lake, f"{reason} ({_first_line(error)})") from error
    except duckdb.Error as error:
        raise UsageError("\n".join(line for line in str(error).splitlines() if line.strip())) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
