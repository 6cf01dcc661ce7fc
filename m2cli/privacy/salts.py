"""The only reader of salts: what is read stays in a `Salt`, which digests and tells nothing but its fingerprint.

A salt is 256 bits from the system's random source, as 64 hex digits. The digits are the key: 64 bytes, which
HMAC-SHA256 takes as they are. Nothing that holds the key is shown: not in `repr`, not in errors, not in a query plan
that outlives the call, and from the first use on the process leaves no core dump.
"""

from __future__ import annotations

import ctypes
import hmac
import json
import os
import re
import resource
import shlex
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NoReturn, Protocol

import polars as pl
import polars_hash

from m2cli.privacy.errors import BadSaltError, DestroyedSaltError, ExposedSaltError, MissingSaltError, PrivacyError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX, DESTROYED_SUFFIX = ".salt", ".destroyed"
KEY_DIGITS = 64
# 128 bits: among 10^12 values of one year and field the odds of two with one pseudonym are 10^-15.
PSEUDONYM_DIGITS = 32

_KEY = re.compile(rb"[0-9a-f]{64}\n?")
_PR_SET_DUMPABLE = 4  # linux/prctl.h
_PATIENCE = 60  # seconds that a salt command may take


class Salt:
    """The salt of one year. It cannot be printed, copied or pickled; `fingerprint` may be shown to anybody."""

    __slots__ = ("__key", "fingerprint", "year")

    def __init__(self, year: int, key: bytes) -> None:
        self.year, self.__key = year, key.decode("ascii")
        # Of 2^256 keys nobody finds the one by 64 bits of a digest of it.
        self.fingerprint = hmac.digest(key, b"m2 fingerprint", "sha256").hex()[:16]

    def digest(self, field: str, values: pl.Series) -> pl.Series:
        """The pseudonym of each of `values` (String) as a value of `field`: 32 hex digits; null stays null.

        HMAC-SHA256 of `field:value`, its first 128 bits. DESIGN 6.2.
        """
        message = pl.concat_str(pl.lit(f"{field}:"), pl.lit(values)).alias("value")
        keyed = polars_hash.col("value").chash.hmac_sha256(key=self.__key).str.head(PSEUDONYM_DIGITS)
        return pl.select(message).select(keyed).to_series().rename(values.name)

    def __repr__(self) -> str:
        return f"<salt of {self.year}, fingerprint {self.fingerprint}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a salt is not copied")


class Salts(Protocol):
    """Where salts come from."""

    def find(self, year: int) -> Salt:
        """The salt of `year`. Raises `PrivacyError` if there is none, or none that may be used."""


@dataclass(frozen=True, kw_only=True)
class FolderSalts:
    """Salts in files of `folder`, one a year: `2026.salt`; the owner's alone, which is looked at on each use."""

    folder: Path

    def find(self, year: int) -> Salt:
        """The salt of `year`.

        Raises `DestroyedSaltError`, `MissingSaltError`, `ExposedSaltError` where others may read it or put another in
        its place, `BadSaltError` for a file that m2 has not made.
        """
        check_folder(self.folder)
        if destroyed := find_destroyed(self.folder, year):
            raise DestroyedSaltError(year, destroyed["fingerprint"], destroyed["destroyed_time"])
        return self._read(year)

    def _read(self, year: int) -> Salt:
        forbid_core_dumps()
        path = self.folder / f"{year}{SUFFIX}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            hint = f"make it with `m2 salt new {year} --salts {self.folder}`, or put it back from a backup"
            raise MissingSaltError(year, str(self.folder), hint) from None
        except OSError as error:
            reason = f"cannot be read ({(error.strerror or str(error)).lower()})"
            raise ExposedSaltError(path, reason, "a salt is a file that belongs to who anonymizes") from None
        try:
            _check_file(path, os.fstat(descriptor))
            salt = _parse(year, os.read(descriptor, KEY_DIGITS + 2))
        finally:
            os.close(descriptor)
        if salt is None:
            raise BadSaltError(path, "put it back from a backup; m2 writes 64 hex digits")
        return salt


