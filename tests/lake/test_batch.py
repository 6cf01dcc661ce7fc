"""A batch of a pipeline's lake: nothing of it is in the glob before it is whole, and all of it can be taken back."""

from __future__ import annotations

import errno
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from m2cli.errors import UnreadableSourceError, UnwritableSinkError
from m2cli.lake import (
    LakeFile,
    drop_files,
    hide_files,
    open_batch,
    prepare_lake,
    publish,
    read_snapshot,
    remove_batch,
    scan_lake,
    show_files,
    stage_lake,
    write,
)
from m2cli.lake.snapshot import BrokenLakeError
from m2cli.lake.views import define_views
from tests.lake.pipelines import list_all, make_batch, publish_batch, take_in, write_batch
from tests.twins.lake_twin import START

WHOLE = make_batch(1, [(0, 3), (1, 2), (3, 2)])  # the last one starts on the next date
KEPT = {
    "_m2/files/shop-000001-00000.events.2026-03-01",
    "_m2/files/shop-000001-00001.events.2026-03-02",
    "_m2/files/shop-000001-00002.visits.2026-03-01",
    "_m2/files/shop-000001-00003.visits.2026-03-02",
}
PLACES = {
    "events/date=2026-03-01/shop-000001-00000.parquet",
    "events/date=2026-03-02/shop-000001-00001.parquet",
    "visits/date=2026-03-01/shop-000001-00002.parquet",
    "visits/date=2026-03-02/shop-000001-00003.parquet",
}


def test_a_finished_batch_is_nowhere_in_the_glob(tmp_path: Path) -> None:
    files = write_batch(tmp_path, 1, WHOLE)
    assert list_all(tmp_path) == KEPT
    assert {file.path for file in files} == PLACES


def test_before_it_is_finished_its_files_say_that_they_are_not(tmp_path: Path) -> None:
    with open_batch(tmp_path, "shop-000001") as batch:
        batch.write_events(WHOLE.events, WHOLE.visits)
        assert {Path(name).suffix for name in list_all(tmp_path)} == {".unfinished"}


def test_shown_it_lies_under_both_names_and_once_on_the_disk(tmp_path: Path) -> None:
    files = write_batch(tmp_path, 1, WHOLE)
    show_files(tmp_path, files)
    assert list_all(tmp_path) == KEPT | PLACES
    assert {(tmp_path / name).stat().st_nlink for name in KEPT | PLACES} == {2}


def test_hidden_it_leaves_the_glob_and_stays_to_be_read(tmp_path: Path) -> None:
    files = take_in(tmp_path, 1, WHOLE)
    hide_files(tmp_path, files)
    assert list_all(tmp_path) == KEPT | {"_m2/snapshot"}
    assert scan_lake(tmp_path).events.collect().height == WHOLE.events.height


def test_dropped_it_is_gone_with_the_folders_of_dates_that_have_no_other_file(tmp_path: Path) -> None:
    files = take_in(tmp_path, 1, WHOLE)
    take_in(tmp_path, 2, make_batch(2, [(0, 1)]))
    drop_files(tmp_path, files)
    assert not [name for name in list_all(tmp_path) if "shop-000001" in name]
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["date=2026-03-01"]


@pytest.mark.parametrize(
    "again",
    [show_files, hide_files, drop_files],
    ids=["shown", "hidden", "dropped"],
)
def test_what_is_done_may_be_done_again(tmp_path: Path, again: object) -> None:
    assert callable(again)
    files = write_batch(tmp_path, 1, WHOLE)
    again(tmp_path, files)
    once = list_all(tmp_path)
    again(tmp_path, files)
    assert list_all(tmp_path) == once


