"""A server that writes an access log of numbered lines, and who rotates it; says at the end what it wrote and lost.

Run by itself, `python -m tests.load.writer FOLDER WAY RATE ROTATE_EVERY ROTATION_COUNT`, it writes until its stdin
ends; then stdout is what `Written` reads.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VISITOR_COUNT = 40
_BURST = 0.01  # seconds; what is due is written at once, as by a server with a buffer


@dataclass
class Written:
    """What came of a log: `line_count` lines, numbered from 0, of which some are in no file any more."""

    line_count: int = 0
    rotation_count: int = 0
    lost: list[int] = field(default_factory=list)
    """Lines that were appended after the rotator had copied the log and before it truncated it."""
    cut: list[int] = field(default_factory=list)
    """Of these, lines whose beginning is in the copy: it was made in the middle of a line."""


class Server:
    """Appends lines to `access.log`."""

    def __init__(self, folder: Path, rate: int) -> None:
        self.folder, self.rate = folder, rate
        self.log = folder / "access.log"
        self.written = Written()
        self.is_writing = threading.Lock()
        self.open()

    def open(self) -> None:
        """Open the log, made anew if it is not there."""
        self.descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def serve(self, is_over: threading.Event) -> None:
        """Write as many lines as are due, until it is over."""
        start = time.monotonic()
        while not is_over.wait(_BURST):
            with self.is_writing:
                self._append(int((time.monotonic() - start) * self.rate) - self.written.line_count)

    def _append(self, count: int) -> None:
        clock = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        first = self.written.line_count
        data = b"".join(make_line(number, clock) for number in range(first, first + count))
        while data:
            data = data[os.write(self.descriptor, data) :]
        self.written.line_count += count


def make_line(number: int, clock: str) -> bytes:
    """The line with that number, which no other is like."""
    ip = f"10.0.0.{number % VISITOR_COUNT}"
    return f'{ip} - - [{clock}] "GET /{number} HTTP/1.1" 200 {number} "-" "Firefox"\n'.encode()


def read_number(line: bytes) -> int:
    """The number of a line, or of what is left of its end."""
    return int(line.split(b'" 200 ')[1].split(b" ")[0])


def rename(server: Server) -> None:
    """As logrotate does with `create`: the server goes on with a new file when it is told to."""
    server.log.rename(server.folder / "access.log.1")
    time.sleep(0.05)  # what is written until then goes to the renamed file
    with server.is_writing:
        os.close(server.descriptor)
        server.open()


def rename_and_pack(server: Server) -> None:
    """As logrotate does with `create`, `compress` and `delaycompress`."""
    rename(server)
    older = server.folder / "access.log.2"
    if older.exists():
        packed = older.with_name("access.log.2.gz")
        with gzip.open(packed, "wb", compresslevel=1) as stream:
            stream.write(older.read_bytes())
        os.utime(packed, ns=(older.stat().st_mtime_ns,) * 2)
        older.unlink()


def copy_and_truncate(server: Server) -> None:
    """As logrotate does with `copytruncate`; what is appended between the two is counted as lost."""
    with server.log.open("rb") as log, (server.folder / "access.log.1").open("wb") as copy:
        while piece := log.read(1 << 16):
            copy.write(piece)
        size = log.tell()
        time.sleep(0.005)  # a pause that a busy machine makes by itself
        with server.is_writing:
            log.seek(max(0, size - 1))
            is_cut = size > 0 and log.read(1) != b"\n"
            lost = [line for line in log.read().split(b"\n") if line]
            server.log.open("rb+").truncate(0)
    if is_cut:
        last = (server.folder / "access.log.1").read_bytes().rpartition(b"\n")[2]
        server.written.cut.append(read_number(last + lost[0]))
        lost[0] = last + lost[0]
    server.written.lost += map(read_number, lost)


WAYS: dict[str, Callable[[Server], None]] = {
    "rename": rename,
    "rename, then pack": rename_and_pack,
    "copy, then truncate": copy_and_truncate,
}


def shift(folder: Path) -> None:
    """Give every rotated file the next number; none is ever removed."""
    rotated = [path for path in folder.iterdir() if path.name != "access.log"]
    for path in sorted(rotated, key=lambda path: -int(path.name.split(".")[2])):
        name, suffix, number, *rest = path.name.split(".")
        path.rename(folder / ".".join([name, suffix, str(int(number) + 1), *rest]))


def rotate(server: Server, way: str, every: float, most: int, is_over: threading.Event) -> None:
    """Rotate the log again and again, so often at most, until it is over."""
    while server.written.rotation_count < most and not is_over.wait(every):
        shift(server.folder)
        WAYS[way](server)
        server.written.rotation_count += 1


def main(folder: str, way: str, rate: str, every: str, most: str) -> None:
    """Write and rotate until stdin ends, and tell of it."""
    server = Server(Path(folder), int(rate))
    is_over = threading.Event()
    threads = [
        threading.Thread(target=server.serve, args=(is_over,)),
        threading.Thread(target=rotate, args=(server, way, float(every), int(most), is_over)),
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    is_over.set()
    for thread in threads:
        thread.join()
    print(json.dumps(asdict(server.written)))


if __name__ == "__main__":
    main(*sys.argv[1:])
