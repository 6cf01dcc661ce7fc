"""A plan is written before any work, a commit changes everything at once, and what the ledger says survives."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import UnreadableSourceError, UnwritableSinkError, UsageError
from m2cli.ledger import (
    CarriedFile,
    Changes,
    Ledger,
    Progress,
    RowOfFile,
    RowOfPart,
    create_ledger,
    open_ledger,
    schema,
)
from m2cli.visits import Watermark, declare_partitions, no_partitions
from tests.cli.command import AS_ANYBODY, can_run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PART = RowOfPart("p-1", "p", "web", 100, 2, False, "/logs/access.log", ((0, 60, "one"), (60, 100, "two")))
FILE = RowOfFile("web", "/logs/access.log", 1, 2, 100, 3, "p-1", None)
EVENTS_FILE = {"path": "events/date=2026-11-22/shop-000001-00000.parquet", "kind": "events", "start_date": "2026-11-22"}
LATE_FILE = {"path": "late/shop-000001-00001.parquet", "kind": "late", "start_date": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with create_ledger(path, "shop", NOW) as ledger:
        yield ledger


def make_progress(W: datetime) -> Progress:
    partitions = declare_partitions(no_partitions(), ["web", "app"], NOW)
    carried = (CarriedFile("_m2/carried/shop-000001-0.carried", "pending", 1, 5, 5),)
    return Progress(Watermark(time=W, latest_event_time=W + timedelta(minutes=5)), partitions, carried, 7)


def test_a_ledger_that_was_just_made_knows_nothing(ledger: Ledger) -> None:
    assert ledger.pipeline == "shop"
    assert ledger.list_unfinished() == ledger.list_batches() == ledger.list_dropped() == []
    assert Watermark() == ledger.read_progress().W
    assert ledger.read_progress().partitions.equals(no_partitions())
    assert (ledger.read_progress().carried, ledger.read_progress().next_visit_number) == ((), 0)
    assert ledger.list_parts() == ledger.read_files() == ledger.list_lake_files() == []
    assert (ledger.count_batches(), ledger.sum_facts(["event_count"])) == (0, {"event_count": 0})


def test_a_plan_is_there_for_who_opens_the_ledger_next(path: Path, ledger: Ledger) -> None:
    batch = ledger.plan("run", NOW, {"inputs": [1, 2]})
    assert (batch.number, batch.batch_id, batch.state, batch.end_time) == (1, "shop-000001", "planned", None)
    ledger.close()
    with create_ledger(path, "shop", NOW) as again:
        assert again.list_unfinished() == [batch]
        assert again.list_unfinished()[0].plan == {"inputs": [1, 2]}
        assert again.list_batches() == []


def test_a_commit_changes_everything_at_once(path: Path, ledger: Ledger) -> None:
    batch = ledger.plan("run", NOW, {})
    progress = make_progress(NOW)
    changes = Changes(
        progress=progress, parts=[PART], files=[FILE], added=[EVENTS_FILE, LATE_FILE], facts={"event_count": 3}
    )
    with open_ledger(path) as reader:
        ledger.commit(batch, changes, NOW + timedelta(seconds=1))
        for each in (ledger, reader):
            found = each.read_progress()
            assert found.partitions.equals(progress.partitions.sort("source"))
            assert found._replace(partitions=progress.partitions) == progress
            assert each.find_parts(part_ids=["p-1"]) == each.find_parts(names=["p"]) == [PART]
            assert each.list_parts() == [PART._replace(marks=())]
            assert each.read_files() == [FILE]
            assert each.list_lake_files() == [EVENTS_FILE, LATE_FILE]
            assert each.list_lake_files(kind="late") == [LATE_FILE]
            assert each.list_lake_files(dates=("2026-11-22", "2026-11-30")) == [EVENTS_FILE]
            assert each.list_lake_files(dates=("2026-11-23", "2026-11-30")) == []
            (committed,) = each.list_unfinished()
            assert (committed.state, committed.end_time) == ("committed", NOW + timedelta(seconds=1))
            assert committed.facts == {"event_count": 3}
    ledger.mark_published(batch)
    assert ledger.list_unfinished() == []
    assert [each.state for each in ledger.list_batches()] == ["published"]


def test_what_a_commit_does_not_name_stays(ledger: Ledger) -> None:
    ledger.commit(ledger.plan("run", NOW, {}), Changes(progress=make_progress(NOW), parts=[PART], files=[FILE]), NOW)
    before = ledger.read_progress()
    ledger.commit(ledger.plan("compact", NOW, {}), Changes(), NOW)
    assert ledger.read_progress().partitions.equals(before.partitions)
    assert ledger.read_progress()._replace(partitions=before.partitions) == before
    assert (ledger.find_parts(part_ids=["p-1"]), ledger.read_files()) == ([PART], [FILE])


def test_a_part_that_is_read_on_keeps_the_marks_that_it_had(ledger: Ledger) -> None:
    ledger.commit(ledger.plan("run", NOW, {}), Changes(parts=[PART]), NOW)
    more = PART._replace(position=150, line_count=3, marks=((100, 150, "three"),))
    ledger.commit(ledger.plan("run", NOW, {}), Changes(parts=[more]), NOW)
    assert ledger.find_parts(names=["p"]) == [more._replace(marks=(*PART.marks, *more.marks))]


def test_files_that_are_no_longer_seen_are_forgotten(ledger: Ledger) -> None:
    other = FILE._replace(path="/logs/access.log.1", inode=9)
    ledger.commit(ledger.plan("run", NOW, {}), Changes(files=[FILE, other]), NOW)
    grown = FILE._replace(size=200)
    ledger.commit(ledger.plan("run", NOW, {}), Changes(files=[grown]), NOW)
    assert ledger.read_files() == [grown]


def test_a_file_that_is_replaced_is_listed_for_as_long_as_it_stays(ledger: Ledger) -> None:
    ledger.commit(ledger.plan("run", NOW, {}), Changes(added=[EVENTS_FILE, LATE_FILE]), NOW)
    new = EVENTS_FILE | {"path": "events/date=2026-11-22/shop-000002-00000.parquet"}
    ledger.commit(ledger.plan("compact", NOW, {}), Changes(added=[new], replaced=[EVENTS_FILE["path"]]), NOW)
    assert ledger.list_lake_files() == [LATE_FILE, new]
    assert ledger.list_lake_files(batch=1) == [LATE_FILE]
    assert ledger.list_replaced(by=2) == [EVENTS_FILE]
    assert ledger.list_replaced(over_at=NOW) == []
    assert ledger.list_replaced(over_at=NOW + timedelta(microseconds=1)) == [EVENTS_FILE]
    ledger.forget_replaced([EVENTS_FILE["path"], LATE_FILE["path"]])
    assert ledger.list_replaced(by=2) == []
    assert ledger.list_lake_files() == [LATE_FILE, new]


def test_a_batch_that_is_dropped_leaves_its_number_and_its_plan_behind(ledger: Ledger) -> None:
    ledger.commit(ledger.plan("run", NOW, {}), Changes(), NOW)
    dropped = ledger.plan("run", NOW, {"inputs": ["gone"]})
    ledger.drop(dropped, "the log is gone", NOW)
    assert [batch.batch_id for batch in ledger.list_unfinished()] == ["shop-000001"]
    assert [batch.batch_id for batch in ledger.list_batches()] == ["shop-000001"]
    (found,) = ledger.list_dropped()
    assert (found.plan, found.facts) == (dropped.plan, {"dropped_because": "the log is gone"})
    after = ledger.plan("run", NOW, {})
    assert after.batch_id == "shop-000003"
    ledger.commit(after, Changes(), NOW)
    assert ledger.list_dropped() == []


def test_what_was_committed_cannot_be_dropped(ledger: Ledger) -> None:
    batch = ledger.plan("run", NOW, {})
    ledger.commit(batch, Changes(), NOW)
    ledger.drop(batch, "a mistake", NOW)
    assert [each.batch_id for each in ledger.list_batches()] == ["shop-000001"]


def test_a_commit_that_fails_changes_nothing(path: Path, ledger: Ledger) -> None:
    batch = ledger.plan("run", NOW, {})
    twice = Changes(progress=make_progress(NOW), parts=[PART], files=[FILE], added=[LATE_FILE, LATE_FILE])
    with pytest.raises(sqlite3.IntegrityError):
        ledger.commit(batch, twice, NOW)
    with open_ledger(path) as reader:
        assert reader.list_unfinished() == [batch]
        assert reader.list_parts() == reader.read_files() == reader.list_lake_files() == []
        assert Watermark() == reader.read_progress().W
    ledger.commit(batch, Changes(added=[LATE_FILE]), NOW)
    assert ledger.list_lake_files() == [LATE_FILE]


def test_the_last_batches_come_oldest_first_and_of_the_kinds_that_are_asked_for(ledger: Ledger) -> None:
    for kind in ("run", "compact", "run", "rebuild", "run"):
        ledger.commit(ledger.plan(kind, NOW, {}), Changes(facts={"event_count": 2}), NOW)
    ledger.plan("run", NOW, {})
    assert [batch.number for batch in ledger.list_batches(2)] == [4, 5]
    assert [batch.number for batch in ledger.list_batches(2, kinds=["run"])] == [3, 5]
    assert (ledger.count_batches(), ledger.sum_facts(["event_count", "unknown"])) == (
        5,
        {"event_count": 10, "unknown": 0},
    )


# ---------------------------------------------------------------- versions, damage, other pipelines


def test_an_older_ledger_is_brought_to_this_version_and_keeps_what_it_has(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.commit(ledger.plan("run", NOW, {}), Changes(parts=[PART]), NOW)
    ledger.close()
    newer = (*schema.MIGRATIONS, "ALTER TABLE part ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue';")
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(newer))
    with create_ledger(path, "shop", NOW) as again:
        assert again.find_parts(names=["p"]) == [PART]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT colour FROM part").fetchall() == [("blue",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
    connection.close()


def test_a_step_that_fails_leaves_the_ledger_at_the_version_before(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.close()
    broken = (*schema.MIGRATIONS, "ALTER TABLE part ADD COLUMN colour TEXT; ALTER TABLE nothing ADD COLUMN colour;")
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", broken)
        patched.setattr(schema, "SCHEMA_VERSION", len(broken))
        with pytest.raises(UnwritableSinkError, match="nothing"):
            create_ledger(path, "shop", NOW)
    with create_ledger(path, "shop", NOW) as again:
        again.commit(again.plan("run", NOW, {}), Changes(parts=[PART]), NOW)
        assert again.list_parts() == [PART._replace(marks=())]


@pytest.mark.parametrize("open_it", [lambda path: create_ledger(path, "shop", NOW), open_ledger], ids=["write", "read"])
def test_a_newer_ledger_is_refused(path: Path, ledger: Ledger, open_it: object) -> None:
    ledger.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(UnreadableSourceError, match="use the newer m2 that wrote it"):
        open_it(path)  # type: ignore[operator]


@pytest.mark.parametrize("open_it", [lambda path: create_ledger(path, "shop", NOW), open_ledger], ids=["write", "read"])
@pytest.mark.parametrize("content", [b"no ledger at all, but a text of some length\n" * 50], ids=["a text"])
def test_a_damaged_ledger_says_so_with_a_remedy(path: Path, content: bytes, open_it: object) -> None:
    path.write_bytes(content)
    with pytest.raises(UnreadableSourceError, match=r"the ledger is damaged: .*; put a backup of it in its place"):
        open_it(path)  # type: ignore[operator]


def test_a_ledger_damaged_within_is_no_traceback(path: Path, ledger: Ledger) -> None:
    for number in range(60):
        batch = ledger.plan("run", NOW, {"inputs": ["x" * 500]})
        ledger.commit(batch, Changes(added=[LATE_FILE | {"path": f"late/{number}"}]), NOW)
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.seek(8192)
        stream.write(b"\xff" * (size - 8192))
    with pytest.raises(UnreadableSourceError, match=r"cannot read `.*ledger\.sqlite`"):
        _use(path)


def _use(path: Path) -> None:
    with create_ledger(path, "shop", NOW) as ledger:
        ledger.list_lake_files()
        ledger.read_files()
        ledger.plan("run", NOW, {})
        ledger.list_parts()


def test_the_ledger_of_another_pipeline_is_refused_and_left_alone(path: Path, ledger: Ledger) -> None:
    ledger.close()
    with pytest.raises(UsageError, match="is written by the pipeline `shop`, not by `other`; a lake has one pipeline"):
        create_ledger(path, "other", NOW)
    with open_ledger(path) as again:
        assert again.pipeline == "shop"


def test_there_is_no_ledger_before_the_first_batch(path: Path) -> None:
    with pytest.raises(UnreadableSourceError, match="there is no ledger; `m2 run PIPELINE` makes it"):
        open_ledger(path)
    assert not path.exists()


# ---------------------------------------------------------------- who only reads


def test_a_reader_sees_what_is_committed_while_a_writer_is_at_work(path: Path, ledger: Ledger) -> None:
    ledger.commit(ledger.plan("run", NOW, {}), Changes(parts=[PART]), NOW)
    batch = ledger.plan("run", NOW, {})
    with ledger._transaction(), open_ledger(path) as reader:
        ledger._put_parts([PART._replace(position=200)], batch)
        assert [part.position for part in reader.list_parts()] == [100]
    with open_ledger(path) as reader:
        assert [part.position for part in reader.list_parts()] == [200]


@pytest.mark.usefixtures("ledger")
def test_a_reader_cannot_write(path: Path) -> None:
    with open_ledger(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM batch")


READ = """
import sys
from pathlib import Path
from m2cli.ledger import open_ledger
with open_ledger(Path(sys.argv[1])) as ledger:
    print([(part.part_id, part.position) for part in ledger.list_parts()])
