"""Reads the ranges of logs that a plan names, and proves while it does that they are what was planned."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from m2cli.errors import UnreadableSourceError
from m2cli.logs.blocks import cut_blocks
from m2cli.logs.bundles import Portion
from m2cli.logs.evidence import Digester, MarkCheck, cut_marks, feed_all
from m2cli.logs.known import Mark, ReadRange
from m2cli.logs.parse import Origin
from m2cli.logs.parsers.delimited import follow_header
from m2cli.logs.read import read_portions
from m2cli.logs.reopen import open_inode
from m2cli.logs.streams import CutError
from m2cli.texts import printable_path

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from m2cli.events import Intake
    from m2cli.logs.formats import LogFormat
    from m2cli.logs.known import PlannedRange
    from m2cli.logs.look import OpenLog
    from m2cli.logs.read import LogRule

_HEADER_BLOCK = 1 << 20


class RangeLostError(UnreadableSourceError):
    """A range of a log that is not any more where it was planned to be read: its file was rotated or cut since."""

    def __init__(self, planned: PlannedRange, cause: str) -> None:
        self.part_id, self.start, self.end = planned.part_id, planned.start, planned.end
        reason = f"bytes {planned.start:,} to {planned.end:,} of part `{planned.part_id}` are not there: {cause}"
        super().__init__(printable_path(planned.path), reason, "plan anew")


class RangeReader:
    """Reads `ranges` of logs in order, each once; `results` are what is to be remembered of them, when all are read."""

    def __init__(self, ranges: Sequence[PlannedRange], rule: LogRule) -> None:
        self._ranges, self._rule = ranges, rule
        self.total_size = sum(planned.end - planned.start for planned in ranges)
        """Bytes of text there are to read."""
        self._marks: list[tuple[Mark, ...]] = []
        self._line_counts: list[int] = []

    @property
    def results(self) -> tuple[ReadRange, ...]:
        """What is to be remembered of each range that was read, in order."""
        read = zip(self._ranges, self._line_counts, self._marks, strict=False)
        return tuple(ReadRange(planned.part_id, planned.end, lines, marks) for planned, lines, marks in read)

    def read(self, tell: Callable[[int], None] | None = None) -> Iterator[Intake]:
        """The events and rejects of all ranges, as `AccessLog.read` gives them.

        `tell` is called after each piece with the bytes of text that were read so far. Raises `RangeLostError`
        where a range is not what was planned, perhaps when some of it was given already; `UnreadableSourceError`
        where a file cannot be read on.
        """
        self._marks, self._line_counts = [], []
        with closing(self._cut_ranges()) as portions:
            for read in read_portions(portions, self._rule):
                for lines_before, line_count in read.line_counts:
                    if lines_before is not None:
                        self._line_counts.append(lines_before)
                    self._line_counts[-1] += line_count
                yield read.intake
                if tell:
                    tell(read.done)

    def _cut_ranges(self) -> Generator[Portion]:
        done = 0
        for planned in self._ranges:
            origin = Origin(
                source=planned.source, part_id=planned.part_id, file=planned.path, arrival_time=planned.arrival_time
            )
            lines_before: int | None = planned.line_count
            log_format = self._rule.log_format
            if log_format.header is not None and planned.start:
                log_format = _find_header(planned, log_format)
            with closing(self._read_range(planned)) as pieces:
                for block in cut_blocks(pieces, self._rule.block_size, self._rule.max_line_size, planned.start):
                    read_size = block.position + len(block.data) - planned.start
                    yield Portion(block, origin, done + read_size, lines_before, log_format)
                    lines_before = None
                    log_format = follow_header(log_format, block.data)
            done += planned.end - planned.start

    def _read_range(self, planned: PlannedRange) -> Generator[bytes]:
        """The text of `planned`; where it ends early by plan, a `CutError` at its end."""
        with _open_range(planned) as log:
            if planned.mark_start is None:
                _check_first_line(planned, log)
            try:
                marks = yield from self._read_marked(planned, log)
            except CutError as error:
                raise RangeLostError(planned, str(error)) from None
            _check_unchanged(planned, log)
            self._marks.append(marks)
        if planned.fault:
            raise CutError(planned.fault)

    def _read_marked(self, planned: PlannedRange, log: OpenLog) -> Generator[bytes, None, tuple[Mark, ...]]:
        """The text of `planned`, then its marks: read from the mark before it on, which has to be as it was."""
        skip = 0 if planned.mark_start is None else planned.start - planned.mark_start
        before = [_mark_before(planned)] if skip else []
        digester = Digester(
            planned.start - skip, [*(mark.end for mark in before), *cut_marks(planned.start, planned.end)]
        )
        for piece in log.read_text(planned.start - skip, planned.end, self._rule.block_size):
            digester.feed(piece)
            if skip and digester.marks and digester.marks[:1] != before:
                raise RangeLostError(planned, "the text before them differs")
            if len(piece) > skip:
                yield piece[skip:] if skip else piece
            skip = max(0, skip - len(piece))
        if not digester.is_done:
            raise RangeLostError(planned, "the file is shorter than it was")
        return tuple(digester.marks[len(before) :])


def _find_header(planned: PlannedRange, log_format: LogFormat) -> LogFormat:
    """`log_format` with the columns that hold where `planned` begins: what is before it is looked through again."""
    with _open_range(planned) as log, suppress(CutError):
        for block in cut_blocks(log.read_text(0, planned.start, _HEADER_BLOCK), _HEADER_BLOCK, planned.start):
            log_format = follow_header(log_format, block.data)
    return log_format


def _open_range(planned: PlannedRange) -> OpenLog:
    try:
        return open_inode(planned.path, planned.inode)
    except UnreadableSourceError as error:
        raise RangeLostError(planned, error.reason) from error


def _mark_before(planned: PlannedRange) -> Mark:
    return Mark(planned.mark_start or 0, planned.start, planned.mark_digest or "")


def _check_first_line(planned: PlannedRange, log: OpenLog) -> None:
    if log.name_part(planned.end) != planned.name:
        raise RangeLostError(planned, "the first line differs")


def _check_unchanged(planned: PlannedRange, log: OpenLog) -> None:
    """Raise `RangeLostError` if the file was cut while it was read, and has grown again."""
    if log.is_compressed:
        return  # to look at its text again is to decompress it, and nobody cuts it to go on writing
    if planned.mark_start is None:
        _check_first_line(planned, log)
    else:
        check = MarkCheck([_mark_before(planned)])
        feed_all(log.read_text(planned.mark_start, planned.start), [check])
        if check.verified != planned.start:
            raise RangeLostError(planned, "the text before them differs")
