"""A log under any rotation, with plans at any moment: every line once, but for those that were in no file any more."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from m2cli.logs.follow import RangeLostError
from tests.logs.following import SETTLED, Follower, Logs, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOG = "access.log"


class Writer:
    """A server and its logrotate, step by step; it knows which lines are in each file, and which are lost."""

    def __init__(self, logs: Logs, follower: Follower, size: int) -> None:
        self.logs, self.follower, self.size = logs, follower, size
        self.lines: dict[str, list[int]] = {LOG: []}
        self.written = self.half = self.cut_count = 0
        self.lost: set[int] = set()
        self.steps: Iterator[None] = iter(())
        """Of the rotation that is under way."""

    def write_lines(self, count: int) -> None:
        for _ in range(count):
            self.written += 1
            self.logs.append(LOG, line(self.written, self.size)[self.half :])
            self.lines[LOG].append(self.written)
            self.half = 0

    def write_half(self) -> None:
        if not self.half:
            self.half = 20
            self.logs.append(LOG, line(self.written + 1, self.size)[: self.half])

    def step(self) -> None:
        next(self.steps, None)

    def begin(self, rotate: Callable[[], Iterator[None]]) -> None:
        """Begin a rotation, when the one before it has ended."""
        for _ in self.steps:
            pass
        self.steps = rotate()
        self.step()

    def make_way(self) -> None:
        """`access.log.1.gz` to `access.log.2.gz` and so on; the oldest goes."""
        for number in (4, 3, 2, 1):
            for end in ("", ".gz"):
                self.rename(f"{LOG}.{number}{end}", f"{LOG}.{number + 1}{end}")
        for end in ("", ".gz"):
            self.drop(f"{LOG}.5{end}")

    def rename(self, old: str, new: str) -> None:
        if old in self.lines:
            self.logs.rename(old, new)
            self.lines[new] = self.lines.pop(old)

    def drop(self, name: str) -> None:
        if name in self.lines:
            (self.logs.folder / name).unlink()
            self.forget(name)

    def forget(self, name: str) -> None:
        gone = self.lines.pop(name)
        self.lost |= (
            set(gone) - set(self.follower.numbers) - {number for kept in self.lines.values() for number in kept}
        )

    def rotate_by_rename(self) -> Iterator[None]:
        self.make_way()
        self.write_lines(bool(self.half))  # a server writes a line whole before it goes to the next file
        self.rename(LOG, f"{LOG}.1")
        self.lines[LOG] = []
        yield
        self.logs.append(LOG, b"")

    def rotate_by_copy(self) -> Iterator[None]:
        self.make_way()
        text = (self.logs.folder / LOG).read_bytes()
        for share in (3, 2):
            self.logs.write(f"{LOG}.1", text[: len(text) // share])
            self.lines[f"{LOG}.1"] = []
            yield
        text = (self.logs.folder / LOG).read_bytes()
        self.logs.write(f"{LOG}.1", text)
        self.lines[f"{LOG}.1"] = list(self.lines[LOG])
        self.cut_count += bool(self.half)  # the copy ends within a line, for good
        yield
        self.write_lines(bool(self.half))
        self.logs.write(LOG, b"")
        self.forget(LOG)
        self.lines[LOG] = []

    def pack(self) -> Iterator[None]:
        name = f"{LOG}.1"
        if name not in self.lines:
            return
        data = gzip.compress((self.logs.folder / name).read_bytes(), mtime=0)
        self.logs.write(f"{name}.gz", data[: len(data) // 2])
        yield
        self.logs.write(f"{name}.gz", data)
        shutil.copystat(self.logs.folder / name, self.logs.folder / f"{name}.gz")
        self.lines[f"{name}.gz"] = list(self.lines[name])
        yield
        self.drop(name)

    def take(self) -> None:
        self.follower.take()

    def take_after_a_step(self) -> None:
        """A batch between whose plan and reading the rotation goes on."""
        followed = self.follower.plan()
        self.step()
        try:
            intakes = self.follower.carry_out(followed)
        except RangeLostError:
            return
        self.follower.numbers += [int(url[1:]) for intake in intakes for url in intake.events["url"]]


STEPS: dict[str, Callable[[Writer], None]] = {
    "write": lambda writer: writer.write_lines(1),
    "write more": lambda writer: writer.write_lines(5),
    "write half a line": Writer.write_half,
    "take": Writer.take,
    "take, late": Writer.take_after_a_step,
    "rotate by rename": lambda writer: writer.begin(writer.rotate_by_rename),
    "rotate by copy": lambda writer: writer.begin(writer.rotate_by_copy),
    "pack": lambda writer: writer.begin(writer.pack),
    "go on": Writer.step,
}


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=5, max_size=40),
    size=st.sampled_from([0, 300, 5_000]),
)
def test_every_line_is_read_once_whatever_is_rotated_when(steps: list[str], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        logs = Logs(Path(folder).resolve())
        logs.write(LOG, b"")
        follower = Follower(logs)
        writer = Writer(logs, follower, size)
        for step in steps:
            STEPS[step](writer)
        writer.begin(lambda: iter(()))
        writer.write_lines(bool(writer.half))
        follower.take(SETTLED)
        assert Counter(follower.numbers) == Counter(set(range(1, writer.written + 1)) - writer.lost)
        assert follower.reject_count <= writer.cut_count
        assert follower.plan(SETTLED).unread == ()
