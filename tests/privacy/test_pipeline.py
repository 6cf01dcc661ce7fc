"""The second lake of a pipeline: the same visits, pseudonymously, in the same batch, once, whatever is killed."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import ExitCode, UsageError
from m2cli.lake.scan import scan_lake
from m2cli.lake.snapshot import read_snapshot
from m2cli.lake.verify import verify_files
from m2cli.pipeline.rule import AnonymizeRule
from m2cli.privacy.errors import DestroyedSaltError, MissingSaltError
from m2cli.privacy.ring import destroy_salt
from m2cli.privacy.rule import PrivacyRule
from m2cli.privacy.salts import FolderSalts
from m2cli.runs.anonymize.lake import anonymize_lake
from m2cli.runs.anonymize.replaced import list_replaced
from m2cli.runs.audit.lake import audit_lake
from m2cli.runs.check import check_pipeline
from m2cli.runs.compact import CompactRule, compact_lake
from m2cli.runs.rebuild.rule import RebuildRule
from m2cli.runs.rebuild.work import rebuild_dates
from tests.cli.command import run_m2
from tests.pipelines_runs.shop import MINUTE, Shop, assert_sound
from tests.privacy.killing import kill_run
from tests.privacy.lakes import rows
from tests.runs.rebuild.killing import Target
from tests.runs.rebuild.rebuilding import FIRST, LAST, copy_folder, event_row, stroll

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.runs.rebuild.rule import RebuildFacts

MERGE = RebuildRule(first_date=FIRST, last_date=LAST, with_late=True)
PRIVACY = PrivacyRule(own_hosts=frozenset({"shop.example"}))


def make_shop(folder: Path, ring: Path) -> Shop:
    shop = Shop(folder)
    shop.settle(anonymize=AnonymizeRule(lake=folder / "anonymous", salts=ring, privacy=PRIVACY))
    return shop


def live(shop: Shop, seed: int, *, is_flush: bool = False) -> None:
    """A batch of what has come, with late events, rejects and duplicates."""
    shop.pass_time(50)
    shop.log(*stroll(shop.now - 6 * MINUTE, 20, seed))
    row = event_row(shop.now, 3, f"{seed}")
    shop.drop_events(f"{seed:03}", [row, row])
    shop.pass_time(2)
    shop.run(is_flush=is_flush)


def made_at_once(shop: Shop, ring: Path, name: str = "at once") -> Path:
    """What `m2 anonymize` makes of the identified lake."""
    output = shop.folder.with_name(name)
    shutil.rmtree(output, ignore_errors=True)
    anonymize_lake(shop.lake, output, PRIVACY, FolderSalts(folder=ring))
    return output


def assert_same(shop: Shop, ring: Path) -> None:
    anonymous = shop.folder / "anonymous"
    assert rows(anonymous) == rows(made_at_once(shop, ring))
    snapshot = read_snapshot(anonymous)
    assert verify_files(anonymous, snapshot.files, hidden=list_replaced(anonymous), deep=True) == []
    assert snapshot.W == read_snapshot(shop.lake).W


def test_each_batch_adds_its_visits_and_they_are_those_of_m2_anonymize(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(tmp_path / "shop", ring)
    for seed in range(4):
        live(shop, seed)
    live(shop, 4, is_flush=True)
    assert_same(shop, ring)
    assert_sound(shop)
    stems = {file.stem.rpartition("-")[0] for file in read_snapshot(shop.folder / "anonymous").files}
    assert stems <= {batch.batch_id for batch in shop.batches()}
    monkeypatch.setattr("m2cli.runs.audit.guess._NETWORKS", 1)
    assert all(check.is_well is not False for check in audit_lake(shop.folder / "anonymous", shop.lake))


def test_m2_anonymize_adds_what_was_before_the_pipeline_had_a_second_lake(ring: Path, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    live(shop, 0)
    live(shop, 1)
    shop.settle(anonymize=AnonymizeRule(lake=shop.folder / "anonymous", salts=ring, privacy=PRIVACY))
    live(shop, 2)
    live(shop, 3, is_flush=True)
    anonymous = shop.folder / "anonymous"
    assert len(rows(anonymous)) < len(rows(made_at_once(shop, ring)))
    anonymize_lake(shop.lake, anonymous, PRIVACY, FolderSalts(folder=ring))
    assert rows(anonymous) == rows(made_at_once(shop, ring))
    live(shop, 4, is_flush=True)
    assert rows(anonymous) == rows(made_at_once(shop, ring))


def test_over_new_year_causes_and_continued_visits_are_found_in_the_lake_and_in_the_batch(
    ring: Path, tmp_path: Path
) -> None:
    """A batch that ends before midnight, one that has visits of both years, one that refers to the old year's."""
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    events = [
        ("old", -180, "page", None, 1),
        ("across-1", -10, "page", "old", 1),
        ("across-2", 10, "page", "across-1", 1),
        ("bought", 200, "purchase", "old", 1),
        ("bought-later", 300, "purchase", "across-2", 1),
        *((f"walk-{n}", n, "page", None, 2) for n in range(-100, 200, 20)),
    ]
    shop = make_shop(tmp_path / "shop", ring)
    shop.now = new_year - timedelta(hours=1)
    for name, first, last in (("a", -1000, -60), ("b", -60, 260), ("c", 260, 1000)):
        chosen = [
            event_row(new_year + minutes * MINUTE, visitor, event_id, event_type=kind, cause_id=cause)
            for event_id, minutes, kind, cause, visitor in sorted(events, key=lambda event: event[1])
            if first <= minutes < last
        ]
        shop.now = max(shop.now, new_year + max(-60, min(last, 400)) * MINUTE)
        shop.drop_events(name, chosen)
        shop.pass_time(2)
        shop.run(is_flush=name == "c")
    assert_same(shop, ring)
    made = scan_lake(shop.folder / "anonymous").events.collect()
    causes = made["cause_id"].drop_nulls()
    assert len(causes) == 4
    assert causes.is_in(made["event_id"].implode()).all()
    visits = scan_lake(shop.folder / "anonymous").visits.collect()
    continued = visits["continues_visit_id"].drop_nulls()
    assert len(continued) > 0
    assert continued.is_in(visits["visit_id"].implode()).all()


