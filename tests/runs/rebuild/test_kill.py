"""A rebuild that is killed has been done or has not; and what works on a lake waits for what works there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from m2cli.errors import M2Error
from m2cli.ledger import hold_lock
from m2cli.runs.compact import CompactRule, compact_lake
from m2cli.runs.rebuild.rule import RebuildRule
from m2cli.runs.rebuild.work import rebuild_dates
from tests.pipelines_runs.shop import MINUTE, Shop
from tests.runs.rebuild.killing import assert_old_or_new
from tests.runs.rebuild.rebuilding import FIRST, LAST, assert_whole, finish, list_files, rebuild, stroll

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make_shop(folder: Path) -> Shop:
    """A shop with late events, rejects and a log too many, all of whose visits have ended."""
    shop = Shop(folder)
    for seed in range(3):
        shop.pass_time(90)
        shop.log(*stroll(shop.now - 12 * MINUTE, 30, seed))
        shop.log(*stroll(shop.now - 12 * MINUTE, 10, 40), name="access.log.mistake")
        shop.run()
    finish(shop)
    return shop


def make_rule(shop: Shop) -> RebuildRule:
    forgotten = shop.folder / "forgotten.log"
    forgotten.write_text("".join(stroll(shop.now - 25 * 60 * MINUTE, 10, 9)))
    mistake = shop.folder / "logs" / "access.log.mistake"
    return RebuildRule(
        first_date=FIRST, last_date=LAST, with_late=True, with_files=(forgotten,), without_files=(mistake,)
    )


def test_killed_at_any_step_a_rebuild_has_been_done_or_has_not(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    assert assert_old_or_new(shop, make_rule(shop), most=1) > 15


@pytest.mark.soak
def test_killed_at_every_step_a_rebuild_has_been_done_or_has_not(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    assert assert_old_or_new(shop, make_rule(shop), most=100) > 40


def test_a_rebuild_that_fails_leaves_the_lake_as_it_was(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    before = list_files(shop)

    def fail(step: str) -> None:
        if step == "rebuilt":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild_dates(shop.rule, make_rule(shop), now=lambda: shop.now, at=fail)
    assert list_files(shop) == before
    assert_whole(shop)


def test_a_run_that_was_killed_is_done_before_the_dates_are_rebuilt(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    shop.pass_time(60)
    shop.log(*stroll(shop.now - 12 * MINUTE, 30, 7))

    def die(step: str) -> None:
        if step == "visits written":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.run(at=die)
    assert rebuild(shop, with_late=True).merged_count
    kinds = [batch.kind for batch in shop.batches()]
    assert kinds[-2:] == ["run", "rebuild"]
    assert shop.batches()[-2].facts["read_count"] == 33
    assert shop.run().batch.read_count == 0
    assert_whole(shop)


def _rebuild(shop: Shop, wait: Callable[[], None]) -> None:
    rule = RebuildRule(first_date=FIRST, last_date=LAST, with_late=True)
    rebuild_dates(shop.rule, rule, now=lambda: shop.now, wait=wait)


WORKS: dict[str, Callable[[Shop, Callable[[], None]], Any]] = {
    "a rebuild": _rebuild,
    "a compaction": lambda shop, wait: compact_lake(
        shop.lake, CompactRule(first_date=FIRST, last_date=LAST), now=lambda: shop.now, wait=wait
    ),
    "a run": lambda shop, wait: shop.run(wait=wait),
}


@pytest.mark.parametrize("name", WORKS)
def test_it_waits_for_what_works_on_the_lake(tmp_path: Path, name: str) -> None:
    shop = make_shop(tmp_path / "shop")
    before, is_waiting = shop.batches(), threading.Event()
    failed: list[M2Error] = []

    def work() -> None:
        try:
            WORKS[name](shop, is_waiting.set)
        except M2Error as error:
            failed.append(error)

    with hold_lock(shop.lake / "_m2" / "lake.lock", "the lake"):
        thread = threading.Thread(target=work)
        thread.start()
        assert is_waiting.wait(30)
        assert shop.batches() == before
    thread.join(30)
    assert not failed
    assert len(shop.batches()) > len(before)
    assert_whole(shop)


@pytest.mark.parametrize("name", ["a rebuild", "a compaction"])
def test_a_run_waits_for(tmp_path: Path, name: str) -> None:
    """The run is asked for while the other is at work, and comes after it."""
    shop = make_shop(tmp_path / "shop")
    is_waiting, runs = threading.Event(), list[threading.Thread]()

    def at(step: str) -> None:
        if step == "planned" and not runs:
            runs.append(threading.Thread(target=shop.run, kwargs={"wait": is_waiting.set}))
            runs[0].start()
            assert is_waiting.wait(30)

    if name == "a rebuild":
        rebuild_dates(shop.rule, make_rule(shop), now=lambda: shop.now, at=at)
    else:
        compact_lake(shop.lake, CompactRule(first_date=FIRST, last_date=LAST), now=lambda: shop.now, at=at)
    runs[0].join(30)
    assert [batch.kind for batch in shop.batches()[-2:]] == [name.split()[1].replace("compaction", "compact"), "run"]
    assert_whole(shop)
