"""A pipeline verified: whatever is done to a sound one is found, with what to do about it, and nothing is left."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import ExitCode, UnreadableSourceError, UsageError
from m2cli.lake.layout import FILES, SNAPSHOT, kept_name
from m2cli.ledger import hold_lock
from m2cli.runs.check import check_pipeline
from m2cli.runs.compact import CompactRule, compact_lake
from m2cli.runs.rebuild.rule import RebuildRule
from m2cli.runs.rebuild.work import rebuild_dates
from m2cli.runs.status import read_status
from m2cli.stages.countries import CountryRule
from m2cli.stages.enrich import EnrichRule
from tests.cli.command import AS_ANYBODY, can_run, run_m2
from tests.pipelines_runs.shop import MINUTE, START, Shop, line, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.runs.check import CheckFacts


def make_shop(folder: Path) -> Shop:
    """A shop with all that a lake can hold: ended and open visits, late events, duplicates, rejects, segments."""
    shop = Shop(folder)
    for batch in range(3):
        start = shop.now
        shop.pass_time(31)
        visitors = [6 * batch + number % 9 for number in range(60)]
        shop.log(*(line(start + number * MINUTE / 2, who, f"/{who}") for number, who in enumerate(visitors)))
        shop.log("no line\n", line(START - 60 * MINUTE, 99))
        twice = {"event_id": "e", "event_time": start.isoformat(), "visitor_id": "v"}
        shop.drop_events(f"{batch}", [twice, twice])
        shop.pass_time(2)
        shop.run()
    return shop


TOML = """
[pipeline]
name = "shop"
lake = "lake"

[[source]]
type = "access_log"
name = "logs"
paths = ["{folder}/logs/access.log*"]

[[source]]
type = "events"
name = "events"
paths = ["{folder}/events"]

[visit]
max_duration = "2h"
"""


# Runs the pipeline, and dies at a step.
KILLED = """
import os, sys
from datetime import datetime
from pathlib import Path
from m2cli.pipeline import load_pipeline
from m2cli.runs.run import run_pipeline
folder, now, last = sys.argv[1:]
run_pipeline(
    load_pipeline(Path(folder, "shop.toml"), overrides={}, environment={}),
    now=lambda: datetime.fromisoformat(now),
    is_flush=True,
    at=lambda step: os._exit(9) if step == last else None,
)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("made"))


@pytest.fixture
def shop(made: Shop, tmp_path: Path) -> Shop:
    """A copy of the lake, links and all; the sources stay where they are."""
    copied: dict[int, str] = {}

    def copy(source: str, target: str) -> None:
        inode = Path(source).stat().st_ino
        if inode in copied:
            Path(target).hardlink_to(copied[inode])
        else:
            copied[inode] = shutil.copy2(source, target)

    shutil.copytree(made.lake, tmp_path / "lake", copy_function=copy)
    one = Shop(tmp_path, made.now)
    one.rule = replace(made.rule, lake=tmp_path / "lake", path=tmp_path / "shop.toml")
    (tmp_path / "shop.toml").write_text(TOML.format(folder=made.folder))
    return one


def check(shop: Shop, *, is_deep: bool = False) -> CheckFacts:
    before = {path: path.stat().st_mtime_ns for path in shop.folder.rglob("*") if not path.name.startswith("ledger")}
    facts = check_pipeline(shop.rule, now=shop.now, is_deep=is_deep)
    after = {path: path.stat().st_mtime_ns for path in shop.folder.rglob("*") if not path.name.startswith("ledger")}
    of_files = {path: time for path, time in after.items() if path.is_file() and path.suffix != ".lock"}
    assert (after.keys(), of_files.items() <= before.items()) == (before.keys(), True)
    return facts


def say(facts: CheckFacts) -> list[str]:
    return [finding.text for finding in facts.findings]


@pytest.mark.parametrize("is_deep", [False, True])
def test_a_sound_pipeline_has_nothing_to_say(shop: Shop, is_deep: bool) -> None:
    facts = check(shop, is_deep=is_deep)
    assert (say(facts), facts.exit_code) == ([], ExitCode.OK)
    assert {"1 place to write", "the source logs", "the source events", "the ledger", "3 batches"} < set(
        facts.looked_at
    )


