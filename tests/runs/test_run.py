"""What a person meets who runs a pipeline: what is taken, late, rejected, open, carried, said, and left alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import ExitCode, TooManyRejectsError, UnreadableSourceError, UsageError
from m2cli.runs.batch import carry
from m2cli.runs.batch.report import describe_batch
from m2cli.settings import RejectLimit
from tests.cli.command import run_m2
from tests.pipelines_runs.shop import MINUTE, RULE, Shop, assert_sound, line, list_lake, list_rows, walk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop that has an access log."""
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("access.log*"),))
    return shop


@pytest.fixture
def shop_of_files(tmp_path: Path) -> Shop:
    """A shop whose events come in files."""
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.events_source(),))
    return shop


def ago(shop: Shop, minutes: float) -> str:
    return line(shop.now - minutes * MINUTE, url=f"/{minutes}")


# ---------------------------------------------------------------- what adds up


def test_every_line_and_every_event_is_accounted_for(shop: Shop) -> None:
    for number in range(4):
        shop.log("# a directive\n", *walk(shop.now - 12 * MINUTE, 40, number), "no line\n", "\n")
        facts = shop.run().batch
        assert facts.read_count == facts.event_count + facts.reject_count + facts.ignored_count
        assert (facts.event_count, facts.reject_count > 0, facts.ignored_count > 1) == (40, True, True)
        shop.pass_time(30)
    facts = shop.run(is_flush=True).batch
    assert (facts.carried_out_count, facts.open_visit_count, facts.open_until) == (0, 0, None)
    with shop.ledger() as ledger:
        sums = ledger.sum_facts(["event_count", "late_count", "closed_event_count", "reject_count", "visit_count"])
    tables = {table: shop.count(table) for table in ("events", "late", "rejects", "visits")}
    assert sums["event_count"] == 160 == tables["events"] + tables["late"]
    assert tables == {
        "events": sums["closed_event_count"],
        "late": sums["late_count"],
        "rejects": sums["reject_count"],
        "visits": sums["visit_count"],
    }
    assert tables["late"] > 0
    assert_sound(shop)


def test_an_event_too_far_ahead_of_its_arrival_is_a_reject_and_moves_no_watermark(shop: Shop) -> None:
    shop.log(ago(shop, 1), ago(shop, -10), ago(shop, -10.5))
    facts = shop.run().batch
    assert (facts.event_count, facts.reject_reasons) == (2, {"from_the_future": 1})
    assert shop.now - 5 * MINUTE == facts.W  # the arrival's, for it was ahead of that
    assert shop.read("rejects")["reason"].to_list() == ["from_the_future"]


def test_how_far_ahead_an_event_may_be_is_a_setting(shop: Shop) -> None:
    shop.settle(max_ahead=timedelta(0))
    shop.log(ago(shop, 0), ago(shop, -1))
    assert shop.run().batch.reject_reasons == {"from_the_future": 1}


def test_a_late_event_is_kept_with_its_reason_and_with_how_late_it_was(shop: Shop) -> None:
    shop.log(ago(shop, 0), ago(shop, 5), ago(shop, 8))
    facts = shop.run().batch
    assert facts.late_reasons == {"late": 1}
    late = shop.read("late")
    assert late.select("url", "late_reason", "late_by").rows() == [("/8", "late", 3 * MINUTE)]


def test_too_many_rejects_commit_nothing_until_the_limit_is_raised(shop: Shop) -> None:
    shop.settle(max_rejects=RejectLimit(count=1))
    shop.log(ago(shop, 1), "no line\n", "no line either\n")
    for _ in range(2):
        with pytest.raises(TooManyRejectsError):
            shop.run()
        assert not [name for name in list_lake(shop) if name.startswith(("_m2/files", "rejects"))]
    shop.settle(max_rejects=RejectLimit(count=2))
    facts = shop.run()
    assert (facts.redone, facts.batch.reject_count, shop.count("rejects")) == (None, 2, 2)
    assert_sound(shop)


# ---------------------------------------------------------------- how far is read


