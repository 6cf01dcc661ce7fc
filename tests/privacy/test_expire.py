"""Expiry: old visits leave lake, carried state and ledger; nobody is disturbed, and a kill leaves all or nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.commands.expire import find_date
from m2cli.errors import ExitCode, UsageError
from m2cli.lake.scan import scan_lake
from m2cli.lake.snapshot import read_snapshot
from m2cli.privacy.rule import PrivacyRule
from m2cli.runs.anonymize.lake import anonymize_lake
from m2cli.runs.check import check_pipeline
from m2cli.runs.expire import ExpireFacts, ExpireRule, expire_lake, preview_expiry
from m2cli.runs.query import query_lake
from tests.cli.command import run_m2
from tests.pipelines_runs.shop import Shop, line, list_lake, list_rows
from tests.privacy.lakes import make_lake
from tests.runs.rebuild.killing import assert_old_or_new
from tests.runs.rebuild.rebuilding import Kept, assert_whole, event_row, stroll

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.privacy.salts import FolderSalts

MINUTE = timedelta(minutes=1)
# The shop's clock begins on 22 November 2026 at noon.
FIRST, SECOND, THIRD = date(2026, 11, 22), date(2026, 11, 23), date(2026, 11, 24)
MARKED = "192.0.2.201"


def make_shop(folder: Path, *, batch_count: int = 6) -> Shop:
    """A shop of two or three days, with late events, rejects and duplicates of each."""
    shop = Shop(folder)
    for seed in range(batch_count):
        shop.pass_time(8 * 60)
        shop.log(*stroll(shop.now - 6 * MINUTE, 20, seed))
        row = event_row(shop.now, 3, f"{seed}")
        shop.drop_events(f"{seed:03}", [row, row])
        shop.pass_time(2)
        shop.run()
    return shop


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(make_shop(tmp_path_factory.mktemp("expiring") / "shop"))


@pytest.fixture
def shop(kept: Kept) -> Shop:
    """The shop of three days, as it was."""
    return kept.restore()


def expire(shop: Shop, before: date = SECOND, **settings: timedelta) -> ExpireFacts:
    facts = expire_lake(shop.lake, ExpireRule(before=before, **settings), now=lambda: shop.now)
    assert_whole(shop)
    return facts


def test_visits_that_started_before_are_gone_and_the_others_as_they_were(shop: Shop) -> None:
    before = {name: shop.read(name) for name in ("events", "visits", "late", "duplicates", "rejects")}
    facts = expire(shop)
    start = datetime(2026, 11, 23, tzinfo=UTC)
    for name, time in (
        ("visits", "start_time"),
        ("late", "event_time"),
        ("duplicates", "event_time"),
        ("rejects", "arrival_time"),
    ):
        kept = before[name].filter(pl.col(time) >= start)
        assert 0 < kept.height < before[name].height, name
        assert shop.read(name).sort(time).rows() == kept.sort(time).rows()
        assert facts.row_counts[name] == before[name].height - kept.height
    assert set(shop.read("events")["visit_id"]) == set(shop.read("visits")["visit_id"])
    assert facts.rewritten_count == 0
    assert check_pipeline(shop.rule, now=shop.now, is_deep=True).findings == []


def test_a_file_of_both_days_is_written_anew_with_what_stays(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    shop.now = midnight + 60 * MINUTE
    early, late = event_row(midnight - 20 * MINUTE, 1, "early"), event_row(midnight + 20 * MINUTE, 2, "late")
    shop.drop_events("1", [early, early, late, late])
    shop.pass_time(2)
    shop.run(is_flush=True)
    assert shop.count("duplicates") == 2
    facts = expire(shop)
    assert (facts.rewritten_count, facts.row_counts["duplicates"]) == (1, 1)
    assert shop.read("duplicates")["event_id"].to_list() == ["late"]


def test_a_dry_run_says_what_would_go_and_changes_nothing(shop: Shop) -> None:
    before = list_lake(shop)
    would = preview_expiry(shop.lake, ExpireRule(before=SECOND))
    assert list_lake(shop) == before
    went = expire(shop)
    assert (went.row_counts, went.file_count) == (would.row_counts, would.file_count)


def test_files_leave_the_set_at_once_and_the_disk_after_the_grace(shop: Shop) -> None:
    old = [file.path for file in read_snapshot(shop.lake).files if file.start_date == FIRST]
    frames = scan_lake(shop.lake)
    expire(shop, grace=30 * MINUTE)
    assert not any((shop.lake / path).exists() for path in old)
    assert frames.events.collect().height > shop.count("events")  # who reads by the snapshot before is not disturbed
    with query_lake("SELECT count(*) FROM visits", shop.lake) as found:
        assert pl.concat(found).item() == shop.count("visits")
    kept = len(list((shop.lake / "_m2" / "files").iterdir()))
    shop.pass_time(31)
    shop.run()
    assert len(list((shop.lake / "_m2" / "files").iterdir())) < kept - len(old)
    assert_whole(shop)


def test_visits_that_are_still_open_go_as_well(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.log(line(shop.now, 1), line(shop.now + MINUTE, 1))
    shop.pass_time(10)
    shop.run()  # nothing closes them: the shop stands still
    assert shop.count("visits") == 0
    assert preview_expiry(shop.lake, ExpireRule(before=SECOND)).carried_event_count == 2
    assert expire(shop).carried_event_count == 2
    with shop.ledger() as ledger:
        assert ledger.read_progress().carried == ()
    assert list((shop.lake / "_m2" / "carried").iterdir()) == [] or shop.run()
    shop.run(is_flush=True)
    assert shop.count("visits") == 0
    assert_whole(shop)


def test_of_open_visits_those_that_are_young_stay(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    shop.now = midnight + 20 * MINUTE
    walk = [line(midnight + n * MINUTE, visitor) for n in range(-15, 16) for visitor in (1, 2) if visitor == 1 or n > 0]
    shop.log(*walk)
    shop.run()
    assert expire(shop).carried_event_count > 15
    shop.run(is_flush=True)
    starts = shop.read("visits").sort("start_time")
    assert "192.0.2.2" in set(shop.read("events")["ip"])
    assert starts["start_time"].min() >= midnight
    assert_whole(shop)


def test_nothing_of_what_is_gone_is_left_in_any_file(tmp_path: Path) -> None:
    """Of a log of the first day neither the lake nor its ledger, with SQLite's own log, know the part or a line."""
    shop = Shop(tmp_path)
    shop.log(line(shop.now).replace("192.0.2.1 ", f"{MARKED} "), name="access.log.1")
    shop.pass_time(2)
    shop.run()
    (shop.folder / "logs" / "access.log.1").unlink()
    shop.pass_time(26 * 60)
    shop.log(line(shop.now, 2))
    shop.pass_time(60)
    shop.run()

    with shop.ledger() as ledger:
        part_id = next(part.part_id for part in ledger.list_parts() if part.part_id.startswith("20261122"))

    def occurs() -> bool:
        by_bytes = any(part_id.encode() in path.read_bytes() for path in shop.lake.rglob("*") if path.is_file())
        return by_bytes or MARKED in set(scan_lake(shop.lake).events.collect()["ip"])

    assert occurs()
    expire(shop, grace=timedelta(0))
    shop.pass_time(1)
    shop.run()
    assert not occurs()
    assert not any(MARKED.encode() in path.read_bytes() for path in shop.lake.rglob("*") if path.is_file())