def test_each_table_and_all_that_is_carried_is_there_to_be_checked(made: Shop) -> None:
    assert all(made.count(table) for table in ("events", "visits", "late", "duplicates", "rejects"))
    with made.ledger() as ledger:
        assert {file.kind for file in ledger.read_progress().carried} >= {"pending", "open_visits", "segment"}


def test_a_pipeline_is_sound_after_every_kind_of_batch(shop: Shop) -> None:
    shop.run(is_flush=True)
    assert say(check(shop, is_deep=True)) == []


def test_a_pipeline_is_sound_and_adds_up_after_a_rebuild_and_a_compaction(shop: Shop) -> None:
    shop.run(is_flush=True)
    late_count, log = shop.count("late"), Path(shop.rule.sources[0].paths[0].removesuffix("*"))
    for options in ({"with_late": True}, {"without_files": (log,)}):
        rule = RebuildRule(first_date=START.date(), last_date=START.date(), **options)
        facts = rebuild_dates(shop.rule, rule, now=lambda: shop.now)
        assert facts.batch_id, options
        assert say(check(shop, is_deep=True)) == []
        status = read_status(shop.rule)
        sums = status.totals
        went = sums["closed_event_count"] + sums["late_count"] + sums["duplicate_count"] + sums["excluded_count"]
        assert sums["event_count"] == went + status.open_event_count
    assert (shop.count("late") < late_count, sums["excluded_count"] > 0) == (True, True)
    dates = CompactRule(first_date=START.date(), last_date=START.date())
    assert compact_lake(shop.lake, dates, now=lambda: shop.now).added_count
    assert say(check(shop, is_deep=True)) == []


# What can happen to a lake.


def one_of(shop: Shop, table: str) -> Path:
    return min((shop.lake / table).rglob("*.parquet"))


def kept(shop: Shop, path: Path) -> Path:
    return shop.lake / FILES / kept_name(str(path.relative_to(shop.lake)))


def carried(shop: Shop, kind: str) -> Path:
    with shop.ledger() as ledger:
        return next(shop.lake / file.path for file in ledger.read_progress().carried if file.kind == kind)


def lose(shop: Shop) -> None:
    path = one_of(shop, "events")
    kept(shop, path).unlink()
    path.unlink()


def lose_the_name(shop: Shop) -> None:
    one_of(shop, "events").unlink()


def lose_the_kept(shop: Shop) -> None:
    kept(shop, one_of(shop, "visits")).unlink()


def copy_without_links(shop: Shop) -> None:
    path = one_of(shop, "late")
    shutil.copy(path, shop.folder / "copy")
    path.unlink()
    (shop.folder / "copy").rename(path)


def cut(shop: Shop) -> None:
    os.truncate(one_of(shop, "events"), 100)


def scramble(shop: Shop) -> None:
    path = one_of(shop, "rejects")
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))


def stray(shop: Shop) -> None:
    shutil.copy(one_of(shop, "events"), shop.lake / "events" / "mine.parquet")


def lose_carried(shop: Shop) -> None:
    carried(shop, "segment").unlink()


def scramble_carried(shop: Shop) -> None:
    carried(shop, "open_visits").write_bytes(b"nothing")


def shorten_carried(shop: Shop) -> None:
    path = carried(shop, "segment")
    pl.read_parquet(path, glob=False).head(-1).write_parquet(path)


def forget_an_open_visit(shop: Shop) -> None:
    path = carried(shop, "open_visits")
    pl.read_parquet(path, glob=False).with_columns(event_count=pl.col("event_count") - 1).write_parquet(path)


def lose_the_snapshot(shop: Shop) -> None:
    (shop.lake / SNAPSHOT).unlink()


def scramble_the_snapshot(shop: Shop) -> None:
    (shop.lake / SNAPSHOT).write_bytes(b"{")


