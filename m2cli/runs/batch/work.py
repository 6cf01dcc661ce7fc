"""One batch from its plan to its commit: taken in, cut into visits, written, added up (DESIGN 5.1)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.clock import elapsed_since, stopwatch
from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.lake.batch import open_batch
from m2cli.ledger import Changes, RowOfPart
from m2cli.runs.anonymize.batch import open_twin
from m2cli.runs.batch.carry import Carried, CarryWriter
from m2cli.runs.batch.cut import Cut, CutRule, Ledgered, cut_batch
from m2cli.runs.batch.facts import BatchFacts
from m2cli.runs.batch.take import Held, Sinks, Taken, take_in
from m2cli.runs.shards import Spill, budget_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m2cli.lake.batch import LakeBatch
    from m2cli.ledger import LedgerBatch, Progress, RowOfFile
    from m2cli.logs.follow import ReadRange
    from m2cli.runs.anonymize.batch import AnonymousBatch
    from m2cli.runs.batch.outlet import Outlet
    from m2cli.runs.batch.plan import Plan, PlannedInput
    from m2cli.runs.batch.site import Site

NEEDED = {name: LAKE_EVENT_SCHEMA[name] for name in ("visitor_id", "event_time")}
_MOSTLY = 0.5  # a part of which more than this came late was forgotten, or belongs to another time


class Notes(NamedTuple):
    """What there is to say of a plan."""

    warnings: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


class Done(NamedTuple):
    """What was made of a batch's events, and how far the pipeline has come with it."""

    progress: Progress
    taken: Taken
    cut: Cut
    carried_in_count: int
    carried_out_count: int


def do_batch(
    site: Site, batch: LedgerBatch, plan: Plan, *, files: Sequence[RowOfFile] | None, notes: Notes
) -> BatchFacts:
    """Do what `plan` says from the beginning, and commit it. Returns what it came to.

    Raises what `take_in` raises, `UnwritableSinkError` if the disk is full, `NotConservedError` if it does not add up;
    then nothing is committed, what was written is taken away, and the batch stays planned.
    """
    start = stopwatch()
    site.start(batch)
    outlet = site.broker.find_outlet(site.ledger, batch)
    with (
        open_batch(site.lake, batch.batch_id, at=site.at) as lake,
        open_twin(site.pipeline.anonymize, lake, site.at) as twin,
    ):
        done = _work(site, batch, plan, _Outputs(lake, outlet, twin))
        anonymous = twin.finish(done.cut.closed_event_count) if twin else {}
        added = [file.to_dict() for file in lake.finish()]
        facts = add_up(done, [plan], notes, elapsed_since(start), is_sent=bool(site.pipeline.topics))
        site.at("added up")
        outlet.commit(plan.offsets)
        site.at("topics committed")
    parts = list_parts(plan.inputs, done.taken.read)
    kept = facts.to_json() | anonymous
    site.commit(batch, Changes(progress=done.progress, parts=parts, files=files, added=added, facts=kept))
    return facts


class _Outputs(NamedTuple):
    """Where what a batch makes goes."""

    lake: LakeBatch
    outlet: Outlet
    twin: AnonymousBatch | None


def _work(site: Site, batch: LedgerBatch, plan: Plan, to: _Outputs) -> Done:
    lake, outlet, _ = to
    before = site.ledger.read_progress()
    rule = CutRule(site.pipeline, plan.visit, budget_events(site.pipeline.memory))
    spill = Spill(site.scratch, rule.budget, named=site.lake)
    spill.add(pl.DataFrame(schema=NEEDED))
    taken, sinks = Taken(plan.partitions), Sinks(spill, Held(lake.write_late), Held(lake.write_rejects))
    take_in(plan, site, before.W, sinks, taken)
    if not site.broker.has_sent(site.ledger, batch):  # what was sent has to be committed, whatever is allowed by now
        taken.tally.check(site.pipeline.max_rejects)
    sinks.write()
    site.at("input taken in")
    outlet.begin(0)
    W = before.W.advance(taken.partitions)
    carried_in = Carried(site.lake, before).event_count
    if W == before.W and not taken.tally.event_count and not plan.is_flush:
        return Done(before._replace(partitions=taken.partitions), taken, nothing_new(site), carried_in, carried_in)
    progress, cut = _cut(before._replace(W=W, partitions=taken.partitions), spill, rule, _Writers(site, batch, to, 0))
    if plan.is_flush and cut.open_until is not None:
        flushed = progress._replace(W=W.flush(cut.open_until + timedelta(microseconds=1)))
        nothing = Spill(site.scratch, rule.budget, named=site.lake)
        nothing.add(pl.DataFrame(schema=NEEDED))
        progress, rest = _cut(flushed, nothing, rule, _Writers(site, batch, to, 1))
        cut = cut.followed_by(rest)
    site.at("visits written")
    return Done(progress, taken, cut, carried_in, Carried(site.lake, progress).event_count)