def rebuild(shop: Shop) -> RebuildFacts:
    return rebuild_dates(shop.rule, MERGE, now=lambda: shop.now)


def test_a_rebuild_changes_both_lakes(ring: Path, tmp_path: Path) -> None:
    """Late events are merged in, so that visits begin earlier and get other ids, become one, or are new."""
    shop = make_shop(tmp_path / "shop", ring)
    anonymous = shop.folder / "anonymous"
    for seed in range(3):
        live(shop, seed, is_flush=seed == 2)
    before = rows(anonymous)
    facts = rebuild(shop)
    assert facts.merged_count > 3
    assert facts.visits_before > 3
    assert_same(shop, ring)
    assert rows(anonymous) - before
    assert before - rows(anonymous)
    assert verify_files(anonymous, read_snapshot(anonymous).files, hidden=list_replaced(anonymous)) == []
    by_glob = {path.name for path in anonymous.glob("*/**/*.parquet")}
    assert by_glob == {file.path.rpartition("/")[2] for file in read_snapshot(anonymous).files}
    kept_count = len(list((anonymous / "_m2" / "files").iterdir()))
    assert kept_count > len(read_snapshot(anonymous).files)  # for readers by the snapshot before
    shop.pass_time(61)
    live(shop, 4, is_flush=True)
    assert len(list((anonymous / "_m2" / "files").iterdir())) == len(read_snapshot(anonymous).files)
    assert_same(shop, ring)


def test_a_rebuild_without_its_salt_changes_nothing(ring: Path, tmp_path: Path) -> None:
    shutil.copytree(ring, tmp_path / "salts")
    shop = make_shop(tmp_path / "shop", tmp_path / "salts")
    live(shop, 0, is_flush=True)
    live(shop, 1, is_flush=True)
    before = rows(shop.lake), rows(shop.folder / "anonymous")
    destroy_salt(tmp_path / "salts", 2026, shop.now)
    with pytest.raises(DestroyedSaltError, match="cannot be anonymized again"):
        rebuild(shop)
    assert (rows(shop.lake), rows(shop.folder / "anonymous")) == before


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_step_a_rebuild_is_in_both_lakes_or_in_neither(ring: Path, tmp_path: Path, every: int) -> None:
    shop = make_shop(tmp_path / "shop", ring)
    for seed in range(2):
        live(shop, seed, is_flush=seed == 1)
    anonymous, kept = shop.folder / "anonymous", tmp_path / "kept"
    copy_folder(shop.folder, kept)
    old, steps = (rows(shop.lake), rows(anonymous)), list[str]()
    rebuild_dates(shop.rule, MERGE, now=lambda: shop.now, at=steps.append)
    new = rows(shop.lake), rows(anonymous)
    targets = [Target(step, 1) for step in dict.fromkeys(steps)]
    assert len(targets) > 15
    # From the commit on most of it is what only a rebuild does.
    first = 0 if every == 1 else next(number for number, target in enumerate(targets) if target.step == "committed")
    for target in targets[first::every]:
        copy_folder(kept, shop.folder)
        kill_run(shop.rule, shop.now, target, MERGE)
        shop.run()
        assert (rows(shop.lake), rows(anonymous)) in (old, new), target
        rebuild(shop)
        assert (rows(shop.lake), rows(anonymous)) == new, target
        assert verify_files(anonymous, read_snapshot(anonymous).files, hidden=list_replaced(anonymous)) == [], target
        by_glob = {path.name for path in anonymous.glob("*/**/*.parquet")}
        assert by_glob == {file.path.rpartition("/")[2] for file in read_snapshot(anonymous).files}, target


