"""A lake into a pseudonymous one: date by date, whole visits, what is there already left as it is (DESIGN 6.2)."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import NotConservedError, UsageError
from m2cli.lake.layout import EVENTS, OWN_FOLDER, VISITS, has_ledger
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import BrokenLakeError, read_snapshot
from m2cli.ledger import open_ledger
from m2cli.privacy.fields import VISIT
from m2cli.privacy.pseudonyms import pseudonymize, pseudonymize_values, pseudonymize_visits
from m2cli.runs.anonymize.record import read_record
from m2cli.runs.anonymize.references import References
from m2cli.runs.anonymize.site import AnonymousSite, open_anonymous_site, refuse_inside
from m2cli.runs.progress import Step, Tell, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date
    from pathlib import Path

    from m2cli.lake.batch import LakeBatch
    from m2cli.lake.snapshot import Snapshot
    from m2cli.lake.swap import At
    from m2cli.privacy.rule import PrivacyRule
    from m2cli.privacy.salts import Salts

# Rows that are in memory at once, more only where one visit has: about 300 MB with what is made of them.
_ROWS_AT_ONCE = 200_000


class AnonymizeFacts(NamedTuple):
    """What a run added, and what the lake is now."""

    event_count: int
    visit_count: int
    known_visit_count: int
    """Visits that were in the pseudonymous lake before."""
    statement: str


def anonymize_lake(  # noqa: PLR0913  # how it tells and what it is told, by keyword
    lake: Path,
    output: Path,
    rule: PrivacyRule,
    salts: Salts,
    *,
    tell: Tell = tell_nobody,
    at: At = lambda _step: None,
    wait: Callable[[], None] = lambda: None,
) -> AnonymizeFacts:
    """Add to the pseudonymous lake `output`, made if it is not there, the visits of `lake` that it does not have.

    Late events, duplicates and rejects are not taken. Nothing is removed from `output`, and a visit that is there stays
    as it is, so that the same may be done again, whatever killed it before. Raises `PrivacyError` for a year without
    its salt, before anything is written; `UsageError` where `output` holds something else or lies in `lake`.
    """
    refuse_inside(lake, output)
    if read_record(lake) is not None:
        raise UsageError(f"`{lake}` is pseudonymous already; name the lake of identified data")
    snapshot = read_snapshot(lake)
    dates = _list_dates(snapshot)
    done = _known_dates(output)
    changed = {start_date: name for start_date, name in dates.items() if done.get(str(start_date)) != name}
    for year in sorted({start_date.year for start_date in changed}):
        salts.find(year)
    event_count = visit_count = known_count = 0
    with open_anonymous_site(output, at=at, wait=wait) as site:
        refuse_unfinished(lake)
        for number, (start_date, name) in enumerate(changed.items()):
            tell(Step("anonymizing", number, len(changed), "dates"))
            site.keep(site.record.made_by(rule).keyed_by([start_date.year], salts))
            added = _Date(lake, snapshot, start_date, rule, salts).add_to(site)
            event_count, visit_count = event_count + added.event_count, visit_count + added.visit_count
            known_count += added.known_count
            site.keep(replace(site.record, dates={**site.record.dates, str(start_date): name}))
        return AnonymizeFacts(event_count, visit_count, known_count, site.record.statement)


def refuse_unfinished(lake: Path) -> None:
    """Raise `UsageError` while a batch of the lake's pipeline is committed and not shown yet."""
    if not has_ledger(lake):
        return
    with open_ledger(lake / OWN_FOLDER / "ledger.sqlite") as ledger:
        if any(batch.state == "committed" for batch in ledger.list_unfinished()):
            raise UsageError(f"a batch of `{ledger.pipeline}` is committed and not yet shown; do `m2 run` first")


def _list_dates(snapshot: Snapshot) -> dict[date, str]:
    """The dates on which visits start, in order, with a digest of the names of their files."""
    by_date: dict[date, list[str]] = {}
    for file in snapshot.files:
        if file.start_date is not None:
            by_date.setdefault(file.start_date, []).append(file.path)
    return {
        start_date: blake2b("\n".join(sorted(paths)).encode(), digest_size=16).hexdigest()
        for start_date, paths in sorted(by_date.items())
    }


def _known_dates(output: Path) -> dict[str, str]:
    record = read_record(output)
    return dict(record.dates) if record else {}


class _Added(NamedTuple):
    event_count: int
    visit_count: int
    known_count: int


