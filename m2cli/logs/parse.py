"""From a block of bytes to events and rejects: cut into lines, split fast or exactly, given types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import EVENT_SCHEMA, REJECT_SCHEMA, TEXTS, Intake
from m2cli.logs.blocks import KEPT_SIZE, TOO_LONG
from m2cli.logs.escapes import escape_as_bytes
from m2cli.logs.fast import split_fast
from m2cli.logs.formats import NO_SUCH_TIME
from m2cli.logs.grammar import split_exact
from m2cli.logs.lines import IS_IGNORED, cut_lines
from m2cli.logs.requests import name_event_type, split_request
from m2cli.logs.times import parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from m2cli.logs.formats import LogFormat

NOT_UTF8 = "not UTF-8"
"""The value of the attribute `encoding` where bytes of a line, or bytes it has escaped, are not UTF-8."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where lines come from: what all events and rejects of one file share."""

    source: str
    part_id: str
    file: str
    arrival_time: datetime

    def columns(self, *names: str) -> list[pl.Expr]:
        """The columns called `names`, the same in every row."""
        values = {
            "source": self.source,
            "part_id": self.part_id,
            "file": self.file,
            "arrival_time": self.arrival_time,
        }
        return [pl.lit(values[name], (EVENT_SCHEMA | REJECT_SCHEMA)[name]).alias(name) for name in names]


class Place(NamedTuple):
    """Where a block is: the format of its log, the file, and the byte at which its first line begins."""

    log_format: LogFormat
    origin: Origin
    position: int


def parse_block(data: bytes, place: Place, *, max_line_size: int) -> Intake:
    """The events and rejects of `data`, the whole lines at `place`.

    `events` has `event_id`, `event_time`, `event_type`, `customer_id`, `ip`, `method`, `url`, `status`,
    `bytes`, `source`, `part_id`, `position_in_source`, `arrival_time`; `user_agent` and `referrer` where the
    format has them; and `attributes` where a line of the block has any (`ident`, an unusual `protocol`,
    `encoding`). Rows are in the order of the lines. `rejects` has all of `REJECT_COLUMNS`; its line numbers
    count from the block's first line.
    """
    log_format, origin, position = place
    lines = cut_lines(data, position)
    line_count = len(lines)
    faults = []
    if len(data) > max_line_size:
        is_long = _measure_lines(lines, position + len(data)) > max_line_size
        faults = [_fail(lines.filter(is_long).with_columns(pl.col("line").str.head(KEPT_SIZE)), TOO_LONG)]
        lines = lines.filter(~is_long)
    taken, declined = split_fast(lines, log_format) if log_format.is_common_like else (None, lines)
    candidates = declined.filter(~IS_IGNORED)
    exact, bad = split_exact(candidates, log_format)
    parts = exact if taken is None else _merge(taken, exact)
    parts = parts.with_columns(parse_time(parts))
    is_dated = parts.get_column("event_time").is_not_null()
    if not is_dated.all():
        faults.append(_fail(lines.join(parts.filter(~is_dated), on="position_in_source", how="semi"), NO_SUCH_TIME))
        parts = parts.filter(is_dated)
    rejects = make_rejects(pl.concat([bad, *faults]).sort("line_number"), origin)
    return Intake(_make_events(parts, origin), rejects, line_count, len(declined) - len(candidates))


def reject_line(data: bytes, place: Place, reason: str) -> Intake:
    """One line that begins with `data` and is a reject for `reason`, whatever it holds."""
    nothing = parse_block(b"", place, max_line_size=1)
    line = pl.DataFrame(
        {
            "line": [data.decode(errors="backslashreplace")],
            "line_number": [1],
            "position_in_source": [place.position],
        }
    )
    return nothing._replace(rejects=make_rejects(_fail(line, reason), place.origin), read_count=1)


def count_rejects_from(intake: Intake, line_count: int) -> Intake:
    """`intake` of a block before which there are `line_count` lines in its file."""
    return intake._replace(rejects=intake.rejects.with_columns(pl.col("line_number") + line_count))


def _measure_lines(lines: pl.DataFrame, end: int) -> pl.Series:
    begins = lines.get_column("position_in_source")
    return begins.shift(-1, fill_value=end) - begins


def _fail(lines: pl.DataFrame, reason: str) -> pl.DataFrame:
    return lines.with_columns(pl.lit(reason).alias("reason"))


def _merge(taken: pl.DataFrame, exact: pl.DataFrame) -> pl.DataFrame:
    if exact.is_empty():
        return taken
    # A third of the time of `merge_sorted`.
    return pl.concat([taken, exact.select(taken.columns)]).sort("position_in_source")


def _null_if_none(name: str, *others: str) -> pl.Expr:
    return pl.when(~pl.col(name).is_in(("-", "", *others))).then(pl.col(name))


def _make_events(parts: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    columns = [name for name in ("user_agent", "referrer") if name in parts.columns]
    events = split_request(parts.with_columns(_null_if_none("request"))).with_columns(
        name_events(pl.lit(f"{origin.part_id}-")),
        pl.col("status").cast(pl.Int32, strict=False),
        pl.col("bytes").cast(pl.Int64, strict=False),
        _null_if_none("host").alias("ip"),
        _null_if_none("user", '""').alias("customer_id"),  # Apache's empty user
        *map(_null_if_none, columns),
        *origin.columns("source", "part_id", "arrival_time"),
    )
    events = events.with_columns(name_event_type(), *_collect_attributes(events))
    return events.select(name for name in EVENT_SCHEMA if name in events.columns)


def name_events(prefix: pl.Expr) -> pl.Expr:
    """`event_id`: `prefix`, which is the part and a hyphen, and `position_in_source` (DESIGN 3.2)."""
    return pl.concat_str(prefix, pl.col("position_in_source").cast(pl.String)).alias("event_id")


def _collect_attributes(events: pl.DataFrame) -> list[pl.Series]:
    """The column `attributes`, or nothing if no row has any."""
    named = {
        "ident": _null_if_none("ident"),
        "protocol": pl.col("protocol"),
        "encoding": pl.when("is_odd_text").then(pl.lit(NOT_UTF8)),
    }
    row = pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")
    entries = pl.concat(
        events.select(row, pl.lit(name).alias("key"), value.alias("value")).filter(pl.col("value").is_not_null())
        for name, value in named.items()
    )
    if entries.is_empty():
        return []
    # Forty times as fast as a list of structs for every row, most of which have none.
    filled = (
        entries.sort("row", maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg(pl.struct("key", "value").alias("attributes"))
    )
    which = pl.Series([None], dtype=pl.UInt32).new_from_index(0, len(events))
    which = which.scatter(filled.get_column("row"), range(len(filled)))
    return [filled.get_column("attributes").cast(TEXTS).gather(which)]


def make_rejects(lines: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """The rejects of `lines`, which has the columns of `lines.cut_lines` and `reason`."""
    raw = pl.Series("raw", [escape_as_bytes(line) for line in lines.get_column("line")], dtype=pl.String)
    return lines.with_columns(raw, *origin.columns("source", "part_id", "file", "arrival_time")).select(*REJECT_SCHEMA)
