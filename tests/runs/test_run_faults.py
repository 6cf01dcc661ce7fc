"""What goes wrong around a run and must not stop it, nor make it say or do anything twice."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.commands.run import list_warnings
from m2cli.errors import ExitCode, TooManyRejectsError, UnreadableSourceError
from m2cli.logs.follow import RangeLostError
from m2cli.runs import run as running
from m2cli.runs.compact import CompactRule, compact_lake
from m2cli.settings import RejectLimit
from tests.cli.command import run_m2
from tests.pipelines_runs.shop import MINUTE, Shop, assert_sound, line, walk

if TYPE_CHECKING:
    from typing import Any

    from m2cli.runs.batch.known import PlanRule
    from m2cli.runs.batch.planning import NewPlan


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def stop_at(wanted: str) -> Any:
    def stop(step: str) -> None:
        if step == wanted:
            raise KeyboardInterrupt

    return stop


def list_told(path: Path) -> list[str]:
    """The batches that a log has lines of."""
    return [text.split()[2] for text in path.read_text().splitlines()]


# ---------------------------------------------------------------- logs and metrics that cannot be written


def test_metrics_that_cannot_be_written_stop_nothing_and_double_no_line(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "a_file").touch()
    shop.settle(log=tmp_path / "shop.log", metrics=tmp_path / "a_file" / "shop.prom")
    for number in range(3):
        shop.log(*walk(shop.now - 12 * MINUTE, 10, number))
        facts = shop.run()
        assert facts.batch.event_count == 10
        assert [text.split(":")[0] for text in facts.unreported] == [f"cannot write `{shop.rule.metrics}`"]
        assert_sound(shop)
        shop.pass_time(15)
    assert list_told(tmp_path / "shop.log") == ["shop-000001", "shop-000002", "shop-000003"]


def test_the_metrics_are_written_where_the_log_cannot_be(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "a_folder").mkdir()
    shop.settle(log=tmp_path / "a_folder", json_log=tmp_path / "a_folder", metrics=tmp_path / "shop.prom")
    assert len(shop.run().unreported) == 2
    assert 'm2_batches_total{pipeline="shop"} 1' in (tmp_path / "shop.prom").read_text()


def test_a_run_that_could_not_be_told_of_warns_and_ends_with_the_code_of_a_sink(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "a_file").touch()
    shop.write_toml(metrics="a_file/shop.prom")
    shop.log(*walk(shop.now - 40 * MINUTE, 10, 1))
    done = run_m2("run", "shop.toml", folder=tmp_path)
    assert done.returncode == ExitCode.UNREACHABLE
    warning = "a_file/shop.prom`: file exists; all else is done"
    assert [warning in said for said in done.stderr.decode().splitlines() if "cannot write" in said] == [True]
    assert shop.batches()[-1].facts["event_count"] == 10


def test_a_run_whose_commit_a_compaction_has_shown_is_told_of_by_the_next_run(tmp_path: Path, shop: Shop) -> None:
    shop.settle(log=tmp_path / "shop.log")
    for number in range(3):
        shop.log(*walk(shop.now - 12 * MINUTE, 30, number))
        if number < 2:
            shop.run(is_flush=True)
        else:
            with pytest.raises(KeyboardInterrupt):
                shop.run(is_flush=True, at=stop_at("committed"))
        shop.pass_time(40)
    rule = CompactRule(first_date=shop.now.date(), last_date=shop.now.date())
    for _ in range(2):
        compact_lake(shop.lake, rule, now=lambda: shop.now)
        assert shop.count("events") + shop.count("late") == 90
    assert list_told(tmp_path / "shop.log") == ["shop-000001", "shop-000002"]
    shop.run()
    runs = [batch.batch_id for batch in shop.batches() if batch.kind == "run"]
    assert list_told(tmp_path / "shop.log") == runs
    assert len(runs) == 4
    assert_sound(shop)


# ---------------------------------------------------------------- the grace of what was replaced


@pytest.mark.parametrize(
    ("grace", "of_pipeline", "minutes", "is_kept"),
    [(180, 60, 179, True), (180, 60, 181, False), (5, 180, 4, True), (5, 180, 6, False)],
    ids=["longer than the pipeline's", "which is over", "shorter than the pipeline's", "which is over as well"],
)
def test_what_a_compaction_replaced_stays_as_long_as_that_has_promised(
    shop: Shop, grace: int, of_pipeline: int, minutes: int, is_kept: bool
) -> None:
    shop.settle(grace=of_pipeline * MINUTE)
    for number in range(2):
        shop.log(*walk(shop.now - 12 * MINUTE, 30, number))
        shop.run(is_flush=True)
        shop.pass_time(40)
    before = list((shop.lake / "_m2" / "files").glob("*events*"))
    rule = CompactRule(first_date=shop.now.date(), last_date=shop.now.date(), grace=grace * MINUTE)
    assert compact_lake(shop.lake, rule, now=lambda: shop.now).removed_count
    shop.pass_time(minutes)
    compact_lake(shop.lake, CompactRule(first_date=shop.now.date(), last_date=shop.now.date()), now=lambda: shop.now)
    shop.run()
    assert len(before) == 2
    assert [path.exists() for path in before] == [is_kept, is_kept]
    assert_sound(shop)


# ---------------------------------------------------------------- input that is damaged, or does not hold still


def drop_parquet(shop: Shop, name: str, *, is_damaged: bool) -> Path:
    """An event file; of a damaged one the end is good, and a page is not."""
    path = shop.folder / "events" / f"{name}.parquet"
    times = [shop.now - MINUTE + timedelta(milliseconds=number) for number in range(2_000)]
    ids = [f"{name}-{number * 7919}" for number in range(2_000)]
    pl.DataFrame({"event_time": times, "event_id": ids, "visitor_id": ids}).write_parquet(path, statistics=False)
    if is_damaged:
        damage(path)
    return shop.touch(path)


def damage(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8)
        file.write(b"\xff" * (size // 2))


def test_a_damaged_event_file_is_warned_of_and_all_else_is_taken(shop: Shop) -> None:
    path = drop_parquet(shop, "b", is_damaged=True)
    other = drop_parquet(shop, "c", is_damaged=True)
    drop_parquet(shop, "a", is_damaged=False)
    counts = []
    for _ in range(2):
        shop.log(line(shop.now))
        facts = shop.run().batch
        counts.append(facts.event_count)
        for damaged in (path, other):
            said = f"`{damaged}` is damaged and is left out: it is cut short, corrupt or not Parquet; move it away or "
            assert [text.startswith(said) for text in facts.warnings if "is left out" in text].count(True) == 1
        shop.pass_time(1)
    assert counts == [2_001, 1]
    drop_parquet(shop, "b", is_damaged=False)
    other.unlink()
    facts = shop.run().batch
    assert facts.event_count == 2_000
    assert not [text for text in facts.warnings if "is left out" in text]
    assert_sound(shop)


def test_a_batch_that_was_planned_with_a_file_which_is_damaged_by_now_is_planned_anew(shop: Shop) -> None:
    path = drop_parquet(shop, "a", is_damaged=False)
    shop.log(line(shop.now))
    with pytest.raises(KeyboardInterrupt):
        shop.run(at=stop_at("planned"))
    status = path.stat()
    damage(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    facts = shop.run()
    assert (facts.redone, facts.batch.event_count) == (None, 1)
    assert f"`{path}` is damaged" in " ".join(facts.batch.warnings)


def lose(monkeypatch: pytest.MonkeyPatch, errors: list[Exception | None], *, of: str) -> list[PlanRule]:
    """The rules of the plans of a run in which planning, or doing, raises `errors`, one each time."""
    rules: list[PlanRule] = []
    make_plan, do_batch = running.make_plan, running.do_batch

    def plan(pipeline: Any, ledger: Any, now: Any, rule: PlanRule, **options: Any) -> NewPlan:
        rules.append(rule)
        if of == "planning" and errors and (error := errors.pop(0)):
            raise error
        return make_plan(pipeline, ledger, now, rule, **options)

    def do(*arguments: Any, **options: Any) -> Any:
        if of == "doing" and errors and (error := errors.pop(0)):
            raise error
        return do_batch(*arguments, **options)

    monkeypatch.setattr(running, "make_plan", plan)
    monkeypatch.setattr(running, "do_batch", do)
    return rules


def lost_range() -> RangeLostError:
    error = RangeLostError.__new__(RangeLostError)
    UnreadableSourceError.__init__(error, "access.log", "it was rotated away")
    return error


@pytest.mark.parametrize("of", ["planning", "doing"])
def test_each_try_after_input_was_lost_takes_less_of_the_logs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    shop.log(line(shop.now))
    rules = lose(monkeypatch, [lost_range() for _ in range(4)], of=of)
    assert shop.run().batch.event_count == 1
    assert [rule.most_ranges for rule in rules] == [None, 8, 4, 2, 1]
    assert_sound(shop)


def test_a_flush_takes_all_there_is_in_each_try(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.log(line(shop.now))
    rules = lose(monkeypatch, [lost_range()], of="doing")
    shop.run(is_flush=True)
    assert [rule.most_ranges for rule in rules] == [None, None]


@pytest.mark.parametrize(
    ("of", "error", "said"),
    [
        ("doing", lost_range(), "it changed 5 times while it was read: .*rotated away"),
        ("planning", UnreadableSourceError("x.log", "permission denied"), "^cannot read `x.log`: permission denied$"),
    ],
    ids=["lost", "not readable"],
)
def test_five_tries_are_enough(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, of: str, error: Exception, said: str
) -> None:
    rules = lose(monkeypatch, [error] * 9, of=of)
    with pytest.raises(UnreadableSourceError, match=said):
        shop.run()
    assert len(rules) == 5


# ---------------------------------------------------------------- rejects


def test_too_many_rejects_are_told_in_the_words_of_a_pipeline(tmp_path: Path, shop: Shop) -> None:
    shop.write_toml(max_rejects="1")
    shop.log(line(shop.now - 40 * MINUTE), "no line\n", "no line either\n")
    done = run_m2("run", "shop.toml", folder=tmp_path)
    assert done.returncode == ExitCode.DATA
    said = done.stderr.decode()
    assert "2 of 3 lines or rows are rejects, more than `max_rejects = 1` allows; the commonest: " in said
    assert "nothing was committed, and nothing is lost" in said
    assert "`--set pipeline.max_rejects=2`" in said
    assert "--max-rejects" not in said
    shop.settle(max_rejects=RejectLimit(count=2))
    assert shop.run().batch.reject_count == 2


def test_after_too_many_rejects_the_next_run_plans_anew(shop: Shop) -> None:
    shop.settle(max_rejects=RejectLimit(count=1))
    path = shop.log("no line\n", "no line either\n")
    with pytest.raises(TooManyRejectsError):
        shop.run()
    path.unlink()
    shop.log(line(shop.now))
    facts = shop.run()
    assert (facts.redone, facts.batch.event_count, facts.batch.reject_count) == (None, 1, 0)
    assert_sound(shop)


def say(shop: Shop) -> str:
    return "\n".join(list_warnings(shop.run().batch, Path("shop.toml")))


def test_a_log_with_an_old_time_is_told_of_with_its_remedy(shop: Shop) -> None:
    path = shop.log("no line\n", *(line(shop.now - number * MINUTE) for number in range(59)))
    old = (shop.now - timedelta(days=30)).timestamp()
    os.utime(path, (old, old))
    said = say(shop)
    assert "59 of 60 that were read are rejects, `from_the_future`: the files' modification times are older" in said
    assert "`m2 rebuild shop.toml --from DATE --to DATE --rejects --set visit.max_ahead=...`" in said
    assert "is it the `format`" not in said


def test_one_event_from_the_future_among_many_is_nobodys_mistake(shop: Shop) -> None:
    shop.log(*(line(shop.now - number * MINUTE / 60) for number in range(59)), line(shop.now + 60 * MINUTE))
    shop.settle(sources=shop.rule.sources[:1])
    assert say(shop) == ""


def test_a_log_of_another_format_is_told_of(shop: Shop) -> None:
    shop.log("no line\n", "no line either\n")
    assert "nothing that was read is an event; is it the `format`" in say(shop)


# ---------------------------------------------------------------- words


def test_late_events_are_told_of_with_their_dates(shop: Shop) -> None:
    shop.log(*(line(shop.now - number * timedelta(days=1)) for number in range(3)))
    said = say(shop)
    assert (
        "came late (2 events, kept in `late`): they are older than what came before them in the same partition" in said
    )
    assert "`m2 rebuild shop.toml --with-late --from 2026-11-20 --to 2026-11-22` merges them" in said
    assert "have been written" not in said


def test_events_of_a_log_that_was_forgotten_are_late_for_their_visits_have_been_written(shop: Shop) -> None:
    shop.log(line(shop.now))
    shop.run()
    shop.log(line(shop.now - 60 * MINUTE, 2), name="access.log.other")
    assert "came late (1 event, kept in `late`): visits of their time have been written; `m2 rebuild " in say(shop)


def test_a_lake_whose_snapshot_is_gone_gets_it_back_from_a_run(shop: Shop) -> None:
    shop.run()
    (shop.lake / "_m2" / "snapshot").unlink()
    with pytest.raises(UnreadableSourceError, match="`m2 run` makes it anew from the ledger"):
        shop.read("events")
    shop.run()
    assert_sound(shop)