def age_the_snapshot(shop: Shop) -> None:
    path = shop.lake / SNAPSHOT
    before = path.read_bytes()
    shop.log(*walk(shop.now, 20, 1), name="access.log.9")
    shop.pass_time(31)
    shop.run(is_flush=True)
    path.write_bytes(before)


def change_a_count(shop: Shop) -> None:
    tell_sqlite(
        shop, "UPDATE batch SET facts = json_set(facts, '$.event_count', 1, '$.read_count', 1) WHERE number = 2"
    )


def change_a_row_count(shop: Shop) -> None:
    tell_sqlite(shop, "UPDATE batch SET facts = json_set(facts, '$.reject_count', 5) WHERE number = 2")


def change_a_total(shop: Shop) -> None:
    tell_sqlite(shop, "UPDATE total SET value = 7 WHERE name = 'late_count'")


def scramble_the_ledger(shop: Shop) -> None:
    path = shop.lake / "_m2" / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:20480] = os.urandom(16384)
    path.write_bytes(bytes(content))


def lose_the_ledger(shop: Shop) -> None:
    for path in (shop.lake / "_m2").glob("ledger.sqlite*"):
        path.unlink()


def tell_sqlite(shop: Shop, statement: str) -> None:
    connection = sqlite3.connect(shop.lake / "_m2" / "ledger.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("happen", "said", "count"),
    [
        pytest.param(lose, "it is gone; put a backup's copy in its place", 1, id="a file is lost"),
        pytest.param(lose_the_name, r"not in the glob; `ln _m2/files/\S+ events/\S+` in the lake", 1, id="its name is"),
        pytest.param(
            lose_the_kept, r"gone from `_m2/files`; `ln visits/\S+ _m2/files/\S+` in", 1, id="its other name is"
        ),
        pytest.param(
            copy_without_links, r"two files, not two names of one; `ln -f _m2/f\S+ late/\S+` in", 1, id="a copy"
        ),
        pytest.param(cut, r"it has 100 bytes, not [\d,]+; put a backup's copy", 1, id="a file is cut"),
        pytest.param(scramble, "it is damaged .*; put a backup's copy", 1, id="a file is damaged"),
        pytest.param(
            stray, "`events/mine.parquet`: nobody lists it; nothing of m2 needs it", 1, id="a file of nobody's"
        ),
        pytest.param(lose_carried, "-segment.carried` is gone, and with it what is open", 1, id="a segment is lost"),
        pytest.param(
            scramble_carried, "-open_visits.carried` is damaged .*; restore", 1, id="carried state is damaged"
        ),
        pytest.param(
            shorten_carried, r"-segment.carried` has \d+ rows, not \d+; restore", 1, id="a segment is too short"
        ),
        pytest.param(forget_an_open_visit, r"open visits count \d+ events, and \d+ are kept", 1, id="an event too few"),
        pytest.param(
            lose_the_snapshot, "not a lake: it has no `_m2/snapshot`; `m2 run` makes it anew", 1, id="no snapshot"
        ),
        pytest.param(
            scramble_the_snapshot, "it is damaged; `m2 run` makes it anew", 1, id="a snapshot that says nothing"
        ),
        pytest.param(age_the_snapshot, r"lists \d+ files fewer than the ledger, as", 2, id="an old snapshot"),
        pytest.param(
            change_a_count, r"[\d,]+ lines were read, [\d,]+ are accounted for", 3, id="counts that do not add up"
        ),
        pytest.param(change_a_row_count, r"`rejects` has 3 rows, and the batches wrote 7", 3, id="too few rows"),
        pytest.param(
            change_a_total, "totals are not those of its batches: 7 for `late_count`, not 3", 1, id="a total is wrong"
        ),
        pytest.param(
            scramble_the_ledger, "ledger.sqlite` is damaged: .*; restore the lake, with its `_m2`", 1, id="a ledger"
        ),
        pytest.param(lose_the_ledger, "ledger.sqlite` is gone; restore the lake", 1, id="a lost ledger"),
    ],
)
def test_what_happened_to_a_lake_is_found(shop: Shop, happen: Callable[[Shop], None], said: str, count: int) -> None:
    happen(shop)
    facts = check(shop)
    assert any(pl.Series([text]).str.contains(said).item() for text in say(facts)), say(facts)
    assert facts.exit_code == ExitCode.DATA
    assert len(facts.faults) == count or happen is scramble_the_ledger, say(facts)


