"""Compaction of a pipeline's lake: fewer files, the same rows, and whoever reads is not disturbed."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from m2cli.errors import UsageError
from m2cli.lake import read_snapshot, scan_lake
from m2cli.runs.compact import CompactFacts, CompactRule, compact_lake
from m2cli.runs.query import query_lake
from m2cli.runs.sessionize import SessionizeRule, sessionize
from m2cli.runs.trace import trace_event
from tests.pipelines_runs.shop import MINUTE, Shop, line, list_rows
from tests.runs.rebuild.killing import assert_old_or_new
from tests.runs.rebuild.rebuilding import FIRST, LAST, assert_whole, event_row, list_ids, rebuild, stroll

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _few_files_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2cli.runs.compact._FEW_FILES", 3)


def make_shop(folder: Path, *, batch_count: int = 6) -> Shop:
    """A shop of two days, with late events, rejects and duplicates in most of many batches."""
    shop = Shop(folder)
    for seed in range(batch_count):
        shop.pass_time(180)
        shop.log(*stroll(shop.now - 6 * MINUTE, 20, seed))
        row = event_row(shop.now, 3, f"{seed}")
        shop.drop_events(f"{seed:03}", [row, row])
        shop.pass_time(2)
        shop.run()
    return shop


def compact(shop: Shop, first: date = FIRST, last: date = LAST, **settings: Any) -> CompactFacts:
    rule = CompactRule(first_date=first, last_date=last, **settings)
    facts = compact_lake(shop.lake, rule, now=lambda: shop.now)
    assert_whole(shop)
    return facts


def count_files(shop: Shop) -> dict[str, int]:
    files = read_snapshot(shop.lake).files
    return {kind: sum(file.kind == kind for file in files) for kind in sorted({file.kind for file in files})}


def test_rows_stay_what_they_are_in_fewer_files(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    before, files = list_rows(shop), count_files(shop)
    assert min(files.values()) > 3
    facts = compact(shop)
    assert list_rows(shop) == before
    assert count_files(shop) == {"duplicates": 1, "events": 2, "late": 1, "rejects": 1, "visits": 2}
    assert (facts.date_count, facts.removed_count, facts.added_count) == (7, sum(files.values()), 7)
    again = compact(shop)
    assert (again.removed_count, again.added_count) == (0, 0)


def test_only_the_dates_that_are_asked_for_are_compacted(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    days = sorted({file.start_date for file in read_snapshot(shop.lake).files if file.start_date})
    assert len(days) == 2
    others = [file for file in read_snapshot(shop.lake).files if file.start_date == days[1]]
    compact(shop, days[0], days[0])
    assert sum(file.start_date == days[0] for file in read_snapshot(shop.lake).files) == 2
    assert [file for file in read_snapshot(shop.lake).files if file.start_date == days[1]] == others


def test_files_have_at_most_so_many_rows(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    before = list_rows(shop)
    compact(shop, max_rows=50)
    sizes = [file.row_count for file in read_snapshot(shop.lake).files if file.kind == "events"]
    assert len(sizes) > 1
    assert max(sizes) <= 50
    assert list_rows(shop) == before
    assert not compact(shop, max_rows=50).removed_count


def test_a_reader_by_an_older_snapshot_goes_on_until_the_grace_is_over(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, batch_count=4)
    before = scan_lake(shop.lake)
    count = before.events.select(pl.len()).collect().item()
    removed = [shop.lake / path for path in compact(shop) and _list_hidden(shop)]
    shop.pass_time(59)
    shop.run()
    assert before.events.collect().height == count
    assert all(path.exists() for path in removed)
    shop.pass_time(2)
    shop.run()
    assert not any(path.exists() for path in removed)
    assert_whole(shop)


def _list_hidden(shop: Shop) -> list[str]:
    with shop.ledger() as ledger:
        last = ledger.list_batches(1)[0].number
        hidden = [file["path"] for number in range(1, last + 1) for file in ledger.list_replaced(by=number)]
    assert hidden
    kept = {path.name for path in (shop.lake / "_m2" / "files").iterdir()}
    return [
        f"_m2/files/{name}"
        for name in kept
        if any(name.startswith(path.split("/")[-1].removesuffix(".parquet") + ".") for path in hidden)
    ]


def test_replaced_files_stay_as_long_as_it_is_said_when_they_are_replaced(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, batch_count=3)
    compact(shop, grace=timedelta(minutes=10))
    hidden = _list_hidden(shop)
    shop.pass_time(9)
    compact(shop)
    assert all((shop.lake / path).exists() for path in hidden)
    shop.pass_time(2)
    compact(shop)
    assert not any((shop.lake / path).exists() for path in hidden)


def test_what_reads_a_lake_reads_it_as_before(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, batch_count=5)
    event_id = list_ids(shop)[0]

    def ask() -> tuple[Any, Any]:
        with query_lake(
            "SELECT end_reason, sum(event_count) FROM visits GROUP BY ALL ORDER BY ALL", shop.lake
        ) as found:
            return trace_event(event_id, shop.lake), [frame.rows() for frame in found]

    before = str(ask())
    compact(shop)
    assert str(ask()) == before


def test_a_lake_goes_on_after_it(tmp_path: Path) -> None:
    shop, other = make_shop(tmp_path / "one", batch_count=4), make_shop(tmp_path / "other", batch_count=4)
    compact(shop)
    for each in (shop, other):
        each.pass_time(60)
        each.log(*stroll(each.now - 6 * MINUTE, 20, 90))
        each.pass_time(90)
        each.log(line(each.now, 99))
        each.run(is_flush=True)
        rebuild(each, with_late=True)
        assert_whole(each)
    assert list_ids(shop) == list_ids(other)
    assert compact(shop).removed_count


def test_killed_at_any_step_a_compaction_has_been_done_or_has_not(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", batch_count=3)
    assert assert_old_or_new(shop, CompactRule(first_date=FIRST, last_date=LAST), most=1) > 12


@pytest.mark.soak
def test_killed_at_every_step_a_compaction_has_been_done_or_has_not(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    assert assert_old_or_new(shop, CompactRule(first_date=FIRST, last_date=LAST), most=100) > 40


def test_a_lake_that_no_pipeline_writes_is_not_compacted(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text(line(Shop(tmp_path / "shop").now))
    sessionize([str(tmp_path / "access.log")], tmp_path / "lake", SessionizeRule(), now=Shop(tmp_path / "shop").now)
    rule = CompactRule(first_date=FIRST, last_date=LAST)
    with pytest.raises(UsageError, match="is a lake that `m2 sessionize` made at once"):
        compact_lake(tmp_path / "lake", rule, now=lambda: Shop(tmp_path / "shop").now)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first_date": LAST, "last_date": FIRST}, f"`--from {LAST}` is after `--to {FIRST}`"),
        ({"first_date": FIRST, "last_date": LAST, "max_rows": 0}, "`max_rows` is 0; a file has at least one row"),
    ],
    ids=["dates in the wrong order", "no rows"],
)
def test_a_rule_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CompactRule(**settings)
