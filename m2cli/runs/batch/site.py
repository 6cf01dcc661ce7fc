"""A pipeline's lake with its ledger, held by its locks: where every batch, rebuild and compaction works."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from m2cli.errors import TooManyRejectsError, TooManyRejectsInBatchError, UnreadableSourceError, UsageError
from m2cli.lake.batch import prepare_lake
from m2cli.lake.layout import OWN_FOLDER, OWN_NAMES, PRIVATE_FOLDER, SNAPSHOT
from m2cli.lake.links import drop_files, hide_files, remove_batch, show_files
from m2cli.lake.lists import LakeFile
from m2cli.lake.publish import publish, rewrite
from m2cli.lake.snapshot import DamagedSnapshotError, read_head
from m2cli.lake.write import explain_unwritable
from m2cli.ledger import create_ledger, hold_lock, open_ledger
from m2cli.runs.anonymize.batch import drop_twin, hold_twin, publish_twin
from m2cli.runs.anonymize.record import read_record
from m2cli.runs.batch.broker import Broker
from m2cli.runs.batch.carry import CARRIED_FOLDER, sweep_carried
from m2cli.runs.batch.report import report_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path
    from typing import Any

    from m2cli.errors import UnwritableSinkError
    from m2cli.lake.swap import At
    from m2cli.ledger import Changes, Ledger, LedgerBatch
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.progress import Tell

LEDGER = "ledger.sqlite"
RUN_LOCK, LAKE_LOCK, _SCRATCH = "run.lock", "lake.lock", "scratch"


@dataclass(frozen=True, kw_only=True)
class LakeSite:
    """A lake whose lock is held, its ledger, and how what works there tells the time, its progress and its steps."""

    lake: Path
    ledger: Ledger
    grace: timedelta
    """How long files that are replaced here stay for readers."""
    now: Callable[[], datetime]
    tell: Tell
    at: At

    @property
    def scratch(self) -> Path:
        """A folder for what does not outlive the run."""
        return self.lake / OWN_FOLDER / _SCRATCH

    def start(self, batch: LedgerBatch) -> None:
        """Take away whatever an earlier try at `batch` has left, and carried files that no state needs any more."""
        remove_batch(self.lake, batch.batch_id, at=self.at)
        with explain_unwritable(self.lake):
            sweep_carried(self.lake, self.ledger.read_progress().carried)
            self.clear_scratch()
            self.scratch.mkdir()
        self.at("remains removed")

    def clear_scratch(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def commit(self, batch: LedgerBatch, changes: Changes) -> None:
        """Commit everything that `batch` changes, and show it; from the first on, it will be shown whatever happens."""
        self.ledger.commit(batch, replace(changes, grace=self.grace), self.now())
        self.at("committed")
        self.publish(batch)
        self.clear_scratch()

    def give_up(self, batch: LedgerBatch, reason: str) -> None:
        """Drop a batch of which nothing was committed, and take away what there is of it."""
        remove_batch(self.lake, batch.batch_id, at=self.at)
        self.ledger.drop(batch, reason, self.now())

    def publish(self, batch: LedgerBatch) -> None:
        """Bring the glob and the snapshot to what `batch` has committed; may be done again.

        What is replaced leaves the glob before what replaces it appears: a reader by glob may miss visits for a
        moment, and never meets one twice, once whole and once as it was.
        """
        removed = to_lake_files(self.ledger.list_replaced(by=batch.number))
        added = to_lake_files(self.ledger.list_lake_files(batch=batch.number))
        W, name = self.ledger.read_progress().W.time, self.ledger.pipeline
        batch_id = self.ledger.list_batches(1)[0].batch_id  # a later one, where this was shown and not told of
        hide_files(self.lake, removed, at=self.at)
        show_files(self.lake, added, at=self.at)
        try:
            publish(self.lake, batch_id=batch_id, W=W, pipeline=name, added=added, removed=removed, at=self.at)
        except DamagedSnapshotError:
            self.rewrite_snapshot(batch_id)
        self.at("shown")
        self.conclude(batch)
        self.at("published")

    def conclude(self, batch: LedgerBatch) -> None:
        """Note that `batch` is shown.

        A lake alone does not know where its pipeline tells of its batches, so that a run's or a rebuild's stays
        unmarked here: the next run shows it once more, and tells of it.
        """
        if batch.kind in {"compact", "expire"}:
            self.ledger.mark_published(batch)

    def rewrite_snapshot(self, batch_id: str) -> None:
        """Make the snapshot anew from the ledger."""
        everything = to_lake_files(self.ledger.list_lake_files())
        W, name = self.ledger.read_progress().W.time, self.ledger.pipeline
        rewrite(self.lake, batch_id=batch_id, W=W, pipeline=name, files=everything, at=self.at)

    def settle(self) -> LedgerBatch | None:
        """Show what killed processes have committed; drop their rebuilds and compactions, and files after the grace.

        Returns the batch that a killed run has planned, which is to be done first.
        """
        planned_run: LedgerBatch | None = None
        for batch in self.ledger.list_unfinished():
            if batch.state == "committed":
                self.publish(batch)
            elif batch.kind == "run":
                planned_run = batch
            else:
                self.give_up(batch, f"the {batch.kind} was interrupted")
        over = to_lake_files(self.ledger.list_replaced(over_at=self.now()))
        if over:
            drop_files(self.lake, over, at=self.at)
            self.ledger.forget_replaced(file.path for file in over)
        return planned_run


@dataclass(frozen=True, kw_only=True)
class Site(LakeSite):
    """The lake of a pipeline all of whose locks are held."""

    pipeline: PipelineRule
    broker: Broker
    turn: Turn
    unreported: list[UnwritableSinkError] = field(default_factory=list)
    """Why batches could not be told of; all else of them is done."""

    def start(self, batch: LedgerBatch) -> None:
        """Take away whatever an earlier try has left, in the pseudonymous lake as well."""
        drop_twin(self.pipeline.anonymize, batch.batch_id, self.at)
        super().start(batch)

    def give_up(self, batch: LedgerBatch, reason: str) -> None:
        """Drop a batch of which nothing was committed, and take away what there is of it, in both lakes."""
        drop_twin(self.pipeline.anonymize, batch.batch_id, self.at)
        super().give_up(batch, reason)

    def conclude(self, batch: LedgerBatch) -> None:
        """Show the pseudonymous lake, note that `batch` is shown, and tell of it in the pipeline's logs and metrics.

        A log that cannot be written stops nothing, and gets no line twice.
        """
        facts, W = self.ledger.find_batch(batch.number).facts, self.ledger.read_progress().W.time
        publish_twin(self.pipeline.anonymize, facts, batch.batch_id, W, now=self.now(), at=self.at)
        self.ledger.mark_published(batch)
        self.unreported.extend(report_batch(self.pipeline, self.ledger, self.ledger.find_batch(batch.number)))


class Turn:
    """A lock that is held until the end of the block, but for the times when others have their turn."""

    def __init__(self, hold: Callable[[], AbstractContextManager[None]]) -> None:
        self._hold, self._held = hold, ExitStack()

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Let others at it, between two batches; what they have done is to be settled after `take`."""
        self._held.close()

    def take(self) -> None:
        """Take the lock again, and wait for it if need be."""
        self._held.enter_context(self._hold())


