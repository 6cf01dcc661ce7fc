"""What lies where logs are followed: globs and paths to files, each once, and what could not be looked at."""

from __future__ import annotations

import os
from errno import EACCES, ENOENT, ENOTDIR, EPERM
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, NamedTuple

from m2cli.texts import escape_text, printable_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_GONE = frozenset({ENOENT, ENOTDIR})
_REFUSED = frozenset({EACCES, EPERM})


class FoundFile(NamedTuple):
    """A file by one of its paths, and its status."""

    path: str
    status: os.stat_result

    @property
    def inode(self) -> tuple[int, int]:
        """What it is to the machine."""
        return self.status.st_dev, self.status.st_ino


class Hidden(NamedTuple):
    """A folder or path that could not be looked at, and the warning that says so."""

    path: str
    warning: str


class Listing(NamedTuple):
    """The files there are, in order of path, each once; and folders and paths that could not be looked at."""

    files: tuple[FoundFile, ...]
    hidden: tuple[Hidden, ...]
    warnings: tuple[str, ...]

    @property
    def places(self) -> dict[str, tuple[int, int]]:
        """Which file is at each path."""
        return {file.path: file.inode for file in self.files}


def list_logs(paths: Sequence[str], preferred: Collection[str] = ()) -> Listing:
    """The files at `paths`, which are absolute paths or globs; of one file's paths a `preferred` one is taken.

    A glob without a match and a path where nothing is are nothing. Folders in a glob's place are passed over.
    """
    lister = _Lister()
    for path in paths:
        lister.add(path)
    chosen: dict[tuple[int, int], FoundFile] = {}
    for file in sorted(lister.found.values()):
        other = chosen.setdefault(file.inode, file)
        if other is not file and _rank(file, preferred) < _rank(other, preferred):
            chosen[file.inode] = file
    hidden = tuple(Hidden(*place) for place in sorted(lister.hidden.items()))
    return Listing(tuple(sorted(chosen.values())), hidden, tuple(lister.warnings))


def _rank(file: FoundFile, preferred: Collection[str]) -> tuple[bool, bool]:
    # A link is called `current` as a rule; the file itself bears the log's name.
    return os.path.islink(file.path), file.path not in preferred  # noqa: PTH114 - a Path costs as much as the call


class _Lister:
    def __init__(self) -> None:
        self.found: dict[str, FoundFile] = {}
        self.hidden: dict[str, str] = {}
        self.warnings: dict[str, None] = {}

    def add(self, pattern: str) -> None:
        """Take what is at `pattern`: a path, or a glob if nothing bears that very name."""
        if not os.path.isabs(pattern):  # noqa: PTH117 - a Path would drop a trailing slash
            self._warn(f"`{escape_text(pattern)}` cannot be followed: it is no absolute path")
        elif has_magic(pattern) and not os.path.lexists(pattern):
            for path in self._match(pattern):
                self._add_file(path, is_named=False)
        else:
            self._add_file(pattern, is_named=True)

    def _warn(self, warning: str, hidden: str | None = None) -> None:
        self.warnings[warning] = None
        if hidden is not None:
            self.hidden.setdefault(hidden, warning)

    def _add_file(self, path: str, *, is_named: bool) -> None:
        shown = path if path.isascii() else printable_path(path)
        try:
            status = os.stat(path)  # noqa: PTH116 - 2 µs; by way of a Path it is 6
        except OSError as error:
            if error.errno not in _GONE:
                self._warn(f"cannot read `{shown}`: {_explain(error)}", path)
            return
        if S_ISREG(status.st_mode) and shown == path:
            self.found[path] = FoundFile(path, status)
        elif S_ISREG(status.st_mode):
            self._warn(f"`{shown}` cannot be followed: its name is not UTF-8; rename it")
        elif not S_ISDIR(status.st_mode):
            self._warn(f"`{shown}` cannot be followed: it is no file but a pipe or a device")
        elif is_named:
            self._warn(f"`{shown}` cannot be followed: it is a folder; name the log files in it, as in `{shown}/*`")

    def _match(self, pattern: str) -> Iterator[str]:
        names = Path(pattern).parts
        plain = list(takewhile(lambda name: not has_magic(name), names))
        rest = list(names[len(plain) :])
        return self._descend(str(Path(*plain)), [*rest, "*"] if rest[-1] == "**" else rest, is_named=True)

    def _descend(self, folder: str, names: list[str], *, is_named: bool) -> Iterator[str]:
        """The paths below `folder` that match `names`; `is_named` if no glob has led to that folder."""
        name, *rest = names
        if not has_magic(name):
            path = os.path.join(folder, name)  # noqa: PTH118 - thousands of them
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
            shown = printable_path(folder)
            if error.errno not in _GONE:
                self._warn(f"cannot read the folder `{shown}`: {_explain(error)}", folder)
            elif is_named:
                self._warn(f"the folder `{shown}` is not there", folder)
            return []


def _explain(error: OSError) -> str:
    return "no right to read it" if error.errno in _REFUSED else error.strerror or str(error)
