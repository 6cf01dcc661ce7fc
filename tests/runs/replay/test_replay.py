"""A day replayed: however often batches run and whatever goes wrong, the truth; and a verdict that can fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.lake.scan import scan_lake
from m2cli.runs.intake import Tally
from m2cli.runs.progress import tell_nobody
from m2cli.runs.replay.compare import MERGED
from m2cli.runs.replay.rule import FaultRule, Outage, ReplayRule
from m2cli.runs.replay.run import What, find_today, record, replay
from m2cli.runs.sample import make_sample
from m2cli.sample.rule import SampleRule
from m2cli.stages.visitors import IP, VisitorRule
from m2cli.visits import VisitRule
from tests.cli.command import M2, ROOT
from tests.pipelines_runs.shop import Shop
from tests.properties.test_sample_truth import FACTS
from tests.runs.rebuild.rebuilding import rebuild
from tests.truth import read_truth

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.runs.replay.run import Replay

PLACE = ("source", "part_id", "position_in_source")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
# The truth knows no partition that is idle.
RULE = ReplayRule(every=HOUR, visit=VisitRule(idle_after=timedelta(days=3_650)), memory=1 << 30)
DAY = date(2025, 10, 1)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "days"
    make_sample(folder, SampleRule(events=4_000, days=1, seed=5))
    return folder


def play(what: What, rule: ReplayRule, keep: Path) -> Replay:
    today, _ = find_today(what)
    return replay(what, rule, replace(today, visit=rule.visit), keep=keep)


def replay_sample(sample: Path, rule: ReplayRule, keep: Path) -> Replay:
    return play(What(inputs=(str(sample / "events"),)), rule, keep)


def assert_true(sample: Path, lake: Path) -> None:
    """Visits, late events and duplicates of the lake are what is true of the sample."""
    truth = sample / "truth" / "on_time"
    found = scan_lake(lake)
    visits = found.visits.collect()
    starts = visits.select(continues_visit_id="visit_id", continues_start_time="start_time")
    facts = visits.join(starts, on="continues_visit_id", how="left").select(FACTS).sort(FACTS[:2])
    expected = read_truth(truth / "visits.parquet").select(FACTS).sort(FACTS[:2])
    assert facts.equals(expected.with_columns(end_reason=pl.col("end_reason").replace("end_of_input", "flush")))
    events = read_truth(truth / "events.parquet")
    late = found.late.select(PLACE).collect()
    assert late.sort(PLACE).equals(events.filter("is_late").select(PLACE).sort(PLACE))
    copies = found.duplicates.select(PLACE).collect()
    is_copy = pl.col("is_duplicate") & ~pl.col("is_late")
    assert copies.sort(PLACE).equals(events.filter(is_copy).select(PLACE).sort(PLACE))
    assert late.height > 10
    assert copies.height > 2


@pytest.mark.parametrize(
    ("every", "faults"),
    [
        pytest.param(15 * MINUTE, FaultRule(), id="every 15m"),
        pytest.param(HOUR, FaultRule(), id="every 1h", marks=pytest.mark.soak),
        pytest.param(24 * HOUR, FaultRule(), id="in one batch a day"),
        pytest.param(MINUTE, FaultRule(), id="every 1m", marks=pytest.mark.soak),
        pytest.param(
            2 * HOUR, FaultRule(outages=(Outage(time(10), time(13)), Outage(time(23), time(1)))), id="with two outages"
        ),
        pytest.param(2 * HOUR, FaultRule(lags={"2": 20 * MINUTE, "web-0": 3 * HOUR}), id="with partitions that lag"),
        pytest.param(3 * HOUR, FaultRule(shuffle=5 * MINUTE), id="with disorder within B"),
        pytest.param(
            3 * HOUR,
            FaultRule(outages=(Outage(time(10), time(11)),), lags={"3": 20 * MINUTE}, shuffle=5 * MINUTE, seed=2),
            id="with all of it",
        ),
    ],
)
def test_a_replay_finds_the_truth(sample: Path, tmp_path: Path, every: timedelta, faults: FaultRule) -> None:
    replayed = replay_sample(sample, replace(RULE, every=every, faults=faults), tmp_path / "kept")
    assert replayed.verdict.is_same
    assert_true(sample, replayed.lake)


def test_a_batch_a_minute_says_what_one_batch_says(sample: Path, tmp_path: Path) -> None:
    arrived = pl.concat(pl.read_parquet(path) for path in sorted((sample / "events").glob("*.parquet")))
    begin = datetime(2025, 10, 1, 9, tzinfo=UTC)
    some = arrived.filter(pl.col("arrival_time").is_between(begin, begin + HOUR))
    some.write_parquet(tmp_path / "some.parquet")
    what = What(inputs=(str(tmp_path / "some.parquet"),))
    often, once = (play(what, replace(RULE, every=every), tmp_path / f"{every}") for every in (MINUTE, 24 * HOUR))
    assert often.verdict.batch_count > 55
    rows = [
        [sorted(table.select("visitor_id", *PLACE).collect().rows(), key=str) for table in scan_lake(each.lake)[:1]]
        for each in (often, once)
    ]
    assert rows[0] == rows[1]
    assert often.verdict.is_same
    assert once.verdict.is_same


def find_late(rows: pl.DataFrame, B: timedelta) -> set[tuple[object, ...]]:
    """The rule of lateness once more, event by event (DESIGN 4.5), of rows in the order in which they come."""
    watermark: dict[str, datetime] = defaultdict(lambda: datetime.min.replace(tzinfo=UTC))
    late = set()
    for row in rows.iter_rows(named=True):
        if row["event_time"] < watermark[row["source"]]:
            late.add(tuple(row[name] for name in PLACE))
        watermark[row["source"]] = max(watermark[row["source"]], min(row["event_time"], row["arrival_time"]) - B)
    return late


def test_disorder_beyond_the_bound_makes_late_exactly_what_the_rule_calls_late(sample: Path, tmp_path: Path) -> None:
    rule = replace(RULE, every=4 * HOUR, faults=FaultRule(shuffle=15 * MINUTE))
    replayed = replay_sample(sample, rule, tmp_path / "kept")
    tape = record(What(inputs=(str(sample / "events"),)), None, rule, tmp_path, tally=Tally(), tell=tell_nobody)
    rows = pl.concat(pl.read_parquet(piece.path) for piece in tape.pieces)
    expected = find_late(rows, rule.visit.max_out_of_orderness)
    assert set(scan_lake(replayed.lake).late.select(PLACE).collect().rows()) == expected
    assert len(expected) > 100
    assert replayed.verdict.is_same  # with the kernel at once and DuckDB; nothing ran live


@pytest.mark.parametrize("is_parted", [True, False])
def test_the_tape_has_every_partition_in_its_own_order(
    sample: Path, tmp_path: Path, is_parted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_parted:
        monkeypatch.setattr("m2cli.runs.replay.record._SHARE", 1 << 30)
    tape = record(What(inputs=(str(sample / "events"),)), None, RULE, tmp_path, tally=Tally(), tell=tell_nobody)
    rows = pl.concat(pl.read_parquet(piece.path) for piece in tape.pieces)
    assert rows.height == tape.row_count == 4_000
    assert (len(tape.pieces) > 50) == is_parted
    for partition in rows.partition_by("source"):
        assert partition.select("part_id", "position_in_source").equals(
            partition.select("part_id", "position_in_source").sort("part_id", "position_in_source")
        )


@pytest.mark.parametrize("is_parted", [True, False])
def test_what_stands_after_a_later_arrival_waits_for_it(
    tmp_path: Path, is_parted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_parted:
        monkeypatch.setattr("m2cli.runs.replay.record._SHARE", 1 << 30)
    begin = datetime(2025, 10, 1, 12, tzinfo=UTC)
    minutes = [0, 100, 50, 20, 200]  # of arrival, by position
    rows = pl.DataFrame(
        {
            "event_id": [f"e{number}" for number in range(5)],
            "event_time": [begin + number * MINUTE for number in range(5)],
            "arrival_time": [begin + minute * MINUTE for minute in minutes],
            "visitor_id": "v",
            "source": "s",
            "part_id": "p",
            "position_in_source": range(5),
        }
    )
    rows.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "events.parquet")
    (tmp_path / "tape").mkdir()
    what = What(inputs=(str(tmp_path / "events.parquet"),))
    tape = record(what, None, RULE, tmp_path / "tape", tally=Tally(), tell=tell_nobody)
    found = pl.concat(pl.read_parquet(piece.path) for piece in tape.pieces)
    assert found["position_in_source"].to_list() == [0, 1, 2, 3, 4]
    assert [tape.find_end(begin + minute * MINUTE) for minute in (0, 1, 100, 101, 200, 201)] == [0, 1, 1, 4, 4, 5]


@pytest.mark.parametrize(
    ("outage", "now", "end"),
    [
        (Outage(time(10), time(11)), datetime(2025, 1, 1, 10, 30, tzinfo=UTC), datetime(2025, 1, 1, 11, tzinfo=UTC)),
        (Outage(time(10), time(11)), datetime(2025, 1, 1, 11, tzinfo=UTC), datetime(2025, 1, 1, 11, tzinfo=UTC)),
        (Outage(time(23), time(1)), datetime(2025, 1, 1, 23, 30, tzinfo=UTC), datetime(2025, 1, 2, 1, tzinfo=UTC)),
        (Outage(time(23), time(1)), datetime(2025, 1, 1, 0, 30, tzinfo=UTC), datetime(2025, 1, 1, 1, tzinfo=UTC)),
    ],
)
def test_an_outage_lasts_to_its_end(outage: Outage, now: datetime, end: datetime) -> None:
    assert outage.find_end(now) == end


# ---------------------------------------------------------------- against what ran live


@pytest.fixture(scope="module")
def shop(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The same days as they ran live, a batch every two hours."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.settle(visit=VisitRule(), sources=(shop.events_source(),))
    read_time = pl.col("arrival_time").cum_max().over("source").dt.truncate("4h")
    events = pl.concat(pl.read_parquet(path) for path in sorted((sample / "events").glob("*.parquet")))
    spans = events.sort(PLACE).with_columns(span=read_time).partition_by("span", as_dict=True, include_key=False)
    for (span,), piece in sorted(spans.items()):
        shop.now = span + 4 * HOUR
        path = shop.folder / "events" / f"{span:%d%H}.parquet"
        piece.write_parquet(path)
        shop.touch(path)
        shop.now += MINUTE
        shop.run()
    shop.run(is_flush=True)
    return shop


def replay_shop(shop: Shop, folder: Path, day: date | None = None, **changes: object) -> Replay:
    what = What(lake=shop.lake, day=day)
    today, rule = find_today(what)
    return replay(what, replace(rule, every=3 * HOUR, memory=1 << 30, **changes), today, keep=folder / "kept")


def list_bytes(folder: Path) -> dict[str, bytes]:
    """All files of a lake, but for what SQLite lays beside a ledger that is read."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "sqlite-" not in path.name]
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize("day", [None, DAY])
def test_the_replay_of_a_lake_is_what_ran_live_and_the_lake_is_only_read(
    shop: Shop, tmp_path: Path, day: date | None
) -> None:
    before = list_bytes(shop.lake)
    live = replay_shop(shop, tmp_path, day).verdict.live
    assert live
    assert live.is_same
    touching = scan_lake(shop.lake).visits.collect()
    if day:
        touching = touching.filter(pl.col("end_time").dt.date() >= day, pl.col("start_time").dt.date() <= day)
        assert 10 < touching.height < shop.count("visits")
    assert live.visits.same_count == touching.height
    assert live.late.same_count > 5
    assert live.duplicates.same_count > 2
    assert list_bytes(shop.lake) == before


