"""Reads access logs, files or a pipe, a block at a time: the door of this room."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from m2cli.errors import UsageError
from m2cli.logs.blocks import cut_blocks
from m2cli.logs.bundles import Portion, bundle_portions, count_lines, parse_bundle
from m2cli.logs.check import check_format
from m2cli.logs.formats.find import AUTO, find_format
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.inputs import FileInput, PipeInput, open_input
from m2cli.logs.parse import Origin, count_rejects_from
from m2cli.logs.parsers.delimited import follow_header
from m2cli.logs.parsers.detect import FALLBACK, HEAD_SIZE, Detection, detect_format
from m2cli.logs.parts import Likeness, name_part, settle_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from m2cli.events import Intake
    from m2cli.logs.formats.model import LogFormat

_BLOCKS_AT_A_TIME = 2


@dataclass(frozen=True, kw_only=True)
class LogRule:
    """How access logs are read.

    `format` is one of the table of formats, its name, a layout of Apache's or nginx', several of these, one a line, or
    `auto`: the format of each log by its first lines. `fields` is what is made of fields beyond the event's columns,
    `block_size` how many bytes of text are taken at a time; a line of more than `max_line_size` bytes is a reject.

    Raises `UnknownNameError` for an unknown format, `LayoutError` for a layout that is none, `UsageError` for a format
    without a time, for fields that the format does not have and for a size below 1.
    """

    format: LogFormat | str = "combined"
    fields: FieldRule = field(default_factory=FieldRule)
    block_size: int = 16 << 20  # half the system time of 32 MiB, and the work for each block does not show yet
    max_line_size: int = 16 << 20

    def __post_init__(self) -> None:
        for name in ("block_size", "max_line_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` is {getattr(self, name)}; it has to be at least 1 byte")
        if not self.is_auto:
            check_format(self.log_format)

    @property
    def is_auto(self) -> bool:
        """Whether the format is that of the first lines."""
        return self.format == AUTO

    @cached_property
    def log_format(self) -> LogFormat:
        """The format itself; where it is told by the first lines, the one of a log without any."""
        if not isinstance(self.format, str):
            return self.dress(self.format)
        return self.dress(find_format(FALLBACK if self.is_auto else self.format))

    def dress(self, log_format: LogFormat) -> LogFormat:
        """`log_format`, read as `fields` says."""
        return log_format if self.fields == FieldRule() else log_format.with_options(self.fields)


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """One part to be read: the file or pipe that it is in, and what its events share."""

    file: FileInput | PipeInput
    origin: Origin
    log_format: LogFormat
    detection: Detection | None = None


@dataclass(frozen=True, kw_only=True)
class AccessLog:
    """Access logs that are open: each part once, in the order in which the parts were begun.

    `passed_over` names the files that hold nothing else than another that is read: given twice, plain and
    compressed, or an older, shorter copy. `total_size` is how many bytes on disk there are to read, 0 for a
    pipe.
    """

    parts: tuple[LogPart, ...]
    passed_over: tuple[str, ...]
    total_size: int
    rule: LogRule

    def describe_detections(self) -> tuple[str, ...]:
        """What the first lines said of the format, for a person; of which logs, if it is not the same of all."""
        said: dict[str, list[str]] = {}
        for part in self.parts:
            if part.detection and part.detection.line_count:
                said.setdefault(part.detection.describe(), []).append(part.file.name)
        if len(said) <= 1:
            return tuple(said)
        return tuple(f"{text}, in {_name_files(names)}" for text, names in said.items())

    def read(self, tell: Callable[[int], None] | None = None) -> Iterator[Intake]:
        """The events and rejects of all parts, a block or many small parts at a time; columns as of `parse_block`.

        `tell` is called after each of them with the number of bytes on disk that have been read so far. Raises
        `UnreadableSourceError` where a file cannot be read on.
        """
        with closing(self._cut_parts()) as portions:
            for read in read_portions(portions, self.rule):
                yield read.intake
                if tell:
                    tell(read.done)

    def _cut_parts(self) -> Generator[Portion]:
        done = 0
        for part in self.parts:
            lines_before: int | None = 0
            log_format = part.log_format
            with part.file.open_text(self.rule.block_size) as text:
                for block in cut_blocks(text.pieces, self.rule.block_size, self.rule.max_line_size):
                    yield Portion(block, part.origin, done + text.reader.read_size, lines_before, log_format)
                    lines_before = None
                    log_format = follow_header(log_format, block.data)
                done += text.reader.read_size


def _name_files(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


class ReadPortions(NamedTuple):
    """What portions became; of each, the lines before it as it said, and how many lines it has; how much is done."""

    intake: Intake
    line_counts: list[tuple[int | None, int]]
    done: int


def read_portions(portions: Iterable[Portion], rule: LogRule) -> Iterator[ReadPortions]:
    """The events and rejects of `portions`, in order, two pieces at a time; columns as of `parse_block`."""

    def parse(bundle: Sequence[Portion]) -> ReadPortions:
        intake = parse_bundle(bundle, rule.log_format, max_line_size=rule.max_line_size)
        befores = [portion.lines_before for portion in bundle]
        line_counts = list(zip(befores, count_lines(bundle, intake), strict=True))
        return ReadPortions(intake, line_counts, bundle[-1].done)

    line_count = 0
    for read in _map_ahead(parse, bundle_portions(portions, rule.max_line_size)):
        lines_before, lines = read.line_counts[0]
        yield read if lines_before is not None else read._replace(intake=count_rejects_from(read.intake, line_count))
        line_count = (line_count if lines_before is None else lines_before) + lines


def _map_ahead(
    work: Callable[[list[Portion]], ReadPortions], bundles: Iterable[list[Portion]]
) -> Iterator[ReadPortions]:
    """What `work` makes of each of `bundles`, in order, begun before it is asked for.

    A column function keeps one core busy: two blocks at a time take two, and the next can be decompressed meanwhile.
    """
    with ThreadPoolExecutor(_BLOCKS_AT_A_TIME) as pool:
        waiting: deque[Future[ReadPortions]] = deque()
        try:
            for bundle in bundles:
                waiting.append(pool.submit(work, bundle))
                if len(waiting) > _BLOCKS_AT_A_TIME:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def open_access_log(inputs: Sequence[Path] | BinaryIO, rule: LogRule, *, arrival_time: datetime) -> AccessLog:
    """The access logs in `inputs`, files in any order or one stream, looked at and put in order.

    `arrival_time` is the time of the plan; events get it, or the time at which their file was last changed if
    that is earlier. Raises `UnreadableSourceError` for a file that is not there, is a folder or may not be
    read.
    """
    files = _open_inputs(inputs)
    names = [name_part(file.find_first_line() or b"") for file in files]
    settled = settle_parts(names, lambda one, other: _compare(files, one, other))
    find = _make_finder(rule)
    parts = [
        LogPart(
            file=file,
            **find(file)._asdict(),
            origin=Origin(
                source=file.source,
                part_id=place.part_id,
                file=file.name,
                arrival_time=min(arrival_time, file.changed_time or arrival_time),
            ),
        )
        for file, place in zip(files, settled, strict=True)
        if place.copy_of is None
    ]
    return AccessLog(
        parts=tuple(sorted(parts, key=lambda part: (part.origin.part_id, part.origin.source))),
        passed_over=tuple(file.name for file, place in zip(files, settled, strict=True) if place.copy_of is not None),
        total_size=sum(part.file.size for part in parts),
        rule=rule,
    )


class _OfPart(NamedTuple):
    log_format: LogFormat
    detection: Detection | None = None


def _make_finder(rule: LogRule) -> Callable[[FileInput | PipeInput], _OfPart]:
    dressed: dict[LogFormat, LogFormat] = {}

    def find(file: FileInput | PipeInput) -> _OfPart:
        if not rule.is_auto:
            return _OfPart(rule.log_format)
        detection = detect_format(file.read_head(HEAD_SIZE), next(reversed(dressed), None))
        if detection.log_format not in dressed:
            dressed[detection.log_format] = rule.dress(detection.log_format)
            check_format(dressed[detection.log_format])
        return _OfPart(dressed[detection.log_format], detection)

    return find


def _open_inputs(inputs: Sequence[Path] | BinaryIO) -> list[FileInput | PipeInput]:
    if not isinstance(inputs, Sequence):
        return [PipeInput(inputs)]
    # Which of two equal files is read must not depend on the order in which they were given.
    return sorted(map(open_input, inputs), key=lambda file: (file.source, file.name))


def _compare(files: Sequence[FileInput | PipeInput], one: int, other: int) -> Likeness:
    left, right = files[one], files[other]
    if isinstance(left, FileInput) and isinstance(right, FileInput):
        return left.compare(right)
    return Likeness.BEFORE if one < other else Likeness.AFTER  # a pipe is read once: it cannot be compared


def read_access_log(
    inputs: Sequence[Path] | BinaryIO,
    rule: LogRule,
    *,
    arrival_time: datetime,
    tell: Callable[[int], None] | None = None,
) -> Iterator[Intake]:
    """`open_access_log`, at once, then `AccessLog.read`."""
    return open_access_log(inputs, rule, arrival_time=arrival_time).read(tell)
