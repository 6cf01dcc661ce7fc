"""Which dates a rebuild is of, what it says when it is tried, and what it is not asked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import UsageError
from m2cli.lake import scan_lake
from m2cli.runs.rebuild.rule import RebuildRule
from m2cli.runs.rebuild.work import rebuild_dates
from tests.pipelines_runs.shop import MINUTE, Shop, line
from tests.runs.rebuild.rebuilding import (
    assert_like_bounded,
    assert_whole,
    finish,
    list_files,
    list_inputs,
    list_urls,
    rebuild,
    stroll,
)

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = date(2026, 11, 20), date(2026, 11, 21)
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


def make_shop(folder: Path, *moments: float, visitor: int = 1) -> Shop:
    """A shop with events so many minutes after midnight, all of whose visits have ended."""
    shop = Shop(folder, MIDNIGHT + 60 * MINUTE)
    shop.settle(sources=(shop.log_source("*.log"),))
    shop.log(*(line(MIDNIGHT + moment * MINUTE, visitor, f"/{moment}") for moment in moments))
    shop.run()
    finish(shop)
    return shop


def add_late(shop: Shop, *moments: float) -> None:
    shop.log(*(line(MIDNIGHT + moment * MINUTE, 1, f"/late/{moment}") for moment in moments), name="late.log")
    assert shop.run(is_flush=True).batch.late_count == len(moments)


@pytest.mark.parametrize(
    ("moment", "asked", "is_merged"),
    [
        (-1 / 60, FIRST, True),
        (-1 / 60, SECOND, False),
        (0, FIRST, False),
        (0, SECOND, True),
    ],
    ids=["the last second of a day", "of the day before", "midnight is of the next day", "midnight is of that day"],
)
def test_a_late_event_is_asked_for_by_its_own_date(tmp_path: Path, moment: float, asked: date, is_merged: bool) -> None:
    shop = make_shop(tmp_path, -10, 10)
    add_late(shop, moment)
    facts = rebuild(shop, first=asked, last=asked, with_late=True)
    assert (facts.merged_count, facts.waiting_count) == (int(is_merged), 0)
    visit = scan_lake(shop.lake).visits.filter(pl.col("event_count") > 1).collect()
    assert visit["event_count"].to_list() == [2 + is_merged]
    assert_whole(shop)


def test_a_chain_over_midnight_is_cut_anew_as_a_whole(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, -20, 25)  # two visits, of two dates
    add_late(shop, 1)
    facts = rebuild(shop, first=SECOND, last=SECOND, with_late=True)
    assert (facts.visits_before, facts.visits_after) == (2, 1)
    assert_like_bounded(shop)
    assert_whole(shop)


def test_a_file_is_taken_out_of_the_visits_that_start_on_these_dates(tmp_path: Path) -> None:
    shop = Shop(tmp_path, MIDNIGHT + 90 * MINUTE)
    shop.settle(sources=(shop.log_source("*.log"),))
    shop.log(line(MIDNIGHT - 10 * MINUTE, 1, "/1"), line(MIDNIGHT + 40 * MINUTE, 2, "/3"))
    shop.log(line(MIDNIGHT - 5 * MINUTE, 1, "/m/1"), line(MIDNIGHT + 5 * MINUTE, 1, "/m/2"), name="mistake.log")
    shop.log(line(MIDNIGHT + 45 * MINUTE, 2, "/m/3"), name="mistake.log")
    shop.run()
    finish(shop)
    mistake = tmp_path / "logs" / "mistake.log"
    rebuild(shop, first=FIRST, last=FIRST, without_files=(mistake,))
    assert [url for url in list_urls(shop) if "/m/" in url] == ["/m/3"]
    rebuild(shop, first=SECOND, last=SECOND, without_files=(mistake,))
    assert_like_bounded(shop, [path for path in list_inputs(shop) if path != mistake])
    assert_whole(shop)


@pytest.mark.parametrize("asked", [FIRST - timedelta(days=1), FIRST, SECOND], ids=["first", "second", "third"])
def test_a_robots_days_are_cut_anew_as_a_whole(tmp_path: Path, asked: date) -> None:
    """Three days without a silence, cut every two hours: what is late moves all cuts after it."""
    moments = range(-2 * 24 * 60, 12 * 60, 29)
    shop = Shop(tmp_path, MIDNIGHT + 24 * 60 * MINUTE)
    shop.settle(sources=(shop.log_source("*.log"),))
    shop.log(*(line(MIDNIGHT + moment * MINUTE, 7, f"/{moment}") for moment in moments))
    shop.run()
    finish(shop)
    before = scan_lake(shop.lake).visits.collect()
    when = datetime(asked.year, asked.month, asked.day, 0, 30, tzinfo=UTC)
    shop.log(line(when, 7, "/late"), line(when + 119 * MINUTE, 7, "/late"), name="late.log")
    shop.run(is_flush=True)
    facts = rebuild(shop, first=asked, last=asked, with_late=True)
    assert (facts.merged_count, facts.visits_before) == (2, before.height - 1)
    after = scan_lake(shop.lake).visits.filter(pl.col("event_count") > 1).sort("start_time").collect()
    assert after["continues_visit_id"].to_list() == [None, *after["visit_id"].to_list()[:-1]]
    assert_like_bounded(shop)
    assert_whole(shop)


def test_a_visit_that_a_flush_has_ended_says_so_when_it_is_cut_anew(tmp_path: Path) -> None:
    shop = Shop(tmp_path, MIDNIGHT + 60 * MINUTE)
    shop.settle(sources=(shop.log_source("*.log"),))
    shop.log(line(MIDNIGHT, 1), line(MIDNIGHT + 50 * MINUTE, 1), line(MIDNIGHT + 55 * MINUTE, 2))
    shop.run(is_flush=True)
    finish(shop)
    ended = scan_lake(shop.lake).visits.sort("start_time").collect()
    assert ended["end_reason"].to_list() == ["inactivity", "flush", "flush", "flush"]
    add_late(shop, 45)
    rebuild(shop, with_late=True)
    after = scan_lake(shop.lake).visits.sort("start_time").collect()
    assert after["end_reason"].to_list() == ["inactivity", "flush", "flush", "flush"]
    assert after["end_time"].to_list() == ended["end_time"].to_list()
    assert after["event_count"].to_list() == [1, 2, 1, 1]


# ------------------------------------------------------------------ trying


def test_a_dry_run_says_what_the_real_one_then_says_and_leaves_nothing(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("*.log"),))
    for seed in range(3):
        shop.pass_time(30)
        shop.log(*stroll(shop.now - 12 * MINUTE, 40, seed))
        shop.log(*stroll(shop.now - 12 * MINUTE, 10, 40), name="mistake.log")
        shop.run()
    finish(shop)
    forgotten = tmp_path / "forgotten.log"
    forgotten.write_text("".join(stroll(shop.now - 24 * 60 * MINUTE, 20, 9)))
    what = {"with_late": True, "with_files": (forgotten,), "without_files": (tmp_path / "logs" / "mistake.log",)}
    before, batches = list_files(shop), shop.batches()
    tried = rebuild(shop, is_dry_run=True, with_rejects=True, **what)
    assert (list_files(shop), shop.batches()) == (before, batches)
    assert tried.has_changes
    assert tried.merged_count
    assert tried.excluded_count
    done = rebuild(shop, with_rejects=True, **what)
    assert done == tried._replace(batch_id="shop-000006")
    assert_whole(shop)


def test_where_there_is_nothing_to_do_nothing_is_committed(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, 0)
    before, batches = list_files(shop), shop.batches()
    facts = rebuild(shop, with_late=True, with_rejects=True)
    assert (facts.has_changes, facts.batch_id, facts.file_count) == (False, None, 0)
    assert (list_files(shop), shop.batches()) == (before, batches)
    assert_whole(shop)


# ------------------------------------------------------------------ what is not asked


def test_dates_are_in_order() -> None:
    with pytest.raises(UsageError, match="`--from 2026-11-21` is after `--to 2026-11-20`"):
        RebuildRule(first_date=SECOND, last_date=FIRST, with_late=True)


def test_something_is_asked() -> None:
    with pytest.raises(UsageError, match=r"there is nothing to make the dates of .* give `--with-late`"):
        RebuildRule(first_date=FIRST, last_date=FIRST)


def test_a_pipeline_that_never_ran_gets_no_lake_by_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    rule = RebuildRule(first_date=FIRST, last_date=FIRST, with_late=True)
    with pytest.raises(UsageError, match="the pipeline `shop` has no lake yet; `m2 run` comes first"):
        rebuild_dates(shop.rule, rule, now=lambda: shop.now)
    assert not shop.lake.exists()
