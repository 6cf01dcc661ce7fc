"""Putting a folder in the place of another: a kill at any moment leaves the old one there or the new one.

A new folder grows as a hidden sibling of its target, `.NAME.m2-XXXXXXXX`, held by a lock on the folder
itself: who dies lets go of it, and the next run takes away what nobody holds.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    At = Callable[[str], None]
    """Told the name of each step as it is done; tests kill the process there."""

_AT_FDCWD = -100  # Linux: paths are relative to the working folder
_RENAME_EXCHANGE = 2  # Linux, linux/fs.h
_RENAME_SWAP = 2  # macOS, sys/stdio.h
# What file systems and kernels answer that cannot exchange (tmpfs before 5.x, NFS, FUSE, musl's missing
# function).
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
# What stands in for the target between two renames, where the two cannot be exchanged in one.
_SET_ASIDE = "-old"


@contextmanager
def hold_new_sibling(target: Path) -> Iterator[Path]:
    """A new hidden folder beside `target`, ours until the end of the block; what then is there is removed."""
    while True:
        folder = target.with_name(f".{target.name}.m2-{secrets.token_hex(4)}")
        folder.mkdir()
        lock = _hold(folder)
        if lock is not None and _is_at(folder, lock):
            break
        # Between the two calls another run took the newborn for a dead run's. It is rid of; try another name.
        _let_go(lock)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _let_go(lock)


def clear_remains(target: Path) -> None:
    """Take away what killed runs left beside `target`; put back what one set aside and did not replace."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.m2-[0-9a-f]{{8}}({_SET_ASIDE})?")
    for folder in [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]:
        lock = _hold(folder)
        if lock is None:
            continue
        if folder.name.endswith(_SET_ASIDE) and not target.exists():
            folder.rename(target)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        _let_go(lock)


def replace_folder(new: Path, target: Path, at: At) -> None:
    """Put `new` in the place of `target`; afterwards `new` is what was there before, or nothing.

    Raises `OSError` where that cannot be; then all is as it was.
    """
    if not target.exists() or not any(target.iterdir()):
        # POSIX: takes the place of an empty folder, fails on one that has filled meanwhile.
        new.rename(target)
    elif not _exchange(new, target):
        _rename_twice(new, target, at)
    at("swapped")
    sync_folder(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        call, arguments = (
            getattr(libc, "renamex_np", None),
            (os.fsencode(one), os.fsencode(other), _RENAME_SWAP),
        )
    else:
        call = getattr(libc, "renameat2", None)
        arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if call is None:
        return False
    if call(*arguments) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _rename_twice(new: Path, target: Path, at: At) -> None:
    """The second best: killed between the renames, `target` is missing until the next run puts it back."""
    aside = new.with_name(new.name + _SET_ASIDE)
    lock = _hold(target)
    try:
        target.rename(aside)
        at("set aside")
        try:
            new.rename(target)
        except BaseException:  # Ctrl-C too
            if not target.exists():
                aside.rename(target)
            raise
        aside.rename(new)
    finally:
        _let_go(lock)


def ignore_step(_step: str) -> None:
    """Nobody asks which step is done."""


def sync_folder(folder: Path) -> None:
    """Bring the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, lake: Path) -> None:
    """Make a folder below `lake`, and bring the names of what is made to the disk."""
    missing = [path for path in (folder, *folder.parents) if path.is_relative_to(lake) and not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def _hold(folder: Path) -> int | None:
    """A lock on `folder`, as its descriptor; None where another process has it or the folder is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_at(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _let_go(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
