"""What comes in: access logs and event files, told apart, read piece by piece, and redacted before all else."""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from m2cli.errors import NotConservedError, TooManyRejectsError, UnreadableSourceError, UsageError
from m2cli.files.find import PACKED_SUFFIXES, PARQUET_MAGIC, SUFFIXES, examine_pipe, list_event_files, printable
from m2cli.files.paths import expand_glob, list_files
from m2cli.files.read import FileRule, find_files, read_event_files
from m2cli.logs.formats.find import AUTO
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.parsers.detect import HEAD_SIZE, is_json_log
from m2cli.logs.read import AccessLog, LogRule, open_access_log
from m2cli.logs.streams import CountingReader
from m2cli.runs.progress import Step, Tell, tell_nobody
from m2cli.stages.redaction import RedactionRule, redact_intake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from m2cli.events import Intake
    from m2cli.settings import RejectLimit

STDIN = "-"
STDIN_ALONE = "`-` reads stdin, alone; name files, or pipe all of them in"
HEAD_BYTES = len(PARQUET_MAGIC)
SPOOL_BYTES = 1 << 20
# What a block of text takes in memory, parsed.
_MEMORY_OF_TEXT = 8


@dataclass(frozen=True, kw_only=True)
class IntakeRule:
    """How input is read."""

    log_format: str | None = None
    """The format of access logs, which then all inputs are; None: each input is told by its content."""
    fields: FieldRule = field(default_factory=FieldRule)
    """For access logs: what is made of fields beyond the event's own columns."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """For event files: the event's column, and the input's that holds it."""
    time_zone: str = "UTC"
    """For event files: the zone of times that name none."""
    redaction: RedactionRule = field(default_factory=RedactionRule)
    block_bytes: int | None = None
    """How much text is taken at a time, at most, and of Parquet what takes as much memory; None: what is fastest."""

    def bound(self, default: int, times: int = 1) -> int:
        """How much a reader takes at a time that takes `default` by itself; `times` as much as of text."""
        return default if self.block_bytes is None else min(default, times * self.block_bytes)


@dataclass
class Tally:
    """What was read and what became of it; `add` refuses a piece that does not add up (DESIGN 5.3)."""

    read_count: int = 0
    event_count: int = 0
    ignored_count: int = 0
    """Blank lines and directives."""
    reasons: Counter[str] = field(default_factory=Counter)
    """How many rejects for each reason."""
    formats: Counter[str] = field(default_factory=Counter)
    """How many lines of access logs each format had."""
    detected: list[str] = field(default_factory=list)
    """What the first lines said of the format, log by log; the same of several logs once."""
    redacted: Counter[str] = field(default_factory=Counter)
    """How many secrets were replaced, by what they are."""

    @property
    def shares(self) -> list[tuple[str, int]]:
        """Each format that had any line with how many, the commonest first."""
        return [(name, count) for name, count in self.formats.most_common() if count]

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
        self.formats.update(_sum_counts(piece.format_counts))
        self.redacted.update(_sum_counts(piece.redacted_counts))
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

    @property
    def commonest_redacted(self) -> dict[str, int]:
        """How many secrets were replaced, by what they are, the commonest first."""
        return dict(sorted(self.redacted.items(), key=lambda item: (-item[1], item[0])))

    def check(self, limit: RejectLimit | None) -> None:
        """Raise `TooManyRejectsError` if there are more rejects than `limit` allows."""
        if limit and limit.is_exceeded(self.reject_count, self.read_count):
            raise TooManyRejectsError(self.reject_count, self.read_count, str(limit), self.commonest)


def _sum_counts(counts: Sequence[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name] += count
    return total


class Reading(NamedTuple):
    """Input that is open: its pieces, and what is known of it before it is read."""

    pieces: Iterator[Intake]
    passed_over: tuple[str, ...]
    """Logs that hold nothing else than another that is read, and event files that were named before."""
    is_all_logs: bool
    """Whether every event will be a line of an access log."""
    paths: tuple[Path, ...]
    """Where the input lies, in full, but for stdin."""
    detected: tuple[str, ...] = ()
    """What the first lines of logs said of their format."""


class _Parted(NamedTuple):
    """The inputs apart: access logs and event files by name, and stdin where it is one of them."""

    logs: list[str]
    files: list[str]
    stdin: CountingReader | None
    is_stdin_events: bool


def open_input(inputs: Sequence[str], rule: IntakeRule, *, now: datetime, tell: Tell = tell_nobody) -> Reading:
    """The events and rejects of all `inputs`, piece by piece, with secrets redacted (DESIGN 6.6).

    An input is a file, a folder of event files or of access logs, a glob, or - for stdin. Raises at once
    `UnreadableSourceError` for what is not there or may not be read, `UsageError` for a rule that does not fit.
    """
    parted = _part_inputs(inputs, is_all_logs=rule.log_format is not None, is_mapped=bool(rule.mapping))
    has_files = bool(parted.files) or parted.is_stdin_events
    if rule.mapping and not has_files:
        raise UsageError("`--map` is for event files, and all inputs are access logs")
    pieces: list[Iterator[Intake]] = []
    passed_over: tuple[str, ...] = ()
    detected: tuple[str, ...] = ()
    paths = [Path(log).resolve() for log in parted.logs]
    file_rule = FileRule(
        mapping=rule.mapping,
        time_zone=rule.time_zone,
        block_bytes=rule.bound(FileRule.block_bytes),
        parquet_memory=rule.bound(FileRule.parquet_memory, _MEMORY_OF_TEXT),
    )
    if parted.logs or (parted.stdin and not parted.is_stdin_events):
        log = _open_logs(parted, rule, now)
        passed_over, detected = log.passed_over, log.describe_detections()
        pieces.append(log.read(lambda done: tell(Step("reading", done, log.total_size or None, "bytes"))))
    if parted.files:
        found = find_files(parted.files)
        named = Counter(printable(Path(name)) for name in parted.files)
        passed_over += tuple(sorted((named - Counter(file.name for file in found)).elements()))
        paths += [file.path for file in found]
        pieces.append(_tell_events(read_event_files(found, file_rule, arrival_time=now), tell))
    if parted.stdin and parted.is_stdin_events:
        pieces.append(_tell_events(_read_piped_events(parted.stdin, file_rule, now), tell))
    redacted = (redact_intake(piece, rule.redaction) for piece in chain.from_iterable(pieces))
    return Reading(redacted, passed_over, not has_files, tuple(paths), detected)


def _tell_events(pieces: Iterator[Intake], tell: Tell) -> Iterator[Intake]:
    done = 0
    for piece in pieces:
        yield piece
        done += piece.read_count
        tell(Step("reading", done, None, "events"))


def _open_logs(parted: _Parted, rule: IntakeRule, now: datetime) -> AccessLog:
    log_rule = LogRule(format=rule.log_format or AUTO, fields=rule.fields, block_size=rule.bound(LogRule.block_size))
    if parted.stdin and not parted.is_stdin_events:
        if parted.logs:
            raise UsageError(STDIN_ALONE)
        return open_access_log(cast("BinaryIO", parted.stdin), log_rule, arrival_time=now)
    return open_access_log([Path(log) for log in parted.logs], log_rule, arrival_time=now)


def _read_piped_events(stdin: CountingReader, rule: FileRule, now: datetime) -> Iterator[Intake]:
    """The events on stdin, by way of a file, for Parquet has its index at its end; it is gone when they are read."""
    with tempfile.NamedTemporaryFile(prefix="m2-") as spool:
        with _reading_stdin():
            shutil.copyfileobj(cast("BinaryIO", stdin), spool, SPOOL_BYTES)
            spool.flush()
        yield from read_event_files([examine_pipe(Path(spool.name), STDIN, now)], rule, arrival_time=now)


def _part_inputs(inputs: Sequence[str], *, is_all_logs: bool, is_mapped: bool) -> _Parted:
    """Access logs and event files apart; a glob that no shell has expanded is expanded here, and a folder is."""
    logs: list[str] = []
    files: list[str] = []
    for name in inputs:
        for path in _expand(name) if name != STDIN else ():
            of_folder = _list_folder(Path(path), is_all_logs=is_all_logs) if Path(path).is_dir() else None
            is_file = (
                of_folder.is_events if of_folder else not is_all_logs and holds_events(Path(path), is_mapped=is_mapped)
            )
            (files if is_file else logs).extend(of_folder.files if of_folder else [path])
    if inputs.count(STDIN) > 1:
        raise UsageError(STDIN_ALONE)
    stdin = _open_stdin() if STDIN in inputs else None
    with _reading_stdin():
        is_stdin_events = stdin is not None and not is_all_logs and _is_events(stdin.peek(HEAD_BYTES))
        if is_stdin_events and stdin and not is_mapped and stdin.peek(1) == b"{":
            is_stdin_events = not is_json_log(stdin.peek(HEAD_SIZE))
    return _Parted(logs, files, stdin, is_stdin_events)


class _Folder(NamedTuple):
    files: list[str]
    is_events: bool


def _list_folder(folder: Path, *, is_all_logs: bool) -> _Folder:
    """The event files below `folder`; where there are none, the files in it, which are access logs.

    The folder itself where it has neither: whoever opens it says so.
    """
    try:
        events = [] if is_all_logs else list_event_files(folder)
        logs = [] if events else list_files(folder)
    except PermissionError as error:
        raise UnreadableSourceError(printable(folder), "no right to read it") from error
    is_events = bool(events) or not (logs or is_all_logs)
    return _Folder([str(path) for path in events or logs or [folder]], is_events)


def _open_stdin() -> CountingReader:
    if sys.stdin is None or sys.stdin.closed:
        raise UnreadableSourceError(STDIN, "stdin is closed")
    return CountingReader(sys.stdin.buffer)


@contextmanager
def _reading_stdin() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableSourceError(STDIN, error.strerror or str(error)) from error


def holds_events(path: Path, *, is_mapped: bool = False) -> bool:
    """Whether `path` is a file of events, by its name, else by its first bytes; a log if neither says.

    JSON lines that are those of a server's access log are a log, unless they are mapped to an event's columns.
    """
    if not is_mapped and path.is_file() and os.access(path, os.R_OK):
        with path.open("rb") as file:
            if file.read(1) == b"{" and is_json_log(b"{" + file.read(HEAD_SIZE)):
                return False
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED_SUFFIXES]
    if suffixes and suffixes[-1] in SUFFIXES:
        return True
    if not path.is_file() or not os.access(path, os.R_OK):
        return False  # whoever opens it says why it cannot be read
    with path.open("rb") as file:
        return _is_events(file.read(HEAD_BYTES))


def _is_events(head: bytes) -> bool:
    """Whether a file or a pipe that begins so is Parquet or NDJSON."""
    return head == PARQUET_MAGIC or head.startswith(b"{")


def _expand(name: str) -> list[str]:
    if not name:
        raise UsageError("an input is empty; name a file, a folder, a glob, or - for stdin")
    if Path(name).exists() or not glob.has_magic(name):
        return [name]
    found = expand_glob(name)
    if not found:
        raise UnreadableSourceError(name, "no file matches")
    return found