def tell_fingerprint(folder: Path, year: int) -> str:
    """The fingerprint of a salt that is to go, however it was kept."""
    forbid_core_dumps()
    salt = _parse(year, (folder / f"{year}{SUFFIX}").read_bytes())
    return salt.fingerprint if salt else "fingerprint unknown"


@dataclass(frozen=True, kw_only=True)
class CommandSalts:
    """Salts that a command prints, of a vault for instance: `{year}` in it stands for the year.

    It is run without a shell, once a process and year; what it prints is 64 hex digits, as `openssl rand -hex 32` does.
    """

    command: str

    def find(self, year: int) -> Salt:
        """The salt of `year`. Raises `PrivacyError` if the command fails or prints something else."""
        return _ask(self.command, year)


@cache
def _ask(command: str, year: int) -> Salt:
    forbid_core_dumps()
    arguments = [part.replace("{year}", str(year)) for part in shlex.split(command)]
    hint = "run it by hand to see why; its words are not shown, for they may hold the salt"
    try:
        done = subprocess.run(arguments, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603  # the owner's own
    except OSError as error:
        raise PrivacyError(f"cannot run the salt command `{arguments[0]}`: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise PrivacyError(f"the salt command `{arguments[0]}` took more than {_PATIENCE} s; {hint}") from None
    if done.returncode:
        said = f"the salt command `{arguments[0]}` ended with {done.returncode}"
        raise MissingSaltError(year, arguments[0], f"{said}; {hint}")
    salt = _parse(year, done.stdout)
    if salt is None:
        raise BadSaltError(arguments[0], "it has to print 64 hex digits, as `openssl rand -hex 32` makes them")
    return salt


def _parse(year: int, text: bytes) -> Salt | None:
    """A salt, if `text` is one. It raises nothing, for who shows a traceback with its values would show the text."""
    return Salt(year, text.strip()) if _KEY.fullmatch(text) else None


def find_destroyed(folder: Path, year: int) -> dict[str, str] | None:
    """The record of a destroyed salt, with `fingerprint` and `destroyed_time`; None if it was not."""
    unknown = {"fingerprint": "fingerprint unknown", "destroyed_time": "an unknown day"}
    try:
        record = json.loads((folder / f"{year}{DESTROYED_SUFFIX}").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return unknown
    return unknown | (
        {name: str(record[name]) for name in unknown if name in record} if isinstance(record, dict) else {}
    )


def check_folder(folder: Path) -> None:
    """Raise `PrivacyError` unless `folder` is there and nobody but its owner can put files into it."""
    try:
        found = folder.stat()
    except OSError as error:
        reason = "there is no such folder" if isinstance(error, FileNotFoundError) else "you may not look into it"
        hint = "`m2 salt new` makes it; else name another with `--salts`, or run this as who owns the salts"
        raise PrivacyError(f"cannot read the salts `{folder}`: {reason}; {hint}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise PrivacyError(f"`{folder}` is no folder of salts; name the folder")
    _check_owner(folder, found)
    if found.st_mode & 0o077:
        raise ExposedSaltError(folder, "is open to others than its owner", f"do `chmod 700 {folder}`")


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadSaltError(path, "a salt is a file")
    _check_owner(path, found)
    if found.st_mode & 0o177:
        hint = f"do `chmod 600 {path}`; if somebody may have read it, its year's pseudonyms are open to them"
        raise ExposedSaltError(path, "can be read by others than its owner", hint)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        hint = "salts belong to the user who anonymizes; run this as that user, or `chown` them"
        raise ExposedSaltError(path, "belongs to another user", hint)


@cache
def forbid_core_dumps() -> None:
    """See to it that a crash does not write this process's memory, with the salt in it, to a disk."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # where dumps go to a program, the limit does not count
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