def test_it_is_recorded_and_counted(shop: Shop) -> None:
    facts = expire(shop)
    last = shop.batches()[-1]
    assert (last.kind, last.state, last.batch_id) == ("expire", "published", facts.batch_id)
    assert last.plan == {"before": "2026-11-23"}
    assert last.facts["visit_count"] == -facts.row_counts["visits"]


def test_done_again_there_is_nothing_to_do(shop: Shop) -> None:
    expire(shop)
    count = len(shop.batches())
    assert expire(shop).is_nothing
    assert len(shop.batches()) == count


def test_the_pipeline_goes_on_after_it(kept: Kept) -> None:
    visits = []
    for is_expired in (True, False):
        shop = kept.restore()
        if is_expired:
            expire(shop)
        shop.pass_time(8 * 60)
        shop.log(*stroll(shop.now - 6 * MINUTE, 20, 99))
        shop.pass_time(2)
        shop.run(is_flush=True)
        assert_whole(shop)
        visits.append(list_rows(shop)["visits"])
    assert visits[0] == [row for row in visits[1] if row[2] >= datetime(2026, 11, 23, tzinfo=UTC)]


def test_killed_at_any_step_an_expiry_has_been_done_or_has_not(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", batch_count=3)
    assert assert_old_or_new(shop, ExpireRule(before=SECOND), most=1) > 10


def test_a_lake_that_no_pipeline_writes_is_told_of(tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake")
    with pytest.raises(UsageError, match="made at once"):
        expire_lake(lake, ExpireRule(before=SECOND), now=lambda: datetime.now(UTC))
    with pytest.raises(UsageError, match="made at once"):
        preview_expiry(lake, ExpireRule(before=SECOND))


def test_a_pseudonymous_lake_does_not_expire(salts: FolderSalts, tmp_path: Path) -> None:
    anonymize_lake(make_lake(tmp_path / "lake"), tmp_path / "anonymous", PrivacyRule(), salts)
    with pytest.raises(UsageError, match="keeps what it has"):
        expire_lake(tmp_path / "anonymous", ExpireRule(before=SECOND), now=lambda: datetime.now(UTC))


@pytest.mark.parametrize(
    ("age", "first"),
    [("2y", date(2026, 2, 28)), ("1d", date(2028, 2, 28)), ("400d", date(2027, 1, 25)), ("28y", date(2000, 2, 28))],
)
def test_an_age_is_a_date(age: str, first: date) -> None:
    assert find_date(age, date(2028, 2, 29)) == first


@pytest.mark.parametrize("age", ["2", "two years", "", "9999y"])
def test_what_is_no_age_is_refused(age: str) -> None:
    with pytest.raises(UsageError):
        find_date(age, date(2028, 2, 29))


def test_the_verb(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, batch_count=3)
    args = ("expire", "--lake", "lake", "--before", str(SECOND))
    tried = run_m2(*args, "--dry-run", folder=tmp_path)
    assert (tried.returncode, b"would go" in tried.stderr) == (ExitCode.OK, True)
    done = run_m2(*args, folder=tmp_path)
    assert (done.returncode, b"are gone" in done.stderr) == (ExitCode.OK, True)
    assert b"nothing of visits" in run_m2(*args, folder=tmp_path).stderr
    assert run_m2("expire", "--lake", "lake", folder=tmp_path).returncode == ExitCode.USAGE
    assert shop.read("visits")["start_time"].min() >= datetime(2026, 11, 23, tzinfo=UTC)
