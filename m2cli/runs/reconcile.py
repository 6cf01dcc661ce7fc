"""A pipeline's lake held against its ledger: every file there and whole, none that is stray, counts that add up."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import ExitCode, M2Error, UnwritableSinkError
from m2cli.lake.content import verify_content
from m2cli.lake.layout import FILES, OWN_FOLDER, SNAPSHOT, kept_name
from m2cli.lake.snapshot import read_snapshot
from m2cli.lake.verify import NOT_IN_GLOB, NOT_KEPT, NOT_ONE, verify_files
from m2cli.ledger import find_damage, hold_lock
from m2cli.runs.batch.carry import OPEN_VISITS, PENDING, SEGMENT
from m2cli.runs.batch.facts import BatchFacts
from m2cli.runs.batch.site import LAKE_LOCK, LEDGER, to_lake_files
from m2cli.runs.opened import open_pipelines_ledger
from m2cli.runs.progress import Step
from m2cli.runs.reach import Finding
from m2cli.runs.status import TOTALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from m2cli.lake.content import Fault
    from m2cli.lake.lists import LakeFile
    from m2cli.ledger import LedgerBatch, LedgerReader, Progress
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.progress import Tell

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_BACKUP = "put a backup's copy in its place"
RESTORE = "restore the lake, with its `_m2`, from one backup"
# The rows of a table's files, and the fact of which they are the sum.
_ROWS = {
    "events": "closed_event_count",
    "visits": "visit_count",
    "late": "late_count",
    "duplicates": "duplicate_count",
    "rejects": "reject_count",
}


class _Known(NamedTuple):
    """What the ledger says, of one moment."""

    progress: Progress
    files: list[LakeFile]
    hidden: list[LakeFile]
    unfinished: list[LedgerBatch]
    last: list[LedgerBatch]
    last_carrying: list[LedgerBatch]
    batch_count: int
    counted: dict[str, int]
    """Sums over all batches."""
    totals: dict[str, int]
    """The same as the ledger keeps them, so that nobody has to count."""


def reconcile(
    pipeline: PipelineRule, looked_at: list[str], *, is_deep: bool, tell: Tell, wait: Callable[[], None]
) -> Iterator[Finding]:
    """What the ledger of `pipeline` and its lake do not both say; what was looked at is added to `looked_at`.

    The lake's lock is held meanwhile, so that runs wait; `wait` is called where it is waited for. With `is_deep` all
    rows of the lake are read as well, which no run waits for.
    """
    path = pipeline.lake / OWN_FOLDER / LEDGER
    damage = find_damage(path)
    if damage:
        yield from (_fault(f"`{path}` is damaged: {text}; {RESTORE}") for text in damage)
        return
    broken: set[str] = set()
    with ExitStack() as stack:
        stack.enter_context(_hold_lake(pipeline.lake, wait))
        ledger = stack.enter_context(open_pipelines_ledger(pipeline))
        with ledger.at_one_moment():
            known = _ask(ledger)
        looked_at.append(_count(known.batch_count, "batch", "batches"))
        looked_at.append(_count(len(known.files), "file of the lake", "files of the lake"))
        looked_at.append(_count(len(known.progress.carried), "file of carried state", "files of carried state"))
        tell(Step("files", 0, len(known.files), "files"))
        yield from _check_lake(pipeline, known, broken)
    if is_deep:
        looked_at.append(_count(sum(file.row_count for file in known.files), "row", "rows"))
        yield from _read_all(pipeline.lake, known.files, broken, tell)


def _hold_lake(lake: Path, wait: Callable[[], None]) -> ExitStack:
    """The lake's lock; whoever may not write looks on without it."""
    stack = ExitStack()
    with suppress(UnwritableSinkError):  # told by `check_places`
        stack.enter_context(hold_lock(lake / OWN_FOLDER / LAKE_LOCK, f"the lake `{lake}`", wait=wait))
    return stack


def _ask(ledger: LedgerReader) -> _Known:
    return _Known(
        progress=ledger.read_progress(),
        files=to_lake_files(ledger.list_lake_files()),
        hidden=to_lake_files(ledger.list_replaced(over_at=_END_OF_TIME)),
        unfinished=ledger.list_unfinished(),
        last=ledger.list_batches(1),
        last_carrying=ledger.list_batches(1, kinds=["run", "rebuild", "expire"]),
        batch_count=ledger.count_batches(),
        counted=ledger.recount_facts(TOTALS),
        totals=ledger.sum_facts(TOTALS),
    )


def _check_lake(pipeline: PipelineRule, known: _Known, broken: set[str]) -> Iterator[Finding]:
    yield from _check_counts(known)
    yield from _check_carried(pipeline.lake, known)
    unshown = [batch for batch in known.unfinished if batch.state == "committed"]
    for batch in known.unfinished:
        state = "committed and not yet shown" if batch in unshown else "begun and not finished"
        yield Finding(f"the batch {batch.batch_id} is {state}; the next `m2 run` finishes it", ExitCode.OK)
    if unshown:
        return
    yield from _check_snapshot(pipeline.lake, known)
    for fault in verify_files(pipeline.lake, known.files, hidden=known.hidden):
        if not _is_at_work(fault, pipeline, known):
            broken.add(fault.path)
            yield _fault(_describe(fault, known))


