"""The views that `m2 query` offers over a lake (DESIGN 3.4), as statements for DuckDB."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA, PAGE, PURCHASE, TIME, VISIT_SCHEMA
from m2cli.lake.layout import PRIVATE, TABLES, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from polars._typing import PolarsDataType

    from m2cli.lake.snapshot import Snapshot

_TYPES: dict[PolarsDataType, str] = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    TIME: "TIMESTAMP WITH TIME ZONE",
    pl.Duration("us"): "BIGINT",  # what Parquet makes of it
}
# What of a table is not shown as it lies in the files.
_REPLACED = {"late": "REPLACE (to_microseconds(late_by) AS late_by)"}
_DERIVED = {
    "human_visits": "FROM visits WHERE is_robot IS NOT TRUE",
    "pages": f"FROM events WHERE event_type = '{PAGE}'",
    "purchases": f"FROM events WHERE event_type = '{PURCHASE}'",
}

VIEWS = (*(table.name for table in TABLES), *_DERIVED)

# What is in no file of the lake yet; `open_until` is when a visit would be closed if nothing more came.
OPEN_EVENTS = Table("open_events", LAKE_EVENT_SCHEMA)
OPEN_VISITS = Table(
    "open_visits", {name: VISIT_SCHEMA[name] for name in VISIT_SCHEMA if name != "end_reason"} | {"open_until": TIME}
)
OPEN_VIEWS = (OPEN_EVENTS.name, OPEN_VISITS.name)


def define_views(lake: Path, snapshot: Snapshot) -> Iterator[str]:
    """Statements that make the views over the files of `snapshot`, each with its table's whole schema."""
    for table in TABLES:
        paths = snapshot.paths(lake, table.name)
        selected = _select_files(table, paths) if _may_read(table, paths) else _refuse(table)
        yield f"CREATE VIEW {table.name} AS {selected}"
    for name, query in _DERIVED.items():
        yield f"CREATE VIEW {name} AS {query}"


def define_open_views(paths: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Statements that make the views of what is open over files by the view's name, each with its whole schema."""
    for table in (OPEN_EVENTS, OPEN_VISITS):
        yield f"CREATE VIEW {table.name} AS {_select_files(table, paths.get(table.name, ()))}"


def _select_files(table: Table, paths: Sequence[Path]) -> str:
    # An empty relation with all columns first: by name, it gives the union its names, their order and types.
    columns = ", ".join(f'NULL::{_name_type(dtype)} AS "{name}"' for name, dtype in table.schema.items())
    relation = f"SELECT {columns} WHERE false"
    if paths:
        files = ", ".join(map(quote, paths))
        options = "union_by_name=true, hive_partitioning=false"
        relation = f"({relation}) UNION ALL BY NAME (FROM read_parquet([{files}], {options}))"
    return f"SELECT * {_REPLACED.get(table.name, '')} FROM ({relation})"  # noqa: S608  # names of m2's own, quoted paths


def _may_read(table: Table, paths: Sequence[Path]) -> bool:
    """Whether the files may be read; of tables that are not private, and of lost files, who reads them says why not."""
    try:
        return table not in PRIVATE or all(os.access(path, os.R_OK) or not path.stat() for path in paths[-1:])
    except PermissionError:
        return False
    except OSError:
        return True


def _refuse(table: Table) -> str:
    """A view that fails when it is asked, so that the others can be."""
    columns = ", ".join(f'NULL::{_name_type(dtype)} AS "{name}"' for name, dtype in table.schema.items())
    said = f"no right to read `{table.name}`: it is for the owner of the lake alone"
    return f"SELECT {columns} WHERE error('{said}') IS NULL"


def _name_type(dtype: PolarsDataType) -> str:
    if isinstance(dtype, pl.Decimal):
        return f"DECIMAL({dtype.precision},{dtype.scale})"
    if isinstance(dtype, pl.Map):
        return f"MAP({_name_type(dtype.key)}, {_name_type(dtype.value)})"
    return _TYPES[dtype]


def quote(path: Path) -> str:
    """`path` as a literal of SQL."""
    return "'" + str(path.absolute()).replace("'", "''") + "'"