@contextmanager
def _hold_lakes(pipeline: PipelineRule, now: Callable[[], datetime], wait: Callable[[], None]) -> Iterator[None]:
    lock = pipeline.lake / OWN_FOLDER / LAKE_LOCK
    with (
        hold_lock(lock, f"the lake `{pipeline.lake}`", wait=wait),
        hold_twin(pipeline.anonymize, pipeline.name, now(), pipeline.grace, wait),
    ):
        yield


@contextmanager
def open_site(  # noqa: PLR0913  # how it tells and what it is told, by keyword
    pipeline: PipelineRule,
    *,
    now: Callable[[], datetime],
    tell: Tell,
    at: At,
    wait: Callable[[], None],
    is_run: bool = True,
    accepts_gap: bool = False,
) -> Iterator[Site]:
    """The site of `pipeline`, made with its first batch; its locks are held until the end of the block.

    A run holds the pipeline's lock and the lake's; what else works on the lake, the latter.

    `wait` is called when another process works on the lake, before it is waited for. Raises `LockedError` at once if a
    run of the pipeline is under way, `UsageError` for a folder that holds something else, `UnreachableError` where
    nothing can be read or written. `TooManyRejectsError` of the block comes out in the words of a pipeline; but for
    a run, which says it itself, `UnwritableSinkError` where all is done and could not be told of.
    """
    lake, own = pipeline.lake, pipeline.lake / OWN_FOLDER
    with ExitStack() as stack:
        refuse_foreign(lake)
        if not (own / LEDGER).exists():
            prepare_lake(lake)
        with explain_unwritable(lake):
            (lake / CARRIED_FOLDER).mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if is_run:
            stack.enter_context(hold_lock(own / RUN_LOCK, f"the pipeline `{pipeline.name}`"))
        turn = stack.enter_context(Turn(partial(_hold_lakes, pipeline, now, wait)))
        ledger = stack.enter_context(create_ledger(own / LEDGER, pipeline.name, now()))
        broker = Broker(pipeline, accepts_gap=accepts_gap)
        stack.callback(broker.close)
        site = Site(
            lake=lake,
            ledger=ledger,
            grace=pipeline.grace,
            now=now,
            tell=tell,
            at=at,
            pipeline=pipeline,
            broker=broker,
            turn=turn,
        )
        stack.callback(site.clear_scratch)
        if not (lake / SNAPSHOT).exists():
            site.rewrite_snapshot("none")
        try:
            yield site
        except TooManyRejectsError as error:
            said = (error.reject_count, error.read_count, error.limit, error.reasons)
            raise TooManyRejectsInBatchError(*said) from error
        if site.unreported and not is_run:
            raise site.unreported[0]