def test_until_takes_lines_up_to_that_time_and_the_next_run_takes_the_rest(shop: Shop) -> None:
    shop.log(ago(shop, 50), ago(shop, 40), ago(shop, 42), ago(shop, 30), ago(shop, 41), ago(shop, 20))
    assert shop.run(until=shop.now - 30 * MINUTE).batch.event_count == 3
    assert shop.run(until=shop.now - 30 * MINUTE).batch.event_count == 0
    assert shop.run().batch.event_count == 3
    shop.run(is_flush=True)
    assert shop.count("events") + shop.count("late") == 6
    assert_sound(shop)


def test_until_leaves_event_files_that_reach_beyond_it(shop_of_files: Shop) -> None:
    shop = shop_of_files
    shop.pass_time(-5)
    for name, minutes in (("one", 50), ("two", 20)):
        row = {"event_id": name, "event_time": (shop.now - minutes * MINUTE).isoformat(), "visitor_id": "v"}
        shop.drop_events(name, [row])
    shop.pass_time(5)
    assert shop.run(until=shop.now - 30 * MINUTE).batch.event_count == 1
    assert shop.run().batch.event_count == 1
    shop.run(is_flush=True)
    assert shop.read("events")["event_id"].to_list() == ["one", "two"]


def test_a_partition_of_which_until_leaves_input_is_not_idle(shop_of_files: Shop) -> None:
    shop = shop_of_files

    def drop(name: str, source: str) -> None:
        shop.pass_time(-5)
        row = {"event_id": name, "event_time": shop.now.isoformat(), "visitor_id": "v", "source": source}
        shop.drop_events(name, [row])
        shop.pass_time(5)

    drop("one", "web")
    drop("two", "app")
    shop.run()
    shop.pass_time(120)
    drop("three", "web")
    until = shop.now
    shop.pass_time(10)
    drop("four", "app")
    assert shop.run(until=until).batch.event_count == 1
    with shop.ledger() as ledger:
        partitions = ledger.read_progress().partitions
    assert dict(partitions.select("source", "is_active").iter_rows()) == {"app": True, "web": True}


def test_what_comes_from_before_a_flush_is_late_after_it(shop: Shop) -> None:
    shop.log(ago(shop, 1))
    flushed = shop.run(is_flush=True).batch
    assert (flushed.visit_count, flushed.W) == (1, shop.now + 29 * MINUTE + timedelta(microseconds=1))
    assert shop.read("visits")["end_reason"].to_list() == ["flush"]
    shop.log(line(shop.now + 20 * MINUTE))
    shop.pass_time(40)
    shop.log(line(shop.now))
    facts = shop.run().batch
    assert (facts.late_reasons, facts.open_visit_count) == ({"after_flush": 1}, 1)
    assert shop.now - 5 * MINUTE == facts.W


def test_a_flush_with_nothing_open_changes_no_watermark(shop: Shop) -> None:
    shop.log(ago(shop, 1))
    W = shop.run(is_flush=True).batch.W
    assert shop.run(is_flush=True).batch.W == W


def test_finished_logs_leave_visits_open_and_say_until_when(shop: Shop) -> None:
    shop.log(ago(shop, 100), ago(shop, 99), line(shop.now - 3 * MINUTE, 2), line(shop.now - MINUTE, 3))
    facts = shop.run().batch
    assert (facts.visit_count, facts.open_visit_count, facts.carried_out_count) == (1, 2, 2)
    assert facts.open_until == shop.now + 29 * MINUTE
    shop.pass_time(24 * 60)
    again = shop.run().batch
    assert (again.open_visit_count, again.open_until) == (2, facts.open_until)


def test_an_empty_batch_changes_nothing_but_says_that_it_was(shop: Shop) -> None:
    shop.log(*walk(shop.now - 40 * MINUTE, 120, 1))
    shop.run()
    before, rows = list_lake(shop), list_rows(shop)
    shop.pass_time(1)
    facts = shop.run().batch
    assert (facts.read_count, facts.visit_count, facts.carried_in_count) == (0, 0, facts.carried_out_count)
    after = list_lake(shop)
    assert {name for name in before if before[name] != after.get(name)} == {"_m2/snapshot"}
    assert (after.keys(), list_rows(shop)) == (before.keys(), rows)
    assert [batch.batch_id for batch in shop.batches()] == ["shop-000001", "shop-000002"]
    assert_sound(shop)


