"""A file that was imported by mistake, taken out: from visits, late events and duplicates, and never taken again."""

from __future__ import annotations

import gzip
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import UsageError
from m2cli.lake import scan_lake
from tests.pipelines_runs.shop import MINUTE, START, Shop, line
from tests.runs.rebuild.rebuilding import (
    Kept,
    assert_like_bounded,
    assert_whole,
    event_row,
    finish,
    list_ids,
    list_inputs,
    list_urls,
    rebuild,
    stroll,
)

if TYPE_CHECKING:
    from pathlib import Path


def make_shop(folder: Path) -> Shop:
    """A shop with a log, a test server's log of the same visitors, and two event files that share events."""
    shop = Shop(folder)
    shop.settle(sources=(shop.log_source("*.log", "*.log.*"), shop.events_source()))
    for seed in range(3):
        shop.pass_time(30)
        shop.log(*stroll(shop.now - 12 * MINUTE, 30, seed))
        if seed == 1:
            shop.log(*stroll(shop.now - 20 * MINUTE, 30, 40), name="test.log")
            rows = [event_row(shop.now - (12 - number) * MINUTE, number % 4, f"{number}") for number in range(12)]
            shop.drop_events("one", rows)
            shop.drop_events("test", [event_row(shop.now, 2, "t"), *rows[6:]])
            shop.pass_time(2)
        shop.run()
    finish(shop)
    return shop


def part_of(shop: Shop, name: str) -> str:
    with shop.ledger() as ledger:
        return next(part.part_id for part in ledger.list_parts() if part.path.endswith(name))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(make_shop(tmp_path_factory.mktemp("shops") / "shop"))


@pytest.fixture
def shop(kept: Kept) -> Shop:
    return kept.restore()


def test_a_lake_without_a_log_is_that_of_a_pipeline_that_never_took_it(shop: Shop) -> None:
    assert any("/40/" in url for url in list_urls(shop))
    facts = rebuild(shop, without_files=(shop.folder / "logs" / "test.log",), with_late=True)
    assert (facts.excluded_count, facts.warnings) == (30, ())
    kept = [path for path in list_inputs(shop) if path.name != "test.log"]
    assert_like_bounded(shop, kept)
    assert_whole(shop)


def test_without_late_events_its_visits_are_those_of_the_other_events_on_time(shop: Shop) -> None:
    late = list_urls(shop, "late")
    assert [url for url in late if "/40/" not in url]
    rebuild(shop, without_files=(shop.folder / "logs" / "test.log",))
    assert list_urls(shop, "late") == [url for url in late if "/40/" not in url]
    assert not [url for url in list_urls(shop) if "/40/" in url]
    rebuild(shop, with_late=True)
    assert_like_bounded(shop, [path for path in list_inputs(shop) if path.name != "test.log"])


def test_a_duplicate_of_an_event_that_is_taken_out_is_none_any_more(shop: Shop) -> None:
    duplicates = list_ids(shop, "duplicates")
    assert duplicates
    facts = rebuild(shop, without_files=(shop.folder / "events" / "one.ndjson",), with_late=True)
    assert facts.excluded_count == 12
    # What both files had is there as the other had it.
    assert set(duplicates) <= set(list_ids(shop))
    assert list_ids(shop, "duplicates") == []
    assert_like_bounded(shop, [path for path in list_inputs(shop) if path.name != "one.ndjson"])
    assert_whole(shop)


def test_duplicates_that_were_taken_out_are_not_kept_as_such(shop: Shop) -> None:
    rebuild(shop, without_files=(shop.folder / "events" / "test.ndjson",), with_late=True)
    assert list_ids(shop, "duplicates") == []
    assert_like_bounded(shop, [path for path in list_inputs(shop) if path.name != "test.ndjson"])


@pytest.mark.parametrize("how", ["by its name, though it is gone", "by its part", "rotated", "gzipped", "grown"])
def test_a_log_is_named(shop: Shop, how: str) -> None:
    log = shop.folder / "logs" / "test.log"
    named = log
    if how == "by its name, though it is gone":
        log.unlink()
    elif how == "by its part":
        named = type(log)(part_of(shop, "test.log"))
    elif how == "rotated":
        named = log.rename(log.with_name("test.log.1"))
    elif how == "gzipped":
        named = shop.folder / "elsewhere.gz"
        named.write_bytes(gzip.compress(log.read_bytes()))
    else:
        shop.log(line(shop.now, 1, "/40/more"), name="test.log")
    rebuild(shop, without_files=(named,))
    assert not [url for url in list_urls(shop) if "/40/" in url]
    assert_whole(shop)


