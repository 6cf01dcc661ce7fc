"""A rebuild or a compaction in a process of its own, which dies at a step; and the lake before and after it."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from m2cli.runs.compact import CompactRule, compact_lake
from m2cli.runs.expire import ExpireRule, expire_lake
from m2cli.runs.rebuild.rule import RebuildRule
from m2cli.runs.rebuild.work import rebuild_dates
from tests.forks import CONTEXT
from tests.pipelines_runs.shop import Shop, assert_sound, list_rows
from tests.runs.rebuild.rebuilding import assert_conserved, copy_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path


class Target(NamedTuple):
    """A step, the nth time that it is reached."""

    step: str
    nth: int


def work(
    shop: Shop, rule: RebuildRule | CompactRule | ExpireRule, at: Callable[[str], None] = lambda _step: None
) -> None:
    """Rebuild, compact or expire."""
    if isinstance(rule, RebuildRule):
        rebuild_dates(shop.rule, rule, now=lambda: shop.now, at=at)
    elif isinstance(rule, ExpireRule):
        expire_lake(shop.lake, rule, now=lambda: shop.now, at=at)
    else:
        compact_lake(shop.lake, rule, now=lambda: shop.now, at=at)


def _work_until(folder: Path, now: datetime, rule: RebuildRule | CompactRule | ExpireRule, target: Target) -> None:
    seen: Counter[str] = Counter()

    def at(step: str) -> None:
        seen[step] += 1
        if target == (step, seen[step]):
            os.kill(os.getpid(), signal.SIGKILL)

    work(Shop(folder, now), rule, at)


def kill_at(shop: Shop, rule: RebuildRule | CompactRule | ExpireRule, target: Target) -> None:
    process = CONTEXT.Process(target=_work_until, args=(shop.folder, shop.now, rule, target))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"{target} was not reached"


def assert_old_or_new(shop: Shop, rule: RebuildRule | CompactRule | ExpireRule, *, most: int) -> int:
    """Killed at each step, up to `most` times, the lake is the old one or the new; the next run and the next try go on.

    How many processes were killed.
    """
    kept = shop.folder.with_name("kept")
    copy_folder(shop.folder, kept)
    old, steps = list_rows(shop), list[str]()
    work(shop, rule, steps.append)
    new = list_rows(shop)
    assert_sound(shop)
    copy_folder(kept, shop.folder)
    targets = [Target(step, nth) for step, count in Counter(steps).items() for nth in range(1, min(count, most) + 1)]
    for target in targets:
        kill_at(shop, rule, target)
        assert list_rows(shop) in (old, new), f"a reader by snapshot, after a death at {target}"
        committed = shop.batches()
        shop.pass_time(1)
        assert shop.run().batch.read_count == 0
        is_new = committed[-1].kind != "run"
        found = list_rows(shop)
        assert found == (new if is_new else old), f"after a death at {target}"
        assert_sound(shop)
        assert_conserved(shop)
        if is_new:
            copy_folder(kept, shop.folder)
    work(shop, rule)
    assert list_rows(shop) == new
    assert_sound(shop)
    shutil.rmtree(kept)
    return len(targets)
