"""A pipeline as a process that stays: a step every second or so to the topics, the lake every quarter of an hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from m2cli.clock import elapsed_since, stopwatch
from m2cli.errors import UsageError
from m2cli.pipeline import KafkaSource
from m2cli.runs.batch.known import PlanRule, Standing
from m2cli.runs.batch.planning import make_plan
from m2cli.runs.batch.site import open_site
from m2cli.runs.batch.steps import Steps
from m2cli.runs.batch.work import Notes
from m2cli.runs.progress import tell_nobody
from m2cli.runs.run import redo

# Seconds that the lake is left to others between two batches; they ask for it five times a second.
_TURN = 0.5

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from m2cli.lake.swap import At
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.batch.facts import BatchFacts
    from m2cli.runs.batch.plan import Plan
    from m2cli.runs.batch.planning import NewPlan
    from m2cli.runs.batch.site import Site
    from m2cli.runs.progress import Tell


@dataclass(frozen=True, kw_only=True)
class FollowRule:
    """How a pipeline is followed.

    `step_every`: how far apart steps begin at least. `most_messages`: so many of each topic a step, so that one that
    has to catch up is not held in memory whole. `accepts_gap`: go on where messages are lost.
    """

    step_every: timedelta = timedelta(seconds=1)
    most_messages: int = 200_000
    accepts_gap: bool = False


class Followed(NamedTuple):
    """A batch that was committed while a pipeline was followed."""

    batch_id: str
    facts: BatchFacts
    step_count: int


def follow_pipeline(  # noqa: PLR0913  # what to do, by keyword; the rest is how it tells and what it is told
    pipeline: PipelineRule,
    rule: FollowRule,
    *,
    now: Callable[[], datetime],
    pause: Callable[[float], bool],
    told: Callable[[Followed], None] = lambda _followed: None,
    tell: Tell = tell_nobody,
    at: At = lambda _step: None,
    wait: Callable[[], None] = lambda: None,
) -> None:
    """Do batch after batch in steps, until `pause`, which waits so many seconds, says that it is time to end.

    What was begun is committed before this returns; each batch is `told`. The lake is written every `lake_every` of
    the pipeline, and sooner where memory says so. Raises `UsageError` for a pipeline that reads anything but topics,
    and what `run_pipeline` raises.
    """
    if other := [source.name for source in pipeline.sources if not isinstance(source, KafkaSource)]:
        raise UsageError(f"`{other[0]}` is no topic, and only topics are followed; leave out `--follow` for batches")
    with open_site(pipeline, now=now, tell=tell, at=at, wait=wait, accepts_gap=rule.accepts_gap) as site:
        planned = site.settle()
        site.broker.connect(site.ledger)
        if planned:
            facts = redo(site, planned)
            if facts:
                told(Followed(planned.batch_id, facts, 0))
        follower = _Follower(site, rule, pause)
        while (followed := follower.do_batch()) is not None:
            told(followed)


class _Follower:
    """Does the batches of one process."""

    def __init__(self, site: Site, rule: FollowRule, pause: Callable[[float], bool]) -> None:
        self._site, self._rule, self._pause = site, rule, pause
        self._is_over = self._is_behind = False
        self._planned = stopwatch()

    def do_batch(self) -> Followed | None:
        """Wait for input, and do a batch of it; None if nothing came before the end."""
        site = self._site
        site.turn.leave()  # so that who checks, compacts or rebuilds the lake has a turn
        if self._pause(_TURN):
            return None
        if self._wait_for_plan(None, site.ledger.read_progress().partitions["is_active"].to_list(), None) is None:
            return None
        site.turn.take()
        site.settle()
        first = self._plan(None)
        start = stopwatch()
        batch = site.ledger.plan("run", site.now(), first.plan.to_json())
        site.at("planned")
        notes = dict.fromkeys(first.notes.warnings)
        with Steps(site, batch) as steps:
            plan: Plan | None = first.plan
            while plan is not None:
                steps.do(plan)
                left = site.pipeline.lake_every.total_seconds() - elapsed_since(start)
                if self._is_over or left <= 0 or steps.is_full:
                    break
                new = self._wait_for_plan(steps, steps.partitions["is_active"].to_list(), left)
                plan = new.plan if new else None
                if new:
                    notes |= dict.fromkeys(new.notes.warnings)
                    site.ledger.plan_step(batch, steps.count, new.plan.to_json())
                    site.at("step planned")
            facts = steps.end(Notes(warnings=tuple(notes)))
            return Followed(batch.batch_id, facts, steps.count)

    def _wait_for_plan(self, steps: Steps | None, before: list[bool], seconds: float | None) -> NewPlan | None:
        """The next plan that has anything to do; None if it is time to end, or nothing came for so long."""
        start = stopwatch()
        every = self._rule.step_every.total_seconds()
        while seconds is None or elapsed_since(start) < seconds:
            # What the last step took is part of the wait, so that steps come at the pace that is asked for.
            left = max(0.0, every - elapsed_since(self._planned))
            if self._pause(0.0 if self._is_behind else left):
                self._is_over = True
                return None
            self._planned = stopwatch()
            new = self._plan(steps)
            self._is_behind = new.is_partial
            is_read = any(each.start < each.end for each in new.plan.offsets)
            # A partition that falls idle lets W go on.
            if is_read or new.plan.partitions["is_active"].to_list()[: len(before)] != before:
                return new
        return None

    def _plan(self, steps: Steps | None) -> NewPlan:
        rule = PlanRule(most_messages=self._rule.most_messages, accepts_gap=self._rule.accepts_gap)
        site = self._site
        standing = Standing(steps.partitions, steps.positions) if steps else None
        return make_plan(site.pipeline, site.ledger, site.now(), rule, broker=site.broker, standing=standing)