def test_several_logs_of_one_name_are_told_apart_by_their_parts(shop: Shop) -> None:
    (shop.folder / "logs" / "test.log").unlink()
    shop.log(line(shop.now, 1, "/40/next"), name="test.log")
    shop.run(is_flush=True)
    (shop.folder / "logs" / "test.log").unlink()
    before = list_urls(shop)
    with pytest.raises(
        UsageError, match=r"several logs were read as `.*test\.log`.*name one by its id: `2026.*`, `2026"
    ):
        rebuild(shop, without_files=(shop.folder / "logs" / "test.log",))
    assert list_urls(shop) == before
    assert_whole(shop)


@pytest.mark.parametrize("name", ["nowhere.log", "new.log", "20261122T120000Z-123456789abc"])
def test_what_was_never_taken_cannot_be_taken_out(shop: Shop, name: str) -> None:
    (shop.folder / "new.log").write_text(line(START, 3, "/new"))
    with pytest.raises(UsageError, match=f"the pipeline has taken nothing that is in `.*{name}`"):
        rebuild(shop, without_files=(shop.folder / name,))
    assert_whole(shop)


def test_what_was_taken_out_is_never_taken_again(shop: Shop) -> None:
    logs, events = shop.folder / "logs", shop.folder / "events"
    rebuild(shop, without_files=(logs / "test.log", events / "test.ndjson"))
    kept, late = list_ids(shop), list_ids(shop, "late")
    shop.log(line(shop.now, 1, "/40/more"), name="test.log")
    shutil.copy(logs / "test.log", logs / "copy.log")
    (logs / "test.log").rename(logs / "test.log.1")
    shop.pack_log("copy.log", "packed.log.gz")
    (events / "test.ndjson").rename(events / "other.ndjson")
    shop.pass_time(60)
    facts = shop.run(is_flush=True).batch
    assert (facts.read_count, list_ids(shop), list_ids(shop, "late")) == (0, kept, late)
    assert not rebuild(shop, without_files=(logs / "test.log.1",)).has_changes


def test_events_of_it_that_are_late_or_rejects_are_not_merged(shop: Shop) -> None:
    ahead = line(shop.now + 20 * MINUTE, 5, "/50/ahead")
    shop.log(line(shop.now - timedelta(days=2), 5, "/50/late"), ahead, name="mistake.log")
    shop.run()
    finish(shop)
    shop.settle(max_ahead=timedelta(hours=1))
    rebuild(shop, without_files=(shop.folder / "logs" / "mistake.log",), with_late=True, with_rejects=True)
    rebuild(shop, with_late=True, with_rejects=True)
    assert not [url for url in (*list_urls(shop), *list_urls(shop, "late")) if "/50/" in url]
    assert_whole(shop)


def test_what_is_in_open_visits_is_left_and_taken_out_when_these_have_ended(shop: Shop) -> None:
    shop.pass_time(90)
    shop.log(line(shop.now - MINUTE, 3, "/60/1"), line(shop.now, 3, "/60/2"), name="mistake.log")
    shop.log(line(shop.now - MINUTE, 3, "/own"), line(shop.now + 9 * MINUTE, 4, "/next"))
    shop.run()
    mistake = shop.folder / "logs" / "mistake.log"
    facts = rebuild(shop, without_files=(mistake,))
    assert (facts.excluded_count, facts.has_changes) == (0, True)
    assert facts.warnings[0].startswith(
        "2 events of what is to be taken out are in visits that are open, and were left"
    )
    shop.run(is_flush=True)
    assert [url for url in list_urls(shop) if "/60/" in url] == ["/60/1", "/60/2"]
    facts = rebuild(shop, without_files=(mistake,))
    assert (facts.excluded_count, facts.warnings) == (2, ())
    assert not [url for url in list_urls(shop) if "/60/" in url]
    assert "/own" in list_urls(shop)
    assert_whole(shop)


def test_a_visit_that_leads_into_an_open_one_is_left(tmp_path: Path) -> None:
    """`max_duration` has ended a visit that goes on in the next one, which is open."""
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("*.log"),))
    start = shop.now
    shop.pass_time(180)
    shop.log(line(start, 1, "/m"), line(shop.now, 2, "/m"), name="mistake.log")
    shop.log(*(line(start + number * 20 * MINUTE, 1, f"/{number}") for number in range(10)))
    shop.run()
    assert scan_lake(shop.lake).visits.collect().height == 1
    facts = rebuild(shop, without_files=(tmp_path / "logs" / "mistake.log",))
    assert (
        facts.warnings[1]
        == "1 of the visits lead into ones that are open, and were left; do it again when these have ended"
    )
    assert facts.excluded_count == 0
    shop.run(is_flush=True)
    shop.pass_time(60)
    shop.log(line(shop.now, 9, "/far"), name="last.log")
    shop.run(is_flush=True)
    facts = rebuild(shop, without_files=(tmp_path / "logs" / "mistake.log",))
    assert (facts.excluded_count, facts.visits_before, facts.visits_after) == (2, 3, 2)
    assert_like_bounded(shop, [tmp_path / "logs" / name for name in ("access.log", "last.log")])
    assert_whole(shop)
