"""What `m2 status --watermarks` shows: a table of the partitions' lags, and bars of what larger bounds leave late."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from m2cli.settings import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, timedelta

    from m2cli.pipeline import PipelineRule
    from m2cli.runs.watermarks import Lags

_COLUMNS = ("partition", "batches", "lag", "at most", "late", "late by", "at most ", "B for 99 %", "B for all")


def list_watermarks(rule: PipelineRule, day: date | None, *, is_json: bool) -> list[str]:
    """The lines to be shown of the batches and events of `day`, of all if it is None."""
    from m2cli.output.terminal import escape_json
    from m2cli.runs.watermarks import read_lags

    found = read_lags(rule, day)
    if is_json:
        return [escape_json(line) for line in json.dumps(found.to_dict(), indent=2).splitlines()]
    return list(_describe(found))


def _describe(found: Lags) -> Iterator[str]:
    import polars as pl

    from m2cli.output.plot import draw_bars
    from m2cli.output.table import format_table

    rows = [
        (
            each.source,
            f"{each.batch_count:,}",
            _format(each.median_lag),
            _format(each.most_lag),
            f"{each.late_count:,}",
            _format(each.median_late_by),
            _format(each.most_late_by),
            _format(each.enough_for_most),
            _format(each.enough),
        )
        for each in found.partitions
    ]
    texts = pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row")
    yield from format_table(texts, is_number=[place > 0 for place in range(len(_COLUMNS))])
    others = {reason: count for reason, count in found.late_reasons.items() if reason != "late"}
    if others:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in others.items())
        yield f"and late for other reasons, which no B mends: {counts}"
    if found.left_with:
        yield ""
        names = [f"B = {_format(bound)}" for bound, _ in found.left_with]
        counts_left = [count for _, count in found.left_with]
        yield from draw_bars("events late", names, counts_left, [f"{count:,}" for count in counts_left])


def _format(duration: timedelta | None) -> str:
    """In whole seconds, upwards: less than a bound is not enough."""
    from datetime import timedelta as of

    return "" if duration is None else format_duration(of(seconds=-(-duration // of(seconds=1))))