class _Writers(NamedTuple):
    """Where a step of a batch writes."""

    site: Site
    batch: LedgerBatch
    outputs: _Outputs
    step: int


def _cut(before: Progress, spill: Spill, rule: CutRule, to: _Writers) -> tuple[Progress, Cut]:
    """Cut what is in `spill` and what `before` carries; how far that brings the pipeline."""
    carried = Carried(to.site.lake, before)
    left = CarryWriter(to.site.lake, to.batch.batch_id, to.batch.number, to.step)
    cut = cut_batch(spill, Ledgered(carried, left, *to.outputs), before.W, rule, to.site.tell)
    files = left.finish(to.site.at)
    return before._replace(carried=files, next_visit_number=carried.next_visit_number), cut


def nothing_new(site: Site) -> Cut:
    """The open visits are as the last batch left them."""
    last = site.ledger.list_batches(1, kinds=["run"])
    facts = BatchFacts.from_json(last[0].facts) if last else BatchFacts()
    return Cut(open_visit_count=facts.open_visit_count, open_until=facts.open_until)


def add_up(done: Done, plans: Sequence[Plan], notes: Notes, seconds: float, *, is_sent: bool) -> BatchFacts:
    """What a batch came to that did `plans`. Raises `NotConservedError` if it does not add up."""
    taken, cut = done.taken, done.cut
    return BatchFacts(
        read_count=taken.tally.read_count,
        event_count=taken.tally.event_count,
        reject_count=taken.tally.reject_count,
        ignored_count=taken.tally.ignored_count,
        carried_in_count=done.carried_in_count,
        closed_event_count=cut.closed_event_count,
        late_count=taken.late_reasons.total(),
        duplicate_count=cut.duplicate_count,
        carried_out_count=done.carried_out_count,
        visit_count=cut.visit_count,
        open_visit_count=cut.open_visit_count,
        open_until=cut.open_until,
        id_reused_count=cut.id_reused_count,
        W=done.progress.W.time,
        first_event_time=taken.first_event_time,
        last_event_time=taken.last_event_time,
        reject_reasons=dict(taken.tally.commonest),
        redacted_count=taken.tally.redacted.total(),
        redacted=taken.tally.commonest_redacted,
        late_reasons=dict(taken.late_reasons),
        late_parts=_find_late_parts([each for plan in plans for each in plan.inputs], taken),
        is_sent=is_sent,
        warnings=notes.warnings,
        passed_over=notes.passed_over,
        seconds=round(seconds, 3),
    )


def _find_late_parts(inputs: Sequence[PlannedInput], taken: Taken) -> dict[str, int]:
    """The parts most of whose events came late, by their path."""
    paths = {each.part_id: each.path for planned in inputs for each in planned.ranges}
    paths |= {each.part_name: each.path for planned in inputs for each in planned.files}
    return {
        paths.get(part, part): late_count
        for part, late_count in taken.late_counts.items()
        if late_count > _MOSTLY * taken.event_counts[part]
    }


def list_parts(inputs: Sequence[PlannedInput], read_ranges: Sequence[ReadRange]) -> list[RowOfPart]:
    """How far the parts of `inputs` have been read, for the ledger."""
    ranges = {each.part_id: each for planned in inputs for each in planned.ranges}
    logs = [
        RowOfPart(
            part_id=read.part_id,
            name=ranges[read.part_id].name,
            source=ranges[read.part_id].source,
            position=read.end,
            line_count=read.line_count,
            is_excluded=False,
            path=ranges[read.part_id].path,
            marks=tuple((mark.start, mark.end, mark.digest) for mark in read.marks),
        )
        for read in read_ranges
    ]
    files = [
        RowOfPart(
            part_id=file.part_id,
            name=file.part_id,
            source=planned.source_name,
            position=file.size,
            line_count=0,
            is_excluded=False,
            path=file.path,
            marks=(),
        )
        for planned in inputs
        for file in planned.files
    ]
    partitions = [
        RowOfPart(
            part_id=each.source,
            name=each.topic_id,
            source=each.source,
            position=each.end,
            line_count=0,
            is_excluded=False,
            path=each.topic,
            marks=(),
        )
        for planned in inputs
        for each in planned.offsets
    ]
    tapes = [
        RowOfPart(
            part_id=planned.source_name,
            name=planned.source_name,
            source=planned.source_name,
            position=rows.end,
            line_count=0,
            is_excluded=False,
            path=planned.source_name,
            marks=(),
        )
        for planned in inputs
        for rows in planned.rows
    ]
    return logs + files + partitions + tapes