class _Date:
    """The visits of a lake that start on one date."""

    def __init__(self, lake: Path, snapshot: Snapshot, start_date: date, rule: PrivacyRule, salts: Salts) -> None:
        self._lake, self._date, self._rule, self._salts = lake, start_date, rule, salts
        self._W = snapshot.W
        of_date = [
            (file, path)
            for file, path in zip(snapshot.files, snapshot.paths(lake), strict=True)
            if file.start_date == start_date
        ]
        self._events = [(file, path) for file, path in of_date if file.kind == EVENTS.name]
        self._visits = [path for file, path in of_date if file.kind == VISITS.name]
        self._references = References(
            lambda: zip(snapshot.files, snapshot.paths(lake), strict=True), start_date, start_date, rule.cause_reach
        )

    def add_to(self, site: AnonymousSite) -> _Added:
        """Write those that `site` does not have, in one batch."""
        try:
            return self._add_to(site)
        except (OSError, pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
            raise BrokenLakeError(self._lake, error) from error

    def _add_to(self, site: AnonymousSite) -> _Added:
        names = self._name_visits()
        is_new = ~names["name"].is_in(site.read_visit_ids(self._date)["visit_id"].implode())
        new = names.filter(is_new)
        event_count = int(new["event_count"].sum())
        if new.height:
            only = None if is_new.all() else new["visit_id"]
            with site.open_batch(self._W) as batch:
                self._write_events(batch, only, event_count)
                self._write_visits(batch, only, new.height)
        return _Added(event_count, new.height, names.height - new.height)

    def _name_visits(self) -> pl.DataFrame:
        """`visit_id`, the `name` it gets, and `event_count`, of all visits of the date."""
        visits = scan_files(self._visits, VISITS).select("visit_id", "start_time", "event_count").collect()
        years = visits["start_time"].dt.year()
        names = pseudonymize_values(visits["visit_id"], VISIT, years, self._rule, self._salts)
        return visits.select("visit_id", "event_count", name=names)

    def _write_events(self, batch: LakeBatch, only: pl.Series | None, expected_count: int) -> None:
        self._look_for_causes()
        written = 0
        for file, path in self._events:
            for whole in slice_visits(path, file.row_count):
                events = _choose(whole, only)
                write_whole(batch, events, self._references, self._rule, self._salts)
                written += events.height
        if written != expected_count:
            raise NotConservedError(f"the visits of {self._date} count {expected_count:,} events, not {written:,}")

    def _write_visits(self, batch: LakeBatch, only: pl.Series | None, expected_count: int) -> None:
        written = 0
        for path in self._visits:
            visits = _choose(scan_files([path], VISITS).collect(), only)
            started = self._references.start_continued(visits)
            batch.write_visits(pseudonymize_visits(started, self._rule, self._salts))
            written += visits.height
        if written != expected_count:
            raise NotConservedError(f"{expected_count:,} visits of {self._date} are new, {written:,} were written")

    def _look_for_causes(self) -> None:
        """Look for those causes that no visit in the effect's own file has."""
        if not self._references.has_other_years:
            return
        wanted = [pl.Series("cause_id", [], pl.String)]
        for _, path in self._events:
            rows = scan_files([path], EVENTS).select("event_id", "cause_id").collect()
            causes = rows["cause_id"].drop_nulls().unique()
            wanted.append(causes.filter(~causes.is_in(rows["event_id"].implode())))
        self._references.look_for_causes(pl.concat(wanted).unique())


def _choose(rows: pl.DataFrame, only: pl.Series | None) -> pl.DataFrame:
    return rows if only is None else rows.filter(rows["visit_id"].is_in(only.implode()))


def write_whole(
    batch: LakeBatch, events: pl.DataFrame, references: References | None, rule: PrivacyRule, salts: Salts
) -> None:
    """Write `events`, whole visits in order of start, pseudonymously into `batch`."""
    if not events.height:
        return
    runs = events["visit_id"].rle().struct.unnest()
    count = runs["len"].cast(pl.Int64)
    visits = pl.DataFrame({"start_time": events["event_time"].gather(count.cum_sum() - count), "event_count": count})
    started = events.with_columns(start_time=visits["start_time"].gather(events["visit_id"].rle_id()))
    if references is not None:
        started = references.start_causes(started)
    batch.write_events(pseudonymize(started, rule, salts), visits)


def slice_visits(path: Path, row_count: int, size: int = _ROWS_AT_ONCE) -> Iterator[pl.DataFrame]:
    """The rows of a file of events, so many at a time that no visit is cut."""
    row = 0
    while row < row_count:
        reach = size
        while True:
            part = scan_files([path], EVENTS).slice(row, reach).collect()
            if row + part.height >= row_count:
                break
            is_last = part["visit_id"] == part["visit_id"][-1]
            first_of_last = int(is_last.arg_true()[0])
            if first_of_last:
                part = part.head(first_of_last)
                break
            reach *= 4
        yield part
        row += part.height
