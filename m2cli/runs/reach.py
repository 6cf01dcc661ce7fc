"""Whether a pipeline can do its work: what it reads can be read and is what it is said to be, and it may write."""

from __future__ import annotations

import os
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, ParamSpec

import polars as pl

from m2cli.errors import ExitCode, M2Error, UnwritableSinkError
from m2cli.files.find import examine_file
from m2cli.files.listing import list_followed
from m2cli.files.read import FileRule, check_columns, read_events
from m2cli.kafka import OffsetRule, follow_topic
from m2cli.lake.layout import FILES, MANIFESTS, OWN_FOLDER, TABLES, UNFINISHED_SUFFIX
from m2cli.lake.links import explain_unlinkable
from m2cli.lake.write import explain_unwritable
from m2cli.logs.listing import list_logs
from m2cli.logs.look import OpenLog
from m2cli.logs.read import LogRule, open_access_log
from m2cli.logs.streams import CutError
from m2cli.pipeline import AccessLogSource, KafkaSource, TapeSource
from m2cli.privacy.errors import MissingSaltError, PrivacyError
from m2cli.runs.anonymize.site import refuse_other
from m2cli.runs.batch.broker import find_positions, name_partitions
from m2cli.runs.batch.carry import CARRIED_FOLDER
from m2cli.runs.batch.topics import find_sent
from m2cli.runs.intake import Tally
from m2cli.stages.countries import add_country

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from m2cli.ledger import LedgerReader
    from m2cli.pipeline import EventsSource, FileSource, PipelineRule, Source
    from m2cli.runs.batch.broker import Broker

P = ParamSpec("P")

# Of one file of each source so many lines are read, if they fit into so many bytes.
_LINES = 1000
_MOST_BYTES = 4 << 20
_FEW = 0.5  # a log of which less than this are events has another format, or two
_MOST_NAMED = 10


class Finding(NamedTuple):
    """One thing that is not as it should be: what, and what to do about it."""

    text: str
    code: ExitCode
    """OK for a warning: what may be as it should be."""


_LAST_MONTH = 12  # a month is time enough to make the next year's salt


def check_places(pipeline: PipelineRule) -> Iterator[Finding]:
    """What hinders `pipeline` from writing where it is to write; nothing is left there."""
    yield from _refused(_try_lake, pipeline.lake)
    for path in filter(None, (pipeline.log, pipeline.json_log)):
        yield from _refused(_try_append, path)
    if pipeline.metrics:
        yield from _refused(_try_write, _find_folder(pipeline.metrics.parent))


def count_places(pipeline: PipelineRule) -> int:
    """How many places `check_places` looks at."""
    return 1 + sum(place is not None for place in (pipeline.log, pipeline.json_log, pipeline.metrics))


def check_source(source: Source, now: datetime, broker: Broker, ledger: LedgerReader | None) -> Iterator[Finding]:
    """What hinders `source` from being read on, or being read as what it is said to be; of one file the beginning.

    `ledger`: how far it has been read, if it has.
    """
    if isinstance(source, KafkaSource):
        return _check_topic(source, broker, ledger)
    if isinstance(source, TapeSource):
        return iter(())
    return _check_files(source, now)


def check_outlets(pipeline: PipelineRule, broker: Broker, ledger: LedgerReader | None) -> Iterator[Finding]:
    """What hinders the topics of `pipeline` from being written on; nothing is written, and nobody shut out."""
    if pipeline.topics is None:
        return
    missing = [finding for topic in pipeline.topics.names for finding in _refused(broker.describe, topic)]
    yield from missing
    if ledger is not None and not missing:
        yield from _refused(find_sent, broker, pipeline.topics, ledger)


def _check_topic(source: KafkaSource, broker: Broker, ledger: LedgerReader | None) -> Iterator[Finding]:
    tally = Tally()
    try:
        facts = broker.describe(source.topic)
        if ledger is not None:
            known = find_positions(ledger, name_partitions(facts))
            follow_topic(broker.wait_for(facts, known), known, OffsetRule())
        planned = follow_topic(facts, {}, OffsetRule(most_count=_LINES)).planned
        for piece in broker.read(planned, source):
            tally.add(piece)
    except M2Error as error:
        yield Finding(str(error), error.exit_code)
        return
    yield from _judge(tally, f"messages of the topic `{source.topic}`", "are the `schemas` and the `map` those")


def _check_files(source: FileSource, now: datetime) -> Iterator[Finding]:
    is_log = isinstance(source, AccessLogSource)
    listing = list_logs(source.paths) if is_log else list_followed(source.paths)
    for warning in listing.warnings:
        yield Finding(warning, ExitCode.UNREACHABLE)
    paths = [file.path for file in listing.files]
    unreadable = [path for path in paths if not os.access(path, os.R_OK)]
    for path in unreadable[:_MOST_NAMED]:
        yield Finding(f"no right to read `{path}`; grant it to who runs the pipeline", ExitCode.UNREACHABLE)
    if len(unreadable) > _MOST_NAMED:
        yield Finding(f"nor {len(unreadable) - _MOST_NAMED:,} more of `{source.name}`", ExitCode.UNREACHABLE)
    filled = [file for file in listing.files if file.status.st_size and file.path not in unreadable]
    if not paths:
        named = ", ".join(f"`{path}`" for path in source.paths)
        yield Finding(f"no file matches {named}; it is waited for, if it is the path that is meant", ExitCode.OK)
    if filled:
        newest = max(filled, key=lambda file: file.status.st_mtime_ns).path
        yield from _check_beginning(newest, source, now)


