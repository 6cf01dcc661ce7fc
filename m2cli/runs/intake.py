"""What comes in: access logs and event files, told apart, read piece by piece, and redacted before all else."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import NotConservedError, TooManyRejectsError, UnreadableSourceError, UsageError
from m2cli.files.find import PACKED_SUFFIXES, PARQUET_MAGIC, SUFFIXES
from m2cli.files.read import FileRule, find_files, read_event_files
from m2cli.logs.read import AccessLog, LogRule, open_access_log
from m2cli.runs.progress import Step, Tell, tell_nobody
from m2cli.stages.redaction import RedactionRule, redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from m2cli.events import Intake
    from m2cli.settings import RejectLimit

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class IntakeRule:
    """How input is read."""

    log_format: str | None = None
    """The format of access logs, which then all inputs are; None: combined, event files told by their content."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """For event files: the event's column, and the input's that holds it."""
    time_zone: str = "UTC"
    """For event files: the zone of times that name none."""
    redaction: RedactionRule = field(default_factory=RedactionRule)


@dataclass
class Tally:
    """What was read and what became of it; `add` refuses a piece that does not add up (DESIGN 5.3)."""

    read_count: int = 0
    event_count: int = 0
    ignored_count: int = 0
    """Blank lines and directives."""
    reasons: Counter[str] = field(default_factory=Counter)
    """How many rejects for each reason."""

    @property
    def reject_count(self) -> int:
        """All rejects."""
        return self.reasons.total()

    def add(self, piece: Intake) -> None:
        """Count `piece`. Raises `NotConservedError` unless read = events + rejects + ignored."""
        kept = piece.events.height + piece.rejects.height + piece.ignored_count
        if kept != piece.read_count:
            raise NotConservedError(f"{piece.read_count:,} read are not the {kept:,} events, rejects and ignored")
        self.read_count += piece.read_count
        self.event_count += piece.events.height
        self.ignored_count += piece.ignored_count
        self._count_reasons(piece.rejects)

    def reject(self, rejects: pl.DataFrame) -> None:
        """Count events that have turned out to be rejects after all."""
        self.event_count -= rejects.height
        self._count_reasons(rejects)

    def _count_reasons(self, rejects: pl.DataFrame) -> None:
        self.reasons.update(dict(rejects["reason"].value_counts().iter_rows()))

    @property
    def commonest(self) -> list[tuple[str, int]]:
        """Each reason with its number of rejects, the commonest first."""
        return sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))

    def check(self, limit: RejectLimit | None) -> None:
        """Raise `TooManyRejectsError` if there are more rejects than `limit` allows."""
        if limit and limit.is_exceeded(self.reject_count, self.read_count):
            raise TooManyRejectsError(self.reject_count, self.read_count, str(limit), self.commonest)


class Reading(NamedTuple):
    """Input that is open: its pieces, and what is known of it before it is read."""

    pieces: Iterator[Intake]
    passed_over: tuple[str, ...]
    """Logs that hold nothing else than another that is read."""
    is_all_logs: bool
    """Whether every event will be a line of an access log."""


def open_input(inputs: Sequence[str], rule: IntakeRule, *, now: datetime, tell: Tell = tell_nobody) -> Reading:
    """The events and rejects of all `inputs`, piece by piece, with secrets redacted (DESIGN 6.6).

    An input is a file, a folder of event files, a glob, or - for an access log on stdin. Raises at once
    `UnreadableSourceError` for what is not there or may not be read, `UsageError` for a rule that does not fit.
    """
    logs, files = _part_inputs(inputs, is_all_logs=rule.log_format is not None)
    if rule.mapping and not files:
        raise UsageError("`--map` is for event files, and all inputs are access logs")
    pieces: list[Iterator[Intake]] = []
    passed_over: tuple[str, ...] = ()
    if logs:
        log = _open_logs(logs, rule, now)
        passed_over = log.passed_over
        pieces.append(log.read(lambda done: tell(Step("reading", done, log.total_size or None, "bytes"))))
    if files:
        file_rule = FileRule(mapping=rule.mapping, time_zone=rule.time_zone)
        read = read_event_files(find_files(files), file_rule, arrival_time=now)
        pieces.append(_tell_events(read, tell))
    return Reading(_redact(chain.from_iterable(pieces), rule.redaction), passed_over, not files)


def _redact(pieces: Iterator[Intake], rule: RedactionRule) -> Iterator[Intake]:
    for piece in pieces:
        yield piece._replace(events=redact(piece.events, rule), rejects=redact(piece.rejects, rule))


def _tell_events(pieces: Iterator[Intake], tell: Tell) -> Iterator[Intake]:
    done = 0
    for piece in pieces:
        yield piece
        done += piece.read_count
        tell(Step("reading", done, None, "events"))


def _open_logs(logs: Sequence[str], rule: IntakeRule, now: datetime) -> AccessLog:
    log_rule = LogRule(format=rule.log_format or "combined")
    if list(logs) == [STDIN]:
        return open_access_log(sys.stdin.buffer, log_rule, arrival_time=now)
    if STDIN in logs:
        raise UsageError("`-` reads stdin, alone; name files, or pipe all of them in")
    return open_access_log([Path(log) for log in logs], log_rule, arrival_time=now)


def _part_inputs(inputs: Sequence[str], *, is_all_logs: bool) -> tuple[list[str], list[str]]:
    """Access logs and event files apart; a glob that no shell has expanded is expanded here."""
    logs: list[str] = []
    files: list[str] = []
    for name in inputs:
        for path in _expand(name):
            is_file = path != STDIN and not is_all_logs and _holds_events(Path(path))
            (files if is_file else logs).append(path)
    return logs, files


def _holds_events(path: Path) -> bool:
    """Whether `path` is a folder or a file of events, by its name, else by its first bytes; a log if neither says."""
    if path.is_dir():
        return True
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED_SUFFIXES]
    if suffixes and suffixes[-1] in SUFFIXES:
        return True
    if not path.is_file() or not os.access(path, os.R_OK):
        return False  # whoever opens it says why it cannot be read
    with path.open("rb") as file:
        head = file.read(len(PARQUET_MAGIC))
    return head == PARQUET_MAGIC or head.startswith(b"{")


def _expand(name: str) -> list[str]:
    if name == STDIN or Path(name).exists() or not glob.has_magic(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  # patterns may be absolute, which Path.glob refuses
    if not found:
        raise UnreadableSourceError(name, "no file matches")
    return found
