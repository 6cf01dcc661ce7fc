"""A tape played: the batches of `m2 run`, one after the other on a virtual clock, into a lake of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from m2cli.pipeline import PipelineRule, TapeSource
from m2cli.runs.batch.known import PlanRule, Standing
from m2cli.runs.batch.planning import make_plan
from m2cli.runs.batch.site import open_site
from m2cli.runs.batch.steps import Steps
from m2cli.runs.batch.work import Notes
from m2cli.runs.progress import Step, tell_nobody
from m2cli.runs.run import run_pipeline
from m2cli.runs.shards import budget_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from m2cli.files.tape import Tape
    from m2cli.runs.batch.planning import NewPlan
    from m2cli.runs.batch.site import Site
    from m2cli.runs.progress import Tell
    from m2cli.runs.replay.rule import Outage, ReplayRule

NAME = "replay"
_TAPE = "tape"
# Events of visits that have ended are gathered and written so many at a time: more take longer each, by a half.
_WRITTEN_AT_ONCE = 1_000_000


class Played(NamedTuple):
    """The lake that came of a replay, and how many batches it took."""

    pipeline: PipelineRule
    batch_count: int

    @property
    def lake(self) -> Path:
        """Where it is."""
        return self.pipeline.lake


def play(tape: Tape, folder: Path, rule: ReplayRule, tell: Tell = tell_nobody) -> Played:
    """Run the batches of `tape` into `folder`/lake, and a flush at the end. Raises what `run_pipeline` raises."""
    pipeline = PipelineRule(
        path=folder / f"{NAME}.toml",
        name=NAME,
        lake=folder / "lake",
        sources=(TapeSource(name=_TAPE, tape=tape),),
        memory=rule.memory,
        visit=rule.visit,
        max_ahead=rule.max_ahead,
        grace=timedelta(0),
    )
    clock = Clock()
    with open_site(pipeline, now=clock, tell=tell_nobody, at=_at_no_step, wait=_wait_for_nobody) as site:
        site.ledger.relax()
        player = _Player(site, tape, rule, clock, tell)
        player.do_batches()
    run_pipeline(pipeline, now=clock, is_flush=True)
    return Played(pipeline, player.batch_count)


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.time = datetime.fromtimestamp(0, UTC)

    def __call__(self) -> datetime:
        """What it says."""
        return self.time


class _Player:
    """Does the batches of a tape as steps (`batch.steps`) of one: what has ended is written when memory says so."""

    def __init__(self, site: Site, tape: Tape, rule: ReplayRule, clock: Clock, tell: Tell) -> None:
        self._site, self._tape, self._clock, self._tell = site, tape, clock, tell
        self._ticks = tick(tape, rule.every, rule.faults.outages, rule.visit.idle_after)
        self.batch_count = 0

    def do_batches(self) -> None:
        """Do all of them, to the end of the tape."""
        site = self._site
        first = self._find_plan(None)
        if first is None:
            return
        batch = site.ledger.plan("run", site.now(), first.plan.to_json())
        with Steps(site, batch, held_size=budget_events(site.pipeline.memory)) as steps:
            new: NewPlan | None = first
            while new is not None:
                if steps.count:
                    site.ledger.plan_step(batch, steps.count, new.plan.to_json())
                steps.do(new.plan)
                if steps.is_full or steps.ended_event_count >= _WRITTEN_AT_ONCE:
                    steps.write_ended()
                new = self._find_plan(steps)
            steps.end(Notes())

    def _find_plan(self, steps: Steps | None) -> NewPlan | None:
        """The plan of the next batch that has anything to do; None after the last."""
        site = self._site
        standing = Standing(steps.partitions, steps.positions) if steps else None
        known = steps.partitions if steps else site.ledger.read_progress().partitions
        for now in self._ticks:
            self._clock.time = now
            self.batch_count += 1
            self._tell(
                Step("replaying", self._tape.find_end(now), self._tape.row_count, "events", f"{now:%Y-%m-%d %H:%M}")
            )
            new = make_plan(site.pipeline, site.ledger, now, PlanRule(), broker=site.broker, standing=standing)
            # A partition that falls idle lets W go on.
            if new.plan.has_input or not new.plan.partitions["is_active"].equals(known["is_active"]):
                return new
        return None


def tick(tape: Tape, every: timedelta, outages: Sequence[Outage], idle_after: timedelta) -> Iterator[datetime]:
    """The times of the batches: every so often, but for outages, from the first event to the last.

    Where nothing comes for long, what is left out of it are batches that would change nothing: those after every
    partition has become idle.
    """
    epoch = datetime.fromtimestamp(0, UTC)
    now, last = epoch, epoch
    while (coming := tape.find_next_time(last)) is not None:
        after = datetime.fromtimestamp(coming, UTC)
        now = now + every if now > epoch else after - timedelta(seconds=1)
        if now < after and now - last > idle_after + every:
            now = after
        now = epoch + -(-(now - epoch) // every) * every
        for outage in outages:
            now = outage.find_end(now)
        if now >= after:
            last = now
        yield now


def _at_no_step(_step: str) -> None:
    """Nothing is to be interrupted."""


def _wait_for_nobody() -> None:
    """Nobody else works on a lake that is new."""
