"""What a rebuild adds to closed visits: late events, files that were forgotten, rejects that are events after all."""

from __future__ import annotations

import os
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import polars as pl

from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.events import LAKE_EVENT_SCHEMA, REJECT_SCHEMA
from m2cli.lake.layout import LATE, REJECTS
from m2cli.logs.follow import RangeReader
from m2cli.pipeline import AccessLogSource, EventsSource
from m2cli.runs.batch.contents import make_log_rule, read_whole
from m2cli.runs.batch.known import Known, PlanRule
from m2cli.runs.batch.work import list_parts
from m2cli.runs.intake import Tally, holds_events
from m2cli.runs.rebuild.excluded import list_names
from m2cli.runs.rebuild.retry import retry_rejects
from m2cli.runs.rebuild.rewrite import FROM, FROM_FILE, FROM_ROW, is_of_parts, join_rows
from m2cli.stages.redaction import redact, redact_intake
from m2cli.stages.rejects import split_future
from m2cli.stages.visitors import assign_visitors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from m2cli.events import Intake
    from m2cli.lake.lists import LakeFile
    from m2cli.ledger import RowOfPart
    from m2cli.runs.batch.known import Found
    from m2cli.runs.batch.site import Site
    from m2cli.runs.rebuild.rule import RebuildRule

_Source = TypeVar("_Source", AccessLogSource, EventsSource)
_LATE_COLUMNS = ("late_reason", "late_by")


class Material(NamedTuple):
    """What is added: events with `visitor_id`, and where each comes from (`from_file`, `from_row`)."""

    events: pl.DataFrame
    rejects: pl.DataFrame
    """Lines of new files that are no events."""
    parts: tuple[RowOfPart, ...]
    tally: Tally
    """What was read of new files."""
    warnings: tuple[str, ...]


