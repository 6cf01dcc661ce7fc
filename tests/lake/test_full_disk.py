"""A sink that takes no more: one clear error, the old lake as it was, nothing left beside it."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from m2cli.errors import UnwritableSinkError
from m2cli.lake import read_snapshot, scan_lake, stage_lake, verify_files, write
from m2cli.lake.write import explain_unwritable
from tests.twins.lake_twin import make_whole

ROOT = Path(__file__).resolve().parents[2]
OLD = make_whole([(0, 2)])

# A limit on the size of files stands in for the full disk: the system refuses the write in the same place,
# with a code of its own, and it needs no rights.
SCRIPT = """
import resource, signal, sys
from pathlib import Path
from m2cli.errors import UnwritableSinkError
from m2cli.lake import stage_lake
from tests.twins.lake_twin import make_whole

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
whole = make_whole([(0, 20_000)])
try:
    with stage_lake(Path(sys.argv[1]), replace=True) as lake:
        lake.write_events(whole.events, whole.visits)
        lake.commit()
except UnwritableSinkError as error:
    print(error)
"""

BATCH_SCRIPT = """
import resource, signal, sys
from pathlib import Path
from m2cli.errors import UnwritableSinkError
from tests.lake.pipelines import make_batch, take_in

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
lake = Path(sys.argv[1])
take_in(lake, 1, make_batch(1, [(0, 2)]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    take_in(lake, 2, make_batch(2, [(0, 2), (30, 20_000)]))
except UnwritableSinkError as error:
    print(error)
"""


def test_a_batch_that_is_refused_leaves_the_lake_as_the_last_one_left_it(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", BATCH_SCRIPT, str(tmp_path / "lake")]
    done = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == f"cannot write `{tmp_path / 'lake'}`: file too large\n"
    assert verify_files(tmp_path / "lake", read_snapshot(tmp_path / "lake").files, deep=True) == []
    assert scan_lake(tmp_path / "lake").events.collect().height == 2


def test_a_write_that_is_refused_leaves_the_old_lake_and_nothing_else(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as lake:
        lake.write_events(OLD.events, OLD.visits)
        lake.commit()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "lake")],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"cannot write `{tmp_path / 'lake'}`: file too large\n"
    assert scan_lake(tmp_path / "lake").events.collect().height == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_polars_says_that_a_disk_is_full_in_words_that_are_understood() -> None:
    full = pytest.raises(UnwritableSinkError, match="no space left on device; free some room")
    with full, explain_unwritable(Path("lake")):
        OLD.events.write_parquet("/dev/full")


def test_a_disk_that_is_full_only_when_synced_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write, "sync_file", refuse)
    with stage_lake(tmp_path / "lake") as lake:
        lake.write_events(OLD.events, OLD.visits)
        with pytest.raises(UnwritableSinkError, match="no space left"):
            lake.commit()
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_polars_that_the_system_has_no_part_in_stays_what_it_is() -> None:
    with pytest.raises(pl.exceptions.ComputeError), explain_unwritable(Path("lake")):
        raise pl.exceptions.ComputeError("a bug")
