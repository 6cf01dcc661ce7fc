"""A batch that is done in steps: what is final leaves for the topics step by step, the lake's files come at the end.

A step is planned in the ledger before any work, like a batch, and its transaction says that it was sent; nothing else
is written for it, so that what a step costs does not grow with the visits that are open. Between its steps the state
is in memory. Whoever is killed leaves the plans of the steps: the next run does them again, sends what was not sent,
and ends the batch with files that hold all of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import polars as pl

from m2cli.clock import elapsed_since, stopwatch
from m2cli.kafka import KnownOffsets
from m2cli.lake.batch import open_batch
from m2cli.ledger import Changes
from m2cli.runs.anonymize.batch import Lakes, open_twin
from m2cli.runs.batch.carry import Carried, CarryWriter
from m2cli.runs.batch.cut import Cut, slice_visits, write_whole
from m2cli.runs.batch.take import Held, Sinks, Taken, take_in
from m2cli.runs.batch.work import NEEDED, Done, Notes, add_up, list_parts
from m2cli.runs.shards import budget_events, size_in_memory
from m2cli.stages.enrich import enrich
from m2cli.visits import assign_visits, gather, list_open_visits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from m2cli.ledger import LedgerBatch
    from m2cli.runs.batch.facts import BatchFacts
    from m2cli.runs.batch.plan import Plan
    from m2cli.runs.batch.site import Site

# Of what may be in memory, tagged events of this batch take so much before they are written.
_SHARE = 2
# What of them is left when visits that have ended are written goes to the disk if it is more than this share.
_MOSTLY_OPEN = 3 / 4
# And an ended visit so many bytes until its events are gathered.
_ENDED_BYTES = 4096


class _Frames:
    """Events on time, as they come."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []

    def add(self, events: pl.DataFrame) -> None:
        """Take in `events`."""
        self._frames.append(events)

    def drain(self) -> pl.DataFrame:
        """All that was added, and nothing is left."""
        frames, self._frames = self._frames, []
        return pl.concat([pl.DataFrame(schema=NEEDED), *frames], how="diagonal")


