"""One run of a pipeline: what a killed run left is finished, then one batch is planned, done and committed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import M2Error, TooManyRejectsError, UnreadableSourceError
from m2cli.files.follow import DamagedFileError, SourceChangedError
from m2cli.kafka import OffsetsLostError, TopicReplacedError
from m2cli.logs.follow import RangeLostError
from m2cli.runs.batch.known import PlanRule
from m2cli.runs.batch.plan import Plan
from m2cli.runs.batch.planning import make_plan
from m2cli.runs.batch.site import open_site
from m2cli.runs.batch.steps import redo_steps
from m2cli.runs.batch.take import GoneSourceError
from m2cli.runs.batch.work import Notes, do_batch
from m2cli.runs.progress import tell_nobody

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from m2cli.lake.swap import At
    from m2cli.ledger import LedgerBatch
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.batch.facts import BatchFacts
    from m2cli.runs.batch.planning import NewPlan
    from m2cli.runs.batch.site import Site
    from m2cli.runs.progress import Tell

# How many ranges of logs each try takes: a log that is rotated between plan and reading is planned anew, and the less
# a plan takes, the sooner it has read it. What still does not hold still is somebody's mistake.
_MOST_RANGES = (None, 8, 4, 2, 1)
_LOST = (RangeLostError, SourceChangedError, GoneSourceError, OffsetsLostError, TopicReplacedError)


class RunFacts(NamedTuple):
    """What a run came to: its batch, and the one that was left unfinished before, if there was one."""

    batch_id: str
    batch: BatchFacts
    redone: BatchFacts | None
    unreported: tuple[str, ...] = ()
    """Why a log or the metrics of the pipeline could not be written; all else is done."""


def run_pipeline(  # noqa: PLR0913  # what to do, by keyword; the rest is how it tells and what it is told
    pipeline: PipelineRule,
    *,
    now: Callable[[], datetime],
    is_flush: bool = False,
    until: datetime | None = None,
    accepts_gap: bool = False,
    tell: Tell = tell_nobody,
    at: At = lambda _step: None,
    wait: Callable[[], None] = lambda: None,
) -> RunFacts:
    """Take in what is new, close what has ended, and commit it, once; `now` is asked for the time of the plan.

    `is_flush` closes everything that is open; `until` takes input up to that event time only; with `accepts_gap` it
    goes on where messages of a topic are lost. Nothing is half done
    whatever ends the process: the next run finishes the batch. An event file that is damaged is left out, and warned
    of. Raises `LockedError` while another run is at work, `UnreachableError` for what cannot be read or written,
    `TooManyRejectsError` above the pipeline's limit; then nothing is committed, and the next run plans anew.
    """
    with open_site(pipeline, now=now, tell=tell, at=at, wait=wait, accepts_gap=accepts_gap) as site:
        planned = site.settle()
        site.broker.connect(site.ledger)
        redone = redo(site, planned) if planned else None
        batch, facts = _Tries(site, PlanRule(is_flush=is_flush, until=until, accepts_gap=accepts_gap)).do()
        return RunFacts(batch.batch_id, facts, redone, tuple(map(str, site.unreported)))


def redo(site: Site, batch: LedgerBatch) -> BatchFacts | None:
    """Do again what a killed run had planned.

    Raises `SentError` where its input is gone and its messages are in the topics.
    """
    plans = [Plan.from_json(plan) for plan in site.ledger.list_plans(batch)]
    try:
        if len(plans) > 1:
            return redo_steps(site, batch, plans)
        return do_batch(site, batch, plans[0], files=None, notes=Notes())
    except (*_LOST, DamagedFileError, TooManyRejectsError) as error:
        if site.broker.has_sent(site.ledger, batch):
            raise SentError(batch.batch_id, error) from error
        # The next plan finds it under another name, and says what is gone (`batch.lost`) or damaged.
        site.give_up(batch, str(error))
        return None


class SentError(UnreadableSourceError):
    """Input that is gone, of a batch whose messages are in the topics and whose files are not in the lake."""

    def __init__(self, batch_id: str, error: M2Error) -> None:
        hint = "put back what it read, and run again; without it, lake and topics cannot be brought to say the same"
        super().__init__(batch_id, f"its messages have been sent, and its input is gone ({error})", hint)


class _Tries:
    """The tries of one run at a batch of what is new: how often its input was lost, and which files are damaged."""

    def __init__(self, site: Site, rule: PlanRule) -> None:
        self._site, self._rule = site, rule
        self._lost: list[M2Error] = []
        self._damaged: dict[str, DamagedFileError] = {}

    def do(self) -> tuple[LedgerBatch, BatchFacts]:
        """Plan and do until a batch is committed; it, and what it came to."""
        while len(self._lost) < len(_MOST_RANGES):
            new = self._plan()
            if new and (done := self._do(new)):
                return done
        lost = self._lost[-1]
        if isinstance(lost, _LOST):
            raise UnreadableSourceError("the input", f"it changed {len(self._lost)} times while it was read: {lost}")
        raise lost

    def _plan(self) -> NewPlan | None:
        # What a flush leaves would come late after it, so that it takes all there is.
        most_ranges = None if self._rule.is_flush else _MOST_RANGES[len(self._lost)]
        rule = replace(self._rule, most_ranges=most_ranges, without=frozenset(self._damaged))
        try:
            site = self._site
            return make_plan(site.pipeline, site.ledger, site.now(), rule, broker=site.broker)
        except UnreadableSourceError as error:
            self._note(error)
            return None

    def _do(self, new: NewPlan) -> tuple[LedgerBatch, BatchFacts] | None:
        batch = self._site.ledger.plan("run", self._site.now(), new.plan.to_json())
        self._site.at("planned")
        notes = new.notes._replace(warnings=(*new.notes.warnings, *map(_describe_damaged, self._damaged.values())))
        try:
            return batch, do_batch(self._site, batch, new.plan, files=new.files, notes=notes)
        except (*_LOST, DamagedFileError) as error:
            self._site.give_up(batch, str(error))
            self._note(error)
            return None
        except TooManyRejectsError as error:
            self._site.give_up(batch, str(error))
            raise

    def _note(self, error: M2Error) -> None:
        if isinstance(error, DamagedFileError) and error.planned.path not in self._damaged:
            self._damaged[error.planned.path] = error
        else:
            self._lost.append(error)


def _describe_damaged(error: DamagedFileError) -> str:
    return f"`{error.path}` is damaged and is left out: {error.reason}; {error.hint}"