def test_a_batch_is_removed_wherever_it_lies_and_no_other_is_touched(tmp_path: Path) -> None:
    take_in(tmp_path, 1, WHOLE)
    before = list_all(tmp_path)
    for number in (11, 10, 100_000, 1_000_001):
        show_files(tmp_path, write_batch(tmp_path, number, WHOLE)[:2])
        batch = open_batch(tmp_path, f"shop-{number:06d}")
        batch.write_rejects(pl.DataFrame({"reason": ["no time"]}))
        batch.close()
        remove_batch(tmp_path, f"shop-{number:06d}")
        assert list_all(tmp_path) == before


def test_a_batch_with_a_longer_number_is_another(tmp_path: Path) -> None:
    write_batch(tmp_path, 1_000_001, WHOLE)
    remove_batch(tmp_path, "shop-100000")
    remove_batch(tmp_path, "shop")
    assert len(list_all(tmp_path)) == 4


def test_a_copy_that_a_backup_left_in_the_glob_becomes_a_link_again(tmp_path: Path) -> None:
    files = write_batch(tmp_path, 1, WHOLE)
    for kept, place in zip(sorted(KEPT), sorted(PLACES), strict=True):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes((tmp_path / kept).read_bytes()[:10])
    show_files(tmp_path, files)
    assert list_all(tmp_path) == KEPT | PLACES
    assert {(tmp_path / name).stat().st_nlink for name in PLACES} == {2}


def test_a_file_says_which_visits_and_times_it_holds(tmp_path: Path) -> None:
    files = {file.path: file for file in write_batch(tmp_path, 1, WHOLE)}
    events = files["events/date=2026-03-01/shop-000001-00000.parquet"]
    assert (events.kind, events.row_count, events.visit_count, events.start_date) == ("events", 5, 2, date(2026, 3, 1))
    assert (events.min_start_time, events.max_start_time) == (START, START + timedelta(hours=1))
    assert (events.min_event_time, events.max_event_time) == (START, START + timedelta(hours=1, minutes=1))
    visits = files["visits/date=2026-03-01/shop-000001-00002.parquet"]
    assert (visits.row_count, visits.visit_count) == (2, 2)
    assert visits[6:] == events[6:]


def test_a_file_of_no_visits_says_nothing_of_them(tmp_path: Path) -> None:
    with open_batch(tmp_path, "b") as batch:
        batch.write_rejects(pl.DataFrame({"reason": ["no time"]}))
        batch.write_duplicates(WHOLE.events)
        rejects, duplicates = batch.finish()
    assert rejects[4:] == (None,) * 6
    assert duplicates[4:8] == (None,) * 4
    assert duplicates.max_event_time == WHOLE.events["event_time"].max()


def test_a_file_goes_through_json_and_back(tmp_path: Path) -> None:
    files = write_batch(tmp_path, 1, WHOLE)
    assert [LakeFile.from_dict(file.to_dict()) for file in files] == list(files)
    assert files[0].to_dict()["max_start_time"] == "2026-03-01T23:00:00+00:00"


def test_polars_and_duckdb_read_it_by_its_snapshot(tmp_path: Path) -> None:
    files = take_in(tmp_path, 1, WHOLE)
    hide_files(tmp_path, files)  # so that only the names without a suffix are there
    snapshot = read_snapshot(tmp_path)
    assert snapshot.is_linked
    assert {str(path.relative_to(tmp_path)) for path in snapshot.paths(tmp_path)} == KEPT
    frames = scan_lake(tmp_path)
    assert frames.events.select(WHOLE.events.columns).collect().sort("event_id").equals(WHOLE.events.sort("event_id"))
    with duckdb.connect() as connection:
        for statement in define_views(tmp_path, snapshot):
            connection.execute(statement)
        assert connection.sql("SELECT count(*) FROM events").fetchall() == [(7,)]
        assert connection.sql("SELECT sum(event_count) FROM visits").fetchall() == [(7,)]


def test_duckdb_reads_its_glob_with_the_dates(tmp_path: Path) -> None:
    take_in(tmp_path, 1, WHOLE)
    events = duckdb.read_parquet(f"{tmp_path}/events/*/*.parquet", hive_partitioning=True)
    assert dict(events.aggregate("date, count(*)").pl().rows()) == {date(2026, 3, 1): 5, date(2026, 3, 2): 2}