class Steps:
    """A batch of `site`, done step by step and then ended; as a context it takes away what was not ended."""

    def __init__(self, site: Site, batch: LedgerBatch, *, held_size: int | None = None) -> None:
        """Take over the state that the last commit has left, and hold up to `held_size` bytes of tagged events.

        Raises what `Broker.find_outlet` raises.
        """
        self._start = stopwatch()
        site.start(batch)
        self._site, self.batch = site, batch
        self._before = site.ledger.read_progress()
        self.W, self.partitions = self._before.W, self._before.partitions
        self._outlet = site.broker.find_outlet(site.ledger, batch)
        self._carried = Carried(site.lake, self._before)
        self._carried_in_count = self._carried.event_count
        self._state = self._carried.load()
        self._stack = ExitStack()
        self._lake = self._stack.enter_context(open_batch(site.lake, batch.batch_id, at=site.at))
        self._twin = self._stack.enter_context(open_twin(site.pipeline.anonymize, self._lake, site.at))
        self._left = CarryWriter(site.lake, batch.batch_id, batch.number)
        self._taken = Taken(self.partitions)
        self._on_time = _Frames()
        self._sinks = Sinks(self._on_time, Held(self._lake.write_late), Held(self._lake.write_rejects))
        self._budget = budget_events(site.pipeline.memory)
        self._held_size = held_size or self._budget // _SHARE
        self._tagged: list[pl.DataFrame] = []
        self._tagged_size = 0
        self._ended: list[pl.DataFrame] = []
        self._done = Cut()
        self.plans: list[Plan] = []
        self.positions: dict[str, KnownOffsets] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def count(self) -> int:
        """How many steps were done."""
        return len(self.plans)

    @property
    def event_count(self) -> int:
        """How many events came in so far."""
        return self._taken.tally.event_count

    @property
    def ended_event_count(self) -> int:
        """How many events the visits have that have ended and are not written yet."""
        return sum(int(frame["event_count"].sum()) for frame in self._ended)

    @property
    def is_full(self) -> bool:
        """Whether what is kept until the end is as much as memory should hold."""
        return sum(frame.height for frame in self._ended) > self._budget // _ENDED_BYTES

    def do(self, plan: Plan) -> None:
        """Do the next step: what it makes final is in the topics when this returns.

        Raises what `take_in` and `Outlet.commit` raise; then the steps are over, and the next run does them again.
        """
        take_in(plan, self._site, self.W, self._sinks, self._taken)
        self._site.at("step taken in")
        W, self.partitions = self.W.advance(self._taken.partitions), self._taken.partitions
        events = self._on_time.drain()
        self._outlet.begin(self.count)
        if events.height or W != self.W:
            described = enrich(events, self._site.pipeline.enrichment) if events.height else events
            assigned = assign_visits(described, self._state, W, plan.visit)
            self._state, self.W = assigned.state, W
            self._lake.write_duplicates(assigned.duplicates)
            self._done.duplicate_count += assigned.duplicates.height
            self._outlet.send(assigned, W.time)
            self._keep(assigned.tagged, assigned.ended)
        self._site.at("step sent")
        self._outlet.commit(plan.offsets)
        self._site.at("step committed")
        self.plans.append(plan)
        self.positions |= {each.source: KnownOffsets(each.topic_id, each.end) for each in plan.offsets}
        self.positions |= {
            each.source_name: KnownOffsets(each.source_name, rows.end) for each in plan.inputs for rows in each.rows
        }

    def end(self, notes: Notes) -> BatchFacts:
        """Write the visits that have ended and the state that is left, and commit all steps.

        Raises what `do_batch` raises.
        """
        site, rule = self._site, self.plans[-1].visit
        self._sinks.write()
        self.write_ended()
        self._write_segment()
        self._left.keep(self._state, pl.DataFrame())
        self._left.keep_segments(self._carried)
        self._done.count_open(list_open_visits(self._state, self.W, rule), rule)
        site.at("visits written")
        carried_files = self._left.finish(site.at)
        progress = self._before._replace(
            W=self.W,
            partitions=self.partitions,
            carried=carried_files,
            next_visit_number=self._state.next_visit_number,
        )
        carried_out_count = Carried(site.lake, progress).event_count
        done = Done(progress, self._taken, self._done, self._carried_in_count, carried_out_count)
        facts = add_up(done, self.plans, notes, elapsed_since(self._start), is_sent=bool(site.pipeline.topics))
        anonymous = self._twin.finish(self._done.closed_event_count) if self._twin else {}
        added = [file.to_dict() for file in self._lake.finish()]
        site.at("added up")
        parts = {part.part_id: part for plan in self.plans for part in list_parts(plan.inputs, self._taken.read)}
        kept = facts.to_json() | anonymous
        site.commit(self.batch, Changes(progress=progress, parts=list(parts.values()), added=added, facts=kept))
        return facts

    def write_ended(self) -> None:
        """Write the visits that have ended so far; of their events nothing stays in memory."""
        if not self._ended:
            return
        ended = pl.concat(self._ended).sort("start_time", "visit_id", maintain_order=True)
        self._ended = []
        for some in slice_visits(ended, self._budget):
            whole, rest = gather([*self._carried.find(some["visit_number"]), *self._tagged], some)
            self._tagged = [rest] if rest.height else []
            write_whole(whole, some, Lakes(self._lake, self._twin), self._site.pipeline, self._done)
        self._tagged_size = sum(map(size_in_memory, self._tagged))

    def _keep(self, tagged: pl.DataFrame, ended: pl.DataFrame) -> None:
        """Keep what is final until the batch ends: tagged events in memory as long as they are few."""
        if ended.height:
            self._ended.append(ended)
        if tagged.height:
            self._tagged.append(tagged)
            self._tagged_size += size_in_memory(tagged)
        if self._tagged_size > self._held_size:
            self.write_ended()
            if self._tagged_size > self._held_size * _MOSTLY_OPEN:
                self._write_segment()

    def _write_segment(self) -> None:
        if self._tagged:
            self._carried.add(self._left.put_segment(pl.concat(self._tagged, how="diagonal")))
        self._tagged, self._tagged_size = [], 0


def redo_steps(site: Site, batch: LedgerBatch, plans: Sequence[Plan]) -> BatchFacts:
    """Do again all steps of a batch that a killed run had planned, send what was not sent, and end it."""
    with Steps(site, batch) as steps:
        for plan in plans:
            steps.do(plan)
        return steps.end(Notes())
