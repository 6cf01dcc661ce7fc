"""A batch's events into visits, shard by shard: enriched, cut, what has ended written whole, the rest carried."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import NotConservedError
from m2cli.runs.anonymize.batch import Lakes
from m2cli.runs.progress import Step
from m2cli.stages.causes import derive_log_causes
from m2cli.stages.enrich import enrich
from m2cli.visits import assign_visits, closing_time, count_reused_ids, gather, list_open_visits
from m2cli.visits.watermarks import later_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import polars as pl

    from m2cli.lake.batch import LakeBatch
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.anonymize.batch import AnonymousBatch
    from m2cli.runs.batch.carry import Carried, CarryWriter
    from m2cli.runs.batch.outlet import Outlet
    from m2cli.runs.progress import Tell
    from m2cli.runs.shards import Spill
    from m2cli.visits import VisitRule, VisitState, Watermark

# Visits are gathered so many bytes of events at a time; an event takes about a kilobyte in all that is done to it.
_EVENT_BYTES = 1024
_LEAST_GATHERED = 100_000


@dataclass
class Cut:
    """What the kernel made of a batch, in numbers."""

    closed_event_count: int = 0
    visit_count: int = 0
    duplicate_count: int = 0
    id_reused_count: int = 0
    open_visit_count: int = 0
    open_until: datetime | None = None
    """When the last of the open visits ends, if nothing more comes."""

    def count_open(self, opened: pl.DataFrame, rule: VisitRule) -> None:
        """Count visits that are open."""
        self.open_visit_count += opened.height
        self.open_until = later_of(self.open_until, closing_time(opened, rule))

    def followed_by(self, other: Cut) -> Cut:
        """Both together, where `other` has cut what this one left open."""
        return replace(
            other,
            closed_event_count=self.closed_event_count + other.closed_event_count,
            visit_count=self.visit_count + other.visit_count,
            duplicate_count=self.duplicate_count + other.duplicate_count,
            id_reused_count=self.id_reused_count + other.id_reused_count,
        )


class CutRule(NamedTuple):
    """By what a batch is cut: its pipeline's rule, but the limits of visits as they stand in its plan."""

    pipeline: PipelineRule
    visit: VisitRule
    budget: int
    """How many bytes of events may be in memory at a time."""


class Ledgered(NamedTuple):
    """The state that a batch takes over, and where it writes what it leaves and what is final."""

    carried: Carried
    left: CarryWriter
    lake: LakeBatch
    outlet: Outlet
    twin: AnonymousBatch | None


def cut_batch(spill: Spill, ledgered: Ledgered, W: Watermark, rule: CutRule, tell: Tell) -> Cut:
    """Cut the events of `spill` with the carried state into visits, and write all that W has closed."""
    cutter = _Cutter(ledgered, W, rule)
    for done, shard in enumerate(spill.drain(ledgered.carried.count_shards(rule.budget))):
        tell(Step("visits", done, None, "shards"))
        cutter.cut(shard.events, ledgered.carried.load(shard.number, shard.count))
        del shard  # before the next one is read
    ledgered.left.keep_segments(ledgered.carried)
    return cutter.done


class _Cutter:
    """Cuts shard after shard, and counts."""

    def __init__(self, ledgered: Ledgered, W: Watermark, rule: CutRule) -> None:
        self._carried, self._left, self._lake, self._outlet, twin = ledgered
        self._lakes = Lakes(self._lake, twin)
        self._W, self._rule = W, rule
        self._first_new = ledgered.carried.next_visit_number
        self.done = Cut()

    def cut(self, events: pl.DataFrame, state: VisitState) -> None:
        """Cut the events of one shard, with its state."""
        described = enrich(events, self._rule.pipeline.enrichment) if events.height else events
        assigned = assign_visits(described, state, self._W, self._rule.visit)
        self._carried.next_visit_number = assigned.state.next_visit_number
        self._lake.write_duplicates(assigned.duplicates)
        self.done.duplicate_count += assigned.duplicates.height
        self._outlet.send(assigned, self._W.time)
        tagged = assigned.tagged
        for ended in slice_visits(assigned.ended, self._rule.budget):
            before = ended["visit_number"].filter(ended["visit_number"] < self._first_new)
            whole, tagged = gather([*self._carried.find(before), tagged], ended)
            write_whole(whole, ended, self._lakes, self._rule.pipeline, self.done)
        self._left.keep(assigned.state, tagged)
        self.done.count_open(list_open_visits(assigned.state, self._W, self._rule.visit), self._rule.visit)


def write_whole(whole: pl.DataFrame, ended: pl.DataFrame, lakes: Lakes, pipeline: PipelineRule, done: Cut) -> None:
    """Write visits that have ended, and all of their events, to the lake and its twin, and count them in `done`."""
    if whole.height != ended["event_count"].sum():
        raise NotConservedError(f"{ended.height:,} visits have {whole.height:,} events, not those that they count")
    caused = derive_log_causes(whole, pipeline.causes)
    lakes.identified.write_events(caused, ended)
    lakes.identified.write_visits(ended.drop("visit_number"))
    if lakes.twin:
        lakes.twin.write(caused, ended)
    done.closed_event_count += whole.height
    done.visit_count += ended.height
    done.id_reused_count += count_reused_ids(whole)


def slice_visits(ended: pl.DataFrame, budget: int) -> Iterator[pl.DataFrame]:
    """`ended` by so many visits that their events fit the budget; in order of start."""
    if not ended.height:
        return
    most = max(_LEAST_GATHERED, budget // _EVENT_BYTES)
    number = (ended["event_count"].cum_sum() - ended["event_count"]) // most
    for _, part in ended.with_columns(slice_number=number).group_by("slice_number", maintain_order=True):
        yield part.drop("slice_number")
