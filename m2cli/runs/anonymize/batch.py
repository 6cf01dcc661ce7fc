"""The pseudonymous twin of a batch: its whole visits, written beside the identified lake and committed with it.

Its files are named after the batch and stand in the facts that the ledger commits, so that they are shown if and only
if the batch is.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from m2cli.errors import NotConservedError
from m2cli.lake.batch import open_batch, prepare_lake
from m2cli.lake.layout import FILES, OWN_FOLDER, SNAPSHOT, kept_name
from m2cli.lake.links import remove_batch, show_files
from m2cli.lake.lists import LakeFile
from m2cli.lake.publish import publish, rewrite
from m2cli.lake.snapshot import read_head, read_snapshot
from m2cli.lake.write import unfinished
from m2cli.ledger import hold_lock
from m2cli.privacy.fields import VISIT
from m2cli.privacy.pseudonyms import list_years, pseudonymize_values, pseudonymize_visits
from m2cli.privacy.ring import make_salt
from m2cli.privacy.salts import FolderSalts
from m2cli.runs.anonymize.lake import write_whole
from m2cli.runs.anonymize.record import PrivacyRecord, read_record, write_record
from m2cli.runs.anonymize.references import References
from m2cli.runs.anonymize.replaced import find_pending, note_pending, replace_files, settle_replaced
from m2cli.runs.anonymize.site import LAKE_LOCK, refuse_other
from m2cli.runs.rebuild.rewrite import Rewriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime, timedelta
    from pathlib import Path

    import polars as pl

    from m2cli.lake.batch import LakeBatch
    from m2cli.lake.swap import At
    from m2cli.pipeline.rule import AnonymizeRule

FILES_FACT, REPLACED_FACT, SALTS_FACT = "anonymous_files", "anonymous_replaced", "anonymous_salts"


class AnonymousBatch:
    """Writes the whole visits of one batch pseudonymously, as they are written to the identified lake."""

    def __init__(self, rule: AnonymizeRule, identified: LakeBatch, batch: LakeBatch) -> None:
        """Write to `batch`; causes are looked for in the lake of `identified`, and in what that has written."""
        self._rule, self._identified, self._batch = rule, identified, batch
        self._record = read_record(rule.lake) or PrivacyRecord()
        self._event_count = 0
        self._replaced: list[LakeFile] = []
        self._gone = frozenset[str]()

    def take_out(self, visits: pl.DataFrame, gone: Iterable[LakeFile]) -> None:
        """Take `visits` (`visit_id`, `start_time`) out of the lake, as they are taken out of the identified one.

        `gone` are the files of that one that are replaced: no cause is looked for in them any more.
        """
        privacy, salts = self._rule.privacy, self._rule.source
        self._gone |= {file.path for file in gone}
        if not visits.height:
            return
        years = visits["start_time"].dt.year()
        self._record = self._record.keyed_by(list_years(visits["start_time"]), salts)
        named = visits.with_columns(visit_id=pseudonymize_values(visits["visit_id"], VISIT, years, privacy, salts))
        snapshot = read_snapshot(self._rule.lake)
        files = list(zip(snapshot.files, snapshot.paths(self._rule.lake), strict=True))
        rewriter = Rewriter(files, self._batch)
        for _ in rewriter.take_events(named):
            pass
        rewriter.take_ends(named)
        self._replaced += rewriter.replaced

    def write(self, events: pl.DataFrame, visits: pl.DataFrame) -> None:
        """Write whole visits in order of start; the identified batch has written them."""
        privacy, salts = self._rule.privacy, self._rule.source
        years = list_years(visits["start_time"])
        self._record = self._record.made_by(privacy).keyed_by(years, salts)
        ends = visits["event_count"].cum_sum()
        first = 0
        for year in years:  # in order of start: a year's visits are adjacent, and so are their events
            of_year = visits.filter(visits["start_time"].dt.year() == year)
            count = int(of_year["event_count"].sum())
            whole = events.slice(first, count)
            references = self._look_up(whole, of_year)
            write_whole(self._batch, whole, references, privacy, salts)
            self._batch.write_visits(pseudonymize_visits(references.start_continued(of_year), privacy, salts))
            first += count
        self._event_count += int(ends[-1]) if len(ends) else 0

    def finish(self, closed_event_count: int) -> dict[str, Any]:
        """What the ledger is to keep, once all is on the disk. Raises `NotConservedError` if events are missing."""
        if self._event_count != closed_event_count:
            raise NotConservedError(
                f"{closed_event_count:,} events left in visits, {self._event_count:,} pseudonymously"
            )
        files = [file.to_dict() for file in self._batch.finish()]
        if self._replaced:
            note_pending(self._rule.lake, self._batch.batch_id)
        replaced = {REPLACED_FACT: [file.to_dict() for file in self._replaced]} if self._replaced else {}
        salts = {str(year): text for year, text in self._record.fingerprints.items()}
        return {FILES_FACT: files, SALTS_FACT: salts} | replaced

    def _look_up(self, whole: pl.DataFrame, visits: pl.DataFrame) -> References:
        first, last = visits["start_time"][0].date(), visits["start_time"][-1].date()
        near = References(self._list_files, first, last, self._rule.privacy.cause_reach)
        if near.has_other_years and "cause_id" in whole.columns and "event_id" in whole.columns:
            causes = whole["cause_id"].drop_nulls().unique()
            near.look_for_causes(causes.filter(~causes.is_in(whole["event_id"].implode())))
        return near

    def _list_files(self) -> Iterator[tuple[LakeFile, Path]]:
        """What the lake shows, and what this batch has written so far."""
        lake = self._identified.folder
        snapshot = read_snapshot(lake)
        known = zip(snapshot.files, snapshot.paths(lake), strict=True)
        yield from ((file, path) for file, path in known if file.path not in self._gone)
        for file in self._identified.files:
            yield file, unfinished(lake / FILES / kept_name(file.path))


class Lakes(NamedTuple):
    """Where whole visits are written."""

    identified: LakeBatch
    twin: AnonymousBatch | None


@contextmanager
def open_twin(rule: AnonymizeRule | None, identified: LakeBatch, at: At) -> Iterator[AnonymousBatch | None]:
    """The twin of a batch, to be written; None where the pipeline has no pseudonymous lake."""
    if rule is None:
        yield None
        return
    with open_batch(rule.lake, identified.batch_id, at=at) as batch:
        yield AnonymousBatch(rule, identified, batch)


@contextmanager
def hold_twin(
    rule: AnonymizeRule | None, pipeline: str, now: datetime, grace: timedelta, wait: Callable[[], None]
) -> Iterator[None]:
    """The pseudonymous lake of a pipeline, made if it is not there, its lock held until the end of the block.

    Raises `PrivacyError` where this year's salt cannot be used, `UsageError` for a folder that holds something else.
    """
    if rule is None:
        yield
        return
    with ExitStack() as stack:
        prepare_salt(rule, now.year)
        refuse_other(rule.lake)
        if not (rule.lake / SNAPSHOT).exists():
            prepare_lake(rule.lake)
            write_record(rule.lake, read_record(rule.lake) or PrivacyRecord())
        stack.enter_context(hold_lock(rule.lake / OWN_FOLDER / LAKE_LOCK, f"the lake `{rule.lake}`", wait=wait))
        if not (rule.lake / SNAPSHOT).exists():
            rewrite(rule.lake, batch_id="none", W=None, pipeline=pipeline, files=[])
        settle_replaced(rule.lake, now=now, grace=grace)
        yield


def prepare_salt(rule: AnonymizeRule, year: int) -> None:
    """See to it that the salt of `year` can be used; it is made where the rule says so and it is missing."""
    source = rule.source
    if rule.create and isinstance(source, FolderSalts) and not (rule.salts / f"{year}.salt").exists():
        make_salt(rule.salts, year)
    source.find(year)


def drop_twin(rule: AnonymizeRule | None, batch_id: str, at: At) -> None:
    """Take away what there is of a batch that was not committed."""
    if rule is not None:
        remove_batch(rule.lake, batch_id, at=at)
        if find_pending(rule.lake) == batch_id:
            note_pending(rule.lake, None)


def publish_twin(  # noqa: PLR0913  # what was committed, and when
    rule: AnonymizeRule | None, facts: Mapping[str, Any], batch_id: str, W: datetime | None, *, now: datetime, at: At
) -> None:
    """Show what a batch has committed of the pseudonymous lake; may be done again."""
    if rule is None or not (facts.get(FILES_FACT) or facts.get(REPLACED_FACT)):
        return
    files = [LakeFile.from_dict(row) for row in facts[FILES_FACT]]
    record = (read_record(rule.lake) or PrivacyRecord()).made_by(rule.privacy)
    keyed = {int(year): fingerprint for year, fingerprint in facts[SALTS_FACT].items()}
    write_record(rule.lake, record.joined_by(keyed))
    owner = read_head(rule.lake).pipeline or ""
    if facts.get(REPLACED_FACT):
        gone = [LakeFile.from_dict(row) for row in facts[REPLACED_FACT]]
        replace_files(rule.lake, batch_id=batch_id, W=W, pipeline=owner, added=files, removed=gone, now=now, at=at)
    else:
        publish(rule.lake, batch_id=batch_id, W=W, pipeline=owner, added=files, at=at)
        show_files(rule.lake, files, at=at)
    at("twin shown")
