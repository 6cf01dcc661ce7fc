"""What m2 raises on purpose, and the exit code each of them ends with."""

from __future__ import annotations

from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class ExitCode(IntEnum):
    """How an m2 process ends; the numbers are part of the interface."""

    OK = 0
    DATA = 1
    """The data is not as it should be: too many rejects, an unknown id, a lake that is not whole."""
    USAGE = 2
    """An option, an argument or a setting is wrong."""
    UNREACHABLE = 3
    """A source or a sink cannot be read or written."""
    LOCKED = 4
    """Another run holds the lock."""
    PRIVACY = 5
    """A salt is missing, readable by others or destroyed."""
    INTERRUPTED = 130


class M2Error(Exception):
    """Something a person can put right: the message says what, with which value, and how."""

    exit_code = ExitCode.DATA


class UsageError(M2Error):
    """An option, an argument or a setting that m2 cannot take."""

    exit_code = ExitCode.USAGE


class UnreachableError(M2Error):
    """A source that cannot be read or a sink that cannot be written."""

    exit_code = ExitCode.UNREACHABLE


class UnreadableSourceError(UnreachableError):
    """A file or folder that was named as input and cannot be read."""

    def __init__(self, path: Path | str, reason: str, hint: str = "") -> None:
        self.path, self.reason, self.hint = path, reason, hint
        super().__init__(f"cannot read `{path}`: {reason}" + (f"; {hint}" if hint else ""))


class UnwritableSinkError(UnreachableError):
    """A place that was named for output and cannot be written."""

    def __init__(self, path: Path | str, reason: str, hint: str = "") -> None:
        self.path, self.reason, self.hint = path, reason, hint
        super().__init__(f"cannot write `{path}`: {reason}" + (f"; {hint}" if hint else ""))


class UnknownNameError(UsageError):
    """A name that is none of the known ones; the message offers the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else "known are " + ", ".join(f"`{k}`" for k in self.known)
        super().__init__(f"unknown {kind} `{name}`; {hint}")


class TooManyRejectsError(M2Error):
    """More rejects than the person who called allows."""

    def __init__(self, reject_count: int, read_count: int, limit: str, reasons: Sequence[tuple[str, int]]) -> None:
        self.reject_count, self.read_count, self.limit, self.reasons = reject_count, read_count, limit, reasons
        self.commonest = ", ".join(f"{reason} ({count:,})" for reason, count in reasons[:3])
        super().__init__(self._describe())

    def _describe(self) -> str:
        said = f"{self.reject_count:,} rejects of {self.read_count:,} are more than `--max-rejects {self.limit}` allows"
        return f"{said}; the commonest: {self.commonest}"


class TooManyRejectsInBatchError(TooManyRejectsError):
    """More rejects than the `max_rejects` of a pipeline allows."""

    def _describe(self) -> str:
        return (
            f"{self.reject_count:,} of {self.read_count:,} lines or rows are rejects, more than "
            f"`max_rejects = {self.limit}` allows; the commonest: {self.commonest}; nothing was committed, and nothing "
            "is lost: it is all read again once `max_rejects` in [pipeline] is higher, or by "
            f"`--set pipeline.max_rejects={self.reject_count}`"
        )


class NotConservedError(RuntimeError):
    """Lines or events that do not add up: a bug of m2, and nothing is committed (DESIGN 5.3)."""