def test_a_pipeline_whose_sources_are_not_there_yet_runs_and_waits(shop: Shop) -> None:
    facts = shop.run().batch
    assert (facts.read_count, facts.W, facts.open_visit_count) == (0, None, 0)
    assert_sound(shop)


@pytest.mark.parametrize("how", ["again", "a copy", "packed", "renamed"])
def test_importing_twice_changes_nothing(shop: Shop, how: str) -> None:
    shop.settle(sources=(shop.log_source("access.log*"),))
    path = shop.log(*walk(shop.now - 40 * MINUTE, 60, 1))
    shop.pass_time(70)
    shop.run(is_flush=True)
    rows = list_rows(shop)
    shop.pass_time(70)
    if how == "a copy":
        (path.with_name("access.log.copy")).write_bytes(path.read_bytes())
        shop.touch(path.with_name("access.log.copy"))
    elif how == "packed":
        shop.pack_log("access.log", "access.log.1.gz")
    elif how == "renamed":
        shop.rename_log("access.log", "access.log.1")
    facts = shop.run(is_flush=True).batch
    assert (facts.read_count, facts.warnings) == (0, ())
    assert list_rows(shop) == rows


# ---------------------------------------------------------------- settings that change


def test_a_changed_limit_holds_for_visits_that_are_open(shop: Shop) -> None:
    shop.log(ago(shop, 20), ago(shop, 6))
    assert shop.run().batch.open_visit_count == 1
    shop.settle(visit=type(RULE)(inactivity=5 * MINUTE, max_duration=120 * MINUTE, max_out_of_orderness=5 * MINUTE))
    shop.pass_time(1)
    shop.log(ago(shop, 0))
    shop.run(is_flush=True)
    assert_sound(shop)
    # Of the first two only one was final; the other, pending, is cut anew.
    assert shop.read("visits")["event_count"].to_list() == [1, 1, 1]


def test_what_was_planned_is_done_by_the_rule_it_was_planned_with(shop: Shop) -> None:
    shop.log(ago(shop, 100), ago(shop, 90), ago(shop, 1))

    def stop(step: str) -> None:
        if step == "input taken in":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.run(at=stop)
    shop.settle(visit=type(RULE)(inactivity=MINUTE, max_duration=120 * MINUTE, max_out_of_orderness=5 * MINUTE))
    redone = shop.run().redone
    assert redone is not None
    assert redone.visit_count == 1
    assert shop.read("visits")["event_count"].to_list() == [2]


def test_a_source_that_is_taken_out_of_the_settings_is_no_longer_waited_for(shop: Shop) -> None:
    shop.settle(sources=(shop.log_source("access.log"), shop.log_source("other.log", name="other")))
    shop.log(ago(shop, 1))

    def stop(step: str) -> None:
        if step == "planned":
            raise KeyboardInterrupt

    shop.log(line(shop.now, 2), name="other.log")
    with pytest.raises(KeyboardInterrupt):
        shop.run(at=stop)
    shop.settle(sources=(shop.log_source("access.log"),))
    facts = shop.run()
    assert (facts.redone, facts.batch.event_count) == (None, 1)
    assert_sound(shop)


# ---------------------------------------------------------------- whose lake it is


