"""Three system users: the identified lake, the salts and the pseudonymous lake belong to one each."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import ExitCode
from m2cli.lake.scan import scan_lake
from m2cli.runs.sessionize import SessionizeRule, sessionize
from tests.forks import run_forked
from tests.privacy.lakes import NOW, SAMPLE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

KEEPER, KEYER, ANALYST = 12_001, 12_002, 12_003  # of identified data, of the salts, and who asks
PURCHASES = ("query", "SELECT count(*) AS n FROM purchases", "--format", "csv", "--lake")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be three other users")


@pytest.fixture(scope="module")
def place(pair: Path, ring: Path) -> Iterator[Path]:
    """A folder that everybody may look into, with a `lake`, `salts` and `anonymous` that are for one user each."""
    with tempfile.TemporaryDirectory(prefix="m2-users-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for source, target, user in (
            (pair / "lake", "lake", KEEPER),
            (ring, "salts", KEYER),
            (pair / "anonymous", "anonymous", ANALYST),
        ):
            shutil.copytree(source, folder / target)
            for path in [folder / target, *(folder / target).rglob("*")]:
                os.chown(path, user, user)
            (folder / target).chmod(0o700)
        yield folder


def run(user: int, place: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    return run_forked(args, place, user=user)


def test_who_owns_the_pseudonymous_lake_alone_can_do_all_that_is_done_with_it(pair: Path, place: Path) -> None:
    expected = scan_lake(pair / "lake").events.collect().filter(event_type="purchase").height
    asked = run(ANALYST, place, *PURCHASES, "anonymous")
    assert (asked.returncode, int(asked.stdout.split()[1])) == (ExitCode.OK, expected), asked.stderr
    traced = run(ANALYST, place, "trace", "--type", "purchase", "--lake", "anonymous", "--format", "ndjson")
    assert (traced.returncode, len(traced.stdout.splitlines())) == (ExitCode.OK, expected), traced.stderr
    compacted = run(ANALYST, place, "compact", "--lake", "anonymous", "--from", "2025-12-01", "--to", "2026-01-31")
    assert compacted.returncode == ExitCode.OK, compacted.stderr


@pytest.mark.parametrize(
    ("user", "args", "code"),
    [
        (ANALYST, (*PURCHASES, "lake"), ExitCode.USAGE),
        (ANALYST, ("trace", "--type", "purchase", "--lake", "lake"), ExitCode.USAGE),
        (ANALYST, ("salt", "list", "--salts", "salts"), ExitCode.PRIVACY),
        (ANALYST, ("salt", "verify", "--salts", "salts"), ExitCode.PRIVACY),
        (ANALYST, ("audit", "--lake", "anonymous", "--against", "lake"), ExitCode.USAGE),
        (ANALYST, ("anonymize", "--lake", "lake", "-o", "anonymous", "--salts", "salts"), ExitCode.USAGE),
        (KEEPER, (*PURCHASES, "anonymous"), ExitCode.USAGE),
        (KEEPER, ("anonymize", "--lake", "lake", "-o", "mine", "--salts", "salts"), ExitCode.PRIVACY),
        (KEYER, (*PURCHASES, "lake"), ExitCode.USAGE),
        (KEYER, (*PURCHASES, "anonymous"), ExitCode.USAGE),
    ],
)
def test_each_is_told_what_the_others_keep_from_it(place: Path, user: int, args: tuple[str, ...], code: int) -> None:
    done = run(user, place, *args)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr
    assert not (place / "mine").exists()


def test_each_can_do_its_own_work(place: Path) -> None:
    assert run(KEEPER, place, *PURCHASES, "lake").returncode == ExitCode.OK
    assert run(KEYER, place, "salt", "verify", "--salts", "salts").returncode == ExitCode.OK


def test_who_has_the_salts_anonymizes_what_it_may_read_into_what_it_may_write(place: Path) -> None:
    """A lake whose group the keyer is in, and a folder that the analyst has opened to it."""
    lake, out = place / "shared", place / "out"
    sessionize([str(SAMPLE)], lake, SessionizeRule(), now=NOW)
    out.mkdir()
    for path in (lake, *lake.rglob("*")):
        os.chown(path, KEEPER, KEYER)
        path.chmod(0o750 if path.is_dir() else 0o640)
    os.chown(out, ANALYST, KEYER)
    out.chmod(0o770)
    done = run(KEYER, place, "anonymize", "--lake", "shared", "-o", "out", "--salts", "salts")
    assert done.returncode == ExitCode.OK, done.stderr
    asked = run(ANALYST, place, *PURCHASES, "out")
    assert asked.returncode == ExitCode.OK, asked.stderr
    assert run(ANALYST, place, *PURCHASES, "shared").returncode == ExitCode.USAGE
