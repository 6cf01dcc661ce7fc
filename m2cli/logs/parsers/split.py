"""Lines to the columns of their format, whichever shape it has, and by whichever parser takes each line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import EVENT_SCHEMA, TIME
from m2cli.logs.fields.assemble import assemble_events
from m2cli.logs.fields.times import parse_times, plan_time
from m2cli.logs.formats.kinds import NO_SUCH_TIME
from m2cli.logs.formats.model import Shape
from m2cli.logs.lines import IS_IGNORED
from m2cli.logs.parsers.delimited import delimited_reason, part_by_header, split_delimited
from m2cli.logs.parsers.fast import split_fast
from m2cli.logs.parsers.grammar import SHIFTED_USER, find_reason, is_shifted, match_exact
from m2cli.logs.parsers.objects import name_paths, object_reason, split_objects

if TYPE_CHECKING:
    from m2cli.logs.formats.model import LogFormat

NO_REQUEST = "the object is no request"
NO_TIME = "the object has no time"
NO_TIME_COLUMN = "the line `#Fields` names no date and time"
PASSED_ON = {"position_in_source": pl.Int64, "is_odd_text": pl.Boolean}


class ReadLines(NamedTuple):
    """What lines became: `events`, with the columns of `assemble_events` and `event_time`, and what is `left` over.

    `left` has the columns of the lines. `ignored_count` is how many are blank or directives.
    """

    events: pl.DataFrame
    left: pl.DataFrame
    ignored_count: int


def read_lines(lines: pl.DataFrame, log_format: LogFormat) -> ReadLines:
    """The events of those `lines` that are of `log_format`, in order, and the other lines."""
    if log_format.shape is Shape.TEXT:
        return _read_text(lines, log_format)
    candidates = lines.filter(~IS_IGNORED)
    ignored_count = len(lines) - len(candidates)
    if log_format.shape is Shape.JSON:
        parts, bad = split_objects(candidates, name_paths(log_format))
        events, undated = _date(parts, candidates, log_format)
        events, aimless = _drop_aimless(events, candidates)
        return ReadLines(events, pl.concat([bad, undated, aimless]).sort("position_in_source"), ignored_count)
    frames, left = [], []
    for of_header, of_lines in part_by_header(lines, log_format):
        considered = of_lines.filter(~IS_IGNORED)
        if considered.is_empty() or plan_time(of_header) is None:
            left.append(considered)
            continue
        parts, bad = split_delimited(considered, of_header)
        events, undated = _date(parts, considered, of_header)
        frames.append(events)
        left += [bad, undated]
    events = pl.concat([*frames, _nothing()], how="diagonal").sort("position_in_source")
    return ReadLines(events, pl.concat([lines.clear(), *left]).sort("position_in_source"), ignored_count)


def _nothing() -> pl.DataFrame:
    names = ("event_type", "customer_id", "ip", "user_agent", "method", "url", "status", "bytes", "referrer")
    return pl.DataFrame(schema=PASSED_ON | {"event_time": TIME} | {name: EVENT_SCHEMA[name] for name in names})


def _read_text(lines: pl.DataFrame, log_format: LogFormat) -> ReadLines:
    taken, declined = split_fast(lines, log_format)
    candidates = declined.filter(~IS_IGNORED)
    if log_format.heading:
        candidates = candidates.filter(~pl.col("line").str.starts_with(log_format.heading))
    exact, bad = match_exact(candidates, log_format)
    parts = taken if exact.is_empty() else _merge(taken, exact)
    events, undated = _date(parts, lines, log_format)
    left = bad if undated.is_empty() else pl.concat([bad, undated]).sort("position_in_source")
    return ReadLines(events, left, len(declined) - len(candidates))


def _merge(taken: pl.DataFrame, exact: pl.DataFrame) -> pl.DataFrame:
    # A third of the time of `merge_sorted`.
    return pl.concat([taken, exact.select(taken.columns)]).sort("position_in_source")


def _date(parts: pl.DataFrame, lines: pl.DataFrame, log_format: LogFormat) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events of `parts`, and those of `lines` that have no time which can be."""
    parts = parts.with_columns(parse_times(parts, log_format))
    is_dated = parts.get_column("event_time").is_not_null()
    if is_dated.all():
        return assemble_events(parts, log_format), lines.clear()
    undated = lines.join(parts.filter(~is_dated), on="position_in_source", how="semi", maintain_order="left")
    return assemble_events(parts.filter(is_dated), log_format), undated


def _drop_aimless(events: pl.DataFrame, lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Without what asks for nothing: servers write what else they have to say to the same log."""
    is_request = events.select(pl.col("url").is_not_null() | pl.col("method").is_not_null()).to_series()
    if is_request.all():
        return events, lines.clear()
    aimless = lines.join(events.filter(~is_request), on="position_in_source", how="semi", maintain_order="left")
    return events.filter(is_request), aimless


def explain_left(left: pl.DataFrame, log_format: LogFormat, lines: pl.DataFrame) -> pl.DataFrame:
    """`left`, those of `lines` that are none of `log_format`, each with its `reason`."""
    if log_format.shape is Shape.DELIMITED:
        parts = [
            _explain_delimited(_among(left, of_lines), each) for each, of_lines in part_by_header(lines, log_format)
        ]
        reasons = pl.Series("reason", [], dtype=pl.String)
        return pl.concat([left.clear().with_columns(reasons), *parts]).sort("position_in_source")
    reason = (_explain_object if log_format.shape is Shape.JSON else _explain_text)(left, log_format)
    return left.with_columns(reason.alias("reason"))


def _among(left: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    return left.join(lines, on="position_in_source", how="semi", maintain_order="left")


def _is_in(lines: pl.DataFrame) -> pl.Expr:
    return pl.col("position_in_source").is_in(lines["position_in_source"].implode())


def _explain_delimited(left: pl.DataFrame, log_format: LogFormat) -> pl.DataFrame:
    undated, _ = split_delimited(left, log_format)
    fault = NO_SUCH_TIME if plan_time(log_format) else NO_TIME_COLUMN
    reason = pl.when(_is_in(undated)).then(pl.lit(fault)).otherwise(delimited_reason(log_format))
    return left.with_columns(reason.alias("reason"))


def _explain_object(left: pl.DataFrame, log_format: LogFormat) -> pl.Expr:
    parts, bad = split_objects(left, name_paths(log_format))
    is_dated = parse_times(parts, log_format).is_not_null()
    return (
        pl.when(_is_in(bad))
        .then(object_reason())
        .when(_is_in(parts.filter(is_dated)))
        .then(pl.lit(NO_REQUEST))
        .otherwise(pl.lit(NO_TIME))
    )


def _explain_text(left: pl.DataFrame, log_format: LogFormat) -> pl.Expr:
    undated, _ = match_exact(left, log_format, with_shifted=True)
    return (
        pl.when(_is_in(undated.filter(is_shifted(log_format))))
        .then(pl.lit(SHIFTED_USER))
        .when(_is_in(undated))
        .then(pl.lit(NO_SUCH_TIME))
        .otherwise(find_reason(log_format))
    )
