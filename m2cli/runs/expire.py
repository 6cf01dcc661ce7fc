"""Expiry: identified data whose visits started long ago leave a pipeline's lake, its carried state and its ledger.

Whole files by the date of their visits; of late events, duplicates and rejects, which lie in files without dates, the
rows of these days. One commit: files leave glob and snapshot at once, and the disk when their grace is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.lake.batch import open_batch
from m2cli.lake.layout import DUPLICATES, EVENTS, FILES, LATE, OWN_FOLDER, REJECTS, TABLES, VISITS, kept_name
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import BrokenLakeError
from m2cli.ledger import Changes, open_ledger
from m2cli.pipeline.rule import check_time
from m2cli.runs.batch.carry import Carried, CarryWriter
from m2cli.runs.batch.facts import BatchFacts
from m2cli.runs.batch.site import LEDGER, LakeSite, check_is_of_pipeline, open_lake_site, to_lake_files
from m2cli.runs.progress import Tell, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from m2cli.lake.batch import LakeBatch
    from m2cli.lake.layout import Table
    from m2cli.lake.lists import LakeFile
    from m2cli.lake.swap import At
    from m2cli.ledger import LedgerBatch, LedgerReader, Progress

_BY_DATE = (EVENTS.name, VISITS.name)
# Of tables without dates: the time by which their rows are old. A reject has no time of its own.
_TIMES = {LATE.name: "event_time", DUPLICATES.name: "event_time", REJECTS.name: "arrival_time"}
_TABLES = {table.name: table for table in TABLES}


@dataclass(frozen=True, kw_only=True)
class ExpireRule:
    """What goes: all of visits that started before `before`, 00:00 UTC. Raises `UsageError` for an impossible grace."""

    before: date
    grace: timedelta = timedelta(hours=1)
    """How long the files stay for who reads by an earlier snapshot."""

    def __post_init__(self) -> None:
        check_time(self.grace)

    @property
    def before_time(self) -> datetime:
        """The moment from which on everything stays."""
        return datetime.combine(self.before, time(), UTC)


@dataclass(frozen=True, kw_only=True)
class ExpireFacts:
    """What went, or would go."""

    batch_id: str | None = None
    row_counts: dict[str, int] = field(default_factory=dict)
    """By table."""
    file_count: int = 0
    rewritten_count: int = 0
    """Files of which some rows stayed."""
    carried_event_count: int = 0
    """Events of visits that were still open."""

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to remove."""
        return not (self.file_count or self.carried_event_count)


class _Old(NamedTuple):
    """A file that goes, and how many of its rows."""

    file: LakeFile
    row_count: int

    @property
    def is_whole(self) -> bool:
        return self.row_count == self.file.row_count


def preview_expiry(lake: Path, rule: ExpireRule) -> ExpireFacts:
    """What `expire_lake` would remove; nothing is changed, and no lock is held. Raises what that raises."""
    check_is_of_pipeline(lake)
    with open_ledger(lake / OWN_FOLDER / LEDGER) as ledger:
        old = list(_find_old(lake, ledger, rule))
        carried_count = _count_carried(Carried(lake, ledger.read_progress()), rule)
        return _describe(None, old, carried_count)


def expire_lake(  # noqa: PLR0913  # how it tells and what it is told, by keyword
    lake: Path,
    rule: ExpireRule,
    *,
    now: Callable[[], datetime],
    tell: Tell = tell_nobody,
    at: At = lambda _step: None,
    wait: Callable[[], None] = lambda: None,
) -> ExpireFacts:
    """Remove what is older than `rule` says, in one commit that the ledger keeps.

    Files leave the glob and the snapshot at once and are deleted by the next run or expiry after their grace; so do
    those that were replaced before and whose grace is over. Killed at any moment, it has removed nothing or all, and
    may be run again. Raises `UsageError` for a lake that no pipeline writes, `UnreachableError` for what cannot be read
    or written.
    """
    with open_lake_site(lake, rule.grace, now=now, tell=tell, at=at, wait=wait) as site:
        site.settle()
        old = list(_find_old(lake, site.ledger, rule))
        carried_count = _count_carried(Carried(lake, site.ledger.read_progress()), rule)
        if not old and not carried_count and not site.ledger.has_older(rule.before_time):
            return ExpireFacts()
        batch = site.ledger.plan("expire", now(), {"before": rule.before.isoformat()})
        site.at("planned")
        site.start(batch)
        with open_batch(lake, batch.batch_id, at=at) as written:
            for each in old:
                if not each.is_whole:
                    _rewrite(site, each.file, written, rule)
            added = written.finish()
        site.commit(batch, replace(_change(site, batch, old, rule), added=[file.to_dict() for file in added]))
        return _describe(batch.batch_id, old, carried_count)


