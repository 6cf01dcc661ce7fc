"""What a pipeline is, once its settings are read: its sources, its lake, and the rules of all that it does."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from m2cli.errors import UsageError
from m2cli.files.rule import FileRule
from m2cli.logs.read import LogRule
from m2cli.settings import format_size
from m2cli.stages.causes import CauseRule
from m2cli.stages.enrich import EnrichRule
from m2cli.stages.redaction import RedactionRule
from m2cli.stages.visitors import VisitorRule
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from m2cli.settings import RejectLimit

LEAST_MEMORY = 256 << 20  # the libraries alone take nearly as much
LONGEST = timedelta(days=36_525)  # as for the limits of a visit
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True, kw_only=True)
class AccessLogSource:
    """Access logs that are followed. `paths` are globs or paths, absolute; `format` a row of the table of formats.

    Raises `UnknownNameError` for another format, `UsageError` for a source without a path.
    """

    name: str
    paths: tuple[str, ...]
    format: str = "combined"

    def __post_init__(self) -> None:
        check_paths(self.paths)
        LogRule(format=self.format)


@dataclass(frozen=True, kw_only=True)
class EventsSource:
    """Event files, each taken whole once it is complete. `paths` are globs, files or folders, absolute.

    `name` is the `source` of events whose file says none: one partition for all files. `mapping` and
    `time_zone` as in `FileRule`, whose errors are raised; `UsageError` for a source without a path.
    """

    name: str
    paths: tuple[str, ...]
    mapping: Mapping[str, str] = field(default_factory=dict)
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        check_paths(self.paths)
        FileRule(mapping=self.mapping, time_zone=self.time_zone)


Source: TypeAlias = AccessLogSource | EventsSource


@dataclass(frozen=True, kw_only=True)
class PipelineRule:
    """All that is settled about one pipeline; what each setting means stands in the table of `keys.py`.

    `path` is the TOML file; `memory` is in bytes. All paths are absolute. Raises `UsageError` for a name that
    cannot begin a file's name, too little memory, a `metrics` that node exporter would not read, a time
    below zero, no source, two sources of one name or of one path, and a source that would read the lake.
    """

    path: Path
    name: str
    lake: Path
    sources: tuple[Source, ...]
    memory: int = 2 << 30
    visit: VisitRule = field(default_factory=VisitRule)
    max_ahead: timedelta = timedelta(minutes=10)
    visitor: VisitorRule = field(default_factory=VisitorRule)
    enrichment: EnrichRule = field(default_factory=EnrichRule)
    causes: CauseRule = field(default_factory=CauseRule)
    redaction: RedactionRule = field(default_factory=RedactionRule)
    max_rejects: RejectLimit | None = None
    log: Path | None = None
    json_log: Path | None = None
    metrics: Path | None = None
    grace: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        check_name(self.name)
        check_memory(self.memory)
        check_time(self.max_ahead)
        check_time(self.grace)
        if self.metrics:
            check_metrics(self.metrics)
        if not self.sources:
            raise UsageError("a pipeline has at least one source")
        for number, source in enumerate(self.sources):
            check_source(source, self.sources[:number], self.lake)


def check_name(name: str) -> None:
    """Raise `UsageError` unless `name` can begin the names of files."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"`{name}` is no pipeline's name; write 1 to 60 letters, digits, `-` and `_`")


def check_memory(size: int) -> None:
    """Raise `UsageError` for less than m2 needs with nothing in it."""
    if size < LEAST_MEMORY:
        raise UsageError(f"`{format_size(size)}` of memory is too little; give at least `{format_size(LEAST_MEMORY)}`")


def check_time(duration: timedelta) -> None:
    """Raise `UsageError` for a duration below zero or beyond a hundred years."""
    if not timedelta(0) <= duration <= LONGEST:
        raise UsageError(f"`{duration}` is out of range; it must be zero or more and at most a hundred years")


def check_metrics(path: Path) -> None:
    """Raise `UsageError` for a file that node exporter's textfile collector passes over."""
    if path.suffix != ".prom":
        raise UsageError(f"`{path}` does not end in `.prom`; node exporter reads no other file")


def check_paths(paths: Sequence[str]) -> None:
    """Raise `UsageError` where there are none."""
    if not paths:
        raise UsageError("a source has at least one path; name a file, a folder or a glob")


def check_source(source: Source, others: Sequence[Source], lake: Path) -> None:
    """Raise `UsageError` where `source` is called as one of `others`, reads what that reads, or reads the lake."""
    if source.name in [other.name for other in others]:
        raise UsageError(f"two sources are called `{source.name}`; give one of them another `name`")
    read = {path for other in others for path in other.paths}
    if twice := [path for path in source.paths if path in read]:
        raise UsageError(f"`{twice[0]}` is read by two sources; name it in one of them")
    if inside := [path for path in source.paths if _may_hold(path, lake)]:
        raise UsageError(f"`{inside[0]}` would read the lake `{lake}` itself; keep the lake apart from its sources")


def _may_hold(pattern: str, folder: Path) -> bool:
    """Whether what `pattern` matches may be `folder`, above it or in it."""
    for part, name in zip(Path(pattern).parts, folder.parts, strict=False):
        if name.startswith(".") and not part.startswith("."):
            return False  # no sign of a glob stands for that dot
        if part == "**":
            return True
        if not fnmatchcase(name, part):
            return False
    return True
