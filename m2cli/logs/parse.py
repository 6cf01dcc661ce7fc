"""From a block of bytes to events and rejects: cut into lines, split fast or exactly, given types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import EVENT_SCHEMA, REJECT_SCHEMA, Intake
from m2cli.logs.assemble import assemble_events
from m2cli.logs.blocks import KEPT_SIZE, TOO_LONG
from m2cli.logs.escapes import escape_as_bytes
from m2cli.logs.fast import split_fast
from m2cli.logs.formats.kinds import NO_SUCH_TIME
from m2cli.logs.grammar import split_exact
from m2cli.logs.lines import IS_IGNORED, cut_lines
from m2cli.logs.times import parse_times

if TYPE_CHECKING:
    from datetime import datetime

    from m2cli.logs.formats import LogFormat


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
    taken, declined = split_fast(lines, log_format)
    candidates = declined.filter(~IS_IGNORED)
    exact, bad = split_exact(candidates, log_format)
    parts = _merge(taken, exact)
    parts = parts.with_columns(parse_times(parts, log_format))
    is_dated = parts.get_column("event_time").is_not_null()
    if not is_dated.all():
        faults.append(_fail(lines.join(parts.filter(~is_dated), on="position_in_source", how="semi"), NO_SUCH_TIME))
        parts = parts.filter(is_dated)
    rejects = make_rejects(pl.concat([bad, *faults]).sort("line_number"), origin)
    return Intake(_make_events(parts, log_format, origin), rejects, line_count, len(declined) - len(candidates))


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


def _make_events(parts: pl.DataFrame, log_format: LogFormat, origin: Origin) -> pl.DataFrame:
    named = parts.with_columns(
        name_events(pl.lit(f"{origin.part_id}-")), *origin.columns("source", "part_id", "arrival_time")
    )
    events = assemble_events(named, log_format)
    return events.select(name for name in EVENT_SCHEMA if name in events.columns)


def name_events(prefix: pl.Expr) -> pl.Expr:
    """`event_id`: `prefix`, which is the part and a hyphen, and `position_in_source` (DESIGN 3.2)."""
    return pl.concat_str(prefix, pl.col("position_in_source").cast(pl.String)).alias("event_id")


def make_rejects(lines: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """The rejects of `lines`, which has the columns of `lines.cut_lines` and `reason`."""
    raw = pl.Series("raw", [escape_as_bytes(line) for line in lines.get_column("line")], dtype=pl.String)
    return lines.with_columns(raw, *origin.columns("source", "part_id", "file", "arrival_time")).select(*REJECT_SCHEMA)
