"""What folders and globs mean: the files below them, each folder once, wherever links lead."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What m2 itself writes beside `events`, a lake's tables and a sample's truth: no events, or not these.
BESIDE_EVENTS = frozenset({"visits", "late", "duplicates", "rejects", "truth"})
HIDDEN = (".", "_")


def walk_files(folder: Path) -> Iterator[Path]:
    """The files below `folder`; not what begins with `.` or `_`, and beside `events` not the rest of a lake."""
    yield from _walk(folder, {folder.resolve()})


def list_files(folder: Path) -> list[Path]:
    """The files in `folder` itself, by name, without those that begin with `.` or `_`."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith(HIDDEN) and entry.is_file())


def expand_glob(pattern: str) -> list[str]:
    """What is there that `pattern` matches, by name; `**` is any folders, but none behind a link.

    The library's own `**` follows links: two that lead back to their folder are paths without end.
    """
    parts = pattern.split("/")
    if "**" not in parts:
        return sorted(glob.glob(pattern))  # noqa: PTH207  # patterns may be absolute, which Path.glob refuses
    at = parts.index("**")
    rest = [part for part in parts[at + 1 :] if part]
    folders = [folder for base in _bases(parts[:at]) for folder in _folders(base)]
    found = {match for folder in folders for match in expand_glob("/".join([glob.escape(folder), *(rest or ["*"])]))}
    return sorted(match for match in {os.path.normpath(match) for match in found} if rest or Path(match).is_file())


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(HIDDEN))
    has_events = any(entry.name == "events" and entry.is_dir() for entry in entries)
    for entry in entries:
        if entry.is_file():
            yield entry
        elif entry.is_dir() and not (has_events and entry.name in BESIDE_EVENTS) and entry.resolve() not in seen:
            seen.add(entry.resolve())
            yield from _walk(entry, seen)


def _bases(parts: list[str]) -> list[str]:
    if not parts:
        return ["."]
    return [base for base in expand_glob("/".join(parts) or "/") if Path(base).is_dir()]


def _folders(base: str) -> Iterator[str]:
    """`base` and all folders below it that are not hidden."""
    for folder, names, _ in os.walk(base):
        names[:] = [name for name in names if not name.startswith(".")]
        yield folder
