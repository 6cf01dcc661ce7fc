"""Locks that die with their process: one run of a pipeline at a time, one writer of a lake at a time."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from m2cli.errors import ExitCode, M2Error, UnreadableSourceError, UnwritableSinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ASKED_EVERY = 0.2  # seconds; whoever waits for a lake waits for a batch, which takes longer
_GLANCE = 0.01  # seconds; who only looks whether a lock is held has it for some microseconds, if it is free


class LockedError(M2Error):
    """Another process holds the lock at `path`; `holder` is what it wrote there, its process id."""

    exit_code = ExitCode.LOCKED

    def __init__(self, what: str, path: Path, holder: str) -> None:
        self.what, self.path, self.holder = what, path, holder
        by = f" (process {holder})" if holder else ""
        super().__init__(f"{what} is held by another run{by}; nothing was done")


@contextmanager
def hold_lock(path: Path, what: str, *, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """The lock at `path`, until the end of the block or of the process, whatever ends it.

    Without `wait`, raises `LockedError` at once if another process has it; else `wait` is called once, and the lock is
    waited for. Raises `UnwritableSinkError` where the file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UnwritableSinkError(path, (error.strerror or str(error)).lower()) from error
    try:
        if not _take(descriptor):
            if wait is None:
                raise LockedError(what, path, _read_holder(descriptor))
            wait()
            while not _take(descriptor):
                time.sleep(_ASKED_EVERY)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def find_holder(path: Path) -> str | None:
    """Who holds the lock at `path` now: a process id, empty if that is not known; None if nobody does.

    It may be read without the right to write. Raises `UnreadableSourceError` for a lock that may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableSourceError(path, (error.strerror or str(error)).lower()) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _read_holder(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()


def _take(descriptor: int) -> bool:
    for pause in (_GLANCE, 0.0):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause)
        else:
            return True
    return False


def _sign(descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # a full disk does not take the lock away; the number is for people only
