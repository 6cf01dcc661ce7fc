"""A lake into a pseudonymous one: the same groups, the same traces, once, whatever kills it, and again and again."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import ExitCode, UsageError
from m2cli.lake.layout import EVENTS
from m2cli.lake.scan import scan_lake
from m2cli.lake.snapshot import read_snapshot
from m2cli.lake.verify import verify_files
from m2cli.privacy.errors import DestroyedSaltError, MissingSaltError, PrivacyError
from m2cli.privacy.pseudonyms import LEFT_OUT
from m2cli.privacy.ring import destroy_salt, make_salt
from m2cli.privacy.rule import PrivacyRule
from m2cli.privacy.salts import FolderSalts
from m2cli.runs.anonymize.lake import anonymize_lake, slice_visits
from m2cli.runs.anonymize.pipe import anonymize_stream
from m2cli.runs.sessionize import SessionizeRule, sessionize
from m2cli.stages.enrich import EnrichRule
from m2cli.stages.redaction import RedactionRule
from tests.cli.command import run_m2
from tests.privacy.lakes import NOW, RULE, SAMPLE, group_sizes, make_lake, rows, shapes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lake(pair: Path) -> Path:
    return pair / "lake"


@pytest.fixture
def anonymous(pair: Path) -> Path:
    return pair / "anonymous"


def test_groups_on_identifiers_are_as_large_as_before(lake: Path, anonymous: Path) -> None:
    before = group_sizes(lake)
    assert group_sizes(anonymous) == before
    assert sum(map(len, before.values())) > 6000


def test_traces_of_all_purchases_have_the_same_shape(lake: Path, anonymous: Path) -> None:
    before = shapes(lake)
    assert shapes(anonymous) == before
    assert len(before) > 10


def test_the_pseudonymous_lake_holds_events_and_visits_and_nothing_else(lake: Path, anonymous: Path) -> None:
    before, after = scan_lake(lake), scan_lake(anonymous)
    for table in ("events", "visits"):
        heights = [getattr(tables, table).collect().height for tables in (before, after)]
        assert heights[0] == heights[1]
    assert [getattr(after, table).collect().height for table in ("late", "duplicates", "rejects")] == [0, 0, 0]
    assert before.duplicates.collect().height > 0
    for name in LEFT_OUT:
        assert after.events.collect()[name].null_count() == after.events.collect().height


def test_its_files_are_whole_visits_in_order(anonymous: Path) -> None:
    snapshot = read_snapshot(anonymous)
    assert verify_files(anonymous, snapshot.files, deep=True) == []
    by_glob = pl.read_parquet(anonymous / "events" / "**" / "*.parquet", hive_partitioning=False)
    assert by_glob.height == sum(file.row_count for file in snapshot.files if file.kind == EVENTS.name)


def test_run_again_it_changes_nothing(lake: Path, anonymous: Path, salts: FolderSalts) -> None:
    before = {path: path.stat().st_mtime_ns for path in anonymous.rglob("*") if path.is_file()}
    facts = anonymize_lake(lake, anonymous, RULE, salts)
    assert facts.event_count == facts.visit_count == 0
    after = {path: path.stat().st_mtime_ns for path in anonymous.rglob("*") if path.is_file()}
    before.pop(anonymous / "_m2" / "lake.lock"), after.pop(anonymous / "_m2" / "lake.lock")
    assert after == before


def test_the_same_salts_give_the_same_pseudonyms_months_later(
    lake: Path, anonymous: Path, salts: FolderSalts, tmp_path: Path
) -> None:
    anonymize_lake(lake, tmp_path / "again", RULE, salts)
    assert rows(tmp_path / "again") == rows(anonymous)


def test_it_adds_what_is_new_and_removes_nothing(salts: FolderSalts, tmp_path: Path) -> None:
    """The identified lake is made anew, with more in it, and then with less: nothing comes twice, nothing goes."""
    events = pl.read_parquet(SAMPLE)
    half = tmp_path / "half.parquet"
    visitors = events["session_id"].drop_nulls().unique().sort()
    events.filter(pl.col("session_id").is_in(visitors.head(len(visitors) // 2).implode())).write_parquet(half)
    lake, output = tmp_path / "lake", tmp_path / "anonymous"
    make_lake(lake, half)
    first = anonymize_lake(lake, output, RULE, salts)
    sessionize([str(SAMPLE)], lake, SessionizeRule(replace=True), now=NOW)
    second = anonymize_lake(lake, output, RULE, salts)
    assert second.known_visit_count == first.visit_count > 0
    anonymize_lake(lake, tmp_path / "at once", RULE, salts)
    # Why a visit ended may be known better by now; what is there stays as it was.
    assert rows(output, without="end_reason") == rows(tmp_path / "at once", without="end_reason")
    before = rows(output)
    sessionize([str(half)], lake, SessionizeRule(replace=True), now=NOW)
    assert anonymize_lake(lake, output, RULE, salts).visit_count == 0
    assert rows(output) == before


class Killed(BaseException):
    """What a kill is to a process."""


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.soak)])
def test_whatever_kills_it_the_next_run_finishes_it(salts: FolderSalts, tmp_path: Path, step: int) -> None:
    events = pl.read_parquet(SAMPLE)
    few = events["session_id"].drop_nulls().unique().sort().head(8)
    events.filter(pl.col("session_id").is_in(few.implode())).write_parquet(tmp_path / "few.parquet")
    lake = make_lake(tmp_path / "lake", tmp_path / "few.parquet")
    steps: list[str] = []
    anonymize_lake(lake, tmp_path / "whole", RULE, salts, at=steps.append)
    assert len(steps) > 20
    expected = rows(tmp_path / "whole")
    for number in range(0, len(steps), step):
        output = tmp_path / f"killed-{number}"
        left = iter(range(number))

        def kill(_step: str, left: object = left) -> None:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise Killed

        with pytest.raises(Killed):
            anonymize_lake(lake, output, RULE, salts, at=kill)
        anonymize_lake(lake, output, RULE, salts)
        assert rows(output) == expected, steps[number]
        by_glob = {path.name for path in output.glob("*/**/*.parquet")}
        assert by_glob == {path.path.rpartition("/")[2] for path in read_snapshot(output).files}, steps[number]


def test_a_missing_salt_stops_it_before_anything_is_written(lake: Path, tmp_path: Path) -> None:
    make_salt(tmp_path / "salts", 2025)
    with pytest.raises(MissingSaltError, match="2026"):
        anonymize_lake(lake, tmp_path / "anonymous", RULE, FolderSalts(folder=tmp_path / "salts"))
    assert not (tmp_path / "anonymous").exists()


def test_a_destroyed_year_is_refused_and_its_visits_stay_as_they_are(lake: Path, tmp_path: Path) -> None:
    folder = tmp_path / "salts"
    for year in (2025, 2026):
        make_salt(folder, year)
    anonymize_lake(lake, tmp_path / "anonymous", RULE, FolderSalts(folder=folder))
    before = rows(tmp_path / "anonymous")
    destroy_salt(folder, 2025, NOW)
    facts = anonymize_lake(lake, tmp_path / "anonymous", RULE, FolderSalts(folder=folder))
    assert (facts.visit_count, rows(tmp_path / "anonymous")) == (0, before)
    with pytest.raises(DestroyedSaltError, match="cannot be anonymized again"):
        anonymize_lake(lake, tmp_path / "another", RULE, FolderSalts(folder=folder))


def test_another_salt_of_the_same_year_is_refused(lake: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        for year in (2025, 2026):
            make_salt(tmp_path / name, year)
    output = tmp_path / "anonymous"
    anonymize_lake(lake, output, RULE, FolderSalts(folder=tmp_path / "one"))
    record = json.loads((output / "_m2" / "privacy.json").read_text())
    (output / "_m2" / "privacy.json").write_text(json.dumps(record | {"dates": {}}))  # as if more had come
    with pytest.raises(PrivacyError, match="other pseudonyms"):
        anonymize_lake(lake, output, RULE, FolderSalts(folder=tmp_path / "other"))


def test_an_identified_lake_is_no_place_for_it(lake: Path, salts: FolderSalts, tmp_path: Path) -> None:
    make_lake(tmp_path / "other")
    with pytest.raises(UsageError, match="identified"):
        anonymize_lake(lake, tmp_path / "other", RULE, salts)
    with pytest.raises(UsageError, match="in one another"):
        anonymize_lake(lake, lake / "anonymous", RULE, salts)


def test_a_pseudonymous_lake_is_not_anonymized_again(anonymous: Path, salts: FolderSalts, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pseudonymous already"):
        anonymize_lake(anonymous, tmp_path / "twice", RULE, salts)


def over_new_year(folder: Path) -> Path:
    """Visits around New Year: one across it, a cause in the old year's visit, one that goes on after 12 hours."""
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    minute = timedelta(minutes=1)
    events = [
        ("across-1", new_year - 10 * minute, "page", None, "anna"),
        ("across-2", new_year + 10 * minute, "page", "across-1", "anna"),
        ("bought", new_year + timedelta(days=3), "purchase", "across-2", "anna"),
        ("reused", new_year - timedelta(days=2), "page", None, "bert"),
        ("reused", new_year + timedelta(days=2), "page", None, "bert"),
        ("bert-bought", new_year + timedelta(days=4), "purchase", "reused", "bert"),
        *((f"robot-{n}", new_year + (n - 30) * 20 * minute, "page", None, "robot") for n in range(90)),
    ]
    frame = pl.DataFrame(
        events, schema=["event_id", "event_time", "event_type", "cause_id", "visitor_id"], orient="row"
    )
    frame.with_columns(customer_id="visitor_id").write_parquet(folder / "events.parquet")
    return make_lake(folder / "lake", folder / "events.parquet")


