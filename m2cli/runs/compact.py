"""Compaction: a date's many small files into few, one commit a date, with readers undisturbed (DESIGN 5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import UsageError
from m2cli.lake.batch import open_batch
from m2cli.lake.compact import Compacted, compact_date
from m2cli.lake.layout import DUPLICATES, EVENTS, LATE, REJECTS, VISITS
from m2cli.lake.snapshot import read_snapshot
from m2cli.ledger import Changes
from m2cli.pipeline.rule import check_time
from m2cli.runs.anonymize.record import read_record
from m2cli.runs.anonymize.replaced import settle_replaced
from m2cli.runs.anonymize.site import open_anonymous_site
from m2cli.runs.batch.facts import BatchFacts
from m2cli.runs.batch.site import LakeSite, open_lake_site, to_lake_files
from m2cli.runs.progress import Step, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from m2cli.lake.lists import LakeFile
    from m2cli.lake.swap import At
    from m2cli.runs.progress import Tell

# So few files of a table without dates are left alone: each batch brings at most one of each.
_FEW_FILES = 16


@dataclass(frozen=True, kw_only=True)
class CompactRule:
    """Which dates to compact, and into what. Raises `UsageError` for what makes no sense."""

    first_date: date
    last_date: date
    max_rows: int = 1_000_000
    """No file has more rows, but where one visit has."""
    grace: timedelta = timedelta(hours=1)
    """How long the files that are replaced stay for who reads by an earlier snapshot."""

    def __post_init__(self) -> None:
        if self.first_date > self.last_date:
            raise UsageError(f"`--from {self.first_date}` is after `--to {self.last_date}`")
        if self.max_rows < 1:
            raise UsageError(f"`max_rows` is {self.max_rows}; a file has at least one row")
        check_time(self.grace)


class CompactFacts(NamedTuple):
    """How many files were replaced, and by how many."""

    date_count: int
    removed_count: int
    added_count: int
    row_count: int


def compact_lake(  # noqa: PLR0913  # how it tells and what it is told, by keyword
    lake: Path,
    rule: CompactRule,
    *,
    now: Callable[[], datetime],
    tell: Tell = tell_nobody,
    at: At = lambda _step: None,
    wait: Callable[[], None] = lambda: None,
) -> CompactFacts:
    """Merge the small files of each date from `first_date` to `last_date`, and those of tables without dates.

    Every row stays what it is, visits stay whole, and readers by snapshot keep the files that they know. Files that
    were replaced before go as soon as the grace of what replaced them is over. Raises `UsageError` for a lake that
    neither a pipeline nor `m2 anonymize` writes, `UnreachableError` for what cannot be read or written; what was
    committed by then stays.
    """
    done: list[Compacted] = []
    if read_record(lake) is not None:
        with open_anonymous_site(lake, at=at, wait=wait) as twin:
            settle_replaced(lake, now=now(), grace=rule.grace, at=at)
            by_date = _list_dates(read_snapshot(lake).files, rule)
            for number, files in enumerate(by_date):
                tell(Step("compacting", number, len(by_date), "dates"))
                done += filter(None, [twin.compact(files, rule.max_rows, now())])
        return _describe(done)
    with open_lake_site(lake, rule.grace, now=now, tell=tell, at=at, wait=wait) as site:
        site.settle()
        groups = list(_group(site, rule))
        for number, files in enumerate(groups):
            tell(Step("compacting", number, len(groups), "dates"))
            done += _compact(site, files, rule)
    return _describe(done)


def _describe(done: Sequence[Compacted]) -> CompactFacts:
    return CompactFacts(
        date_count=sum(bool(each.removed) for each in done),
        removed_count=sum(len(each.removed) for each in done),
        added_count=sum(len(each.added) for each in done),
        row_count=sum(file.row_count for each in done for file in each.added),
    )


def _group(site: LakeSite, rule: CompactRule) -> Iterator[list[LakeFile]]:
    """The files that may become one: of a table and a date; of tables without dates all small ones."""
    span = (str(rule.first_date), str(rule.last_date))
    for table in (EVENTS, VISITS):
        yield from _list_dates(to_lake_files(site.ledger.list_lake_files(kind=table.name, dates=span)), rule)
    for table in (LATE, DUPLICATES, REJECTS):
        files = to_lake_files(site.ledger.list_lake_files(kind=table.name))
        small = [file for file in files if file.row_count < rule.max_rows // 2]
        if len(small) > _FEW_FILES:
            yield small


def _list_dates(files: Iterable[LakeFile], rule: CompactRule) -> list[list[LakeFile]]:
    """Those files of `files` that may become one: several of a table and a date."""
    by_date: dict[tuple[str, date], list[LakeFile]] = {}
    for file in files:
        if file.start_date and rule.first_date <= file.start_date <= rule.last_date:
            by_date.setdefault((file.kind, file.start_date), []).append(file)
    return [files for _, files in sorted(by_date.items()) if len(files) > 1]


def _compact(site: LakeSite, files: Sequence[LakeFile], rule: CompactRule) -> list[Compacted]:
    plan = {"files": [file.path for file in files], "max_rows": rule.max_rows}
    batch = site.ledger.plan("compact", site.now(), plan)
    site.at("planned")
    site.start(batch)
    with open_batch(site.lake, batch.batch_id, at=site.at) as lake:
        compacted = compact_date(site.lake, files, lake, max_rows=rule.max_rows)
        if not compacted.removed:
            site.give_up(batch, "the files would not become fewer")
            return []
        lake.finish()
    changes = Changes(
        added=[file.to_dict() for file in compacted.added],
        replaced=[file.path for file in compacted.removed],
        facts=BatchFacts(W=site.ledger.read_progress().W.time).to_json(),
    )
    site.commit(batch, changes)
    return [compacted]