def _is_at_work(fault: Fault, pipeline: PipelineRule, known: _Known) -> bool:
    """Whether a file is of a batch that has been planned and not committed, here or since the ledger was asked."""
    last = max((batch.number for batch in known.last), default=0)
    name = fault.path.rpartition("/")[2]
    number = name.removeprefix(f"{pipeline.name}-").partition("-")[0]
    planned = {batch.number for batch in known.unfinished}
    return number.isdigit() and (int(number) > last or int(number) in planned)


def _describe(fault: Fault, known: _Known) -> str:
    return f"`{fault.path}`: {fault.reason}; {_find_remedy(fault, known)}"


def _find_remedy(fault: Fault, known: _Known) -> str:
    if fault.path in {file.path for file in known.hidden}:
        return "remove it"
    if fault.path not in {file.path for file in known.files}:
        return "nothing of m2 needs it; move it away"
    kept = FILES / kept_name(fault.path)
    links = {
        NOT_IN_GLOB: f"`ln {kept} {fault.path}` in the lake puts it back",
        NOT_KEPT: f"`ln {fault.path} {kept}` in the lake puts it back",
        NOT_ONE: f"`ln -f {kept} {fault.path}` in the lake makes them one",
    }
    return links.get(fault.reason, _BACKUP)


def _check_counts(known: _Known) -> Iterator[Finding]:
    """Sums over all batches, against each other (DESIGN 5.3) and against the rows of the files."""
    sums, carried = known.counted, known.progress.carried
    if wrong := [name for name in TOTALS if known.totals[name] != sums[name]]:
        kept = ", ".join(f"{known.totals[name]:,} for `{name}`, not {sums[name]:,}" for name in wrong)
        yield _fault(f"the ledger's totals are not those of its batches: {kept}; {RESTORE}")
    became = sums["event_count"] + sums["reject_count"] + sums["ignored_count"]
    if sums["read_count"] != became:
        yield _fault(f"{sums['read_count']:,} lines were read, {became:,} are accounted for; {RESTORE}")
    facts = BatchFacts.from_json(known.last_carrying[0].facts) if known.last_carrying else BatchFacts()
    names = ("closed_event_count", "late_count", "duplicate_count", "excluded_count")
    went = sum(sums[name] for name in names) + facts.carried_out_count
    if sums["event_count"] != went:
        yield _fault(f"{sums['event_count']:,} events came in, {went:,} are accounted for; {RESTORE}")
    alive = sum(file.alive_count for file in carried if file.kind in (PENDING, SEGMENT))
    if alive != facts.carried_out_count:
        yield _fault(f"{facts.carried_out_count:,} events are open, and {alive:,} are carried; {RESTORE}")
    for kind, name in _ROWS.items():
        row_count = sum(file.row_count for file in known.files if file.kind == kind)
        if row_count != sums[name]:
            yield _fault(f"`{kind}` has {row_count:,} rows, and the batches wrote {sums[name]:,}; {RESTORE}")


def _check_carried(lake: Path, known: _Known) -> Iterator[Finding]:
    open_event_count = 0
    for file in known.progress.carried:
        try:
            rows = pl.scan_parquet(lake / file.path, glob=False)
            row_count = rows.select(pl.len()).collect().item()
            if file.kind == OPEN_VISITS:
                open_event_count += rows.select(pl.col("event_count").sum()).collect().item()
        except FileNotFoundError:
            yield _fault(f"`{file.path}` is gone, and with it what is open; {RESTORE}")
            return
        except (OSError, pl.exceptions.PolarsError) as error:
            yield _fault(f"`{file.path}` is damaged ({str(error).splitlines()[0]}); {RESTORE}")
            return
        if row_count != file.row_count:
            yield _fault(f"`{file.path}` has {row_count:,} rows, not {file.row_count:,}; {RESTORE}")
    alive = sum(file.alive_count for file in known.progress.carried if file.kind == SEGMENT)
    if open_event_count != alive:
        yield _fault(f"the open visits count {open_event_count:,} events, and {alive:,} are kept; {RESTORE}")


def _check_snapshot(lake: Path, known: _Known) -> Iterator[Finding]:
    remedy = f"move `{SNAPSHOT}` away, and the next `m2 run` makes it anew"
    try:
        snapshot = read_snapshot(lake)
    except M2Error as error:
        yield _fault(str(error))
        return
    listed, current = {file.path for file in snapshot.files}, {file.path for file in known.files}
    for paths, what in ((listed - current, "that the ledger does not"), (current - listed, "fewer than the ledger")):
        if paths:
            yield _fault(f"the snapshot lists {len(paths):,} files {what}, as `{min(paths)}`; {remedy}")
    if known.last and (snapshot.batch_id, snapshot.W) != (known.last[0].batch_id, known.progress.W.time):
        yield _fault(f"the snapshot is of {snapshot.batch_id}, the ledger of {known.last[0].batch_id}; {remedy}")


def _read_all(lake: Path, files: Sequence[LakeFile], broken: set[str], tell: Tell) -> Iterator[Finding]:
    """What is wrong in the rows, date by date; files that were replaced meanwhile stay for a while."""
    by_date: dict[object, list[LakeFile]] = {}
    for file in files:
        by_date.setdefault(file.start_date, []).append(file)
    for done, of_date in enumerate(by_date.values()):
        tell(Step("rows", done, len(by_date), "dates"))
        for fault in verify_content(lake, of_date, broken):
            yield _fault(f"`{fault.path}`: {fault.reason}; {_BACKUP}")


def _fault(text: str) -> Finding:
    return Finding(text, ExitCode.DATA)


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
