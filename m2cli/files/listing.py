"""What lies where event files are followed: each file once, and the folders and files that cannot be looked at."""

from __future__ import annotations

import os
from errno import EACCES, ENOENT, ENOTDIR, EPERM
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, NamedTuple

from m2cli.files.find import format_by_name
from m2cli.files.paths import BESIDE_EVENTS, HIDDEN
from m2cli.texts import printable_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GONE = frozenset({ENOENT, ENOTDIR})
_REFUSED = frozenset({EACCES, EPERM})


class Found(NamedTuple):
    """A file that is there: its path as it was found, and its status."""

    path: str
    status: os.stat_result


class Listing(NamedTuple):
    """The files, in order of path, each once; warnings for people."""

    files: tuple[Found, ...]
    warnings: tuple[str, ...]


def list_followed(patterns: Sequence[str]) -> Listing:
    """What `patterns` (absolute paths of files and folders, and globs) match, as `find_files` has it.

    What is not there is no error: it may come. A folder in which files are looked for and that is not there, or
    may not be read, is a warning, as is a file that cannot be one of events (a pipe, a name that is no UTF-8).
    """
    lister = _Lister()
    for pattern in patterns:
        lister.add(pattern)
    once: dict[tuple[int, int], Found] = {}
    for path in sorted(lister.found):
        status = lister.found[path]
        once.setdefault((status.st_dev, status.st_ino), Found(path, status))
    return Listing(tuple(once.values()), tuple(lister.warnings))


class _Lister:
    def __init__(self) -> None:
        self.found: dict[str, os.stat_result] = {}
        self.warnings: dict[str, None] = {}
        self._walked: set[tuple[int, int]] = set()

    def add(self, pattern: str) -> None:
        """Take what is at `pattern`: a path, or a glob if nothing bears that very name."""
        if os.path.lexists(pattern) or not has_magic(pattern):
            if not os.path.lexists(os.path.dirname(pattern)):  # noqa: PTH120  # a pattern is no path
                self._warn(f"the folder `{printable_path(os.path.dirname(pattern))}` is not there")  # noqa: PTH120
            self._add_path(pattern)
            return
        root, *names = Path(pattern).parts
        for path in self._descend(root, [*names, "*"] if names[-1] == "**" else names, is_named=True):
            if names[-1] != "**" or not Path(path).is_dir():  # a folder below it has its turn by itself
                self._add_path(path)

    def _add_path(self, path: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116  # by way of a Path it takes three times as long
        except OSError as error:
            if error.errno not in _GONE:
                self._warn(f"cannot read `{printable_path(path)}`: {_explain(error)}")
            return
        if S_ISDIR(status.st_mode):
            self._add_folder(path, status)
        elif not S_ISREG(status.st_mode):
            self._warn(f"`{printable_path(path)}` is no file of events but a pipe or a device; it is passed over")
        elif printable_path(path) != path:
            self._warn(f"`{printable_path(path)}` cannot be followed: its name is not UTF-8; rename it")
        else:
            self.found[path] = status

    def _add_folder(self, folder: str, status: os.stat_result) -> None:
        """All event files below `folder`, which is walked once, wherever links lead."""
        if (status.st_dev, status.st_ino) in self._walked:
            return
        self._walked.add((status.st_dev, status.st_ino))
        entries = [entry for entry in self._scan(folder, is_named=True) if not entry.name.startswith(HIDDEN)]
        has_events = any(entry.name == "events" and entry.is_dir() for entry in entries)
        for entry in entries:
            is_beside = has_events and entry.name in BESIDE_EVENTS
            if (entry.is_dir() and not is_beside) or (not entry.is_dir() and format_by_name(Path(entry.name))):
                self._add_path(entry.path)

    def _descend(self, folder: str, names: Sequence[str], *, is_named: bool) -> Iterator[str]:
        """What below `folder` matches `names`; `is_named` if no sign of a glob has led there."""
        name, *rest = names
        if not has_magic(name):
            path = os.path.join(folder, name)  # noqa: PTH118  # thousands of them
            yield from self._descend(path, rest, is_named=is_named) if rest else [path]
            return
        if name == "**":
            yield from self._descend(folder, rest, is_named=is_named)
        for entry in self._scan(folder, is_named=is_named):
            if entry.name.startswith(".") and not name.startswith("."):
                continue
            if name == "**" and entry.is_dir(follow_symlinks=False):  # a link could lead round
                yield from self._descend(entry.path, names, is_named=False)
            elif name != "**" and fnmatchcase(entry.name, name):
                yield from self._descend(entry.path, rest, is_named=False) if rest else [entry.path]

    def _scan(self, folder: str, *, is_named: bool) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except OSError as error:
            if error.errno not in _GONE:
                self._warn(f"cannot read the folder `{printable_path(folder)}`: {_explain(error)}")
            elif is_named and error.errno == ENOENT:
                self._warn(f"the folder `{printable_path(folder)}` is not there")
            return []

    def _warn(self, warning: str) -> None:
        self.warnings[warning] = None


def _explain(error: OSError) -> str:
    return "no right to read it" if error.errno in _REFUSED else (error.strerror or str(error)).lower()