def test_a_visit_over_new_year_has_one_salt_and_what_it_caused_finds_it(salts: FolderSalts, tmp_path: Path) -> None:
    lake, output = over_new_year(tmp_path), tmp_path / "anonymous"
    anonymize_lake(lake, output, PrivacyRule(), salts)
    assert shapes(output) == shapes(lake)
    events = scan_lake(output).events.sort("event_time").collect()
    across, bought = (
        events.filter(event_type="page").drop_nulls("cause_id"),
        events.filter(event_type="purchase").sort("event_time"),
    )
    customer = across["customer_id"].item()
    assert events.filter(customer_id=customer).height == 2  # before and after midnight; not what was bought later
    assert bought["cause_id"][0] == across["event_id"].item()
    # Of an id in both years the visitor's latest before the effect is the cause, as `m2 trace` has it.
    reused = events.filter(event_id=bought["cause_id"][1])
    assert reused["event_time"].to_list() == [datetime(2026, 1, 3, tzinfo=UTC)]
    visits = scan_lake(output).visits.collect()
    continued = visits["continues_visit_id"].drop_nulls()
    assert len(continued) > 1
    assert continued.is_in(visits["visit_id"].implode()).all()


def test_a_cause_beyond_the_reach_is_an_orphan(salts: FolderSalts, tmp_path: Path) -> None:
    lake, output = over_new_year(tmp_path), tmp_path / "anonymous"
    anonymize_lake(lake, output, PrivacyRule(cause_reach=timedelta(days=1)), salts)
    events = scan_lake(output).events.collect()
    bought = events.filter(event_type="purchase").sort("event_time")
    assert bought["cause_id"].is_in(events["event_id"].implode()).to_list() == [False, True]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_visits_are_not_cut_where_a_file_is(lake: Path, size: int) -> None:
    for file in read_snapshot(lake).files:
        if file.kind != EVENTS.name:
            continue
        parts = list(slice_visits(lake / file.path, file.row_count, size))
        whole = pl.read_parquet(lake / file.path, hive_partitioning=False)
        assert pl.concat(parts)["event_id"].to_list() == whole["event_id"].to_list()
        visits = [set(part["visit_id"]) for part in parts]
        assert sum(map(len, visits)) == len(set.union(*visits))


