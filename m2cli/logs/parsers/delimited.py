"""The parser of delimited lines, whose columns a line of the log itself names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.logs.fields.used import name_used
from m2cli.logs.formats.patterns import escape_pattern
from m2cli.logs.formats.w3c import FIELDS, with_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from m2cli.logs.formats.model import Field, LogFormat

NO_HEADER = "there is no line `#Fields` before it"
TOO_FEW = "the line has fewer fields than `#Fields` names"
TOO_MANY = "the line has more fields than `#Fields` names"
REASONS = (NO_HEADER, TOO_FEW, TOO_MANY)


def part_by_header(lines: pl.DataFrame, log_format: LogFormat) -> Iterator[tuple[LogFormat, pl.DataFrame]]:
    """`lines` by the header that holds for them, each with the format of its columns; headers are in no part."""
    is_header = lines.get_column("line").str.starts_with(FIELDS)
    texts = [log_format.header or "", *lines.get_column("line").filter(is_header)]
    numbers: dict[str, int] = {}
    which = pl.Series("which", [numbers.setdefault(text, len(numbers)) for text in texts], dtype=pl.UInt32)
    if is_header.any():
        lines = lines.with_columns(which.gather(is_header.cum_sum()))
        # Each line is looked at once, however many headers there are: a damaged log may have one for every line.
        parts = lines.partition_by("which", maintain_order=True, as_dict=True, include_key=False)
    else:
        parts = {(0,): lines}
    headers = list(numbers)
    for (number,), of_header in parts.items():
        yield with_header(log_format, headers[number]), of_header.filter(~pl.col("line").str.starts_with("#"))


def find_last_header(data: bytes) -> str | None:
    """The last `#Fields` line of `data`, whole lines of a log; None if there is none."""
    mark = FIELDS.encode()
    place = data.rfind(b"\n" + mark) + 1
    if not place and not data.removeprefix(b"\xef\xbb\xbf").startswith(mark):
        return None
    line = data[place:].removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    return line.removesuffix(b"\r").decode(errors="backslashreplace")


def follow_header(log_format: LogFormat, data: bytes) -> LogFormat:
    """`log_format` with the header that holds after the whole lines `data`, if it is one that has any."""
    if log_format.header is None or (header := find_last_header(data)) is None:
        return log_format
    return with_header(log_format, header)


def split_delimited(lines: pl.DataFrame, log_format: LogFormat) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`lines` with as many fields as the header of `log_format` names, and those with more or fewer.

    The first has `position_in_source`, `is_odd_text` and the columns of the format that events are made of; the second
    the columns of `lines`.
    """
    fields = log_format.fields
    if not fields:
        return lines.clear().select("position_in_source", "is_odd_text"), lines
    names = [f"part {number}" for number in range(len(fields) + 1)]
    split = pl.col("line").str.splitn(log_format.separator, len(names)).struct.rename_fields(names).struct.unnest()
    parts = lines.select("line", "position_in_source", "is_odd_text", split)
    is_even = parts[names[-2]].is_not_null() & parts[names[-1]].is_null()
    # Proxies that follow the draft to the letter put texts in quotes; IIS and CloudFront do not.
    is_quoted = parts["line"].str.contains('"', literal=True)
    plain = parts.filter(is_even & ~is_quoted)
    columns = _cut_all([pl.col(name) for name in names[:-1]], log_format)
    taken = plain.select("position_in_source", "is_odd_text", *columns)
    rest = lines.filter(~(is_even & ~is_quoted))
    if rest.is_empty():
        return taken, rest
    exact, bad = _split_quoted(rest, log_format)
    return (taken, bad) if exact.is_empty() else (pl.concat([taken, exact]).sort("position_in_source"), bad)


def _cut_all(texts: Sequence[pl.Expr], log_format: LogFormat) -> list[pl.Expr]:
    used = name_used(log_format)
    pairs = zip(texts, log_format.fields, strict=True)
    return [column for text, each in pairs if used & set(each.columns) for column in _cut(text, each)]


def _cut(text: pl.Expr, field: Field) -> list[pl.Expr]:
    if field.kind.groups == ("clock", "rest"):
        return [text.str.head(8).alias(field.columns[0]), text.str.slice(8).alias(field.columns[1])]
    return [text.alias(field.columns[0])]


def _split_quoted(lines: pl.DataFrame, log_format: LogFormat) -> tuple[pl.DataFrame, pl.DataFrame]:
    separator = escape_pattern(log_format.separator)
    value = rf'(?:"((?:[^"]|"")*)"|([^{separator}"][^{separator}]*|))'
    pattern = f"^{separator.join([value] * len(log_format.fields))}$"
    groups = lines.select(pl.col("line").str.extract_groups(pattern).struct.unnest())
    is_line = groups.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    texts = [
        pl.coalesce(pl.col(f"{2 * number + 1}").str.replace_all('""', '"', literal=True), f"{2 * number + 2}")
        for number in range(len(log_format.fields))
    ]
    columns = _cut_all(texts, log_format)
    good = lines.select("position_in_source", "is_odd_text").hstack(groups.select(columns)).filter(is_line)
    return good, lines.filter(~is_line)


def delimited_reason(log_format: LogFormat) -> pl.Expr:
    """`reason`: why a `line` does not have the fields that the header of `log_format` names."""
    if not log_format.fields:
        return pl.lit(NO_HEADER).alias("reason")
    count = pl.col("line").str.count_matches(log_format.separator, literal=True) + 1
    return pl.when(count < len(log_format.fields)).then(pl.lit(TOO_FEW)).otherwise(pl.lit(TOO_MANY)).alias("reason")
