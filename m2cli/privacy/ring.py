"""The ring of salts as its owner keeps it: made, listed, looked over, destroyed."""

from __future__ import annotations

import json
import os
import re
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import UnwritableSinkError
from m2cli.privacy.errors import DestroyedSaltError, MissingSaltError, PrivacyError
from m2cli.privacy.salts import (
    DESTROYED_SUFFIX,
    KEY_DIGITS,
    SUFFIX,
    FolderSalts,
    check_folder,
    find_destroyed,
    tell_fingerprint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

_NAME = re.compile(rf"(\d{{4}})({re.escape(SUFFIX)}|{re.escape(DESTROYED_SUFFIX)})")
_UNFINISHED = ".unfinished"
_LAST_MONTH = 12  # a month is time enough to make the next year's


class RingEntry(NamedTuple):
    """One year of a ring; `problem` says why its salt cannot be used, `destroyed_time` since when there is none."""

    year: int
    fingerprint: str | None
    destroyed_time: str | None
    problem: str | None


def make_salt(folder: Path, year: int) -> str:
    """Make the salt of `year` in `folder`, which is made too; returns its fingerprint.

    Raises `PrivacyError` where one is there, or was and is destroyed; `UnwritableSinkError` where it cannot be written.
    """
    with _explain(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(folder)
    if destroyed := find_destroyed(folder, year):
        raise DestroyedSaltError(year, destroyed["fingerprint"], destroyed["destroyed_time"])
    path = folder / f"{year}{SUFFIX}"
    unfinished = folder / f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}"
    with _explain(folder):
        _write(unfinished, secrets.token_hex(KEY_DIGITS // 2).encode() + b"\n")
        try:
            os.link(unfinished, path)  # never in the place of one that is there
        except FileExistsError:
            hint = "it is the key of all that was anonymized of that year, and is not replaced"
            raise PrivacyError(f"the salt of {year} is in `{folder}` already; {hint}") from None
        finally:
            _wipe(unfinished, is_linked=path.exists() and path.samefile(unfinished))
        _sync(folder)
    return FolderSalts(folder=folder).find(year).fingerprint


def list_ring(folder: Path) -> list[RingEntry]:
    """All years that `folder` has a salt of, or once had. Raises `PrivacyError` if it is not kept as a secret is."""
    check_folder(folder)
    years = {int(found[1]) for name in os.listdir(folder) if (found := _NAME.fullmatch(name))}  # noqa: PTH208  # names do
    return [_look(folder, year) for year in sorted(years)]


def destroy_salt(folder: Path, year: int, now: datetime) -> str:
    """Destroy the salt of `year` as far as the medium allows, and leave a dated record; returns its fingerprint.

    The record comes first, so that a year that is destroyed by half counts as destroyed; who is killed at it does it
    again. Raises `PrivacyError` where there is nothing to destroy.
    """
    check_folder(folder)
    path, record = folder / f"{year}{SUFFIX}", find_destroyed(folder, year)
    if record and not path.exists():
        raise DestroyedSaltError(year, record["fingerprint"], record["destroyed_time"])
    if not path.exists():
        raise MissingSaltError(year, str(folder), "there is nothing to destroy")
    with _explain(folder):
        fingerprint = record["fingerprint"] if record else tell_fingerprint(folder, year)
        if record is None:
            said = {"year": year, "fingerprint": fingerprint, "destroyed_time": now.isoformat(timespec="seconds")}
            unfinished = folder / f".{year}{DESTROYED_SUFFIX}{_UNFINISHED}"
            unfinished.unlink(missing_ok=True)
            _write(unfinished, json.dumps(said).encode() + b"\n")
            unfinished.replace(folder / f"{year}{DESTROYED_SUFFIX}")
            _sync(folder)
        for name in [path, *folder.glob(f".{path.name}.*{_UNFINISHED}")]:
            _wipe(name)
        _sync(folder)
    return fingerprint


def warn_of_missing(entries: Sequence[RingEntry], now: datetime) -> list[str]:
    """What to do about salts that are needed soon: this year's, and from December on next year's.

    A salt with a problem is there, and a destroyed one cannot be made again: neither is missing.
    """
    known = {entry.year for entry in entries}
    needed = [now.year] + ([now.year + 1] if now.month == _LAST_MONTH else [])
    return [f"there is no salt of {year}; make it with `m2 salt new {year}`" for year in needed if year not in known]


def _look(folder: Path, year: int) -> RingEntry:
    destroyed = find_destroyed(folder, year)
    if destroyed:
        is_left = (folder / f"{year}{SUFFIX}").exists()
        problem = f"it is destroyed by half; do `m2 salt destroy {year}` again" if is_left else None
        return RingEntry(year, destroyed["fingerprint"], destroyed["destroyed_time"], problem)
    try:
        return RingEntry(year, FolderSalts(folder=folder).find(year).fingerprint, None, None)
    except PrivacyError as error:
        return RingEntry(year, None, None, str(error))


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wipe(path: Path, *, is_linked: bool = False) -> None:
    """Remove a file; first put random bytes over what is in it, unless another name keeps it."""
    if not is_linked:
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, os.urandom(max(os.fstat(descriptor).st_size, KEY_DIGITS)), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explain(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnwritableSinkError(folder, (error.strerror or str(error)).lower()) from error