def test_a_replay_in_little_memory_is_the_same(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2cli.runs.replay.record._SHARE", 1 << 30)
    monkeypatch.setattr("m2cli.runs.replay.play.budget_events", lambda _memory: 100_000)
    monkeypatch.setattr("m2cli.runs.replay.play._WRITTEN_AT_ONCE", 1_000)
    monkeypatch.setattr("m2cli.runs.replay.making.budget_events", lambda _memory: 1_600_000)
    monkeypatch.setattr("m2cli.runs.replay.making._OF_VISITS", 1 / 200)
    monkeypatch.setattr("m2cli.runs.replay.making._EVENTS_A_SHARD", 1_000)
    verdict = replay_shop(shop, tmp_path).verdict
    assert verdict.is_same
    assert verdict.live
    assert verdict.live.visits.same_count == verdict.one_shot.same_count == verdict.visit_count == shop.count("visits")
    assert len(list((tmp_path / "kept" / "lake" / "events").rglob("*.parquet"))) > 4


def test_what_is_late_only_in_the_replay_is_the_reason_of_other_boundaries(shop: Shop, tmp_path: Path) -> None:
    verdict = replay_shop(shop, tmp_path, faults=FaultRule(shuffle=20 * MINUTE)).verdict
    assert verdict.live
    assert not verdict.is_same
    assert verdict.live.late.only_replay.keys() == {"late"}
    assert verdict.live.late.only_live == {}
    assert set(verdict.live.visits.reasons) == {"late only in the replay"}
    assert verdict.proof.is_good
    assert not verdict.one_shot.difference_count


def test_what_a_rebuild_has_merged_is_named_and_no_difference(shop: Shop, tmp_path: Path) -> None:
    rebuilt = Shop(tmp_path / "rebuilt")
    rebuilt.settle(visit=VisitRule(), sources=(rebuilt.events_source(),))
    shutil.copytree(shop.lake, rebuilt.lake, dirs_exist_ok=True)
    rebuilt.now = shop.now
    merged_count = rebuild(rebuilt, first=DAY, last=DAY, with_late=True).merged_count
    assert merged_count > 5
    verdict = replay_shop(rebuilt, tmp_path, DAY).verdict
    assert verdict.live
    assert verdict.is_same
    assert verdict.live.visits.reasons.keys() == {MERGED}
    assert verdict.live.late.only_replay == {MERGED: merged_count}
    moved = replay_shop(rebuilt, tmp_path / "moved", DAY, faults=FaultRule(shuffle=20 * MINUTE)).verdict
    assert not moved.is_same


def test_a_lake_that_was_changed_by_hand_is_told_from_what_it_was(shop: Shop, tmp_path: Path) -> None:
    changed = Shop(tmp_path / "changed")
    shutil.copytree(shop.lake, changed.lake)
    files = [path for path in (changed.lake / "events").rglob("*.parquet") if pl.read_parquet(path).height > 50]
    events = pl.read_parquet(files[0], hive_partitioning=False)
    first = events["visit_id"][0]
    is_first = pl.col("visit_id") == first
    renamed = events.with_columns(visit_id=pl.when(is_first).then(pl.lit("another")).otherwise("visit_id"))
    renamed.write_parquet(files[0])
    what = What(lake=changed.lake)
    today, rule = find_today(what)
    live = replay(what, replace(rule, every=24 * HOUR), today).verdict.live
    assert live
    assert live.visits.other_boundaries_count == 1
    assert live.visits.reasons == {"not explained": 1}
    assert live.visits.visit_ids == ("another",)


# ---------------------------------------------------------------- the verdict can fail

INACTIVITY, MAX_DURATION = "microseconds(rule.inactivity)", "microseconds(rule.max_duration)"
MUTATIONS = {
    "a longer silence": (INACTIVITY, f"({INACTIVITY} + 1)"),
    "a shorter visit": (MAX_DURATION, f"({MAX_DURATION} - 1)"),
    "a shorter silence": (INACTIVITY, f"({INACTIVITY} - 1)"),
    "a longer visit": (MAX_DURATION, f"({MAX_DURATION} + 1)"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] * (place > 0)) for place, name in enumerate(MUTATIONS)]
)
def test_the_verdict_fails_with_a_boundary_one_microsecond_off_in_a_copy_of_the_kernel(
    sample: Path, tmp_path: Path, name: str
) -> None:
    old, new = MUTATIONS[name]
    shutil.copytree(ROOT / "m2cli", tmp_path / "m2cli", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("cut.py", "order.py"):  # which leaves room between two visitors for the same silence
        path = tmp_path / "m2cli" / "visits" / file
        path.write_text(path.read_text().replace(old, new))
    assert new in (tmp_path / "m2cli" / "visits" / "cut.py").read_text()
    command = (sys.executable, "-m", "m2cli", "replay", str(sample / "events"), "--every", "12h", "--format", "json")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    proof = json.loads(done.stdout)["proof"]
    assert sum(proof[kind] for kind in ("gap_count", "cut_count", "long_count")) > 0


# ---------------------------------------------------------------- logs, and what is refused


REAL_LOG = ROOT.parent / "shared" / "data" / "apache-combined-10k" / "apache_logs"


@pytest.mark.skipif(not REAL_LOG.exists(), reason="the log of 10,000 lines is not here")
def test_the_real_log_makes_the_visits_of_one_batch(tmp_path: Path) -> None:
    what = What(inputs=(str(REAL_LOG),), visitor=VisitorRule(by=IP))
    verdict = play(what, replace(RULE, every=15 * MINUTE, visit=VisitRule()), tmp_path / "kept").verdict
    assert (verdict.visit_count, verdict.late_count) == (3_052, 0)
    assert verdict.is_same


def test_a_line_arrives_with_the_largest_event_time_up_to_it(tmp_path: Path) -> None:
    tape = record(
        What(inputs=(str(ROOT / "sample_data" / "access.log"),)), None, RULE, tmp_path, tally=Tally(), tell=tell_nobody
    )
    rows = pl.concat(pl.read_parquet(piece.path) for piece in tape.pieces)
    times, highest = rows.select("event_time", "arrival_time").rows(), datetime.min.replace(tzinfo=UTC)
    for event_time, arrival_time in times:
        highest = max(highest, event_time)
        assert arrival_time == highest


def test_events_that_say_nothing_of_their_part_are_replayed(sample: Path, tmp_path: Path) -> None:
    some = pl.read_parquet(min((sample / "events").glob("*.parquet"))).head(500)
    some.drop("part_id", "cause_id").write_parquet(tmp_path / "events.parquet")
    what = What(inputs=(str(tmp_path / "events.parquet"),))
    assert play(what, replace(RULE, every=24 * HOUR), tmp_path / "kept").verdict.is_same


def test_what_is_replayed_is_one_thing_and_there(tmp_path: Path, sample: Path) -> None:
    with pytest.raises(UsageError, match="name either a lake"):
        What()
    with pytest.raises(UsageError, match="`--date` is for a lake"):
        What(inputs=("log",), day=DAY)
    empty = tmp_path / "access.log"
    empty.touch()
    with pytest.raises(UnreadableSourceError, match="there is no event"):
        play(What(inputs=(str(empty),)), RULE, tmp_path / "kept")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "note").touch()
    with pytest.raises(UsageError, match=re.escape("is not empty")):
        replay_sample(sample, RULE, tmp_path / "taken")
    with pytest.raises(UsageError, match="no partition `9`; there are `web-0`"):
        replay_sample(sample, replace(RULE, faults=FaultRule(lags={"9": HOUR})), tmp_path / "lagging")


def test_nothing_is_left_of_a_replay_that_is_not_kept(sample: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        (M2, "replay", sample / "events", "--every", "24h"), env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines()[-1] == "verdict     the same"
    assert list(tmp_path.iterdir()) == []
