"""What a killed run had planned to read may be elsewhere, or nowhere, when the next run comes to it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.crash.killing import Survivor, Target
from tests.pipelines_runs.shop import assert_sound, line, list_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.pipelines_runs.shop import Shop


def rename_and_go_on(shop: Shop) -> None:
    shop.rename_log("access.log", "access.log.1")
    shop.log(line(shop.now, 1, "/new"))


def pack(shop: Shop) -> None:
    shop.pack_log("access.log", "access.log.1.gz")


def copy_truncate_and_go_on(shop: Shop) -> None:
    shop.copy_and_truncate_log("access.log", "access.log.1")
    shop.log(line(shop.now, 1, "/new"))


def grow(shop: Shop) -> None:
    shop.log(line(shop.now, 1, "/new"))


ROTATIONS = (rename_and_go_on, pack, copy_truncate_and_go_on, grow)
BEFORE_THE_COMMIT = ("planned", "files finished")


def live_on(folder: Path, change: Callable[[Shop], None], step: str | None) -> Survivor:
    """Two moments, of which the second one's run is killed at `step`; then a change; then all the rest."""
    survivor = Survivor(folder, "growing")
    if step:
        survivor.die_at(Target(1, step))
    else:
        survivor.live_to(1)
    change(survivor.diary.open(folder, 1))
    survivor.finish()
    return survivor


@pytest.mark.parametrize("change", ROTATIONS, ids=lambda change: change.__name__.replace("_", " "))
def test_a_log_that_is_rotated_between_kill_and_retry_is_read_once(
    tmp_path: Path, change: Callable[[Shop], None]
) -> None:
    folder = tmp_path / "shop"
    undisturbed = list_rows(live_on(folder, change, None).shop)
    for step in BEFORE_THE_COMMIT:
        shutil.rmtree(folder)
        shop = live_on(folder, change, step).shop
        assert_sound(shop)
        assert list_rows(shop) == undisturbed, step


@pytest.mark.parametrize("step", BEFORE_THE_COMMIT)
def test_a_log_that_is_gone_between_kill_and_retry_is_lost_and_said_so_and_all_else_is_there_once(
    tmp_path: Path, step: str
) -> None:
    def remove(shop: Shop) -> None:
        (shop.folder / "logs" / "access.log").unlink()

    shop = live_on(tmp_path / "shop", remove, step).shop
    assert_sound(shop)
    urls = [url.split("/") for table in ("events", "late") for url in shop.read(table)["url"]]
    seen = [(int(seed), int(number.split("?")[0])) for _, seed, number in urls]
    assert sorted(seen) == [(seed, number) for seed in (1, 3) for number in range(40)]
    warnings = [text for batch in shop.batches() for text in batch.facts["warnings"]]
    assert [text for text in warnings if "access.log" in text and "in no file any more" in text] != []


@pytest.mark.parametrize("step", BEFORE_THE_COMMIT)
def test_an_event_file_that_is_gone_between_kill_and_retry_is_lost_and_said_so(tmp_path: Path, step: str) -> None:
    survivor = Survivor(tmp_path / "shop", "arriving")
    survivor.die_at(Target(1, step))
    (survivor.folder / "events" / "002.ndjson").unlink()
    survivor.finish()
    assert_sound(survivor.shop)
    tables = ("events", "late", "duplicates")
    seeds = {event_id.split("-")[0] for table in tables for event_id in survivor.shop.read(table)["event_id"]}
    assert seeds == {"1", "3"}
    warnings = [text for batch in survivor.shop.batches() for text in batch.facts["warnings"]]
    assert [text for text in warnings if "002.ndjson" in text and "in no file any more" in text] != []


@pytest.mark.parametrize("step", BEFORE_THE_COMMIT)
def test_an_event_file_that_is_moved_between_kill_and_retry_is_taken_once(tmp_path: Path, step: str) -> None:
    survivor = Survivor(tmp_path / "shop", "arriving")
    survivor.die_at(Target(1, step))
    events = survivor.folder / "events"
    (events / "002.ndjson").rename(events / "001b.ndjson")
    survivor.finish()
    assert_sound(survivor.shop)
    shop = survivor.shop
    facts = [batch.facts for batch in shop.batches()]
    assert sum(each["event_count"] for each in facts) == 3 * 44
    warnings = [text for each in facts for text in each["warnings"]]
    assert all("has no file yet" in text for text in warnings)  # of the logs, which this shop has not
