"""Chains of visits cut anew, as the stream would have cut them had their events been there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import NotConservedError
from m2cli.stages.causes import come_from_logs, derive_log_causes
from m2cli.stages.enrich import enrich
from m2cli.visits import VisitState, assign_visits, count_reused_ids, gather

if TYPE_CHECKING:
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.anonymize.batch import Lakes
    from m2cli.visits import Watermark

_FLUSH = "flush"
_END = ["visitor_id", "end_time"]


class Recut(NamedTuple):
    """What was cut anew, in numbers."""

    event_count: int = 0
    visit_count: int = 0
    duplicate_count: int = 0
    id_reused_count: int = 0

    def and_also(self, other: Recut) -> Recut:
        """Both together."""
        return Recut(*map(sum, zip(self, other, strict=True)))


class Chains(NamedTuple):
    """Whole chains of visits that are over, of some visitors, to be cut anew."""

    kept: pl.DataFrame
    """Their events as the lake had them."""
    added: pl.DataFrame
    """Events that nobody has described yet."""
    before: pl.DataFrame
    """The visits that they were: `visitor_id`, `end_time`, `end_reason`."""


def cut_anew(chains: Chains, W: Watermark, pipeline: PipelineRule, lakes: Lakes) -> Recut:
    """Cut `chains`, which W has passed, into visits, and write them to `lakes`.

    Raises `NotConservedError` if one of them is not over, or an event is lost.
    """
    kept, added, before = chains
    described = enrich(added, pipeline.enrichment) if added.height else added
    frames = [_forget_causes(kept.drop("visit_id", strict=False)), described]
    events = pl.concat([frame for frame in frames if frame.height] or [described], how="diagonal")
    assigned = assign_visits(events, VisitState.empty(), W, pipeline.visit)
    if assigned.state.pending.height or assigned.state.open_visits.height:
        raise NotConservedError("a chain that was over has a visit that is open")
    ended = _keep_flushes(assigned.ended, before)
    whole = gather([assigned.tagged], ended).whole
    if whole.height + assigned.duplicates.height != kept.height + added.height:
        raise NotConservedError("the events of the visits that were cut anew are not those that came out of it")
    caused, visits, lake = derive_log_causes(whole, pipeline.causes), ended.drop("visit_number"), lakes.identified
    lake.write_events(caused, ended)
    lake.write_visits(visits)
    lake.write_duplicates(assigned.duplicates)
    if lakes.twin and visits.height:
        lakes.twin.write(caused, visits)
    return Recut(whole.height, ended.height, assigned.duplicates.height, count_reused_ids(whole))


def _keep_flushes(ended: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """A visit that ends when one did that a flush had ended was ended by it too, whatever has been read since."""
    flushed = before.filter(pl.col("end_reason") == _FLUSH).select(_END).unique()
    if flushed.is_empty():
        return ended
    is_flushed = ended.select(pl.struct(_END).is_in(flushed.select(pl.struct(_END)).to_series().implode())).to_series()
    return ended.with_columns(end_reason=pl.when(is_flushed).then(pl.lit(_FLUSH)).otherwise("end_reason"))


def _forget_causes(events: pl.DataFrame) -> pl.DataFrame:
    """`events` without the causes that m2 has derived: another visit may have others (DESIGN 6.4)."""
    names = [name for name in ("cause_id", "reason") if name in events.columns]
    is_derived = pl.lit(come_from_logs(events))
    return events.with_columns(pl.when(~is_derived).then(name).alias(name) for name in names)