def check_database(pipeline: PipelineRule) -> Iterator[Finding]:
    """What hinders countries from being found."""
    yield from _refused(add_country, pl.DataFrame({"ip": ["192.0.2.1"]}), pipeline.enrichment.country)


def check_salts(pipeline: PipelineRule, now: datetime) -> Iterator[Finding]:
    """What hinders visits from being pseudonymized; from December on next year's salt is missed too."""
    rule = pipeline.anonymize
    if rule is None:
        return
    yield from _refused(refuse_other, rule.lake)
    for year in [now.year, now.year + 1] if now.month == _LAST_MONTH else [now.year]:
        try:
            rule.source.find(year)
        except MissingSaltError as error:
            if not rule.create:
                yield Finding(str(error), error.exit_code if year == now.year else ExitCode.OK)
        except PrivacyError as error:
            yield Finding(str(error), error.exit_code)


def _refused(work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Iterator[Finding]:
    try:
        work(*args, **kwargs)
    except M2Error as error:
        yield Finding(str(error), error.exit_code)


def _check_beginning(path: str, source: FileSource, now: datetime) -> Iterator[Finding]:
    tally = Tally()
    try:
        if isinstance(source, AccessLogSource):
            _read_lines(path, source, now, tally)
        else:
            _read_rows(path, source, now, tally)
    except M2Error as error:
        yield Finding(str(error), error.exit_code)
        return
    setting = "format" if isinstance(source, AccessLogSource) else "map"
    yield from _judge(tally, f"lines of `{path}`", f"is it the `{setting}`")


def _judge(tally: Tally, what: str, question: str) -> Iterator[Finding]:
    """Whether enough of what was read are events."""
    count = tally.read_count - tally.ignored_count
    if not count or tally.event_count >= _FEW * count:
        return
    reason, _ = tally.commonest[0]
    of_all = "none" if not tally.event_count else f"only {tally.event_count:,}"
    yield Finding(
        f"{of_all} of the first {count:,} {what} are events (mostly: {reason}); {question} that the pipeline says?",
        ExitCode.OK if tally.event_count else ExitCode.USAGE,
    )


def _read_lines(path: str, source: AccessLogSource, now: datetime, tally: Tally) -> None:
    with OpenLog(path) as log:
        text = _take_lines(log.read_text())
    if text:
        for piece in open_access_log(
            BytesIO(text), LogRule(format=source.format, fields=source.fields), arrival_time=now
        ).read():
            tally.add(piece)


def _take_lines(pieces: Iterable[bytes]) -> bytes:
    text = b""
    try:
        for piece in pieces:
            text += piece
            if text.count(b"\n") > _LINES or len(text) > _MOST_BYTES:
                break
    except CutError:
        pass  # a log that is being compressed; what there is of it serves as well
    return b"".join(text.splitlines(keepends=True)[:_LINES])


def _read_rows(path: str, source: EventsSource, now: datetime, tally: Tally) -> None:
    rule = FileRule(
        mapping=source.mapping, time_zone=source.time_zone, block_bytes=_MOST_BYTES, parquet_block_bytes=_MOST_BYTES
    )
    file = examine_file(Path(path))
    check_columns(file, rule, 'write `map = {{ event_time = "{}" }}`')
    for piece in islice(read_events(file, rule, arrival_time=now), 1):
        tally.add(piece)


def _try_lake(lake: Path) -> None:
    """Write and link where the lake is, or will be."""
    if not lake.exists():
        folder = _find_folder(lake)
        _try_write(folder, [folder])
        return
    for place in (OWN_FOLDER, MANIFESTS, CARRIED_FOLDER):
        if (lake / place).is_dir():
            _try_write(lake / place)
    tables = [lake / table.name for table in TABLES if (lake / table.name).is_dir()]
    _try_write(lake / FILES if (lake / FILES).is_dir() else lake, tables or [lake])


def _find_folder(folder: Path) -> Path:
    """`folder`, or the nearest above it that is there; the others will be made."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _try_append(path: Path) -> None:
    if path.exists():
        with explain_unwritable(path), path.open("ab"):
            return
    _try_write(_find_folder(path.parent))


def _try_write(folder: Path, links: Sequence[Path] = ()) -> None:
    """Make a file in `folder` and hard links to it in `links`, and take them away again."""
    if not folder.is_dir():
        raise UnwritableSinkError(folder, "it is a file, not a folder")
    name = f"check-{os.getpid()}"
    probe = folder / f"{name}{UNFINISHED_SUFFIX}"
    places = [link / f"{name}-link{UNFINISHED_SUFFIX}" for link in links]
    with explain_unlinkable(folder):
        try:
            probe.touch()
            for place in places:
                place.hardlink_to(probe)
        finally:
            for path in (*places, probe):
                path.unlink(missing_ok=True)
