"""Salts: made once, the owner's alone, never shown, refused when open to others, gone when destroyed."""

from __future__ import annotations

import copy
import hmac
import json
import os
import pickle
import subprocess
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import ExitCode
from m2cli.privacy.errors import (
    BadSaltError,
    DestroyedSaltError,
    ExposedSaltError,
    MissingSaltError,
    PrivacyError,
)
from m2cli.privacy.ring import destroy_salt, list_ring, make_salt, warn_of_missing
from m2cli.privacy.salts import CommandSalts, FolderSalts
from tests.cli.command import AS_ANYBODY, can_run, run_m2

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 12, 2, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_salt(tmp_path / "salts", 2026)
    return tmp_path / "salts"


def key_in(folder: Path, year: int = 2026) -> bytes:
    return (folder / f"{year}.salt").read_bytes().strip()


def test_a_salt_is_256_random_bits_in_a_file_of_its_owner_alone(folder: Path) -> None:
    make_salt(folder, 2027)
    keys = {key_in(folder), key_in(folder, 2027)}
    assert all(len(bytes.fromhex(key.decode())) == 32 for key in keys)
    assert len(keys) == 2
    assert (folder / "2026.salt").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["2026.salt", "2027.salt"]


def test_a_salt_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        make_salt(tmp_path / "salts", 2026)
    finally:
        os.umask(before)
    assert (tmp_path / "salts" / "2026.salt").stat().st_mode & 0o777 == 0o600


def test_a_salt_that_is_there_is_not_replaced(folder: Path) -> None:
    before = key_in(folder)
    with pytest.raises(PrivacyError, match="already"):
        make_salt(folder, 2026)
    assert key_in(folder) == before
    assert [path.name for path in folder.iterdir()] == ["2026.salt"]


def test_a_digest_is_hmac_sha256_of_field_and_value(folder: Path) -> None:
    values = pl.Series("x", ["anna", None, "", "é", "x" * 1000])
    digests = FolderSalts(folder=folder).find(2026).digest("customer", values)
    expected = [
        None if value is None else hmac.digest(key_in(folder), f"customer:{value}".encode(), "sha256").hex()[:32]
        for value in values
    ]
    assert digests.to_list() == expected


def test_a_salt_is_never_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    salt = FolderSalts(folder=folder).find(2026)
    shown = [repr(salt), str(salt), f"{salt}", repr([salt]), repr(FolderSalts(folder=folder)), str(vars(type(salt)))]
    with pytest.raises(pl.exceptions.PolarsError) as failed:
        salt.digest("customer", pl.Series([[1]]))
    shown.append("".join(traceback.TracebackException.from_exception(failed.value, capture_locals=True).format()))
    shown.append(capsys.readouterr().out)
    assert all(key_in(folder).decode() not in text for text in shown)
    assert not hasattr(salt, "__dict__")


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickled", "copied", "copied deeply"])
def test_a_salt_is_not_copied(folder: Path, copied: object) -> None:
    with pytest.raises(TypeError, match="not copied"):
        copied(FolderSalts(folder=folder).find(2026))  # type: ignore[operator]


def test_a_fingerprint_is_the_same_at_each_reading_and_no_part_of_the_salt(folder: Path) -> None:
    salt = FolderSalts(folder=folder).find(2026)
    assert salt.fingerprint == FolderSalts(folder=folder).find(2026).fingerprint
    assert salt.fingerprint not in key_in(folder).decode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o610])
def test_a_salt_that_others_can_reach_is_refused_at_its_next_use(folder: Path, mode: int) -> None:
    salts = FolderSalts(folder=folder)
    salts.find(2026)
    (folder / "2026.salt").chmod(mode)
    with pytest.raises(ExposedSaltError, match="chmod 600"):
        salts.find(2026)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o1777])
def test_a_folder_that_others_can_reach_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(ExposedSaltError, match="chmod 700"):
        FolderSalts(folder=folder).find(2026)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_salt_of_another_user_is_refused(folder: Path) -> None:
    os.chown(folder / "2026.salt", 12345, -1)
    with pytest.raises(ExposedSaltError, match="another user"):
        FolderSalts(folder=folder).find(2026)


