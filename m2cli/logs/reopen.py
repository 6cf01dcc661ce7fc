"""Opens a log again that was looked at before, under whatever name rotation has given it since."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from m2cli.errors import UnreadableSourceError
from m2cli.logs.look import OpenLog
from m2cli.texts import printable_path

if TYPE_CHECKING:
    from collections.abc import Iterator


def open_inode(path: str, inode: int) -> OpenLog:
    """The log that was at `path` and has the inode `inode`, under whatever name it is now in the same folder.

    A rotation renames a log, and a plan is carried out later than it is made. Raises `UnreadableSourceError` if it is
    not there any more.
    """
    fault = None
    for place in chain([path], _find_renamed(path, inode)):
        try:
            log = OpenLog(place)
        except UnreadableSourceError as error:
            fault = fault or error
            continue
        if log.status.st_ino == inode:
            return log
        with log:
            fault = fault or UnreadableSourceError(log.name, "another file has taken its place")
    raise fault or UnreadableSourceError(printable_path(path), "no such file")


def _find_renamed(path: str, inode: int) -> Iterator[str]:
    """The files that have `inode` beside `path`, or beside what it links to."""
    folders = dict.fromkeys((Path(path).parent, Path(os.path.realpath(path)).parent))
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            yield from [entry.path for entry in entries if _has_inode(entry, inode)]


def _has_inode(entry: os.DirEntry[str], inode: int) -> bool:
    # Not `entry.inode()`: on an overlay it can be another than that of the file when it is open.
    with suppress(OSError):
        return entry.is_file() and entry.stat().st_ino == inode
    return False
