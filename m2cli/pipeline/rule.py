"""What a pipeline is, once its settings are read: its sources, its lake, and the rules of all that it does."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from m2cli.errors import UnknownNameError, UsageError
from m2cli.files.rule import FileRule
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.read import LogRule
from m2cli.privacy.rule import PrivacyRule
from m2cli.privacy.salts import CommandSalts, FolderSalts
from m2cli.settings import format_size
from m2cli.stages.causes import CauseRule
from m2cli.stages.enrich import EnrichRule
from m2cli.stages.redaction import RedactionRule
from m2cli.stages.visitors import VisitorRule
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from m2cli.files.tape import Tape
    from m2cli.kafka import KafkaRule
    from m2cli.privacy.salts import Salts
    from m2cli.settings import RejectLimit

EARLIEST, LATEST = "earliest", "latest"
STARTS = (EARLIEST, LATEST)
LEAST_MEMORY = 256 << 20  # the libraries alone take nearly as much
LONGEST = timedelta(days=36_525)  # as for the limits of a visit
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, kw_only=True)
class AccessLogSource:
    """Access logs that are followed. `paths` are globs or paths, absolute; `format` and `fields` as in `LogRule`.

    Raises `UnknownNameError` for an unknown format, `UsageError` for a source without a path, and for a format that is
    told by the first lines: a batch that is tried again has to read what it read before.
    """

    name: str
    paths: tuple[str, ...]
    format: str = "combined"
    fields: FieldRule = field(default_factory=FieldRule)

    def __post_init__(self) -> None:
        check_paths(self.paths)
        if LogRule(format=self.format, fields=self.fields).is_auto:
            raise UsageError(
                "a pipeline names its format, so that a batch which is tried again reads what it read before; "
                "`m2 formats explain auto --sample LOG` tells which it is"
            )


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


@dataclass(frozen=True, kw_only=True)
class KafkaSource:
    """A topic, each partition of which is a partition of the pipeline: `topic-0`, `topic-1`, ...

    `start` says where a partition begins that the pipeline has read nothing of: `earliest` or `latest`. `mapping` as
    in `FileRule`, whose errors are raised; `UsageError` for what is no topic's name, `UnknownNameError` for `start`.
    """

    name: str
    topic: str
    start: str = EARLIEST
    mapping: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_topic(self.topic)
        if self.start not in STARTS:
            raise UnknownNameError("start", self.start, STARTS)
        FileRule(mapping=self.mapping)


@dataclass(frozen=True, kw_only=True)
class TapeSource:
    """A tape, of which a batch takes what its clock says can be read; no pipeline's file names one, a replay does."""

    name: str
    tape: Tape


FileSource: TypeAlias = AccessLogSource | EventsSource
Source: TypeAlias = FileSource | KafkaSource | TapeSource