def test_the_lake_of_another_pipeline_is_refused(shop: Shop) -> None:
    shop.log(ago(shop, 1))
    shop.run()
    before = list_lake(shop)
    shop.settle(name="other")
    with pytest.raises(UsageError, match="is written by the pipeline `shop`, not by `other`"):
        shop.run()
    assert list_lake(shop) == before


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(shop: Shop) -> None:
    shop.lake.mkdir()
    (shop.lake / "thesis.doc").write_text("dear")
    with pytest.raises(UsageError, match=r"holds `thesis\.doc`, no part of a lake"):
        shop.run()
    assert [path.name for path in shop.lake.iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize("is_empty", [True, False], ids=["emptied", "gone"])
def test_a_lake_that_has_lost_its_ledger_is_not_begun_again(shop: Shop, is_empty: bool) -> None:
    shop.log(*walk(shop.now - 40 * MINUTE, 60, 1))
    shop.run(is_flush=True)
    before = list_lake(shop)
    ledger = shop.lake / "_m2" / "ledger.sqlite"
    ledger.unlink()
    if is_empty:
        ledger.touch()
    with pytest.raises(UnreadableSourceError, match="the ledger of the pipeline `shop` is gone; restore the lake"):
        shop.run()
    assert list_lake(shop) == before


def test_a_snapshot_that_is_damaged_is_made_anew_from_the_ledger(shop: Shop) -> None:
    shop.log(*walk(shop.now - 40 * MINUTE, 60, 1))
    shop.run()
    (shop.lake / "_m2" / "snapshot").write_text("{")
    shop.run(is_flush=True)
    assert_sound(shop)
    assert shop.count("events") + shop.count("late") == 60


# ---------------------------------------------------------------- what is said


def test_a_log_that_turns_up_late_is_said_so_and_the_remedy_is_named(tmp_path: Path, shop: Shop) -> None:
    shop.write_toml("logs")
    shop.log(*walk(shop.now - 40 * MINUTE, 60, 1))
    shop.run()
    shop.log(*(line(shop.now - 600 * MINUTE + number * MINUTE, 9) for number in range(5)), name="access.log.other")
    done = run_m2("run", "shop.toml", folder=tmp_path)
    assert (done.returncode, done.stdout) == (ExitCode.OK, b"")
    said = done.stderr.decode()
    assert "access.log.other` came late (5 events, kept in `late`)" in said
    assert "`m2 rebuild shop.toml " in said
    assert shop.batches()[-1].facts["late_reasons"] == {"new_partition": 5}


def test_cron_hears_nothing_where_nothing_is_wrong(tmp_path: Path, shop: Shop) -> None:
    shop.write_toml("logs", log="shop.log", json_log="shop.ndjson", metrics="shop.prom")
    shop.drop_events("none", [])
    shop.log(*walk(shop.now - 40 * MINUTE, 60, 1))
    done = run_m2("run", "shop.toml", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, b"", b"")
    (batch,) = shop.batches()
    assert (tmp_path / "shop.log").read_text().startswith(f"{batch.end_time:%Y-%m-%d %H:%M:%S}Z shop-000001  read ")
    assert '"event_count": 60' in (tmp_path / "shop.ndjson").read_text()
    assert 'm2_events_total{pipeline="shop"} 60' in (tmp_path / "shop.prom").read_text()


def test_a_report_that_was_cut_short_by_a_kill_is_made_by_the_next_run(tmp_path: Path, shop: Shop) -> None:
    shop.settle(log=tmp_path / "shop.log")
    shop.log(*walk(shop.now - 40 * MINUTE, 60, 1))

    def stop(step: str) -> None:
        if step == "committed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.run(at=stop)
    shop.run()
    lines = (tmp_path / "shop.log").read_text().splitlines()
    assert [text.split()[2] for text in lines] == ["shop-000001", "shop-000002"]


# ---------------------------------------------------------------- what is carried


def list_carried(shop: Shop) -> list[tuple[int, int, int]]:
    """The segments as (sequence, rows, of them alive)."""
    with shop.ledger() as ledger:
        carried = ledger.read_progress().carried
    return [(file.sequence, file.row_count, file.alive_count) for file in carried if file.kind == carry.SEGMENT]


def visit_at(shop: Shop, *visitors: int) -> None:
    shop.log(*(line(shop.now, visitor, f"/{visitor}") for visitor in visitors))
    shop.run()
    shop.pass_time(20)


def test_a_segment_of_which_nothing_is_alive_is_dropped(shop: Shop) -> None:
    visit_at(shop, 1, 2)
    visit_at(shop, 3)
    assert list_carried(shop) == [(2, 2, 2)]
    visit_at(shop, 3)
    visit_at(shop, 3)
    assert [sequence for sequence, _, _ in list_carried(shop)] == [3, 4]
    files = {path.name.split("-segment")[0] for path in (shop.lake / "_m2" / "carried").glob("*segment*")}
    assert len(files) <= 3  # those of the commit before stay until the next one
    shop.run(is_flush=True)
    assert shop.read("visits").sort("visitor_id", "start_time")["event_count"].sum() == 5
    assert_sound(shop)


def test_a_segment_of_which_little_is_alive_is_rewritten_and_keeps_its_place(shop: Shop) -> None:
    visit_at(shop, 1, 2, 3, 4, 5, 6)
    for _ in range(4):
        visit_at(shop, 1)
    segments = list_carried(shop)
    assert segments[0] == (2, 1, 1)
    assert [sequence for sequence, _, _ in segments] == sorted(sequence for sequence, _, _ in segments)
    shop.run(is_flush=True)
    assert sorted(shop.read("visits")["event_count"]) == [1, 1, 1, 1, 1, 5]
    assert_sound(shop)


def live_long(shop: Shop, count: int) -> tuple[list[int], list[int]]:
    """So many batches of the same little load: how many files of carried state each left, and their bytes."""
    file_counts, sizes = [], []
    for number in range(count):
        shop.log(*(line(shop.now - 5 * MINUTE + each * MINUTE, 1 + (number + each) % 9) for each in range(5)))
        shop.run()
        shop.pass_time(15)
        carried = [path.stat().st_size for path in (shop.lake / "_m2" / "carried").iterdir()]
        file_counts.append(len(carried))
        sizes.append(sum(carried))
    return file_counts, sizes


def assert_flat(values: list[int]) -> None:
    third = len(values) // 3
    assert max(values[-third:]) <= max(values[third : 2 * third]) * 1.1


def test_carried_state_does_not_grow_with_the_age_of_the_pipeline(shop: Shop) -> None:
    for values in live_long(shop, 36):
        assert_flat(values)
    assert_sound(shop)


@pytest.mark.soak
def test_carried_state_is_after_a_thousand_batches_what_it_was_after_a_hundred(shop: Shop) -> None:
    for values in live_long(shop, 1_000):
        assert_flat(values)
    assert_sound(shop)


def test_carried_files_that_nothing_needs_are_gone_after_the_next_batch(shop: Shop) -> None:
    for number in range(3):
        shop.log(*walk(shop.now - 12 * MINUTE, 30, number))
        shop.run(is_flush=number == 1)
        shop.pass_time(40)
    shop.run()
    shop.run()
    with shop.ledger() as ledger:
        needed = {file.path for file in ledger.read_progress().carried}
    assert {f"_m2/carried/{path.name}" for path in (shop.lake / "_m2" / "carried").iterdir()} == needed


# ---------------------------------------------------------------- what a reader sees


def test_by_glob_and_by_snapshot_visits_are_whole_at_every_step(shop: Shop) -> None:
    seen: list[dict[str, int]] = []

    def look(_step: str) -> None:
        paths = sorted(shop.lake.glob("events/*/*.parquet"))
        seen.extend(dict(pl.read_parquet(path)["visit_id"].value_counts().rows()) for path in paths)
        if (shop.lake / "_m2" / "snapshot").exists() and shop.count("events"):
            seen.append(dict(shop.read("events")["visit_id"].value_counts().rows()))

    for number in range(3):
        shop.log(*walk(shop.now - 12 * MINUTE, 30, number))
        shop.run(at=look)
        shop.pass_time(40)
    shop.run(is_flush=True, at=look)
    counts = dict(shop.read("visits").select("visit_id", "event_count").rows())
    assert len(seen) > 20
    assert all(found.items() <= counts.items() for found in seen)


def test_a_line_for_people_says_what_the_batch_came_to(shop: Shop) -> None:
    shop.settle(sources=(shop.log_source("access.log*"),))
    shop.log(ago(shop, 0), ago(shop, 8), "no line\n")
    facts = shop.run().batch
    (batch,) = shop.batches()
    counts = "read 3  rejects 1  late 1  visits 0  open 1"
    said = f"2026-11-22 12:00:00Z shop-000001  {counts}  W 2026-11-22 11:55:00Z  {facts.seconds:.1f} s"
    assert describe_batch(batch, facts) == said