"""


@pytest.mark.parametrize("is_written", [False, True], ids=["nobody writes", "somebody writes"])
def test_who_may_not_write_in_the_folder_can_read(path: Path, ledger: Ledger, is_written: bool) -> None:
    if not can_run(AS_ANYBODY, path.parent):
        pytest.skip("this system does not let rights be taken away")
    ledger.commit(ledger.plan("run", NOW, {}), Changes(parts=[PART]), NOW)
    if not is_written:
        ledger.close()
    path.parent.chmod(0o555)
    try:
        done = subprocess.run(
            [*AS_ANYBODY, sys.executable, "-c", READ, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
        )
    finally:
        path.parent.chmod(0o755)
    assert (done.stderr, done.stdout) == ("", "[('p-1', 100)]\n")


def test_a_copy_that_was_made_while_nobody_wrote_is_a_ledger(path: Path, ledger: Ledger, tmp_path: Path) -> None:
    ledger.commit(ledger.plan("run", NOW, {}), Changes(parts=[PART]), NOW)
    ledger.close()
    shutil.copy(path, tmp_path / "backup.sqlite")
    with create_ledger(tmp_path / "backup.sqlite", "shop", NOW) as backup:
        assert backup.find_parts(names=["p"]) == [PART]


def test_a_ledger_that_is_found_damaged_at_the_commit_is_no_traceback(path: Path, ledger: Ledger) -> None:
    ledger.commit(ledger.plan("run", NOW, {}), Changes(added=[EVENTS_FILE]), NOW)
    batch = ledger.plan("run", NOW, {})
    ledger.close()
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'lake_file'").fetchone()
    connection.close()
    with path.open("r+b") as stream:
        stream.seek((root - 1) * 4096)
        stream.write(b"\xff" * 4096)
    with create_ledger(path, "shop", NOW) as again, pytest.raises(UnreadableSourceError, match="the ledger is damaged"):
        again.commit(batch, Changes(added=[LATE_FILE]), NOW)


def test_a_ledger_that_could_not_be_made_whole_is_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE nothing ADD COLUMN colour;"))
        with pytest.raises(UnwritableSinkError, match="nothing"):
            create_ledger(path, "shop", NOW)
    assert not path.exists()
    with pytest.raises(UnreadableSourceError, match="there is no ledger"):
        open_ledger(path)
    with create_ledger(path, "shop", NOW) as ledger:
        assert ledger.pipeline == "shop"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