def test_a_link_to_a_salt_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "2026.salt").rename(tmp_path / "elsewhere")
    (folder / "2026.salt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExposedSaltError):
        FolderSalts(folder=folder).find(2026)


@pytest.mark.parametrize("content", [b"", b"pepper123\n", b"a" * 63, b"G" * 64, b"a" * 200], ids=repr)
def test_what_is_no_salt_is_refused_and_not_shown(folder: Path, content: bytes) -> None:
    (folder / "2026.salt").write_bytes(content)
    with pytest.raises(BadSaltError) as refused:
        FolderSalts(folder=folder).find(2026)
    assert not content or content.decode().strip() not in str(refused.value)


def test_a_missing_salt_says_how_to_make_it(folder: Path) -> None:
    with pytest.raises(MissingSaltError, match="m2 salt new 2031") as missing:
        FolderSalts(folder=folder).find(2031)
    assert missing.value.exit_code == ExitCode.PRIVACY


def test_a_destroyed_year_is_refused_for_good_and_leaves_a_dated_record(folder: Path) -> None:
    key, fingerprint = key_in(folder), FolderSalts(folder=folder).find(2026).fingerprint
    descriptor = os.open(folder / "2026.salt", os.O_RDONLY)  # the blocks of the file, after its name is gone
    assert destroy_salt(folder, 2026, NOW) == fingerprint
    assert key not in os.pread(descriptor, 1000, 0)
    os.close(descriptor)
    assert [path.name for path in folder.iterdir()] == ["2026.destroyed"]
    record = json.loads((folder / "2026.destroyed").read_bytes())
    assert record == {"year": 2026, "fingerprint": fingerprint, "destroyed_time": "2026-12-02T00:00:00+00:00"}
    for again in (lambda: FolderSalts(folder=folder).find(2026), lambda: make_salt(folder, 2026)):
        with pytest.raises(DestroyedSaltError, match="2026-12-02"):
            again()
    with pytest.raises(DestroyedSaltError):
        destroy_salt(folder, 2026, NOW)


def test_a_year_that_is_destroyed_by_half_counts_as_destroyed_and_can_be_finished(folder: Path) -> None:
    kept = (folder / "2026.salt").read_bytes()
    destroy_salt(folder, 2026, NOW)
    (folder / "2026.salt").write_bytes(kept)  # as if killed after the record was written
    (folder / "2026.salt").chmod(0o600)
    with pytest.raises(DestroyedSaltError):
        FolderSalts(folder=folder).find(2026)
    assert [entry.problem is not None for entry in list_ring(folder)] == [True]
    destroy_salt(folder, 2026, datetime(2027, 1, 1, tzinfo=UTC))
    assert [(entry.destroyed_time, entry.problem) for entry in list_ring(folder)] == [
        ("2026-12-02T00:00:00+00:00", None)
    ]


def test_what_a_killed_making_has_left_goes_with_the_salt(folder: Path) -> None:
    os.link(folder / "2026.salt", folder / ".2026.salt.00c0ffee.unfinished")
    destroy_salt(folder, 2026, NOW)
    assert [path.name for path in folder.iterdir()] == ["2026.destroyed"]


def test_next_years_salt_is_missed_from_december_on(folder: Path) -> None:
    entries = list_ring(folder)
    assert warn_of_missing(entries, datetime(2026, 11, 30, tzinfo=UTC)) == []
    assert "2027" in warn_of_missing(entries, NOW)[0]
    assert "2027" in warn_of_missing(entries, datetime(2027, 1, 1, tzinfo=UTC))[0]


def test_a_salt_that_others_can_read_is_not_called_missing(folder: Path) -> None:
    (folder / "2026.salt").chmod(0o644)
    assert warn_of_missing(list_ring(folder), datetime(2026, 11, 30, tzinfo=UTC)) == []


def test_a_command_prints_the_salt(folder: Path) -> None:
    salts = CommandSalts(command=f"cat {folder}/{{year}}.salt")
    assert salts.find(2026).fingerprint == FolderSalts(folder=folder).find(2026).fingerprint


@pytest.mark.parametrize(
    ("command", "error"),
    [("false", MissingSaltError), ("echo hunter2-{year}", BadSaltError), ("/no/such/command", PrivacyError)],
)
def test_a_command_that_prints_no_salt_is_refused_and_what_it_says_not_shown(
    command: str, error: type[PrivacyError]
) -> None:
    with pytest.raises(error) as refused:
        CommandSalts(command=command).find(2026)
    assert "hunter2" not in str(refused.value)


def test_who_has_read_a_salt_leaves_no_core_dump(folder: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _DUMPABLE, str(folder)], capture_output=True, check=True, text=True
    ).stdout
    assert said.split() == ["0", "(0,", "0)"]


_DUMPABLE = """
import ctypes, resource, sys
from pathlib import Path
from m2cli.privacy.salts import FolderSalts
FolderSalts(folder=Path(sys.argv[1])).find(2026)
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""
if sys.platform != "linux":
    _DUMPABLE = _DUMPABLE.replace("ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)", "0")


def test_the_verbs_of_salts(tmp_path: Path) -> None:
    salts = ("--salts", "salts")
    made = run_m2("salt", "new", "2024", *salts, folder=tmp_path)
    fingerprint = FolderSalts(folder=tmp_path / "salts").find(2024).fingerprint
    key = key_in(tmp_path / "salts", 2024)
    listed = run_m2("salt", "list", *salts, folder=tmp_path)
    assert listed.stdout.decode() == f"2024  {fingerprint}  pseudonymous\n"
    unasked = run_m2("salt", "destroy", "2024", *salts, folder=tmp_path)
    assert (unasked.returncode, b"--yes" in unasked.stderr) == (ExitCode.USAGE, True)
    (tmp_path / "salts" / "2024.salt").chmod(0o644)
    open_ = run_m2("salt", "verify", *salts, folder=tmp_path)
    assert (open_.returncode, b"chmod 600" in open_.stderr) == (ExitCode.PRIVACY, True)
    destroyed = run_m2("salt", "destroy", "2024", "--yes", *salts, folder=tmp_path)
    assert (destroyed.returncode, b"backups" in destroyed.stderr) == (0, True)
    again = run_m2("salt", "new", "2024", *salts, folder=tmp_path)
    assert (again.returncode, fingerprint.encode() in again.stderr) == (ExitCode.PRIVACY, True)
    for done in (made, listed, unasked, open_, destroyed, again):
        assert key not in done.stdout + done.stderr


def test_who_may_not_look_into_the_folder_is_told_so(folder: Path, tmp_path: Path) -> None:
    if not can_run(AS_ANYBODY, tmp_path):
        pytest.skip("`setpriv` is not here, or not allowed to do this")
    os.chown(folder, 12345, 12345)
    done = run_m2("salt", "verify", "--salts", str(folder), folder=tmp_path, prefix=AS_ANYBODY)
    assert done.returncode == ExitCode.PRIVACY
