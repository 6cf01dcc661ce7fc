"""Compaction while a killed run waits to be done again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from m2cli.runs.compact import CompactRule, compact_lake
from tests.pipelines_runs.shop import MINUTE, START, Shop, assert_sound, walk

if TYPE_CHECKING:
    from pathlib import Path

RULE = CompactRule(first_date=START.date(), last_date=START.date(), max_rows=10_000)


def stop(step: str) -> None:
    if step == "visits written":
        raise KeyboardInterrupt


def test_a_run_that_was_killed_is_done_again_after_a_compaction(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for number in range(4):
        shop.log(*walk(shop.now - 12 * MINUTE, 30, number))
        shop.run()
        shop.pass_time(50)
    shop.log(*walk(shop.now - 12 * MINUTE, 30, 9))
    with pytest.raises(KeyboardInterrupt):
        shop.run(at=stop)
    with shop.ledger() as ledger:
        assert [batch.state for batch in ledger.list_unfinished()] == ["planned"]
    facts = compact_lake(shop.lake, RULE, now=lambda: shop.now)
    assert facts.removed_count > facts.added_count > 0
    redone = shop.run().redone
    assert redone is not None
    assert redone.event_count == 30
    assert_sound(shop)
    shop.pass_time(50)
    shop.run(is_flush=True)
    assert_sound(shop)
    assert shop.count("events") + shop.count("late") == 150