@dataclass(frozen=True, kw_only=True)
class TopicsRule:
    """The topics that a pipeline writes to, exactly once, and their pseudonymous twins; any may be left out.

    `group` is the transactional id, and the consumer group that the batch is committed for: one pipeline's alone.
    Raises `UsageError` for what is no topic's name, and where two are one topic.
    """

    group: str
    tagged_events: str | None = None
    ends_of_visit: str | None = None
    pseudonymous_events: str | None = None
    pseudonymous_ends: str | None = None

    def __post_init__(self) -> None:
        for topic in self.names:
            check_topic(topic)
        if twice := [topic for number, topic in enumerate(self.names) if topic in self.names[:number]]:
            raise UsageError(f"`{twice[0]}` is named twice; what it gets besides needs a topic of its own")

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are written to."""
        return tuple(filter(None, self.all_topics))

    @property
    def all_topics(self) -> tuple[str | None, ...]:
        """Events and ends, then the same under pseudonyms; None where there is none."""
        return (self.tagged_events, self.ends_of_visit, self.pseudonymous_events, self.pseudonymous_ends)

    @property
    def has_twins(self) -> bool:
        """Whether anything goes out under pseudonyms."""
        return bool(self.pseudonymous_events or self.pseudonymous_ends)


@dataclass(frozen=True, kw_only=True)
class AnonymizeRule:
    """A pseudonymous lake that each batch writes beside its own; salts of the folder `salts`, or of `salt_command`."""

    lake: Path
    salts: Path = Path("/etc/m2/salts")
    salt_command: str | None = None
    create: bool = False
    """Whether the salt of a year that has begun is made where it is missing; in the folder only."""
    privacy: PrivacyRule = field(default_factory=PrivacyRule)

    @property
    def source(self) -> Salts:
        """Where the salts come from."""
        return CommandSalts(command=self.salt_command) if self.salt_command else FolderSalts(folder=self.salts)


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
    lake_every: timedelta = timedelta(minutes=15)
    kafka: KafkaRule | None = None
    """How Kafka is reached; None where the pipeline has nothing to do with it."""
    schemas: str | None = None
    """A folder of Avro schemas, or the URL of a registry."""
    keys: Path | None = None
    """A folder of keys that encrypted messages are opened with."""
    seal_with: str | None = None
    """The id of the key that messages are encrypted with; None: they are not."""
    topics: TopicsRule | None = None
    anonymize: AnonymizeRule | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.anonymize:
            check_apart(self.anonymize.lake, self.lake)
        check_memory(self.memory)
        check_time(self.max_ahead)
        check_time(self.grace)
        check_every(self.lake_every)
        if self.metrics:
            check_metrics(self.metrics)
        if not self.sources:
            raise UsageError("a pipeline has at least one source")
        for number, source in enumerate(self.sources):
            check_source(source, self.sources[:number], self.lake)
            if self.anonymize:
                check_source(source, self.sources[:number], self.anonymize.lake)
        check_kafka(self.kafka, self.sources, self.topics)
        if self.topics and self.topics.has_twins and self.anonymize is None:
            raise UsageError("pseudonymous topics need salts and what may pass; write them below [anonymize]")
        if self.seal_with and not self.keys:
            raise UsageError(
                f"`seal_with` names the key `{self.seal_with}`, and no folder has it; write `keys` beside it"
            )

    @property
    def topic_sources(self) -> tuple[KafkaSource, ...]:
        """The sources that are topics."""
        return tuple(source for source in self.sources if isinstance(source, KafkaSource))

    @property
    def file_sources(self) -> tuple[FileSource, ...]:
        """The sources that are files."""
        return tuple(source for source in self.sources if isinstance(source, AccessLogSource | EventsSource))


def check_name(name: str) -> None:
    """Raise `UsageError` unless `name` can begin the names of files."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"`{name}` is no pipeline's name; write 1 to 60 letters, digits, `-` and `_`")


def check_apart(anonymous: Path, lake: Path) -> None:
    """Raise `UsageError` where one of two lakes lies in the other: each has its own readers (DESIGN 6.2)."""
    if anonymous.is_relative_to(lake) or lake.is_relative_to(anonymous):
        raise UsageError(f"`{anonymous}` and `{lake}` lie in one another; the pseudonymous lake is a folder of its own")


def check_memory(size: int) -> None:
    """Raise `UsageError` for less than m2 needs with nothing in it."""
    if size < LEAST_MEMORY:
        raise UsageError(f"`{format_size(size)}` of memory is too little; give at least `{format_size(LEAST_MEMORY)}`")


def check_time(duration: timedelta) -> None:
    """Raise `UsageError` for a duration below zero or beyond a hundred years."""
    if not timedelta(0) <= duration <= LONGEST:
        raise UsageError(f"`{duration}` is out of range; it must be zero or more and at most a hundred years")


def check_every(duration: timedelta) -> None:
    """Raise `UsageError` for less than a second or more than a day."""
    if not timedelta(seconds=1) <= duration <= timedelta(days=1):
        raise UsageError(f"`{duration}` is out of range; it must be at least `1s` and at most `24h`")


def check_topic(topic: str) -> None:
    """Raise `UsageError` unless `topic` can be a topic's name."""
    if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise UsageError(f"`{topic}` is no topic's name; write 1 to 249 letters, digits, `.`, `-` and `_`")


def check_kafka(kafka: KafkaRule | None, sources: Sequence[Source], topics: TopicsRule | None) -> None:
    """Raise `UsageError` where topics are named and no servers, or a topic is both read and written."""
    read = {source.topic for source in sources if isinstance(source, KafkaSource)}
    written = topics.names if topics else ()
    if (read or written) and kafka is None:
        named = min(read, default=written[0] if written else "")
        raise UsageError(f"the topic `{named}` is named, and no server; write `bootstrap_servers` below [kafka]")
    if both := read.intersection(written):
        raise UsageError(f"the topic `{min(both)}` would be read and written; name another one")


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
    if isinstance(source, KafkaSource):
        topics = {other.topic for other in others if isinstance(other, KafkaSource)}
        if source.topic in topics:
            raise UsageError(f"the topic `{source.topic}` is read by two sources; name it in one of them")
        return
    if isinstance(source, TapeSource):
        return
    read = {path for other in others if isinstance(other, AccessLogSource | EventsSource) for path in other.paths}
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
