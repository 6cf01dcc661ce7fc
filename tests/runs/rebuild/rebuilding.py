"""A shop whose dates are rebuilt, and what is said of it: by its ledger, by a bounded run of the same input."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.lake import scan_lake
from m2cli.runs.rebuild.rule import RebuildRule
from m2cli.runs.rebuild.work import rebuild_dates
from m2cli.runs.sessionize import ENRICHED, SessionizeRule, sessionize
from tests.pipelines_runs.shop import AGENTS, START, Shop, assert_sound, line, list_lake

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from m2cli.runs.rebuild.rule import RebuildFacts

FIRST, LAST = START.date() - timedelta(days=30), START.date() + timedelta(days=30)
TABLES = {
    "events": "closed_event_count",
    "visits": "visit_count",
    "late": "late_count",
    "duplicates": "duplicate_count",
    "rejects": "reject_count",
}
# What depends on when a batch was planned, and on how a run calls an event file.
_OF_RUN = ("arrival_time", "part_id", "end_reason", "late_by", "late_reason")


def rebuild(
    shop: Shop, *, first: date = FIRST, last: date = LAST, is_dry_run: bool = False, **what: Any
) -> RebuildFacts:
    """Rebuild some dates, or all; what is asked is sound and conserved afterwards."""
    rule = RebuildRule(first_date=first, last_date=last, **what)
    facts = rebuild_dates(shop.rule, rule, now=lambda: shop.now, is_dry_run=is_dry_run)
    assert_conserved(shop)
    return facts


class Kept:
    """A shop that is made once, and as it was for each test, in the same folder: what it has read is known by name."""

    def __init__(self, made: Shop) -> None:
        self._shop, self._copy = made, made.folder.with_name("kept")
        copy_folder(made.folder, self._copy)

    def restore(self) -> Shop:
        copy_folder(self._copy, self._shop.folder)
        shop = Shop(self._shop.folder, self._shop.now)
        shop.rule = self._shop.rule
        return shop


def copy_folder(source: Path, target: Path) -> None:
    """All of `source` in the place of `target`; files with two names keep them."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def assert_conserved(shop: Shop) -> None:
    """The sums over all batches are the rows that there are (DESIGN 5.3)."""
    lake = scan_lake(shop.lake)
    found = {name: getattr(lake, name).select(pl.len()).collect().item() for name in TABLES}
    with shop.ledger() as ledger:
        sums = ledger.sum_facts(
            [*TABLES.values(), "read_count", "event_count", "ignored_count", "excluded_count", "id_reused_count"]
        )
        carried_count = sum(
            file.alive_count for file in ledger.read_progress().carried if file.kind in ("pending", "segment")
        )
    assert found == {name: sums[count] for name, count in TABLES.items()}
    assert sums["read_count"] == sums["event_count"] + sums["reject_count"] + sums["ignored_count"]
    went = (found["events"], found["late"], found["duplicates"], sums["excluded_count"], carried_count)
    assert sums["event_count"] == sum(went)
    ids = lake.events.drop_nulls("event_id").group_by("visit_id").agg(pl.len() - pl.col("event_id").n_unique())
    assert sums["id_reused_count"] == ids.collect()["len"].sum()


def list_rows(lake: Path, table: str, *without: str) -> Counter[str]:
    """All rows of a table but for what depends on the run, each as text, with how often it is there."""
    rows = getattr(scan_lake(lake), table).collect()
    return Counter(map(str, rows.drop([*_OF_RUN, *without], strict=False).rows()))


def list_files(shop: Shop) -> dict[str, bytes]:
    """Every file of the lake and its bytes, but for what only the next batch needs."""
    return {name: content for name, content in list_lake(shop).items() if not name.startswith("_m2/carried")}


def list_ids(shop: Shop, table: str = "events") -> list[str]:
    """The ids of all events of a table, sorted."""
    rows: list[str] = getattr(scan_lake(shop.lake), table).select("event_id").collect()["event_id"].to_list()
    return sorted(rows)


def list_urls(shop: Shop, table: str = "events") -> list[str]:
    """The URLs of all events of a table, sorted."""
    return sorted(getattr(scan_lake(shop.lake), table).select("url").collect()["url"].to_list())


def assert_like_bounded(shop: Shop, inputs: Iterable[Path] = ()) -> None:
    """Visits, events, causes and duplicates are those of one bounded run of the same input; nothing is late."""
    lake = shop.folder / "bounded"
    shutil.rmtree(lake, ignore_errors=True)
    names = [str(path) for path in inputs or list_inputs(shop)]
    rule = SessionizeRule(
        visit=shop.rule.visit, visitor=shop.rule.visitor, enrichment=shop.rule.enrichment, causes=shop.rule.causes
    )
    sessionize(names, lake, rule, now=shop.now)
    assert list_ids(shop, "late") == []
    # Batches describe events before they are cut, a bounded run those of visits only.
    for table, left_out in (("visits", ()), ("events", ()), ("duplicates", ENRICHED)):
        assert list_rows(shop.lake, table, *left_out) == list_rows(lake, table, *left_out), table
    reasons = [
        dict(scan_lake(each).visits.select("visit_id", "end_reason").collect().iter_rows())
        for each in (shop.lake, lake)
    ]
    # A flush is when m2 looked; all else is a fact of the data (DESIGN 4.10).
    assert all(reason in {reasons[1][visit], "flush"} for visit, reason in reasons[0].items())
    shutil.rmtree(lake)


def list_inputs(shop: Shop) -> list[Path]:
    """All that there is to read, but empty files."""
    paths = [*(shop.folder / "logs").iterdir(), *(shop.folder / "events").iterdir()]
    return sorted(path for path in paths if path.stat().st_size)


def finish(shop: Shop) -> None:
    """A last event far ahead, after which W has passed every chain, and a flush."""
    shop.pass_time(24 * 60)
    shop.log(line(shop.now, 99, "/far"), name="last.log")
    shop.pass_time(2)
    shop.run(is_flush=True)
    assert_conserved(shop)


def stroll(start: datetime, count: int, seed: int) -> list[str]:
    """`count` lines from `start` on, four a minute; some out of order, some late, some that are none."""
    dice = random.Random(seed)
    lines = []
    for number in range(count):
        time = start + timedelta(seconds=15 * number - dice.choice((0, 0, 0, 0, 10, 200, 290, 600)))
        page, before = f"/{seed}/{number % 7}", f"https://shop.example/{seed}/{dice.randrange(7)}"
        lines.append(line(time, dice.randrange(1, 9), page, before))
        if number % 10 == 4:
            lines.append(f"no line {seed} {number}\n")
    return lines


def event_row(time: datetime, visitor: int, event_id: str | None = None, **more: Any) -> dict[str, Any]:
    """A row of an event file by the same visitor as the log's."""
    agent = AGENTS[visitor % 7 == 0]
    row = {"event_id": event_id, "event_time": time.isoformat(), "event_type": "page", "url": f"/e/{event_id}"}
    return row | {"ip": f"192.0.2.{visitor}", "user_agent": agent, "source": "app", **more}


def assert_whole(shop: Shop) -> None:
    """Sound and conserved."""
    assert_sound(shop)
    assert_conserved(shop)
