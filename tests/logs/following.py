"""What the tests of followed logs share: a folder of logs with a clock of its own, and who follows them."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from m2cli.logs.follow import Followed, FollowRule, KnownPart, PartsById, RangeReader, follow_logs
from m2cli.logs.read import LogRule
from tests.logs.reading import assert_adds_up

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from m2cli.events import Intake
    from m2cli.logs.follow import KnownFile

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
SETTLED = timedelta(hours=2)
RULE = FollowRule()


def line(number: int, size: int = 0) -> bytes:
    """A line that no other is like, of `size` bytes or more; the later the higher its number."""
    time = (datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=number)).strftime("%d/%b/%Y:%H:%M:%S +0000")
    text = f'192.0.2.1 - - [{time}] "GET /{number} HTTP/1.1" 200 1 "-" "'
    return (text + "x" * (size - len(text) - 2) + '"\n').encode()


def lines(*numbers: int, size: int = 0) -> bytes:
    return b"".join(line(number, size) for number in numbers)


class Logs:
    """A folder in which logs are written, rotated and packed; each change is ten seconds after the last."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, START

    def touch(self, path: Path) -> Path:
        self.now += timedelta(seconds=10)
        os.utime(path, (self.now.timestamp(),) * 2)
        return path

    def write(self, name: str, data: bytes) -> Path:
        """Write a file anew, in place if it is there."""
        path = self.folder / name
        path.write_bytes(data)
        return self.touch(path)

    def append(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        with path.open("ab") as file:
            file.write(data)
        return self.touch(path)

    def rename(self, old: str, new: str) -> None:
        (self.folder / old).rename(self.folder / new)

    def copy(self, old: str, new: str, size: int | None = None) -> None:
        self.write(new, (self.folder / old).read_bytes()[:size])

    def pack(self, old: str, new: str) -> None:
        """As gzip does: another file with the same time; then the old one goes."""
        (self.folder / new).write_bytes(gzip.compress((self.folder / old).read_bytes()))
        shutil.copystat(self.folder / old, self.folder / new)
        (self.folder / old).unlink()


class Follower:
    """Plans and reads like a pipeline, and keeps what its ledger keeps."""

    def __init__(self, logs: Logs, *patterns: str, rule: FollowRule = RULE, log_rule: LogRule | None = None) -> None:
        self.logs, self.rule, self.log_rule = logs, rule, log_rule or LogRule()
        self.patterns = [str(logs.folder / pattern) for pattern in patterns or ("access.log*",)]
        self.parts: dict[str, KnownPart] = {}
        self.files: dict[str, KnownFile] = {}
        self.numbers: list[int] = []
        """The lines that were read, in order."""
        self.reject_count = 0
        self.last: Followed | None = None

    def plan(self, later: timedelta = timedelta(0), *, is_flush: bool = False) -> Followed:
        self.last = follow_logs(
            self.patterns,
            PartsById(self.parts),
            self.files,
            now=self.logs.now + later,
            rule=self.rule,
            is_flush=is_flush,
        )
        return self.last

    def carry_out(self, followed: Followed) -> list[Intake]:
        reader = RangeReader(followed.ranges, self.log_rule)
        intakes = list(reader.read())
        assert_adds_up(intakes)
        self.reject_count += sum(len(intake.rejects) for intake in intakes)
        for planned, read in zip(followed.ranges, reader.results, strict=True):
            before = self.parts.get(read.part_id) or KnownPart(
                part_id=planned.part_id, name=planned.name, source=planned.source, position=0, line_count=0, marks=()
            )
            assert before.position == planned.start
            marks = (*before.marks, *read.marks)
            assert_contiguous(marks, read.end)
            self.parts[read.part_id] = replace(before, position=read.end, line_count=read.line_count, marks=marks)
        self.files = {file.path: file for file in followed.files}
        return intakes

    def take(self, later: timedelta = timedelta(0), *, is_flush: bool = False) -> list[int]:
        """The numbers of the lines that one more batch reads."""
        numbers = numbers_of(self.carry_out(self.plan(later, is_flush=is_flush)))
        self.numbers += numbers
        return numbers

    @property
    def positions(self) -> list[int]:
        return [part.position for _, part in sorted(self.parts.items())]


def assert_contiguous(marks: Iterable[tuple[int, int, str]], end: int) -> None:
    position = 0
    for mark in marks:
        assert mark[0] == position < mark[1]
        position = mark[1]
    assert position == end


def numbers_of(intakes: list[Intake]) -> list[int]:
    return [int(url[1:]) for intake in intakes for url in intake.events["url"]]