def _find_old(lake: Path, ledger: LedgerReader, rule: ExpireRule) -> Iterator[_Old]:
    for file in to_lake_files(ledger.list_lake_files()):
        if file.kind in _BY_DATE:
            if file.start_date is not None and file.start_date < rule.before:
                yield _Old(file, file.row_count)
        elif file.min_event_time is None or file.min_event_time < rule.before_time:
            row_count = _count_old(lake, file, rule)
            if row_count:
                yield _Old(file, row_count)


def _count_old(lake: Path, file: LakeFile, rule: ExpireRule) -> int:
    if file.max_event_time is not None and file.max_event_time < rule.before_time:
        return file.row_count
    rows = _scan(lake, file).select(_is_old(file.kind, rule).sum())
    try:
        return int(rows.collect().item() or 0)
    except (OSError, pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
        raise BrokenLakeError(lake, error) from error


def _rewrite(site: LakeSite, file: LakeFile, batch: LakeBatch, rule: ExpireRule) -> None:
    """Write those rows of `file` that stay."""
    writers = {
        LATE.name: batch.write_late,
        DUPLICATES.name: batch.write_duplicates,
        REJECTS.name: batch.write_rejects,
    }
    writers[file.kind](_scan(site.lake, file).filter(~_is_old(file.kind, rule)).collect())


def _scan(lake: Path, file: LakeFile) -> pl.LazyFrame:
    table: Table = _TABLES[file.kind]
    return scan_files([lake / FILES / kept_name(file.path)], table)


def _is_old(kind: str, rule: ExpireRule) -> pl.Expr:
    return (pl.col(_TIMES[kind]) < rule.before_time).fill_null(value=False)


def _count_carried(carried: Carried, rule: ExpireRule) -> int:
    """How many carried events go: those of visits that started before, and pending ones from before."""
    state = carried.load()
    opened = state.open_visits.filter(pl.col("start_time") < rule.before_time)
    pending = state.pending.filter(pl.col("event_time") < rule.before_time)
    return pending.height + int(opened["event_count"].sum())


def _keep_carried(site: LakeSite, batch: LedgerBatch, rule: ExpireRule) -> Progress:
    """The progress with what stays of the carried state, in files of their own, and no row of what goes."""
    progress = site.ledger.read_progress()
    carried = Carried(site.lake, progress)
    state = carried.load()
    kept = state._replace(
        pending=state.pending.filter(pl.col("event_time") >= rule.before_time),
        open_visits=state.open_visits.filter(pl.col("start_time") >= rule.before_time),
        ends=state.ends.filter(pl.col("end_time") >= rule.before_time),
    )
    tagged = carried.find(kept.open_visits["visit_number"])
    left = CarryWriter(site.lake, batch.batch_id, batch.number)
    left.keep(kept, pl.concat(tagged, how="diagonal") if tagged else pl.DataFrame())
    return progress._replace(carried=left.finish(site.at))


def _change(site: LakeSite, batch: LedgerBatch, old: list[_Old], rule: ExpireRule) -> Changes:
    before = Carried(site.lake, site.ledger.read_progress())
    gone_count = _count_carried(before, rule)
    progress = _keep_carried(site, batch, rule) if gone_count else None
    rows = _count_rows(old)
    # Less than before in each place, and as much taken out; a reject that is gone is a line that came to nothing.
    facts = BatchFacts(
        reject_count=-rows[REJECTS.name],
        ignored_count=rows[REJECTS.name],
        closed_event_count=-rows[EVENTS.name],
        late_count=-rows[LATE.name],
        duplicate_count=-rows[DUPLICATES.name],
        visit_count=-rows[VISITS.name],
        carried_in_count=before.event_count,
        carried_out_count=before.event_count - gone_count,
        excluded_count=rows[EVENTS.name] + rows[LATE.name] + rows[DUPLICATES.name] + gone_count,
        W=site.ledger.read_progress().W.time,
    )
    return Changes(
        progress=progress,
        replaced=[each.file.path for each in old],
        facts=facts.to_json(),
        forget_before=rule.before_time,
    )


def _count_rows(old: list[_Old]) -> dict[str, int]:
    return {name: sum(each.row_count for each in old if each.file.kind == name) for name in _TABLES}


def _describe(batch_id: str | None, old: list[_Old], carried_count: int) -> ExpireFacts:
    return ExpireFacts(
        batch_id=batch_id,
        row_counts={name: count for name, count in _count_rows(old).items() if count},
        file_count=sum(each.is_whole for each in old),
        rewritten_count=sum(not each.is_whole for each in old),
        carried_event_count=carried_count,
    )
