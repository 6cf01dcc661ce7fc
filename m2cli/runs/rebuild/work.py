"""A rebuild from what it is asked for to its commit: what is touched is taken out, cut anew and put back, at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.errors import UsageError
from m2cli.lake.batch import open_batch
from m2cli.lake.layout import DUPLICATES, FILES, LATE, OWN_FOLDER, REJECTS, kept_name
from m2cli.ledger import Changes
from m2cli.runs.anonymize.batch import Lakes, open_twin
from m2cli.runs.batch.carry import Carried
from m2cli.runs.batch.facts import BatchFacts
from m2cli.runs.batch.site import LEDGER, open_site, to_lake_files
from m2cli.runs.progress import Step, tell_nobody
from m2cli.runs.rebuild.chains import LakeVisits, OpenVisits, Stream, find_touched
from m2cli.runs.rebuild.excluded import find_excluded, list_names
from m2cli.runs.rebuild.material import Gatherer
from m2cli.runs.rebuild.move import Moved, Rechained, Sorted, move_visits
from m2cli.runs.rebuild.rewrite import FROM, FROM_FILE, Rewriter, find_changed, is_of_parts
from m2cli.runs.rebuild.rule import RebuildFacts
from m2cli.runs.run import redo

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from m2cli.lake.swap import At
    from m2cli.ledger import LedgerBatch, Progress, RowOfPart
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.batch.site import Site
    from m2cli.runs.progress import Tell
    from m2cli.runs.rebuild.material import Material
    from m2cli.runs.rebuild.rule import RebuildRule


def rebuild_dates(  # noqa: PLR0913  # what to do, by keyword; the rest is how it tells and what it is told
    pipeline: PipelineRule,
    rule: RebuildRule,
    *,
    now: Callable[[], datetime],
    is_dry_run: bool = False,
    tell: Tell = tell_nobody,
    at: At = lambda _step: None,
    wait: Callable[[], None] = lambda: None,
) -> RebuildFacts:
    """Make the closed visits of some dates anew, with or without what `rule` names, and put them in place at once.

    Every chain of visits that it touches is cut anew as a whole; one that leads into a visit that is open is left for
    later, and its events stay late. Dates are those of visits' starts for what is taken out, those of events for what
    is added. The ledger knows what was added and taken out; topics are never rewritten (DESIGN 4.9). A dry run does
    all of it but the commit; the batch that a killed run has left is finished first by either.

    In memory are the events that are added, one file of the lake, and of the events that are touched as many as the
    pipeline's `memory` allows; the others are parted by visitor, in scratch files.

    Raises `UsageError` for files that cannot be added or taken out, `UnreachableError` for what cannot be read or
    written; then nothing has changed.
    """
    if not (pipeline.lake / OWN_FOLDER / LEDGER).exists():
        raise UsageError(f"the pipeline `{pipeline.name}` has no lake yet; `m2 run` comes first")
    with open_site(pipeline, now=now, tell=tell, at=at, wait=wait, is_run=False) as site:
        if planned := site.settle():
            redo(site, planned)
        progress = site.ledger.read_progress()
        if progress.W.time is None:
            hint = "`m2 run` comes first; where it has taken nothing but rejects so far, remove the lake and run again"
            if pipeline.topics:  # which know of batches that a new lake would not
                hint = "rejects of topics can be merged when `m2 run` has taken events, and W has passed them"
            raise UsageError(f"no event that the pipeline `{pipeline.name}` has taken is final yet; {hint}")
        batch = site.ledger.plan("rebuild", now(), {name: str(value) for name, value in asdict(rule).items()})
        at("planned")
        site.start(batch)
        try:
            with (
                open_batch(site.lake, batch.batch_id, at=at) as lake,
                open_twin(pipeline.anonymize, lake, at) as twin,
            ):
                changes, facts = _Rebuild(site, rule, progress, Lakes(lake, twin)).make()
                at("rebuilt")
                if facts.has_changes and not is_dry_run:
                    lake.finish()
        except BaseException:
            site.give_up(batch, "it failed")
            raise
        return _end(site, batch, changes, facts, is_dry_run=is_dry_run)


def _end(site: Site, batch: LedgerBatch, changes: Changes, facts: RebuildFacts, *, is_dry_run: bool) -> RebuildFacts:
    if is_dry_run or not facts.has_changes:
        site.give_up(batch, "a dry run" if is_dry_run else "nothing to do")
        return facts
    site.commit(batch, changes)
    return facts._replace(batch_id=batch.batch_id)


class _Rebuild:
    """One rebuild: what it reads, and what it makes of it."""

    def __init__(self, site: Site, rule: RebuildRule, progress: Progress, lakes: Lakes) -> None:
        if progress.W.time is None:
            raise ValueError("without W nothing is closed")
        self._site, self._rule, self._progress = site, rule, progress
        self._lakes, self._lake = lakes, lakes.identified
        self._W = progress.W.time
        files = to_lake_files(site.ledger.list_lake_files())
        self._files = [(file, site.lake / FILES / kept_name(file.path)) for file in files]
        self._opened = OpenVisits(site.lake, progress)
        self._rewriter = Rewriter(self._files, self._lake)
        self._warnings: list[str] = []

    def make(self) -> tuple[Changes, RebuildFacts]:
        """Write what replaces the touched files; what is to be committed, and what it came to."""
        parts = self._find_excluded()
        names = list_names(parts)
        self._site.tell(Step("gathering", 0, None, "events"))
        gatherer = Gatherer(self._site, self._rule, self._W, self._files)
        material = gatherer.gather(parts)
        self._warnings += material.warnings
        touched, sort = self._judge(
            material, self._find_changed(names, is_new=any(not part.is_excluded for part in parts))
        )
        self._site.tell(Step("cutting", 0, None, "events"))
        moved = move_visits(self._site, self._rewriter, Rechained(touched, sort, names), self._progress.W, self._lakes)
        self._lake.write_rejects(material.rejects)
        self._lake.write_late(self._explain_late(sort.to_late))
        counts = self._count(material, sort, moved)
        changes = Changes(
            parts=[*material.parts, *(part._replace(is_excluded=True, marks=()) for part in parts)],
            added=[file.to_dict() for file in self._lake.files],
            replaced=[file.path for file in self._rewriter.replaced],
            facts=counts.to_json() | self._finish_twin(moved.made.event_count),
        )
        is_new = [part for part in parts if not part.is_excluded]
        facts = RebuildFacts(
            batch_id=None,
            has_changes=bool(self._rewriter.replaced or material.parts or is_new),
            merged_count=sort.merged.height,
            waiting_count=sort.waiting_count,
            other_count=sort.other_count,
            excluded_count=counts.excluded_count,
            duplicate_count=moved.made.duplicate_count,
            visits_before=touched.height,
            visits_after=moved.made.visit_count,
            file_count=len(self._rewriter.replaced),
            warnings=tuple(self._warnings),
        )
        return changes, facts

    def _finish_twin(self, event_count: int) -> dict[str, Any]:
        return self._lakes.twin.finish(event_count) if self._lakes.twin else {}

    def _find_excluded(self) -> list[RowOfPart]:
        found = [find_excluded(self._site, path) for path in self._rule.without_files]
        self._warnings += [text for each in found for text in each.warnings]
        return list({part.part_id: part for each in found for part in each.parts}.values())

    def _find_changed(self, names: pl.Series, *, is_new: bool) -> pl.DataFrame:
        """The visits of these dates that have events of excluded parts."""
        asked = [
            (file, path)
            for file, path in self._files
            if file.start_date is None or self._rule.first_date <= file.start_date <= self._rule.last_date
        ]
        changed = find_changed(asked, names)
        open_count = self._opened.count_events(names) if len(names) else 0
        if open_count:
            self._warnings.append(
                f"{open_count:,} events of what is to be taken out are in visits that are open, and were left; "
                "do it again when these have ended"
            )
        elif is_new and not changed.height and not self._has_late(names):
            dates = f"{self._rule.first_date} to {self._rule.last_date}"
            hint = "name the dates on which its visits start; nothing was changed"
            raise UsageError(f"no event of {dates} came from what is to be taken out; {hint}")
        return changed

    def _has_late(self, names: pl.Series) -> bool:
        """Whether late events of these dates are of excluded parts."""
        for file, path in self._files:
            if file.kind == LATE.name:
                late = pl.read_parquet(path, glob=False, hive_partitioning=False)
                is_asked = late["event_time"].dt.date().is_between(self._rule.first_date, self._rule.last_date)
                if (is_asked & is_of_parts(late, names)).any():
                    return True
        return False

    def _judge(self, material: Material, changed: pl.DataFrame) -> tuple[pl.DataFrame, Sorted]:
        """The visits to be cut anew, and the added events by what becomes of them."""
        events = material.events
        is_asked = events["event_time"].dt.date().is_between(self._rule.first_date, self._rule.last_date)
        asked, other = events.filter(is_asked), events.filter(~is_asked)
        stream = Stream(self._opened, self._W, self._site.pipeline.visit)
        touched = find_touched(asked, changed, LakeVisits(self._files), stream)
        merged, waiting = asked.filter(~touched.is_open), asked.filter(touched.is_open)
        new = [frame.filter(~self._is_from(frame, LATE.name)) for frame in (waiting, other)]
        left = changed.height - touched.visits.filter(pl.col("visit_id").is_in(changed["visit_id"].implode())).height
        if left:
            self._warnings.append(
                f"{left:,} of the visits lead into ones that are open, and were left; do it again when these have ended"
            )
        sort = Sorted(merged, pl.concat(new, how="diagonal"), waiting.height, new[1].height)
        return touched.visits, sort

    def _is_from(self, events: pl.DataFrame, kind: str) -> pl.Series:
        """Which of `events` come from files of the table `kind`."""
        places = [file.path for file, _ in self._files if file.kind == kind]
        return events[FROM_FILE].is_in(places).fill_null(value=False)

    def _explain_late(self, events: pl.DataFrame) -> pl.DataFrame:
        late_by = pl.lit(self._W) - pl.col("event_time")
        return events.drop(FROM).with_columns(
            late_reason=pl.lit("new_partition"), late_by=late_by.cast(pl.Duration("us"))
        )

    def _count(self, material: Material, sort: Sorted, moved: Moved) -> BatchFacts:
        """The differences that this makes to the sums over all batches; what was late and is not is taken off."""
        last = self._site.ledger.list_batches(1, kinds=["run"])
        before = BatchFacts.from_json(last[0].facts) if last else BatchFacts()
        carried_count = Carried(self._site.lake, self._progress).event_count
        tally, made, excluded = material.tally, moved.made, moved.excluded
        of_late = int(self._is_from(sort.merged, LATE.name).sum())
        of_rejects = sum(int(self._is_from(frame, REJECTS.name).sum()) for frame in (sort.merged, sort.to_late))
        return BatchFacts(
            read_count=tally.read_count,
            event_count=tally.event_count + of_rejects,
            reject_count=tally.reject_count - of_rejects,
            ignored_count=tally.ignored_count,
            carried_in_count=carried_count,
            closed_event_count=made.event_count - moved.before.event_count,
            late_count=sort.to_late.height - of_late - excluded[LATE.name],
            duplicate_count=made.duplicate_count - moved.returned_count - excluded[DUPLICATES.name],
            carried_out_count=carried_count,
            added_count=sort.merged.height,
            excluded_count=excluded.total(),
            visit_count=made.visit_count - moved.before.visit_count,
            open_visit_count=before.open_visit_count,
            open_until=before.open_until,
            id_reused_count=made.id_reused_count - moved.before.id_reused_count,
            W=self._W,
            reject_reasons=dict(tally.commonest),
            redacted_count=tally.redacted.total(),
            redacted=tally.commonest_redacted,
            warnings=tuple(self._warnings),
        )