def test_a_frame_made_before_a_file_was_replaced_is_read_after_it(tmp_path: Path) -> None:
    files = take_in(tmp_path, 1, WHOLE)
    before = scan_lake(tmp_path).events
    publish_batch(tmp_path, 2, write_batch(tmp_path, 2, make_batch(2, [(0, 1)])), files)
    assert before.collect().height == 7
    assert scan_lake(tmp_path).events.collect().height == 1
    drop_files(tmp_path, files)
    assert scan_lake(tmp_path).events.collect().height == 1


@pytest.mark.parametrize(("is_finished", "left_count"), [(False, 0), (True, 2)], ids=["unfinished", "finished"])
def test_a_batch_that_an_error_ends_leaves_only_what_was_finished(
    tmp_path: Path, is_finished: bool, left_count: int
) -> None:
    def fail() -> None:
        with open_batch(tmp_path, "b") as batch:
            batch.write_events(WHOLE.events, WHOLE.visits)
            if is_finished:
                batch.finish()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(list_all(tmp_path)) == left_count


def test_a_batch_that_was_written_before_is_not_written_over(tmp_path: Path) -> None:
    take_in(tmp_path, 1, WHOLE)
    before = scan_lake(tmp_path).events.collect()
    with pytest.raises(ValueError, match="was written before"):
        write_batch(tmp_path, 1, WHOLE)
    remove_batch(tmp_path, "shop-000001")
    publish_batch(tmp_path, 1, write_batch(tmp_path, 1, WHOLE))
    assert scan_lake(tmp_path).events.collect().equals(before)


def test_a_sync_that_fails_finishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(write, "sync_file", refuse)
    with pytest.raises(UnwritableSinkError, match="input/output error"):
        write_batch(tmp_path, 1, WHOLE)
    assert list_all(tmp_path) == set()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(errno.EPERM, "makes no hard links .operation not permitted.; a pipeline's lake lies on", id="FAT"),
        pytest.param(errno.EOPNOTSUPP, "makes no hard links", id="a network's file system"),
        pytest.param(errno.EXDEV, "lie on several file systems .+ lies on one", id="a folder that is a mount"),
        pytest.param(errno.EROFS, "read-only file system$", id="read-only"),
        pytest.param(errno.ENOSPC, "no space left on device; free some room", id="full"),
    ],
)
def test_where_no_link_can_be_made_it_is_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    files = write_batch(tmp_path / "lake", 1, WHOLE)

    def refuse(_self: Path, _target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(UnwritableSinkError, match=message):
        show_files(tmp_path / "lake", files)
    assert list((tmp_path / "lake").rglob("*.parquet")) == []
    with pytest.raises(UnwritableSinkError, match=message):
        prepare_lake(tmp_path / "new")
    assert list_all(tmp_path / "new") == set()


def test_a_lake_is_prepared_once_or_more_and_holds_no_file(tmp_path: Path) -> None:
    prepare_lake(tmp_path / "deep" / "lake")
    prepare_lake(tmp_path / "deep" / "lake")
    assert list_all(tmp_path) == set()
    assert (tmp_path / "deep" / "lake" / "events").is_dir()


def test_a_committed_file_that_is_gone_cannot_be_shown(tmp_path: Path) -> None:
    files = write_batch(tmp_path, 1, WHOLE)
    (tmp_path / "_m2/files/shop-000001-00000.events.2026-03-01").unlink()
    with pytest.raises(BrokenLakeError, match="gone or damaged"):
        show_files(tmp_path, files)


def test_a_lake_made_at_once_takes_no_batches(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as lake:
        lake.commit()
    with pytest.raises(UnreadableSourceError, match="no lake of the pipeline `shop`"):
        publish(tmp_path / "lake", batch_id="b", W=datetime.now(UTC), pipeline="shop", added=[])