def test_what_a_link_can_mend_is_mended_as_it_says(shop: Shop) -> None:
    lose_the_name(shop)
    lose_the_kept(shop)
    copy_without_links(shop)
    for text in say(check(shop)):
        subprocess.run(text.split("`")[-2].split(), cwd=shop.lake, check=True)
    assert say(check(shop)) == []


def test_only_a_deep_check_reads_the_rows(shop: Shop) -> None:
    path = one_of(shop, "events")
    rows = pl.read_parquet(path, hive_partitioning=False)
    other = rows.with_columns(event_time=rows["event_time"].reverse())
    other.write_parquet(shop.folder / "other", compression="uncompressed")
    size = (shop.folder / "other").stat().st_size
    with path.open("wb") as stream:  # the file under both its names
        stream.write((shop.folder / "other").read_bytes())
    (shop.folder / "other").unlink()
    place = str(path.relative_to(shop.lake))
    tell_sqlite(shop, f"UPDATE lake_file SET facts = json_set(facts, '$.byte_count', {size}) WHERE path = '{place}'")
    assert say(check(shop)) == []
    assert any("not in the order of their" in text for text in say(check(shop, is_deep=True)))


@pytest.mark.parametrize("step", ["planned", "files named", "committed", "shown"])
def test_a_batch_that_a_kill_has_cut_off_is_no_fault(shop: Shop, step: str) -> None:
    shop.log(*walk(shop.now, 20, 1), name="access.log.9")
    done = subprocess.run([sys.executable, "-c", KILLED, shop.folder, shop.now.isoformat(), step], check=False)
    assert done.returncode == 9
    facts = check(shop)
    assert facts.exit_code == ExitCode.OK, say(facts)
    state = "committed and not yet shown" if step in ("committed", "shown") else "begun and not finished"
    assert say(facts) == [f"the batch shop-000004 is {state}; the next `m2 run` finishes it"]
    shop.run()
    assert say(check(shop)) == []


def test_a_check_waits_for_the_lake_and_says_so(shop: Shop) -> None:
    waited = threading.Event()
    done = []
    thread = threading.Thread(
        target=lambda: done.append(check_pipeline(shop.rule, now=shop.now, wait=waited.set)), daemon=True
    )
    with hold_lock(shop.lake / "_m2" / "lake.lock", "it"):
        thread.start()
        assert waited.wait(30)
        assert done == []
    thread.join(30)
    assert say(done[0]) == []


# What a pipeline needs.


def test_before_the_first_run_there_is_nothing_to_verify_and_nothing_is_made(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.log(line(START))
    facts = check(shop)
    no_events = f"no file matches `{tmp_path / 'events'}`; it is waited for, if it is the path that is meant"
    assert say(facts) == [no_events, "there is no lake yet; the first `m2 run` makes it"]
    assert facts.exit_code == ExitCode.OK
    assert not shop.lake.exists()


def test_a_lake_that_m2_sessionize_made_is_refused(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.log(line(START))
    run_m2("sessionize", "logs/access.log", "-o", "lake", folder=tmp_path)
    with pytest.raises(UsageError, match="is a lake that `m2 sessionize` made, which has no ledger"):
        check(shop)


def test_a_run_without_the_ledger_does_not_begin_anew(shop: Shop) -> None:
    lose_the_ledger(shop)
    with pytest.raises(UnreadableSourceError, match="the ledger of the pipeline `shop` is gone; restore the lake"):
        shop.run()


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        pytest.param(["a\n", "b\n"], ExitCode.USAGE, "none of the first 2 lines of", id="none is an event"),
        pytest.param(["a\n", "b\n", line(START)], ExitCode.OK, "only 1 of the first 3 lines of", id="few are"),
        pytest.param(["a\n", *[line(START)] * 2], ExitCode.OK, None, id="most are"),
        pytest.param([line(START)] * 1500 + ["a\n"] * 9000, ExitCode.OK, None, id="the first thousand are"),
        pytest.param(["# directive\n", "\n"], ExitCode.OK, None, id="there is none"),
    ],
)
def test_of_a_log_the_first_lines_are_read(tmp_path: Path, lines: list[str], code: ExitCode, said: str | None) -> None:
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("access.log"),))
    shop.log(*lines)
    facts = check(shop)
    assert facts.exit_code == code
    [*about, _no_lake] = say(facts)
    assert [said in text and "is it the `format`" in text for text in about] == ([True] if said else []), about


