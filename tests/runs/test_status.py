"""How a pipeline stands: what holds W back, what adds up, what is left to read, and nobody is disturbed."""

from __future__ import annotations

import fcntl
import gzip
import os
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import UsageError
from m2cli.ledger import find_holder, hold_lock, lock
from m2cli.runs.status import read_status
from tests.pipelines_runs.shop import MINUTE, START, Shop, line, walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def stop_at(wanted: str) -> Callable[[str], None]:
    def at(step: str) -> None:
        if step == wanted:
            raise KeyboardInterrupt

    return at


def state_of(shop: Shop) -> dict[str, tuple[bool, bool]]:
    """Which partitions are active, and which of them hold W back, by the last part of their names."""
    partitions = read_status(shop.rule).partitions
    return {each.source.rpartition("/")[2]: (each.is_active, each.holds_back) for each in partitions}


def behind(shop: Shop) -> dict[str, int]:
    return {each.name: each.behind_bytes for each in read_status(shop.rule).sources}


def test_before_its_first_run_a_pipeline_stands_at_nothing(shop: Shop) -> None:
    size = shop.log(line(START)).stat().st_size
    status = read_status(shop.rule)
    assert (status.batches, status.batch_count, status.W, status.unfinished) == ((), 0, None, ())
    assert set(status.totals.values()) == {0}
    assert behind(shop) == {"logs": size, "events": 0}
    assert not shop.lake.exists()


def test_the_active_partition_that_is_least_far_holds_the_watermark_back(shop: Shop) -> None:
    shop.pass_time(40)
    shop.log(line(START + 30 * MINUTE), name="access.log")
    shop.log(line(START + 20 * MINUTE), name="access.log.other")
    shop.run()
    assert state_of(shop) == {"access.log": (True, False), "access.log.other": (True, True)}
    assert read_status(shop.rule).W == START + 15 * MINUTE


def test_a_partition_of_which_nothing_was_read_is_the_least_far_of_all(shop: Shop) -> None:
    shop.settle(sources=(shop.log_source("access.log", "to_come.log"),))
    shop.log(line(START))
    shop.run()
    assert state_of(shop) == {"access.log": (True, False), "to_come.log": (True, True)}
    assert read_status(shop.rule).W is None


def test_an_idle_partition_holds_nothing_back_and_says_since_when_it_had_no_input(shop: Shop) -> None:
    shop.log(line(START), name="access.log.other")
    shop.run()
    first = shop.now
    shop.pass_time(90)
    shop.log(line(shop.now))
    shop.run()
    assert state_of(shop) == {"access.log": (True, True), "access.log.other": (False, False)}
    assert [each.last_input_time for each in read_status(shop.rule).partitions] == [shop.now, first]


def test_where_no_partition_is_active_none_holds_anything_back(shop: Shop) -> None:
    shop.settle(sources=(shop.log_source("access.log", "to_come.log"),))
    shop.log(line(START))
    shop.run()
    shop.pass_time(90)
    shop.run()
    assert state_of(shop) == {"access.log": (False, False), "to_come.log": (False, False)}


def test_the_totals_add_up_over_all_batches_and_a_flush(shop: Shop) -> None:
    for seed in range(4):
        shop.log(*walk(shop.now, 60, seed))
        shop.pass_time(45)
        shop.run(is_flush=seed == 2)
        status = read_status(shop.rule)
        sums = status.totals
        assert sums["read_count"] == sums["event_count"] + sums["reject_count"] + sums["ignored_count"]
        went = sums["closed_event_count"] + sums["late_count"] + sums["duplicate_count"] + status.open_event_count
        assert sums["event_count"] == went
        assert (status.open_visit_count == 0) == (seed == 2)
    assert (status.batch_count, status.flushed_to) == (4, shop_flushed_to(shop))
    assert sums["visit_count"] == shop.count("visits") > 0


def shop_flushed_to(shop: Shop) -> object:
    with shop.ledger() as ledger:
        return ledger.read_progress().W.flushed_to


def test_only_the_last_batches_are_told_of(shop: Shop) -> None:
    for _ in range(4):
        shop.pass_time(15)
        shop.run()
    assert [batch.batch_id for batch in read_status(shop.rule, batch_count=2).batches] == ["shop-000003", "shop-000004"]
    assert read_status(shop.rule).batch_count == 4


