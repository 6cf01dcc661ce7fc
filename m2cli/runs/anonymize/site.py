"""The pseudonymous lake while it is written: its lock, its batches, and what a killed run has left of them.

A batch is committed when the snapshot lists its files; only then do they appear in the glob.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m2cli.errors import UsageError
from m2cli.lake.batch import open_batch, prepare_lake
from m2cli.lake.compact import compact_date
from m2cli.lake.layout import FILES, OWN_FOLDER, OWN_NAMES, SNAPSHOT, VISITS, has_ledger, kept_name
from m2cli.lake.links import list_kept, remove_batch, show_files
from m2cli.lake.publish import publish, rewrite
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import read_head, read_snapshot
from m2cli.ledger import hold_lock
from m2cli.runs.anonymize.record import PrivacyRecord, read_record, write_record
from m2cli.runs.anonymize.replaced import find_pending, list_replaced, replace_files, settle_replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date, datetime
    from pathlib import Path

    import polars as pl

    from m2cli.lake.batch import LakeBatch
    from m2cli.lake.compact import Compacted
    from m2cli.lake.lists import LakeFile
    from m2cli.lake.swap import At

LAKE_LOCK = "lake.lock"
OWNER = "anonymize"  # whose lake it is, where no pipeline writes it
_BATCH = re.compile(rf"({OWNER}-(\d{{6,}}))-\d+\..*")


@dataclass
class AnonymousSite:
    """A pseudonymous lake whose lock is held."""

    lake: Path
    at: At
    record: PrivacyRecord
    _files: list[LakeFile]
    _owner: str
    _last: int

    def read_visit_ids(self, start_date: date) -> pl.DataFrame:
        """The `visit_id` of each visit of a date that is in the lake."""
        there = [file for file in self._files if file.kind == VISITS.name and file.start_date == start_date]
        paths = [self.lake / FILES / kept_name(file.path) for file in there]
        return scan_files(paths, VISITS).select("visit_id").collect()

    @contextmanager
    def open_batch(self, W: datetime | None) -> Iterator[LakeBatch]:
        """A batch to be written; when the block ends well, it is committed and shown."""
        self._last += 1
        batch_id = f"{OWNER}-{self._last:06d}"
        with open_batch(self.lake, batch_id, at=self.at) as batch:
            yield batch
            files = batch.finish()
        if not files:
            return
        publish(self.lake, batch_id=batch_id, W=W, pipeline=self._owner, added=files, at=self.at)
        self.at("committed")
        show_files(self.lake, files, at=self.at)
        self._files += files

    def compact(self, files: Sequence[LakeFile], max_rows: int, now: datetime) -> Compacted | None:
        """Make few files of `files`, of one table and date; None where they would not become fewer.

        Raises `UsageError` while a batch of a pipeline is to replace files and is not shown yet.
        """
        if pending := find_pending(self.lake):
            raise UsageError(f"the rebuild `{pending}` is not finished in `{self.lake}`; do `m2 run` first")
        self._last += 1
        batch_id = f"{OWNER}-{self._last:06d}"
        with open_batch(self.lake, batch_id, at=self.at) as batch:
            compacted = compact_date(self.lake, files, batch, max_rows=max_rows)
            if compacted.removed:
                batch.finish()
        if not compacted.removed:
            remove_batch(self.lake, batch_id, at=self.at)
            return None
        replace_files(
            self.lake,
            batch_id=batch_id,
            W=read_head(self.lake).W,
            pipeline=self._owner,
            added=compacted.added,
            removed=compacted.removed,
            now=now,
            at=self.at,
        )
        return compacted

    def keep(self, record: PrivacyRecord) -> None:
        """Note how far the lake has come."""
        if record != self.record:
            write_record(self.lake, record)
            self.record = record
            self.at("recorded")


@contextmanager
def open_anonymous_site(lake: Path, *, at: At, wait: Callable[[], None]) -> Iterator[AnonymousSite]:
    """The pseudonymous lake at `lake`, made if there is none; what a killed run left is finished or taken away.

    Its lock is waited for. Raises `UsageError` for a folder that holds something else, `UnwritableSinkError` where it
    cannot be written.
    """
    refuse_other(lake)
    if not (lake / SNAPSHOT).exists():
        prepare_lake(lake)
        write_record(lake, PrivacyRecord())
    with hold_lock(lake / OWN_FOLDER / LAKE_LOCK, f"the lake `{lake}`", wait=wait):
        if not (lake / SNAPSHOT).exists():
            rewrite(lake, batch_id="none", W=None, pipeline=OWNER, files=[], at=at)
        at("lake made")
        yield _settle(lake, at)


def _settle(lake: Path, at: At) -> AnonymousSite:
    snapshot = read_snapshot(lake)
    listed = {file.stem for file in snapshot.files}
    batches = {found[1]: int(found[2]) for name in list_kept(lake) if (found := _BATCH.fullmatch(name))}
    settle_replaced(lake, at=at)
    replaced = {file.stem for file in list_replaced(lake)}
    committed = {stem.rpartition("-")[0] for stem in listed | replaced}
    for batch_id in batches.keys() - committed:
        remove_batch(lake, batch_id, at=at)
    if snapshot.batch_id.startswith(f"{OWNER}-"):
        show_files(lake, [file for file in snapshot.files if file.stem.startswith(f"{snapshot.batch_id}-")], at=at)
    last = max((number for batch_id, number in batches.items() if batch_id in committed), default=0)
    record = read_record(lake) or PrivacyRecord()
    return AnonymousSite(lake, at, record, list(snapshot.files), snapshot.pipeline or OWNER, last)


def refuse_other(lake: Path) -> None:
    """Raise `UsageError` for a folder that is neither empty nor a pseudonymous lake."""
    if lake.is_file():
        raise UsageError(f"`{lake}` is a file; a lake is a folder, name another one")
    if not lake.is_dir() or read_record(lake) is not None:
        return
    if (lake / SNAPSHOT).exists() or has_ledger(lake):
        raise UsageError(f"`{lake}` is a lake of identified data; name a folder of its own for the pseudonymous one")
    foreign = sorted(path.name for path in lake.iterdir() if path.name not in OWN_NAMES)
    if foreign:
        raise UsageError(f"`{lake}` holds `{foreign[0]}`, no part of a lake; name another folder")


def refuse_inside(lake: Path, output: Path) -> None:
    """Raise `UsageError` where one of two lakes lies in the other: each has its own readers (DESIGN 6.2)."""
    one, other = lake.resolve(), output.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UsageError(f"`{output}` and `{lake}` lie in one another; the pseudonymous lake is a folder of its own")
