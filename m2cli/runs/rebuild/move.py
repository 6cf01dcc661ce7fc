"""Visits taken out of the lake, cut anew with what is added and without what is excluded, and put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.runs.rebuild.cut import Chains, Recut, cut_anew
from m2cli.runs.rebuild.rewrite import FROM, SAME_EVENT, is_of_parts, join_rows
from m2cli.runs.shards import Spill, budget_events
from m2cli.visits import count_reused_ids

if TYPE_CHECKING:
    from collections import Counter

    from m2cli.runs.anonymize.batch import Lakes
    from m2cli.runs.batch.site import Site
    from m2cli.runs.rebuild.rewrite import Rewriter
    from m2cli.visits import Watermark

_IS_ADDED = "is_added"
_NEEDED = ("visitor_id", "event_time")


class Sorted(NamedTuple):
    """Added events by what becomes of them, with `from_file` and `from_row`."""

    merged: pl.DataFrame
    to_late: pl.DataFrame
    """Of files and rejects, those that cannot be merged into these dates now."""
    waiting_count: int
    other_count: int


class Rechained(NamedTuple):
    """What is to be done: visits to be cut anew, events to be merged, parts to be left out."""

    touched: pl.DataFrame
    """`visit_id`, `start_time`; whole chains."""
    sort: Sorted
    excluded: pl.Series


class Moved(NamedTuple):
    """What left its place in the lake, and what became of it, in numbers."""

    before: Recut
    """What was taken out; of excluded parts, too."""
    returned_count: int
    """Duplicates of events that were taken out, and are none any more."""
    excluded: Counter[str]
    """How many events of excluded parts there were, by table."""
    made: Recut


def move_visits(site: Site, rewriter: Rewriter, asked: Rechained, W: Watermark, lakes: Lakes) -> Moved:
    """Take out what is `asked`, and write what becomes of it; in memory is as much as the pipeline's `memory` allows.

    The same in the pseudonymous lake, where the pipeline has one.

    Raises `NotConservedError` if an event is lost, `UnwritableSinkError` if the disk is full.
    """
    touched, sort, names = asked
    spill = Spill(site.scratch, budget_events(site.pipeline.memory), named=site.lake)
    before, leaving, had = Recut(), [], dict.fromkeys(_NEEDED)
    for rows in rewriter.take_events(touched):
        is_excluded = is_of_parts(rows, names)
        before = before.and_also(Recut(event_count=rows.height, id_reused_count=count_reused_ids(rows)))
        leaving.append(_name_events(rows.filter(is_excluded)))
        _add(spill, rows.filter(~is_excluded) if is_excluded.any() else rows, is_added=False)
        had |= dict.fromkeys(rows.columns)
    ends = rewriter.take_ends(touched)
    if lakes.twin:
        lakes.twin.take_out(touched, rewriter.replaced)
    gone = join_rows(leaving, {name: LAKE_EVENT_SCHEMA[name] for name in SAME_EVENT})
    returned = rewriter.find_copies(gone, names)
    merged = sort.merged.drop(FROM)
    _add(spill, returned.drop(FROM), is_added=False)
    _add(spill, merged, is_added=True)
    had |= dict.fromkeys(returned.drop(FROM).columns)
    made = Recut()
    for shard in spill.drain():
        # Each with the columns that it had: those of which nothing was known are no columns without values.
        kept = shard.events.filter(~pl.col(_IS_ADDED)).select(*had)
        added = shard.events.filter(_IS_ADDED).select(merged.columns)
        made = made.and_also(cut_anew(Chains(kept, added, ends), W, site.pipeline, lakes))
    moved = join_rows([frame.select(*FROM) for frame in (sort.merged, sort.to_late, returned)], FROM)
    excluded = rewriter.take_rows(moved, names)
    excluded["events"] = gone.height
    return Moved(before._replace(visit_count=ends.height), returned.height, excluded, made)


def _name_events(rows: pl.DataFrame) -> pl.DataFrame:
    """What tells whether two events are one; ids are null where there are none."""
    absent = [pl.lit(None, LAKE_EVENT_SCHEMA[name]).alias(name) for name in SAME_EVENT if name not in rows.columns]
    return rows.with_columns(absent).select(SAME_EVENT)


def _add(spill: Spill, events: pl.DataFrame, *, is_added: bool) -> None:
    spill.add(events.with_columns(pl.lit(is_added).alias(_IS_ADDED)))