def test_events_in_a_pipe_are_keyed_by_their_own_year(salts: FolderSalts) -> None:
    stream = io.BytesIO()
    facts = anonymize_stream(
        [str(SAMPLE)], stream, RULE, salts, enrichment=EnrichRule(), redaction=RedactionRule(), now=NOW
    )
    made = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(made) == facts.tally.event_count == 6000
    assert "2025" in facts.statement
    assert {row["country"] for row in made} > {"NL"}
    assert not set(made[0]) & LEFT_OUT


def test_the_verb_on_a_lake_and_in_a_pipe(tmp_path: Path) -> None:
    salts = ("--salts", "salts")
    run_m2("sessionize", str(SAMPLE), "-o", "lake", folder=tmp_path)
    missing = run_m2("anonymize", "--lake", "lake", "-o", "anonymous", *salts, folder=tmp_path)
    assert missing.returncode == ExitCode.PRIVACY
    for year in ("2025", "2026"):
        run_m2("salt", "new", year, *salts, folder=tmp_path)
    done = run_m2("anonymize", "--lake", "lake", "-o", "anonymous", *salts, folder=tmp_path)
    assert (done.returncode, b"pseudonymous until the salts of 2025" in done.stderr) == (0, True)
    piped = run_m2("anonymize", "-", "-o", "-", *salts, folder=tmp_path, stdin=SAMPLE.read_bytes())
    assert (piped.returncode, len(piped.stdout.splitlines())) == (0, 6000)
    traced = run_m2("trace", "--type", "purchase", "--lake", "anonymous", "--format", "ndjson", folder=tmp_path)
    assert traced.returncode == ExitCode.OK, traced.stderr
    both = run_m2("anonymize", "-", "-o", "-", *salts, "--salt-command", "cat x", folder=tmp_path)
    assert (both.returncode, b"both say where the salts come from" in both.stderr) == (ExitCode.USAGE, True)
    for wrong in (("-o", "x"), ("a.ndjson", "-o", "x"), ("--lake", "lake", "-o", "-")):
        assert run_m2("anonymize", *wrong, folder=tmp_path).returncode == ExitCode.USAGE