class Gatherer:
    """Gathers the material of one rebuild."""

    def __init__(self, site: Site, rule: RebuildRule, W: datetime, files: Sequence[tuple[LakeFile, Path]]) -> None:
        self._site, self._rule, self._W, self._files = site, rule, W, files
        self._events: list[pl.DataFrame] = []
        self._rejects: list[pl.DataFrame] = []
        self._parts: list[RowOfPart] = []
        self._warnings: list[str] = []
        self._tally = Tally()
        self._known = Known(site.ledger)

    def gather(self, excluded: Sequence[RowOfPart]) -> Material:
        """All that the rule asks for, but nothing of parts that are `excluded`, now or before.

        Raises `UsageError` for a file that holds nothing new, or events at or after W, `UnreadableSourceError` for one
        that cannot be read, `TooManyRejectsError` above the pipeline's limit.
        """
        before = [part for part in self._site.ledger.list_parts() if part.is_excluded]
        names = list_names([*excluded, *before])
        if self._rule.with_late:
            self._events += self._read_late(names)
        self._take_files()
        self._tally.check(self._site.pipeline.max_rejects)
        if self._rule.with_rejects:
            self._events += self._retry(names)
        events = join_rows(self._events, {name: LAKE_EVENT_SCHEMA[name] for name in ("visitor_id", "event_time")})
        new = [pl.lit(None, dtype).alias(name) for name, dtype in FROM.items() if name not in events.columns]
        return Material(
            events=events.with_columns(new),
            rejects=join_rows(self._rejects, REJECT_SCHEMA),
            parts=tuple(self._parts),
            tally=self._tally,
            warnings=tuple(self._warnings),
        )

    def _read_late(self, excluded: pl.Series) -> Iterator[pl.DataFrame]:
        is_asked = pl.col("event_time").dt.date().is_between(self._rule.first_date, self._rule.last_date)
        for file, path in self._of(LATE.name):
            rows = pl.scan_parquet(path, glob=False, hive_partitioning=False, row_index_name=FROM_ROW)
            asked = rows.filter(is_asked).collect()
            kept = asked.filter(~is_of_parts(asked, excluded)).drop(_LATE_COLUMNS, strict=False)
            yield kept.with_columns(pl.lit(file.path).alias(FROM_FILE))

    def _retry(self, excluded: pl.Series) -> Iterator[pl.DataFrame]:
        log_parts = {part.part_id for part in self._site.ledger.list_parts()}
        for file, path in self._of(REJECTS.name):
            rejects = pl.read_parquet(path, glob=False, hive_partitioning=False, row_index_name=FROM_ROW)
            kept = rejects.filter(~is_of_parts(rejects, excluded))
            retried = retry_rejects(kept, self._site.pipeline, log_parts, self._site.scratch)
            events = self._name(retried, count=False)
            yield events.filter(pl.col("event_time") < self._W).with_columns(pl.lit(file.path).alias(FROM_FILE))

    def _of(self, kind: str) -> Iterator[tuple[LakeFile, Path]]:
        return ((file, path) for file, path in self._files if file.kind == kind)

    def _take_files(self) -> None:
        logs: dict[AccessLogSource, list[Path]] = {}
        for path in self._rule.with_files:
            _require_readable(path)
            if holds_events(path):
                self._take_events(path)
            else:
                logs.setdefault(self._choose(AccessLogSource, path), []).append(path)
        for source, paths in logs.items():
            self._take_logs(source, paths)

    def _take_logs(self, like: AccessLogSource, paths: Sequence[Path]) -> None:
        """Take `paths` together, so that a log and its compressed copy are one."""
        source = replace(like, paths=tuple(escape(str(path)) for path in paths))
        found = self._known.follow_logs([source], self._site.now(), PlanRule(is_flush=True))
        ranges = [planned for each in found.inputs for planned in each.ranges]
        self._refuse_known(paths, found, {planned.part_id for planned in ranges})
        reader = RangeReader(ranges, make_log_rule(source, self._site.pipeline.memory))
        self._take(paths, reader.read())
        self._parts += list_parts(found.inputs, reader.results)

    def _take_events(self, path: Path) -> None:
        source = replace(self._choose(EventsSource, path), paths=(escape(str(path)),))
        found = self._known.follow_events(source, self._site.now(), PlanRule(is_flush=True))
        files = [file for each in found.inputs for file in each.files]
        self._refuse_known([path], found, {file.part_id for file in files})
        for file in files:
            self._take([path], read_whole(file, source, self._site.pipeline.memory))
        self._parts += list_parts(found.inputs, [])

    def _refuse_known(self, paths: Sequence[Path], found: Found, new: set[str]) -> None:
        seen = {file.path: file.part_id for file in found.files}
        for path in paths:
            if str(path) in seen and seen[str(path)] not in new:
                if found.notes.warnings:
                    raise UnreadableSourceError(path, found.notes.warnings[0])
                raise UsageError(f"the pipeline has taken all that `{path}` holds, or was told to leave it out")
        self._warnings += found.notes.warnings

    def _take(self, paths: Sequence[Path], pieces: Iterator[Intake]) -> None:
        for piece in (redact_intake(each, self._site.pipeline.redaction) for each in pieces):
            self._tally.add(piece)
            self._rejects.append(piece.rejects)
            events = self._name(piece.events, count=True)
            if (events["event_time"] >= self._W).any():
                named = ", ".join(f"`{path}`" for path in paths)
                hint = "add it to a source of the pipeline, let `m2 run` take it, and merge with `--with-late`"
                raise UsageError(f"{named} goes on beyond {self._W:%Y-%m-%d %H:%M:%S}, where visits are open; {hint}")
            self._events.append(events)

    def _name(self, events: pl.DataFrame, *, count: bool) -> pl.DataFrame:
        pipeline = self._site.pipeline
        plausible = split_future(redact(events, pipeline.redaction), pipeline.max_ahead)
        named = assign_visitors(plausible.events, pipeline.visitor)
        if count:
            for rejects in (plausible.rejects, named.rejects):
                self._tally.reject(rejects)
                self._rejects.append(rejects)
        return named.events

    def _choose(self, kind: type[_Source], path: Path) -> _Source:
        """The source whose settings say how to read `path`: one that would read it, else the first of its type."""
        sources = [each for each in self._site.pipeline.sources if isinstance(each, kind)]
        if not sources:
            raise UsageError(f"the pipeline has no source of the type that `{path}` is, to say how it is read")
        fitting = (each for each in sources if any(fnmatchcase(str(path), pattern) for pattern in each.paths))
        return next(fitting, sources[0])


def _require_readable(path: Path) -> None:
    if not path.exists():
        raise UnreadableSourceError(path, "no such file")
    if path.is_dir():
        raise UnreadableSourceError(path, "it is a folder", "name the files in it")
    if not os.access(path, os.R_OK):
        raise UnreadableSourceError(path, "no right to read it")
