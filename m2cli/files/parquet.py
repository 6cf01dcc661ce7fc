"""Parquet: whole files, or slices of one that is huge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.errors import UnreadableSourceError
from m2cli.files.blocks import WRONG, Block
from m2cli.files.texts import escape_controls, to_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from m2cli.files.find import EventFile
    from m2cli.files.rule import FileRule

_SAMPLE = 10_000

CORRUPT = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


def read_parquet(file: EventFile, rule: FileRule) -> Iterator[Block]:
    """The rows of `file` in slices of about `rule.parquet_block_bytes` on disk, or `rule.parquet_memory`; most are one.

    A visit id is not read at all. Raises `UnreadableSourceError` where the file is cut short or corrupt.
    """
    names = parquet_columns(file)
    row_index = "row" + "_" * max((len(name) for name in names), default=0)  # longer than any, so none of them
    wanted = [row_index, *(name for name in names if name != "visit_id")]
    try:
        lazy = pl.scan_parquet(file.path, hive_partitioning=False, glob=False, row_index_name=row_index)
        row_count = lazy.select(pl.len()).collect().item()
        slice_count = max(1, -(-file.size // rule.parquet_block_bytes))
        step = max(1, -(-row_count // slice_count))
        if row_count > _SAMPLE:
            step = min(step, _count_rows(lazy.select(wanted).head(_SAMPLE).collect(), rule.parquet_memory))
        for start in range(0, max(row_count, 1), step):
            part = lazy if step >= row_count else lazy.slice(start, step)
            rows = part.select(wanted).collect()
            yield _block(rows.drop(row_index), rows[row_index].cast(pl.Int64), start)
    except CORRUPT as error:
        raise UnreadableSourceError(file.name, "it is cut short, corrupt or not Parquet") from error


def _count_rows(head: pl.DataFrame, memory: int) -> int:
    """How many rows like those of `head` fit `memory`, at least as many as these."""
    texts = sum(dtype == pl.String for dtype in head.dtypes)
    row_size = head.estimated_size() / head.height + 16 * texts  # of a text, only its bytes are estimated
    return max(head.height, int(memory / row_size))


def parquet_columns(file: EventFile) -> list[str]:
    """The names of its columns."""
    return list(_schema(file))


def parquet_times(file: EventFile) -> list[str]:
    """The names of those columns whose type is a time or a date."""
    return [name for name, dtype in _schema(file).items() if dtype.is_temporal()]


def _schema(file: EventFile) -> dict[str, pl.DataType]:
    try:
        return dict(pl.read_parquet_schema(file.path))
    except CORRUPT as error:
        raise UnreadableSourceError(file.name, "it is cut short, corrupt or not Parquet") from error


def _block(rows: pl.DataFrame, index: pl.Series, start: int) -> Block:
    return Block(
        rows=rows,
        index=index,
        wrong=pl.DataFrame(schema=WRONG),
        read_count=len(index),
        ignored_count=0,
        describe=lambda asked: _describe(rows[asked - start], asked),
    )


def _describe(rows: pl.DataFrame, indexes: pl.Series) -> pl.DataFrame:
    """Rows have no text of their own: JSON of their values as text stands for it."""
    texts = pl.DataFrame([to_text(column) for column in rows])
    raws = texts.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return pl.DataFrame({"line_number": indexes + 1, "position_in_source": indexes, "raw": escape_controls(raws)})
