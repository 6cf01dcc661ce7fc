"""From a block of bytes to events and rejects: cut into lines, split fast or exactly, given types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import EVENT_SCHEMA, REJECT_SCHEMA, Intake
from m2cli.logs.blocks import KEPT_SIZE, TOO_LONG
from m2cli.logs.fields.escapes import escape_as_bytes
from m2cli.logs.formats.model import Wrapper
from m2cli.logs.lines import IS_IGNORED, cut_lines
from m2cli.logs.parsers.split import explain_left, read_lines
from m2cli.logs.parsers.wrappers import NOT_WRAPPED, unwrap_lines

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

    `events` has `event_id`, `event_time`, `event_type`, `method`, `url`, `status`, `source`, `part_id`,
    `position_in_source`, `arrival_time`; of `customer_id`, `session_id`, `ip`, `bytes`, `user_agent` and `referrer`
    those that the format has; what its options ask for; and `attributes` where a line of the block has any (`ident`, an
    unusual `protocol`, `encoding`, and what is kept). Rows are in the order of the lines. `rejects` has all of
    `REJECT_COLUMNS`; its line numbers count from the block's first line.
    """
    log_format, origin, position = place
    lines = cut_lines(data, position)
    line_count, whole = len(lines), lines
    faults = []
    if len(data) > max_line_size:
        is_long = _measure_lines(lines, position + len(data)) > max_line_size
        faults = [_fail(lines.filter(is_long).with_columns(pl.col("line").str.head(KEPT_SIZE)), TOO_LONG)]
        lines = lines.filter(~is_long)
    bare = lines.clear()
    if log_format.wrapper is not Wrapper.NONE:
        lines, bare = unwrap_lines(lines, log_format.wrapper)
        faults.append(_fail(bare.filter(~IS_IGNORED), NOT_WRAPPED[log_format.wrapper]))
    read = read_lines(lines, log_format)
    events, left, counts = [read.events], read.left, [(log_format.name, len(read.events))]
    for other in log_format.others:
        more = read_lines(left, other)
        events.append(more.events)
        left = more.left
        counts.append((other.name, len(more.events)))
    if not left.is_empty():
        faults.append(explain_left(left, log_format, lines))
    if log_format.wrapper is not Wrapper.NONE:
        faults = [_as_they_were(fault, whole) for fault in faults]
    ignored_count = read.ignored_count + len(bare.filter(IS_IGNORED))
    rejects = pl.concat(faults).sort("line_number") if faults else _fail(whole.clear(), "")
    return Intake(
        _finish_events(events, origin), make_rejects(rejects, origin), line_count, ignored_count, tuple(counts)
    )


def _as_they_were(fault: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """The lines of `fault` as they stand in the file, wrapped."""
    return (
        fault.drop("line")
        .join(lines.select("position_in_source", "line"), on="position_in_source")
        .select(fault.columns)
    )


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


def _finish_events(frames: list[pl.DataFrame], origin: Origin) -> pl.DataFrame:
    events = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal").sort("position_in_source")
    events = events.with_columns(
        name_events(pl.lit(f"{origin.part_id}-")), *origin.columns("source", "part_id", "arrival_time")
    )
    return events.select(name for name in EVENT_SCHEMA if name in events.columns)


def name_events(prefix: pl.Expr) -> pl.Expr:
    """`event_id`: `prefix`, which is the part and a hyphen, and `position_in_source` (DESIGN 3.2)."""
    return pl.concat_str(prefix, pl.col("position_in_source").cast(pl.String)).alias("event_id")


def make_rejects(lines: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """The rejects of `lines`, which has the columns of `lines.cut_lines` and `reason`."""
    raw = pl.Series("raw", [escape_as_bytes(line) for line in lines.get_column("line")], dtype=pl.String)
    return lines.with_columns(raw, *origin.columns("source", "part_id", "file", "arrival_time")).select(*REJECT_SCHEMA)