def test_of_event_files_one_must_have_times(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.events_source(),))
    shop.drop_events("one", [{"ts": START.isoformat(), "visitor_id": "v"}])
    facts = check(shop)
    assert facts.exit_code == ExitCode.USAGE
    assert "has no column `event_time`; did you mean `ts`?" in say(facts)[0].replace(
        "; its columns are `ts`, `visitor_id`", "; did you mean `ts`?"
    )


def test_a_folder_that_is_not_there_and_a_damaged_file_are_out_of_reach(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("there/access.log*"), shop.events_source()))
    (tmp_path / "events" / "one.parquet").write_bytes(b"PAR1 and no end")
    facts = check(shop)
    assert facts.exit_code == ExitCode.UNREACHABLE
    assert [text for text in say(facts) if "one.parquet" in text or "there` is not there" in text] == [
        text for text in say(facts) if "no file matches" not in text and "no lake yet" not in text
    ]


def test_a_log_of_metrics_and_a_database_that_cannot_be_had_are_out_of_reach(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.log_source("access.log"),))
    shop.log(line(START))
    (tmp_path / "file").touch()
    shop.settle(
        log=tmp_path / "file" / "shop.log", json_log=tmp_path / "new" / "json", metrics=tmp_path / "file" / "m.prom"
    )
    shop.settle(enrichment=EnrichRule(country=CountryRule(database=tmp_path / "countries.mmdb")))
    facts = check(shop)
    assert facts.exit_code == ExitCode.UNREACHABLE
    assert [text.split(":")[0] for text in say(facts)] == [
        f"cannot write `{tmp_path / 'file'}`",
        f"cannot read `{tmp_path / 'countries.mmdb'}`",
        "there is no lake yet; the first `m2 run` makes it",
    ]
    assert "4 places to write" in facts.looked_at


@pytest.fixture
def others(shop: Shop) -> Shop:
    """A shop of which the caller may read all and write nothing."""
    (shop.folder / "locked").mkdir()
    toml = (shop.folder / "shop.toml").read_text()
    (shop.folder / "shop.toml").write_text(toml.replace("[[", 'log = "locked/shop.log"\n\n[[', 1))
    for path in sorted(shop.folder.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return shop


def test_who_may_only_read_is_told_what_they_may_not_write_and_how_the_lake_is(others: Shop) -> None:
    if not can_run(AS_ANYBODY, others.folder):
        pytest.skip("`setpriv` is not here, or not allowed to do this")
    done = run_m2("check", "shop.toml", folder=others.folder, prefix=AS_ANYBODY)
    said = done.stdout.decode().splitlines()
    assert [text.split("`")[0] for text in said] == ["error: cannot write "] * len(said), said
    assert len(said) == 2
    assert done.returncode == ExitCode.UNREACHABLE
    assert "7 files" in done.stderr.decode() or "files of the lake" in done.stderr.decode()


@pytest.mark.parametrize("args", [("status", "shop.toml"), ("query", "FROM open_visits", "--pipeline", "shop.toml")])
def test_who_may_only_read_may_look_on(others: Shop, args: tuple[str, ...]) -> None:
    if not can_run(AS_ANYBODY, others.folder):
        pytest.skip("`setpriv` is not here, or not allowed to do this")
    done = run_m2(*args, folder=others.folder, prefix=AS_ANYBODY)
    assert (done.returncode, done.stderr) == (0, b"")
