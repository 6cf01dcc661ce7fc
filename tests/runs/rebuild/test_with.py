"""A file that was forgotten: merged into closed visits, and never taken again."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import TooManyRejectsError, UnreadableSourceError, UsageError
from m2cli.lake import scan_lake
from m2cli.settings import RejectLimit
from tests.pipelines_runs.shop import MINUTE, START, Shop, line
from tests.runs.rebuild.rebuilding import (
    Kept,
    assert_like_bounded,
    assert_whole,
    event_row,
    finish,
    list_files,
    list_inputs,
    list_urls,
    rebuild,
    stroll,
)

if TYPE_CHECKING:
    from pathlib import Path


def make_shop(folder: Path) -> Shop:
    shop = Shop(folder)
    shop.settle(sources=(shop.log_source("access.log", "last.log", "web2/*"), shop.events_source()))
    for seed in range(2):
        shop.pass_time(30)
        shop.log(*stroll(shop.now - 12 * MINUTE, 30, seed))
        shop.run()
    finish(shop)
    return shop


def write_log(shop: Shop, name: str = "web2/access.log", *, count: int = 20) -> Path:
    """Another server's log of the same visitors; `web2/` is among the paths of the pipeline."""
    path = shop.folder / "logs" / name
    path.parent.mkdir(exist_ok=True)
    text = "".join(stroll(START + 20 * MINUTE, count, 70)).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return shop.touch(path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(make_shop(tmp_path_factory.mktemp("shops") / "shop"))


@pytest.fixture
def shop(kept: Kept) -> Shop:
    return kept.restore()


@pytest.mark.parametrize("name", ["web2/access.log", "web2/access.log.gz", "forgotten.gz"])
def test_a_log_that_was_forgotten_is_merged(shop: Shop, name: str) -> None:
    log, late = write_log(shop, name), list_urls(shop, "late")
    facts = rebuild(shop, with_files=(log,), with_late=True)
    assert (facts.merged_count, facts.waiting_count, facts.other_count) == (20 + len(late), 0, 0)
    assert_like_bounded(shop, [*(path for path in list_inputs(shop) if path.is_file()), log])
    assert_whole(shop)


def test_event_files_that_were_forgotten_are_merged(shop: Shop) -> None:
    rows = [event_row(START + number * MINUTE, number % 4, f"{number}") for number in range(10)]
    shop.drop_events("one", rows)
    pl.DataFrame([*rows[5:], event_row(START, 3, "n")]).write_parquet(shop.folder / "events" / "two.parquet")
    shop.touch(shop.folder / "events" / "two.parquet")
    facts = rebuild(shop, with_files=tuple((shop.folder / "events").iterdir()), with_late=True)
    assert facts.duplicate_count == 5
    assert_like_bounded(shop)
    assert_whole(shop)


def test_a_log_and_its_copies_are_merged_once(shop: Shop) -> None:
    plain, packed = write_log(shop), write_log(shop, "web2/access.log.1.gz")
    (shop.folder / "link.log").symlink_to(plain)
    rebuild(shop, with_files=(plain, packed, shop.folder / "link.log"), with_late=True)
    assert_like_bounded(shop, [path for path in list_inputs(shop) if path.name != "web2"] + [plain])
    assert_whole(shop)


def test_what_was_merged_is_never_taken_again(shop: Shop) -> None:
    log = write_log(shop)
    rows = [event_row(START + number * MINUTE, number % 4, f"{number}") for number in range(10)]
    rebuild(shop, with_files=(log, shop.drop_events("one", rows)))
    before = list_urls(shop)
    shop.pass_time(60)
    facts = shop.run(is_flush=True).batch
    assert (facts.read_count, list_urls(shop)) == (0, before)
    write_log(shop, "web2/access.log.1.gz")
    log.unlink()
    assert shop.run(is_flush=True).batch.read_count == 0


@pytest.mark.parametrize("how", ["the file itself", "its copy, gzipped", "an event file"])
def test_what_the_pipeline_has_taken_is_not_merged(shop: Shop, how: str) -> None:
    known = shop.folder / "logs" / "access.log"
    if how == "its copy, gzipped":
        known = shop.folder / "copy.gz"
        known.write_bytes(gzip.compress((shop.folder / "logs" / "access.log").read_bytes()))
    elif how == "an event file":
        known = shop.drop_events("known", [event_row(shop.now + MINUTE, 1, "k")])
        shop.pass_time(5)
        shop.run()
    before = list_files(shop)
    with pytest.raises(UsageError, match=f"the pipeline has taken all that `.*{known.name}` holds"):
        rebuild(shop, with_files=(write_log(shop), known))
    assert list_files(shop) == before


def test_what_goes_on_where_visits_are_open_is_not_merged(shop: Shop) -> None:
    log = write_log(shop)
    with log.open("a") as stream:
        stream.write(line(shop.now + 60 * MINUTE, 1, "/beyond"))
    shop.pass_time(60)
    shop.touch(log)
    before = list_files(shop)
    with pytest.raises(UsageError, match=r"access\.log` goes on beyond 2026-11-23 .*let `m2 run` take it, and merge"):
        rebuild(shop, with_files=(log,))
    assert list_files(shop) == before
    assert shop.run(is_flush=True).batch.read_count == 23


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere.log", "no such file"), ("logs", "it is a folder; name the files in it")]
)
def test_what_cannot_be_read_is_said(shop: Shop, name: str, reason: str) -> None:
    with pytest.raises(UnreadableSourceError, match=f"{name}`: {reason}"):
        rebuild(shop, with_files=(shop.folder / name,))
    assert_whole(shop)


def test_a_log_of_another_format_is_too_many_rejects(shop: Shop) -> None:
    shop.settle(max_rejects=RejectLimit(share=0.5))
    log = write_log(shop, "notes.txt", count=0)
    log.write_text("no log\n" * 10)
    before = list_files(shop)
    with pytest.raises(TooManyRejectsError):
        rebuild(shop, with_files=(log,))
    assert list_files(shop) == before


def test_events_of_other_dates_are_late_and_wait_for_their_dates(shop: Shop) -> None:
    log = write_log(shop, count=0)
    log.write_text("".join(line(START - timedelta(days=days), 3, f"/{days}/b") for days in (3, 2, 0)))
    shop.touch(log)
    late = len(list_urls(shop, "late"))
    facts = rebuild(shop, first=START.date(), last=START.date(), with_files=(log,))
    assert (facts.merged_count, facts.other_count, len(list_urls(shop, "late"))) == (1, 2, late + 2)
    reasons = scan_lake(shop.lake).late.filter(pl.col("url").str.contains("/b")).collect()
    assert reasons["late_reason"].to_list() == ["new_partition"] * 2
    with shop.ledger() as ledger:
        W = ledger.read_progress().W.time
    assert (reasons["event_time"] + reasons["late_by"]).to_list() == [W] * 2
    rebuild(shop, with_late=True)
    assert_like_bounded(shop, [*(path for path in list_inputs(shop) if path.is_file()), log])


def test_the_source_that_would_read_a_file_says_how(shop: Shop) -> None:
    sources = shop.rule.sources
    other = replace(sources[0], name="common", paths=(str(shop.folder / "logs" / "web3" / "*"),), format="common")
    shop.settle(sources=(*sources, other))
    log = write_log(shop, "web3/access.log", count=0)
    log.write_text('192.0.2.3 - - [22/Nov/2026:12:20:00 +0000] "GET /common HTTP/1.1" 200 7\n')
    rebuild(shop, with_files=(shop.touch(log),))
    assert "/common" in list_urls(shop)
