"""The parser of JSON lines: well-formed objects by columns, all others one by one with the standard library."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m2cli.logs.formats.model import LogFormat

NO_OBJECT = "the line is no JSON object"
CUT_OBJECT = "the JSON is cut short or malformed"
REASONS = (NO_OBJECT, CUT_OBJECT)

# An object, of as many levels as access logs have. Polars joins all lines to one array before it parses them: only
# what is an object by itself may go in, or two broken lines become one that is whole. Numbers that Polars would write
# in another way than they stand there are left to the exact parser, and so are surrogates, which it makes zeros of.
_UNICODE = "u(?:00[2-7]|0[1-9A-Fa-f][0-9A-Fa-f]|[1-9A-Ca-cE-Fe-f][0-9A-Fa-f]{2})[0-9A-Fa-f]"
_TEXT = rf'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|{_UNICODE}))*"'
_NUMBER = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?"
_LEVELS = 3
_HALVES = 64


def _value(levels: int) -> str:
    plain = f"{_TEXT}|{_NUMBER}|true|false|null"
    if not levels:
        return f"(?:{plain})"
    inner = _value(levels - 1)
    pair = f"{_TEXT} *: *{inner}"
    return rf"(?:{plain}|\{{ *(?:{pair}(?: *, *{pair})*)? *\}}|\[ *(?:{inner}(?: *, *{inner})*)? *\])"


_PAIR = f"{_TEXT} *: *{_value(_LEVELS)}"
WELL_FORMED = rf"^ *\{{ *(?:{_PAIR}(?: *, *{_PAIR})*)? *\}} *$"
_ESCAPED_BYTES = re.compile(r"(?:\\x[0-9A-Fa-f]{2})+")


def split_objects(lines: pl.DataFrame, columns: dict[str, tuple[str, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`lines` that are JSON objects, as texts of what is at each of the paths `columns`, and those that are none.

    The first has `position_in_source`, `is_odd_text` and `columns` (String, null where nothing is there); the second
    the columns of `lines`. Of two equal keys the first counts.
    """
    well = lines.select(pl.col("line").str.contains(WELL_FORMED)).to_series()
    fast = lines.filter(well)
    rows, unread = _decode(fast, columns)
    others = pl.concat([unread, lines.filter(~well)]) if len(unread) else lines.filter(~well)
    exact, bad = _read_each(others, columns)
    if exact.is_empty():
        return rows, bad
    return pl.concat([rows, exact]).sort("position_in_source"), bad.sort("position_in_source")


def _decode(lines: pl.DataFrame, columns: dict[str, tuple[str, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All at once; where a value is not of the kind that the paths say, by halves until few lines are left over."""
    if lines.is_empty():
        return _pick(lines.with_columns(pl.lit(None, _schema(columns)).alias("object")), columns), lines
    try:
        return _pick(
            lines.with_columns(pl.col("line").str.json_decode(_schema(columns)).alias("object")), columns
        ), lines.clear()
    except pl.exceptions.PolarsError:
        if len(lines) <= _HALVES:
            return _pick(lines.clear().with_columns(pl.lit(None, _schema(columns)).alias("object")), columns), lines
        half = len(lines) // 2
        both = [_decode(lines[:half], columns), _decode(lines[half:], columns)]
        return pl.concat([rows for rows, _ in both]), pl.concat([unread for _, unread in both])


def _pick(frame: pl.DataFrame, columns: dict[str, tuple[str, ...]]) -> pl.DataFrame:
    return frame.select("position_in_source", "is_odd_text", *(_at(path).alias(name) for name, path in columns.items()))


def _at(path: tuple[str, ...]) -> pl.Expr:
    value = pl.col("object")
    for key in path:
        value = value.list.first() if key == "0" else value.struct.field(key)
    return value


def _schema(columns: dict[str, tuple[str, ...]]) -> pl.Struct:
    return _schema_of(tuple(columns.values()))


@cache
def _schema_of(paths: tuple[tuple[str, ...], ...]) -> pl.Struct:
    dtype = _nest(paths)
    assert isinstance(dtype, pl.Struct)  # noqa: S101 - every path has a key
    return dtype


def _nest(paths: Sequence[tuple[str, ...]]) -> pl.DataType:
    if any(not path for path in paths):
        return pl.String()
    if any(path[0] == "0" for path in paths):
        return pl.List(_nest([path[1:] for path in paths if path[0] == "0"]))
    keys = dict.fromkeys(path[0] for path in paths)
    return pl.Struct([pl.Field(key, _nest([path[1:] for path in paths if path[0] == key])) for key in keys])


def _read_each(lines: pl.DataFrame, columns: dict[str, tuple[str, ...]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    documents = [parse_object(line) for line in lines.get_column("line")]
    is_object = pl.Series("is_object", [document is not None for document in documents], dtype=pl.Boolean)
    good = lines.filter(is_object).select("position_in_source", "is_odd_text")
    found = [document for document in documents if document is not None]
    values = [
        pl.Series(name, [_walk(document, path) for document in found], dtype=pl.String)
        for name, path in columns.items()
    ]
    return good.with_columns(values), lines.filter(~is_object)


def parse_object(line: str) -> dict[str, Any] | None:
    r"""The object that `line` is, numbers as text; None if it is none.

    Takes what nginx writes without `escape=json` too: `\x22`, which is no JSON.
    """
    text = _ESCAPED_BYTES.sub(_unescape, line) if "\\x" in line else line
    try:
        document = json.loads(
            text, object_pairs_hook=_first_of_each, parse_float=_format_number, parse_int=_format_number, strict=False
        )
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _unescape(found: re.Match[str]) -> str:
    data = bytes.fromhex(found[0].replace("\\x", ""))
    return json.dumps(data.decode(errors="backslashreplace"), ensure_ascii=False)[1:-1]


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _format_number(text: str) -> str:
    """As Polars writes it: `1.50` is `1.5`."""
    if "." not in text and "e" not in text and "E" not in text:
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if abs(number.adjusted()) > 30:  # nobody's time, size or duration
        return text
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _walk(value: Any, path: tuple[str, ...]) -> str | None:
    for key in path:
        if key == "0" and isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            value = value.get(key)
        elif key != "0":  # where a list is expected, one value is as good
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return _drop_surrogates(value) if isinstance(value, str) else None


def _drop_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


def name_paths(log_format: LogFormat) -> dict[str, tuple[str, ...]]:
    """Where each column of `log_format` is."""
    return dict(log_format.paths)


def object_reason() -> pl.Expr:
    """`reason`: why a `line` is no object."""
    begins = pl.col("line").str.contains(r"^ *\{")
    return pl.when(begins).then(pl.lit(CUT_OBJECT)).otherwise(pl.lit(NO_OBJECT)).alias("reason")