def check_is_of_pipeline(lake: Path) -> None:
    """Raise `UsageError` for a lake that no pipeline writes, `UnreachableError` for what is no lake."""
    if (lake / OWN_FOLDER / LEDGER).exists():
        return
    read_head(lake)
    if read_record(lake) is not None:
        raise UsageError(f"`{lake}` is a pseudonymous lake, which keeps what it has; name the one it is made of")
    raise UsageError(f"`{lake}` is a lake that `m2 sessionize` made at once; only those of pipelines grow in pieces")


@contextmanager
def open_lake_site(  # noqa: PLR0913  # how it tells and what it is told, by keyword
    lake: Path, grace: timedelta, *, now: Callable[[], datetime], tell: Tell, at: At, wait: Callable[[], None]
) -> Iterator[LakeSite]:
    """The site of a lake that a pipeline writes; its lock is waited for, and held until the end of the block.

    Raises `UsageError` for a lake that no pipeline writes, `UnreachableError` where nothing can be read or written.
    """
    own = lake / OWN_FOLDER
    check_is_of_pipeline(lake)
    with (
        hold_lock(own / LAKE_LOCK, f"the lake `{lake}`", wait=wait),
        open_ledger(own / LEDGER) as reader,
        create_ledger(own / LEDGER, reader.pipeline, now()) as ledger,
    ):
        site = LakeSite(lake=lake, ledger=ledger, grace=grace, now=now, tell=tell, at=at)
        try:
            yield site
        finally:
            site.clear_scratch()


def refuse_foreign(lake: Path) -> None:
    """Raise `UsageError` for a folder that is no pipeline's lake and not empty.

    Raises `UnreadableSourceError` for a pipeline's lake that has lost its ledger.
    """
    if lake.is_file():
        raise UsageError(f"`{lake}` is a file; a lake is a folder, name another one in `lake`")
    ledger = lake / OWN_FOLDER / LEDGER
    # An empty one is what a disk that lost power may leave; to take it for a new one would be to begin again.
    if not lake.is_dir() or (ledger.exists() and ledger.stat().st_size):
        return
    if (lake / SNAPSHOT).exists():
        if owner := read_head(lake).pipeline:
            reason = f"the ledger of the pipeline `{owner}` is gone"
            raise UnreadableSourceError(ledger, reason, "restore the lake, with its `_m2`, from a backup")
        hint = "name another one in `lake`, and give the pipeline what that was made of"
        raise UsageError(f"`{lake}` is a lake that `m2 sessionize` made, which has no ledger; {hint}")
    foreign = sorted(path.name for path in lake.iterdir() if path.name not in OWN_NAMES)
    if foreign:
        raise UsageError(f"`{lake}` holds `{foreign[0]}`, no part of a lake; name another folder in `lake`")


def to_lake_files(rows: Sequence[Mapping[str, Any]]) -> list[LakeFile]:
    """The lake's files as the ledger kept them."""
    return [LakeFile.from_dict(row) for row in rows]