COMPACT = CompactRule(first_date=FIRST, last_date=LAST, grace=timedelta(minutes=30))


def test_the_pseudonymous_lake_is_compacted_and_goes_on(ring: Path, tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", ring)
    anonymous = shop.folder / "anonymous"
    for seed in range(3):
        live(shop, seed, is_flush=seed == 2)
    before, snapshot, frames = rows(anonymous), read_snapshot(anonymous), scan_lake(anonymous)
    facts = compact_lake(anonymous, COMPACT, now=lambda: shop.now)
    assert facts.removed_count > facts.added_count > 0
    assert rows(anonymous) == before
    assert frames.events.collect().height == scan_lake(anonymous).events.collect().height  # by the snapshot before
    assert read_snapshot(anonymous).W == snapshot.W
    assert len(read_snapshot(anonymous).files) == len(snapshot.files) - facts.removed_count + facts.added_count
    assert compact_lake(anonymous, COMPACT, now=lambda: shop.now).removed_count == 0
    live(shop, 3, is_flush=True)
    rebuild(shop)
    assert_same(shop, ring)
    anonymize_lake(shop.lake, anonymous, PRIVACY, FolderSalts(folder=ring))
    shop.pass_time(61)
    assert compact_lake(anonymous, COMPACT, now=lambda: shop.now).removed_count > 0
    shop.pass_time(31)
    compact_lake(anonymous, COMPACT, now=lambda: shop.now)
    kept = {path.name for path in (anonymous / "_m2" / "files").iterdir()}
    assert len(kept) == len(read_snapshot(anonymous).files)
    assert_same(shop, ring)


class Killed(BaseException):
    """What a kill is to a process."""


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_step_a_compaction_is_finished_by_whoever_comes_next(
    ring: Path, tmp_path: Path, every: int
) -> None:
    shop = make_shop(tmp_path / "shop", ring)
    anonymous, kept = shop.folder / "anonymous", tmp_path / "kept"
    for seed in range(2):
        live(shop, seed, is_flush=seed == 1)
    before, steps = rows(anonymous), list[str]()
    copy_folder(shop.folder, kept)
    compact_lake(anonymous, COMPACT, now=lambda: shop.now, at=steps.append)
    assert len(steps) > 15
    for number, step in list(enumerate(steps))[::every]:
        copy_folder(kept, shop.folder)
        left = iter(range(number))

        def kill(_step: str, left: object = left) -> None:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise Killed

        with pytest.raises(Killed):
            compact_lake(anonymous, COMPACT, now=lambda: shop.now, at=kill)
        assert rows(anonymous) == before, step
        if number % 2:
            shop.run()
        else:
            anonymize_lake(shop.lake, anonymous, PRIVACY, FolderSalts(folder=ring))
        assert rows(anonymous) == before, step
        by_glob = {path.name for path in anonymous.glob("*/**/*.parquet")}
        assert by_glob == {file.path.rpartition("/")[2] for file in read_snapshot(anonymous).files}, step


def test_who_compacts_waits_for_a_rebuild_that_is_not_shown(ring: Path, tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", ring)
    for seed in range(2):
        live(shop, seed, is_flush=seed == 1)
    kill_run(shop.rule, shop.now, Target("committed", 1), MERGE)
    with pytest.raises(UsageError, match="do `m2 run` first"):
        compact_lake(shop.folder / "anonymous", COMPACT, now=lambda: shop.now)
    shop.run()
    assert compact_lake(shop.folder / "anonymous", COMPACT, now=lambda: shop.now).removed_count > 0
    assert_same(shop, ring)


def test_without_its_salt_a_batch_stops_before_anything_is_written(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", tmp_path / "salts")
    (tmp_path / "salts").mkdir(mode=0o700)
    with pytest.raises(MissingSaltError) as missing:
        live(shop, 0)
    assert missing.value.exit_code == ExitCode.PRIVACY
    with shop.ledger() if (shop.lake / "_m2" / "ledger.sqlite").exists() else _nothing() as ledger:
        assert ledger is None or ledger.list_unfinished() == []
    assert not (shop.folder / "anonymous").exists()
    shop.settle(anonymize=replace(shop.rule.anonymize, create=True))  # type: ignore[type-var]  # there is one
    shop.run(is_flush=True)
    assert [path.name for path in (tmp_path / "salts").iterdir()] == ["2026.salt"]
    assert shop.count("visits") == scan_lake(shop.folder / "anonymous").visits.collect().height > 0


def _nothing():  # type: ignore[no-untyped-def]
    from contextlib import nullcontext

    return nullcontext(None)


def test_m2_check_tells_of_salts(ring: Path, tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop", ring)
    live(shop, 0)
    assert check_pipeline(shop.rule, now=shop.now).findings == []
    december = check_pipeline(shop.rule, now=datetime(2026, 12, 1, tzinfo=UTC))
    assert [("2027" in finding.text, finding.code) for finding in december.findings] == [(True, ExitCode.OK)]
    after = check_pipeline(shop.rule, now=datetime(2027, 1, 1, tzinfo=UTC))
    assert [finding.code for finding in after.findings] == [ExitCode.PRIVACY]
    shop.settle(anonymize=replace(shop.rule.anonymize, create=True))  # type: ignore[type-var]  # there is one
    assert check_pipeline(shop.rule, now=datetime(2027, 1, 1, tzinfo=UTC)).findings == []


def test_the_lakes_lie_apart(ring: Path, tmp_path: Path) -> None:
    for name in ("lake/anonymous", "lake", "."):
        with pytest.raises(UsageError, match="in one another"):
            make_shop(tmp_path, ring).settle(anonymize=AnonymizeRule(lake=tmp_path / name, salts=ring))


def test_killed_at_any_step_a_batch_is_in_both_lakes_or_in_neither(ring: Path, tmp_path: Path) -> None:
    """At every other; each step of the identified lake is killed in tests of its own."""
    _kill(ring, tmp_path, most=1, every=2)


@pytest.mark.soak
def test_killed_at_every_step_a_batch_is_in_both_lakes_or_in_neither(ring: Path, tmp_path: Path) -> None:
    _kill(ring, tmp_path, most=100, every=1)


def _kill(ring: Path, tmp_path: Path, *, most: int, every: int) -> None:
    shop = make_shop(tmp_path / "shop", ring)
    live(shop, 0)
    shop.pass_time(50)
    # Without user agents: to read the patterns of browsers takes longer than all else that a killed process does.
    walk = [event_row(shop.now + (n - 20) * MINUTE / 4, n % 5, f"{n}", user_agent=None) for n in range(40)]
    shop.drop_events("001", [*walk, walk[3], event_row(shop.now - 60 * MINUTE, 2, "late", user_agent=None)])
    kept, steps = tmp_path / "kept", list[str]()
    copy_folder(shop.folder, kept)
    shop.run(is_flush=True, at=steps.append)
    new, anonymous = rows(shop.lake, without="arrival_time"), rows(shop.folder / "anonymous")
    targets = [Target(step, nth) for step, count in Counter(steps).items() for nth in range(1, min(count, most) + 1)]
    assert len(targets) > 15
    for target in targets[::every]:
        copy_folder(kept, shop.folder)
        kill_run(shop.rule, shop.now, target)
        shop.run(is_flush=True)
        assert rows(shop.lake, without="arrival_time") == new, target
        assert rows(shop.folder / "anonymous") == anonymous, target
        snapshot = read_snapshot(shop.folder / "anonymous")
        assert verify_files(shop.folder / "anonymous", snapshot.files) == [], target
        assert_sound(shop)


def test_the_verb_runs_a_pipeline_with_a_second_lake(ring: Path, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    path = shop.write_toml()
    path.write_text(path.read_text() + f'[anonymize]\nlake = "anonymous"\nsalts = "{ring}"\n')
    shop.now = datetime.now(UTC) - timedelta(days=1)
    year = shop.now.year
    if not (ring / f"{year}.salt").exists():
        pytest.skip(f"the test's ring has no salt of {year}")
    shop.log(*stroll(shop.now, 20, 1))
    done = run_m2("run", "shop.toml", "--flush", folder=tmp_path)
    assert done.returncode == ExitCode.OK, done.stderr
    asked = run_m2("query", "SELECT count(*) FROM visits", "--lake", "anonymous", "--format", "csv", folder=tmp_path)
    assert int(asked.stdout.split()[1]) == shop.count("visits") > 0
