"""Rejects tried again: what can be read by now becomes what it would have been, had it been read so at first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from m2cli.lake import scan_lake
from m2cli.stages.visitors import VisitorRule
from tests.pipelines_runs.shop import MINUTE, START, Shop, line
from tests.runs.rebuild.rebuilding import (
    assert_conserved,
    assert_whole,
    event_row,
    finish,
    list_rows,
    rebuild,
    stroll,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAR = 60 * 24 * MINUTE


def run_through(shop: Shop, write: Callable[[Shop], None]) -> None:
    """Something is written, and taken; then a day passes, of which another log tells."""
    shop.pass_time(60)
    write(shop)
    shop.pass_time(2)
    shop.run()
    finish(shop)


def make_shop(folder: Path) -> Shop:
    shop = Shop(folder)
    last = replace(shop.log_source("last.log"), name="last")
    shop.settle(sources=(shop.log_source("access.log"), shop.events_source(), last))
    return shop


def settle_source(shop: Shop, number: int, **settings: Any) -> None:
    sources = list(shop.rule.sources)
    sources[number] = replace(sources[number], **settings)
    shop.settle(sources=tuple(sources))


def assert_as_if_right_from_the_start(shop: Shop, other: Shop, *without: str) -> None:
    """Every row of `shop` is as in `other`, which had the right settings when it read the same; late ones merged."""
    for each in (shop, other):
        rebuild(each, with_late=True)
        assert_whole(each)
    for table in ("events", "visits", "duplicates", "late"):
        assert list_times(shop, table) == list_times(other, table), table
        assert list_rows(shop.lake, table, "source", *without) == list_rows(other.lake, table, "source", *without)
    for table in ("events", "duplicates"):
        assert list_origins(shop, table) == list_origins(other, table)


def list_times(shop: Shop, table: str) -> list[Any]:
    rows = getattr(scan_lake(shop.lake), table).collect()
    return sorted(rows["event_time" if "event_time" in rows.columns else "start_time"].to_list())


def list_origins(shop: Shop, table: str) -> list[Any]:
    """Where each event is from, whichever folder its shop is in."""
    names = ["source", "part_id", "position_in_source", "arrival_time"]
    rows = getattr(scan_lake(shop.lake), table).select(names).collect()
    here = rows.with_columns(pl.col("source", "part_id").str.replace(str(shop.folder), "", literal=True))
    return sorted(here.with_columns(pl.col("part_id").str.replace("#.*", "")).rows(), key=str)


def write_log(shop: Shop) -> None:
    lines = [text.rsplit(' "http', 1)[0] + "\n" if "GET" in text else text for text in stroll(START, 40, 1)]
    shop.log(*lines, '192.0.2.1 - - [22/Nov/2026:12:20:00 +0000] "GET /p?password=secret&a=b HTTP/1.1" 200 7\n')
    path = shop.log()
    with path.open("ab") as stream:
        stream.write(b'192.0.2.1 - - [22/Nov/2026:12:20:01 +0000] "GET /caf\xe9?q=\xc3\xa9 HTTP/1.1" 200 7\r\n')
        stream.write(b'192.0.2.1 - - [22/Nov/2026:12:20:02 +0000] "GET /tab\tbed HTTP/1.1" 200 7\n')
        stream.write(b'{"event_time": "2026-11-22T12:20:03Z", "ip": "192.0.2.1"}\n')
    shop.touch(path)


def test_lines_that_were_read_with_the_wrong_format_become_events_at_their_own_places(tmp_path: Path) -> None:
    shops = [make_shop(tmp_path / "wrong"), make_shop(tmp_path / "right")]
    settle_source(shops[1], 0, format="common")
    for shop in shops:
        run_through(shop, write_log)
    wrong, right = shops
    assert wrong.count("rejects") == 48
    settle_source(wrong, 0, format="common")
    facts = rebuild(wrong, with_rejects=True)
    assert facts.merged_count == 43
    # Where a root came from is said if anything that is cut with it has a referrer.
    assert_as_if_right_from_the_start(wrong, right, "reason")
    assert list_rows(wrong.lake, "rejects", "source", "file", "reason") == list_rows(
        right.lake, "rejects", "source", "file", "reason"
    )
    urls = scan_lake(wrong.lake).events.collect()["url"].to_list()
    assert "/p?password=[redacted]&a=b" in urls
    again = rebuild(wrong, with_rejects=True)
    assert (again.merged_count, again.has_changes) == (0, False)


def write_future(shop: Shop) -> None:
    shop.log(line(shop.now + 40 * MINUTE, 1, "/ahead?token=x"), line(shop.now, 1, "/now"))
    rows = [
        event_row(shop.now + 50 * MINUTE, 2, "ahead", amount=1.5, attributes={"a": "b"}),
        event_row(shop.now, 2, "e"),
    ]
    shop.drop_events("one", rows)


def test_what_was_too_far_ahead_is_an_event_when_it_may_be(tmp_path: Path) -> None:
    shops = [make_shop(tmp_path / "wrong"), make_shop(tmp_path / "right")]
    shops[1].settle(max_ahead=timedelta(hours=1))
    for shop in shops:
        run_through(shop, write_future)
    wrong, right = shops
    assert wrong.count("rejects") == 2
    assert not rebuild(wrong, with_rejects=True).has_changes
    wrong.settle(max_ahead=timedelta(minutes=45))
    assert rebuild(wrong, with_rejects=True).merged_count == 1
    wrong.settle(max_ahead=timedelta(hours=1))
    assert rebuild(wrong, with_rejects=True).merged_count == 1
    assert wrong.count("rejects") == 0
    assert_as_if_right_from_the_start(wrong, right)


def write_nameless(shop: Shop) -> None:
    row = {"event_time": START.isoformat(), "event_type": "page", "url": "/x"}
    rows = [
        row | {"event_id": "1", "visitor_id": "v"},
        row | {"event_id": "2", "session_id": "s"},
        row | {"event_id": "3"},
    ]
    shop.drop_events("one", rows)


def test_what_had_no_visitor_is_an_event_when_it_has_one(tmp_path: Path) -> None:
    shops = [make_shop(tmp_path / "wrong"), make_shop(tmp_path / "right")]
    shops[0].settle(visitor=VisitorRule(by="ip"))
    for shop in shops:
        run_through(shop, write_nameless)
    wrong, right = shops
    wrong.settle(visitor=VisitorRule())
    assert rebuild(wrong, with_rejects=True).merged_count == 2
    assert wrong.count("rejects") == right.count("rejects") == 1
    # Who came later is called otherwise by the one and the other.
    assert_as_if_right_from_the_start(wrong, right, "visitor_id", "visit_id")


def write_rows(shop: Shop) -> None:
    rows = [
        {
            "ts": "2026-11-22 12:20:00",
            "event_time": "soon",
            "ip": "192.0.2.1",
            "event_id": "1",
            "url": "/a?token=secret",
        },
        {"ts": "2026-11-22 12:21:00", "ip": "192.0.2.1", "event_id": "2", "event_time": "2026-11-22 12:21:00"},
        {
            "ts": "2026-11-22 12:22:00",
            "event_time": "soon",
            "ip": "192.0.2.2",
            "source": "app",
            "seq": 7,
            "event_id": "3",
        },
        {"ts": "never", "event_time": "soon", "ip": "192.0.2.1"},
    ]
    shop.drop_events("one", rows)
    shop.drop_events("two", [{**rows[0], "event_id": "4"}, {**rows[1], "event_id": "5"}])
    (shop.folder / "events" / "three.csv").write_text("event_time,ip\nsoon,192.0.2.1\n2026-11-22 12:20:00,192.0.2.1\n")
    shop.touch(shop.folder / "events" / "three.csv")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Amsterdam"])
def test_rows_of_event_files_are_read_by_another_map(tmp_path: Path, zone: str) -> None:
    shops = [make_shop(tmp_path / "wrong"), make_shop(tmp_path / "right")]
    for shop in shops:
        settle_source(shop, 1, time_zone=zone)
    settle_source(shops[1], 1, mapping={"event_time": "ts", "position_in_source": "seq"})
    for shop in shops:
        run_through(shop, write_rows)
    wrong = shops[0]
    settle_source(wrong, 1, mapping={"event_time": "ts", "position_in_source": "seq"})
    assert rebuild(wrong, with_rejects=True).merged_count == 3
    ids = ["1", "3", "4"]
    found = [
        scan_lake(each.lake).events.filter(pl.col("event_id").is_in(ids)).sort("event_id").collect() for each in shops
    ]
    same = ["event_time", "url", "ip", "position_in_source", "arrival_time", "visitor_id"]
    assert found[0].select(same).equals(found[1].select(same))
    assert found[0]["source"].to_list() == ["events", "app", "events"]
    assert "secret" not in str(found[0]["url"].to_list())
    assert wrong.count("rejects") == 2  # a row without any time, and a record of a CSV, whose header is not there
    assert_conserved(wrong)


def test_a_log_of_which_nothing_could_be_read_waits_for_one_that_can(tmp_path: Path) -> None:
    from m2cli.errors import UsageError

    shop = make_shop(tmp_path)
    shop.pass_time(60)
    write_log(shop)
    shop.run()
    settle_source(shop, 0, format="common")
    with pytest.raises(
        UsageError, match="no event that the pipeline `shop` has taken is final yet; `m2 run` comes first"
    ):
        rebuild(shop, with_rejects=True)
    finish(shop)
    assert rebuild(shop, with_rejects=True).merged_count == 43


def test_a_reject_whose_chain_is_open_is_late_until_that_is_over(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    shop.pass_time(60)
    shop.log(
        '192.0.2.1 - - [22/Nov/2026:12:54:00 +0000] "GET /p HTTP/1.1" 200 7\n',
        line(shop.now, 1),
    )
    shop.log(line(shop.now, 2), name="last.log")
    shop.run()
    settle_source(shop, 0, format="common")
    facts = rebuild(shop, with_rejects=True)
    assert (facts.merged_count, facts.waiting_count) == (0, 1)
    assert (shop.count("rejects"), shop.count("late")) == (0, 1)
    finish(shop)
    assert rebuild(shop, with_late=True).merged_count == 1
    assert_whole(shop)
