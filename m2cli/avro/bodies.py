"""The bodies of messages of one schema as rows: by column where that can be, one by one where it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from m2cli.avro.columns import is_columnar, read_columns
from m2cli.avro.exact import UnreadableError, build_column, read_body
from m2cli.files.blocks import WRONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from m2cli.avro.types import Type

CHUNK = 1 << 14  # messages at a time: their columns stay in the cache
CHUNK_BYTES = 256 << 20  # views into them count to 2 GiB
NO_RECORD = "its schema is no record"


class Rows(NamedTuple):
    """What messages said: a row for each (`rows`), whose it is (`places`), and what was none (index, reason)."""

    rows: pl.DataFrame
    places: pl.Series
    wrong: pl.DataFrame


def read_bodies(record: Type, messages: pl.Series, index: pl.Series, header_size: int) -> Iterator[Rows]:
    """The rows of `messages` (Binary), of which `places` are the places, in pieces."""
    if record.kind != "record" or not record.fields:
        yield Rows(pl.DataFrame(), index[:0], refuse(index, NO_RECORD))
        return
    for start, length in _chunk(messages):
        part, places = messages[start : start + length], index[start : start + length]
        if is_columnar(record):
            yield _read_by_column(record, part, places, header_size)
        else:
            yield _read_one_by_one(record, part, places, header_size)


def refuse(index: pl.Series, reason: str) -> pl.DataFrame:
    """All of `index` as what is wrong for one reason."""
    return index.to_frame("index").with_columns(reason=pl.lit(reason)).cast(WRONG)  # type: ignore[arg-type]  # classes


def build_rows(record: Type, values: Sequence[Any], index: pl.Series) -> Rows:
    """The values of one kind of record as rows; one that no column can hold is wrong."""
    try:
        rows = build_column(record, values).struct.unnest() if len(values) else pl.DataFrame()
        return Rows(rows, index, pl.DataFrame(schema=WRONG))
    except UnreadableError as error:
        if len(values) == 1:
            return Rows(pl.DataFrame(), index[:0], refuse(index, str(error)))
        half = len(values) // 2
        parts = build_rows(record, values[:half], index[:half]), build_rows(record, values[half:], index[half:])
        return join_rows(parts)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of one schema, in the order of their messages."""
    kept = [part for part in parts if part.rows.height]
    wrong = pl.concat([part.wrong for part in parts])
    if not kept:
        return Rows(pl.DataFrame(), parts[0].places[:0], wrong)
    index = pl.concat([part.places for part in kept])
    rows = pl.concat([part.rows for part in kept])
    if not index.is_sorted():
        order = index.arg_sort()
        rows, index = rows[order], index.gather(order)
    return Rows(rows, index, wrong)


def _read_by_column(record: Type, messages: pl.Series, index: pl.Series, header_size: int) -> Rows:
    read = read_columns(record, messages, header_size)
    if not read.is_wrong.any():
        return Rows(read.rows, index, pl.DataFrame(schema=WRONG))
    is_wrong = pl.Series(read.is_wrong)
    well = Rows(read.rows.filter(~is_wrong), index.filter(~is_wrong), pl.DataFrame(schema=WRONG))
    return join_rows([well, _read_one_by_one(record, messages.filter(is_wrong), index.filter(is_wrong), header_size)])


def _read_one_by_one(record: Type, messages: pl.Series, index: pl.Series, header_size: int) -> Rows:
    values: list[Any] = []
    reasons: list[str | None] = []
    for message in messages.to_list():
        try:
            values.append(read_body(record, message[header_size:]))
            reasons.append(None)
        except UnreadableError as error:
            reasons.append(str(error))
    wrong = index.to_frame("index").with_columns(reason=pl.Series(reasons, dtype=pl.String))
    is_well = wrong["reason"].is_null()
    built = build_rows(record, values, index.filter(is_well))
    return built._replace(wrong=pl.concat([built.wrong, wrong.filter(~is_well).cast(WRONG)]))  # type: ignore[arg-type]


def _chunk(messages: pl.Series) -> Iterator[tuple[int, int]]:
    """Where pieces begin and how long they are: of `CHUNK` messages, and fewer where these are large."""
    ends = messages.bin.size().cast(pl.Int64).cum_sum().to_numpy()
    start, done = 0, 0
    while start < len(messages):
        by_size = int(np.searchsorted(ends, done + CHUNK_BYTES, side="right"))
        end = min(start + CHUNK, max(by_size, start + 1), len(messages))
        yield start, end - start
        start, done = end, int(ends[end - 1])