def test_what_is_behind_is_what_is_there_and_was_not_read(shop: Shop) -> None:
    shop.log(line(START), line(START))
    shop.run()
    assert behind(shop) == {"logs": 0, "events": 0}
    shop.log(line(START + MINUTE), "the begin of a line")
    shop.drop_events("one", [{"event_time": START.isoformat(), "visitor_id": "v"}])
    new = (shop.folder / "events" / "one.ndjson").stat().st_size
    assert behind(shop) == {"logs": len(line(START)) + 19, "events": new}
    shop.pass_time(2)
    shop.run()
    assert behind(shop) == {"logs": 19, "events": 0}


@pytest.mark.parametrize("change", ["renamed", "packed", "truncated"])
def test_a_rotated_log_is_behind_by_nothing_once_it_was_looked_into(shop: Shop, change: str) -> None:
    shop.log(*walk(START, 50, 1))
    shop.pass_time(60)
    shop.run()
    if change == "renamed":
        shop.rename_log("access.log", "access.log.1")
        assert behind(shop)["logs"] == 0
    elif change == "packed":
        shop.pack_log("access.log", "access.log.1.gz")
        assert behind(shop)["logs"] == (shop.folder / "logs" / "access.log.1.gz").stat().st_size
    else:
        shop.copy_and_truncate_log("access.log", "access.log.1")
    shop.run()
    assert behind(shop)["logs"] == 0


def test_a_packed_log_that_ends_in_a_line_without_an_end_is_behind_by_that_line(shop: Shop) -> None:
    path = shop.folder / "logs" / "access.log.1.gz"
    path.write_bytes(gzip.compress((line(START) + "no end").encode(), mtime=0))
    shop.touch(path)
    shop.run()
    assert behind(shop)["logs"] == len("no end")


def test_what_was_read_is_counted_by_source_though_its_files_are_gone(shop: Shop) -> None:
    size = shop.log(*walk(START, 20, 1)).stat().st_size
    shop.run()
    shop.rename_log("access.log", "gone")
    (shop.folder / "logs" / "gone").unlink()
    shop.run()
    [logs, _] = read_status(shop.rule).sources
    assert (logs.file_count, logs.part_count, logs.read_bytes) == (0, 1, size)


@pytest.mark.parametrize(("step", "state"), [("planned", "planned"), ("committed", "committed")])
def test_a_batch_that_was_not_finished_is_told_of(shop: Shop, step: str, state: str) -> None:
    shop.log(line(START))
    with pytest.raises(KeyboardInterrupt):
        shop.run(at=stop_at(step))
    [unfinished] = read_status(shop.rule).unfinished
    assert (unfinished.batch_id, unfinished.state, unfinished.plan_time) == ("shop-000001", state, START)
    shop.run()
    assert read_status(shop.rule).unfinished == ()


def test_a_run_that_is_at_work_is_seen_and_may_be_looked_at_in_any_of_its_steps(shop: Shop) -> None:
    shop.log(*walk(START, 20, 1))
    seen = []
    shop.run(at=lambda _step: seen.append(read_status(shop.rule).is_running))
    assert len(seen) > 10
    assert all(seen)
    assert not read_status(shop.rule).is_running


def test_who_looks_at_a_lock_is_told_the_process_that_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    assert find_holder(path) is None
    with hold_lock(path, "it"):
        assert find_holder(path) == str(os.getpid())
    assert find_holder(path) is None


def test_a_run_that_begins_just_while_somebody_looks_is_not_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.lock"
    path.touch()
    looking = path.open("rb")
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(lock.time, "sleep", lambda _seconds: looking.close())
    with hold_lock(path, "it"):
        assert find_holder(path) is not None


def test_the_last_batchs_warnings_and_what_cannot_be_looked_at_are_told(shop: Shop) -> None:
    shop.settle(sources=(shop.log_source("access.log*"), shop.log_source("there/access.log*", name="other")))
    shop.log(line(START))
    shop.run()
    folder = shop.folder / "logs"
    assert read_status(shop.rule).warnings == (f"the folder `{folder / 'there'}` is not there",)
    folder.rename(shop.folder / "elsewhere")
    assert read_status(shop.rule).warnings == (
        f"the folder `{folder / 'there'}` is not there",
        f"the folder `{folder}` is not there",
    )


def test_the_lake_of_another_pipeline_is_refused(shop: Shop) -> None:
    shop.run()
    shop.settle(name="bazaar")
    with pytest.raises(UsageError, match="is written by the pipeline `shop`, not by `bazaar`"):
        read_status(shop.rule)


def test_a_folder_that_is_no_lake_is_refused(shop: Shop) -> None:
    shop.lake.mkdir()
    (shop.lake / "holiday.jpg").touch()
    with pytest.raises(UsageError, match=r"holds `holiday.jpg`, no part of a lake"):
        read_status(shop.rule)
