"""Lines of JSON, all parsed at once, and the lines that are none found without a loop over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars.datatypes import DataTypeClass

    Schema = Mapping[str, pl.DataType | DataTypeClass]

DOUBTFUL = 64  # lines, at 1 to 3 ms each


class Parsed(NamedTuple):
    """`rows` of the lines that are objects, and `is_object`, one for each line."""

    rows: pl.DataFrame
    is_object: pl.Series


def parse_objects(lines: pl.Series, schema: Schema) -> Parsed:
    """The columns of `schema` from `lines`, an object each; keys that are not there are null.

    All lines at once where all are well. Else `json_path_match`, Polars' other parser, finds those that
    are; of those that it calls none (it is stricter: lone surrogates, depth) the first `DOUBTFUL` are tried.
    """
    try:
        return parse_all(lines, schema)
    except pl.exceptions.PolarsError:
        opens = lines.str.strip_chars_start().str.starts_with("{")
        is_well = is_json(lines)
        sure, doubtful = (opens & is_well).arg_true(), (opens & ~is_well).arg_true()[:DOUBTFUL]
        places = pl.concat([each.filter(_by_halves(lines.gather(each), schema)) for each in (sure, doubtful)]).sort()
        rows = _read(lines.gather(places), schema)
        return Parsed(rows, pl.int_range(len(lines), dtype=pl.UInt32, eager=True).is_in(places.implode()))


def parse_all(lines: pl.Series, schema: Schema) -> Parsed:
    """The same where all lines are well; raises `PolarsError` where one is not or does not fit `schema`."""
    return Parsed(_read(lines, schema), pl.repeat(value=True, n=len(lines), dtype=pl.Boolean, eager=True))


def is_json(texts: pl.Series) -> pl.Series:
    """Whether each text is one JSON value other than null."""
    return texts.to_frame("t").select(pl.col("t").str.json_path_match("$").is_not_null()).to_series()


def _read(lines: pl.Series, schema: Schema) -> pl.DataFrame:
    if not len(lines):
        return pl.DataFrame(schema=schema)
    # A schema without columns reads no rows, so one column stands in: a name is as good as any.
    asked = dict(schema) or {"": pl.String()}
    rows = pl.read_ndjson(str(lines.str.join("\n").item()).encode(), schema=asked)
    if rows.height != len(lines):
        raise pl.exceptions.ComputeError("not one row a line")
    return rows


def _by_halves(lines: pl.Series, schema: Schema) -> pl.Series:
    """Which lines can be read, found in as many steps as the wrong ones and their depth in halves take."""
    try:
        _read(lines, schema)
    except pl.exceptions.PolarsError:
        if len(lines) == 1:
            return pl.Series([False])
        half = len(lines) // 2
        return pl.concat([_by_halves(lines[:half], schema), _by_halves(lines[half:], schema)])
    return pl.repeat(value=True, n=len(lines), dtype=pl.Boolean, eager=True)
