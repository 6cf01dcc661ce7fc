"""One run of a pipeline: what a killed run left is finished, then one batch is planned, done and committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import M2Error, UnreadableSourceError
from m2cli.files.follow import SourceChangedError
from m2cli.logs.follow import RangeLostError
from m2cli.runs.batch.plan import Plan
from m2cli.runs.batch.planning import make_plan
from m2cli.runs.batch.site import open_site
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
    from m2cli.runs.batch.site import Site
    from m2cli.runs.progress import Tell

# A log that is rotated between plan and reading is planned anew; one that never holds still is somebody's mistake.
_TRIES = 5
_LOST = (RangeLostError, SourceChangedError, GoneSourceError)


class RunFacts(NamedTuple):
    """What a run came to: its batch, and the one that a killed run had planned, if there was one."""

    batch_id: str
    batch: BatchFacts
    redone: BatchFacts | None


def run_pipeline(  # noqa: PLR0913  # what to do, by keyword; the rest is how it tells and what it is told
    pipeline: PipelineRule,
    *,
    now: Callable[[], datetime],
    is_flush: bool = False,
    until: datetime | None = None,
    tell: Tell = tell_nobody,
    at: At = lambda _step: None,
    wait: Callable[[], None] = lambda: None,
) -> RunFacts:
    """Take in what is new, close what has ended, and commit it, once; `now` is asked for the time of the plan.

    `is_flush` closes everything that is open; `until` takes input up to that event time only. Nothing is half done
    whatever ends the process: the next run finishes the batch. Raises `LockedError` while another run is at work,
    `UnreachableError` for what cannot be read or written, `TooManyRejectsError` above the pipeline's limit.
    """
    with open_site(pipeline, now=now, tell=tell, at=at, wait=wait) as site:
        planned = site.settle()
        redone = redo(site, planned) if planned else None
        lost: M2Error | None = None
        for _ in range(_TRIES):
            new = make_plan(pipeline, site.ledger, now(), is_flush=is_flush, until=until)
            batch = site.ledger.plan("run", now(), new.plan.to_json())
            at("planned")
            try:
                facts = do_batch(site, batch, new.plan, files=new.files, notes=new.notes)
            except _LOST as error:
                lost = error
                site.give_up(batch, str(error))
            else:
                return RunFacts(batch.batch_id, facts, redone)
        raise UnreadableSourceError("the input", f"it changed {_TRIES} times while it was read: {lost}")


def redo(site: Site, batch: LedgerBatch) -> BatchFacts | None:
    """Do again what a killed run had planned."""
    try:
        return do_batch(site, batch, Plan.from_json(batch.plan), files=None, notes=Notes())
    except _LOST as error:
        # The next plan finds it under another name, and says what is gone (`batch.lost`).
        site.give_up(batch, str(error))
        return None
