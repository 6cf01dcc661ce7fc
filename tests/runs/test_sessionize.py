"""The main job end to end: real logs and events with known truth in, the lake that must come of them out."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from m2cli.errors import TooManyRejectsError, UsageError
from m2cli.lake import read_snapshot
from m2cli.lake.scan import scan_lake
from m2cli.runs import orphans
from m2cli.runs import sessionize as sessionizing
from m2cli.runs.intake import IntakeRule
from m2cli.runs.orphans import OrphanCount
from m2cli.runs.sample import make_sample
from m2cli.runs.sessionize import SessionizeFacts, SessionizeRule, sessionize
from m2cli.sample.rule import SampleRule
from m2cli.settings import RejectLimit
from m2cli.stages.visitors import VisitorRule
from tests.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"
REAL_LOG = ROOT.parent / "shared" / "data" / "apache-combined-10k" / "apache_logs"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
VISIT_FACTS = (
    *("visitor_id", "start_time", "end_time", "event_count", "page_count", "show_count", "click_count"),
    *("purchase_count", "end_reason", "continues_start_time", "revenue", "currency"),
)


def run(inputs: list[Path], lake: Path, rule: SessionizeRule | None = None) -> SessionizeFacts:
    return sessionize([str(path) for path in inputs], lake, rule or SessionizeRule(), now=NOW)


def read_visits(lake: Path) -> pl.DataFrame:
    visits = scan_lake(lake).visits.collect()
    starts = visits.select(continues_visit_id="visit_id", continues_start_time="start_time")
    return visits.join(starts, on="continues_visit_id", how="left")


def facts_of(visits: pl.DataFrame, *names: str) -> pl.DataFrame:
    chosen = visits.select(names or VISIT_FACTS)
    return chosen.with_columns(pl.col(pl.Decimal).cast(pl.Decimal(38, 4))).sort("visitor_id", "start_time")


def boundaries(lake: Path) -> pl.DataFrame:
    return facts_of(read_visits(lake), "visitor_id", "start_time", "end_time", "event_count", "end_reason")


def assert_truth(lake: Path, truth: Path) -> None:
    assert facts_of(read_visits(lake)).equals(facts_of(read_truth(truth / "visits.parquet")))
    events = scan_lake(lake).events.select("source", "position_in_source", "visit_id", "visitor_id").collect()
    visits = scan_lake(lake).visits.select("visit_id", "start_time").collect()
    found = events.join(visits, on="visit_id").select("source", "position_in_source", "visitor_id", "start_time")
    expected = read_truth(truth / "events.parquet").filter(~pl.col("is_duplicate")).select(found.columns)
    keys = ("source", "position_in_source")
    assert found.sort(keys).equals(expected.sort(keys))


def test_sessionize_finds_the_truth_of_the_sample_data(tmp_path: Path) -> None:
    run([SAMPLE / "events.parquet"], tmp_path / "lake")
    assert_truth(tmp_path / "lake", SAMPLE / "truth" / "all")


@pytest.mark.parametrize(("seed", "form"), [(1, "events"), (2, "ndjson")])
def test_sessionize_finds_the_truth_of_any_sample(seed: int, form: str, tmp_path: Path) -> None:
    make_sample(tmp_path / "sample", SampleRule(events=20_000, days=2, seed=seed, format=form))
    run([tmp_path / "sample" / "events"], tmp_path / "lake")
    assert_truth(tmp_path / "lake", tmp_path / "sample" / "truth" / "all")


def test_a_logs_visits_are_those_of_its_truth(tmp_path: Path) -> None:
    run([SAMPLE / "access.log"], tmp_path / "lake")
    truth = pl.read_parquet(SAMPLE / "truth" / "access_log" / "all" / "visits.parquet")
    shape = ("start_time", "end_time", "event_count", "page_count", "end_reason", "continues_start_time")
    found = read_visits(tmp_path / "lake").select(shape)
    assert found.sort(shape).equals(truth.select(shape).sort(shape))


@pytest.fixture
def real_log() -> Path:
    if not REAL_LOG.exists():
        pytest.skip("the real log is not in this checkout's neighbourhood")
    return REAL_LOG


@pytest.mark.parametrize(
    ("visitor", "visit_count", "visitor_count"),
    [pytest.param("ip", 3_052, 1_753, id="by address"), pytest.param("default", 3_223, 1_861, id="and user agent")],
)
def test_a_real_log_has_as_many_visits_as_other_tools_count(
    visitor: str, visit_count: int, visitor_count: int, real_log: Path, tmp_path: Path
) -> None:
    facts = run([real_log], tmp_path / "lake", SessionizeRule(visitor=VisitorRule(by=visitor)))
    assert (facts.visit_count, facts.visitor_count) == (visit_count, visitor_count)
    assert (facts.event_count, facts.tally.reject_count) == (9_999, 1)
    reject = scan_lake(tmp_path / "lake").rejects.collect().row(0, named=True)
    assert (reject["line_number"], reject["reason"]) == (8_899, "the user agent is not closed by a quote")


def test_the_order_and_the_packing_of_lines_do_not_matter(real_log: Path, tmp_path: Path) -> None:
    lines = real_log.read_bytes().splitlines(keepends=True)
    random.Random(7).shuffle(lines)
    parts = [tmp_path / "b.log", tmp_path / "a.log.gz", tmp_path / "c.log"]
    for number, part in enumerate(parts):
        content = b"".join(lines[number::3])
        part.write_bytes(gzip.compress(content) if part.suffix == ".gz" else content)
    run([real_log], tmp_path / "whole")
    run(parts, tmp_path / "parts")
    assert boundaries(tmp_path / "parts").equals(boundaries(tmp_path / "whole"))


def test_ingest_and_then_sessionize_is_sessionize(tmp_path: Path) -> None:
    from m2cli.runs.ingest import IngestRule, ingest_logs

    ingest_logs([str(SAMPLE / "access.log")], tmp_path / "events", IngestRule(), now=NOW)
    run([tmp_path / "events" / "events"], tmp_path / "later")
    run([SAMPLE / "access.log"], tmp_path / "at once")
    later, at_once = (scan_lake(tmp_path / name).events.collect().sort("event_id") for name in ("later", "at once"))
    assert later.equals(at_once)


def test_the_same_input_makes_the_same_lake(tmp_path: Path) -> None:
    for name in ("one", "other"):
        run([SAMPLE / "events.parquet"], tmp_path / name)
    one, other = (scan_lake(tmp_path / name) for name in ("one", "other"))
    assert one.events.collect().equals(other.events.collect())
    assert one.visits.collect().equals(other.visits.collect())


def test_a_log_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    copy = tmp_path / "access.log.1.gz"
    copy.write_bytes(gzip.compress((SAMPLE / "access.log").read_bytes()))
    facts = run([SAMPLE / "access.log", copy], tmp_path / "lake")
    assert facts.event_count == 3_000
    assert facts.passed_over == (str(copy),) or facts.passed_over == (str(SAMPLE / "access.log"),)


def test_no_secret_of_a_log_reaches_the_lake(tmp_path: Path) -> None:
    lines = [
        '10.0.0.1 - - [01/Oct/2025:10:00:00 +0000] "GET /in?password=hunter2secret HTTP/1.1" 200 1 "-" "x"',
        '10.0.0.1 - - [01/Oct/2025:10:00:01 +0000] "GET / HTTP/1.1" 200 1 "https://x.y/?token=hunter2secret" "x"',
        '10.0.0.1 - - [01/Oct/2025:10:00:02] "GET /?password=hunter2secret HTTP/1.1" 200 1 "-" "no zone"',
    ]
    log = tmp_path / "access.log"
    log.write_text("\n".join(lines) + "\n")
    facts = run([log], tmp_path / "lake")
    assert (facts.event_count, facts.tally.reject_count) == (2, 1)
    for table in scan_lake(tmp_path / "lake"):
        assert "hunter2secret" not in table.collect().write_ndjson()


def test_too_many_rejects_leave_nothing_behind(tmp_path: Path) -> None:
    rule = SessionizeRule(max_rejects=RejectLimit(count=6))
    with pytest.raises(TooManyRejectsError, match="7 rejects of 3,007"):
        run([SAMPLE / "access.log"], tmp_path / "lake", rule)
    assert list(tmp_path.iterdir()) == []


def test_a_map_without_event_files_is_refused(tmp_path: Path) -> None:
    rule = SessionizeRule(intake=IntakeRule(mapping={"event_time": "ts"}))
    with pytest.raises(UsageError, match="`--map` is for event files"):
        run([SAMPLE / "access.log"], tmp_path / "lake", rule)


@pytest.mark.parametrize("name", ["lake/events", "lake", ".", "link", "lake/events/**/*.parquet"])
def test_a_lake_is_not_made_of_what_it_replaces(tmp_path: Path, name: str) -> None:
    run([SAMPLE / "access.log"], tmp_path / "lake")
    (tmp_path / "link").symlink_to("lake")
    with pytest.raises(
        UsageError, match=r"\.parquet` is part of `.*/lake`, which is to be replaced; make another lake"
    ):
        run([tmp_path / name], tmp_path / "lake", SessionizeRule(replace=True))
    assert scan_lake(tmp_path / "lake").rejects.collect().height == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "link"]


def test_a_sample_may_be_named_by_its_folder(tmp_path: Path) -> None:
    make_sample(tmp_path / "sample", SampleRule(events=5_000))
    run([tmp_path / "sample"], tmp_path / "lake")
    assert_truth(tmp_path / "lake", tmp_path / "sample" / "truth" / "all")


def test_an_orphan_is_an_event_whose_cause_is_not_there(tmp_path: Path) -> None:
    orphan_count = OrphanCount(tmp_path, named=tmp_path)
    events = pl.DataFrame({"event_id": ["a", "b", "c", "d"], "cause_id": [None, "a", "nowhere", "b"]})
    orphan_count.add(events, is_only=True)
    assert orphan_count.count() == 1


@contextmanager
def holding(budget: int) -> Iterator[None]:
    """So many bytes of events are held, whatever `memory` says, which has a least."""
    with patch.object(sessionizing, "budget_events", return_value=budget):
        yield


def assert_same(facts: SessionizeFacts, lake: Path, expected: SessionizeFacts, other: Path) -> None:
    """Facts and tables are the same, and every file of events holds whole visits in order."""
    assert facts == expected
    for one, another in zip(scan_lake(lake), scan_lake(other), strict=True):
        rows, others = one.collect(), another.collect()
        keys = [name for name, dtype in rows.schema.items() if not dtype.is_nested()]
        assert_frame_equal(rows.sort(keys), others.sort(keys))
    visits = scan_lake(lake).visits.collect()
    for path in read_snapshot(lake).paths(lake, "events"):
        runs = pl.read_parquet(path)["visit_id"].rle().struct.unnest().rename({"value": "visit_id"})
        found = runs.join(visits, on="visit_id", how="left", maintain_order="left")
        assert (found["len"] == found["event_count"]).all()
        assert found["start_time"].is_sorted()


@pytest.mark.parametrize(
    "budget", [pytest.param(400_000, id="many shards"), pytest.param(1_000_000, id="a few shards")]
)
@pytest.mark.parametrize("name", ["events.parquet", "access.log"])
def test_more_input_than_memory_makes_the_same_lake_in_more_files(name: str, budget: int, tmp_path: Path) -> None:
    expected = run([SAMPLE / name], tmp_path / "whole")
    with holding(budget):
        facts = run([SAMPLE / name], tmp_path / "parted")
    assert_same(facts, tmp_path / "parted", expected, tmp_path / "whole")
    whole, parted = (len(read_snapshot(tmp_path / each).paths(tmp_path, "events")) for each in ("whole", "parted"))
    assert parted > whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parted", "whole"]


ROWS = st.fixed_dictionaries(
    {"event_time": st.integers(0, 40).map(lambda n: f"2026-01-01T{n // 2:02}:{n % 2 * 30:02}:00Z")},
    optional={
        "visitor_id": st.sampled_from(["ann", "bob", "eve"]),
        "event_id": st.sampled_from("abcdefgh"),
        "cause_id": st.sampled_from("abcdefghij"),
        "session_id": st.sampled_from(["s", ""]),
        "colour": st.sampled_from(["red", "blue"]),
    },
)


@settings(max_examples=8)
@given(st.lists(st.lists(ROWS, min_size=1, max_size=15), min_size=1, max_size=3))
def test_any_input_makes_the_same_lake_with_any_memory(files: list[list[dict[str, str]]]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number, rows in enumerate(files):
            (folder / f"{number}.ndjson").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        inputs = sorted(folder.glob("*.ndjson"))
        expected = run(inputs, folder / "whole")
        # Digests and rejects are held by twos, so that they take the way of the many.
        held = patch.object(orphans, "_MOST_WANTED", 2), patch.object(sessionizing, "_MOST_REJECTED", 2)
        with holding(300), held[0], held[1]:
            facts = run(inputs, folder / "parted")
        assert_same(facts, folder / "parted", expected, folder / "whole")


def test_too_many_rejects_leave_nothing_behind_of_what_was_parted(tmp_path: Path) -> None:
    rule = SessionizeRule(max_rejects=RejectLimit(count=6))
    with holding(10_000), patch.object(sessionizing, "_MOST_REJECTED", 0), pytest.raises(TooManyRejectsError):
        run([SAMPLE / "access.log"], tmp_path / "lake", rule)
    assert list(tmp_path.iterdir()) == []


def test_a_cause_in_another_visitors_shard_is_no_orphan(tmp_path: Path) -> None:
    orphan_count = OrphanCount(tmp_path, named=tmp_path)
    orphan_count.add(pl.DataFrame({"event_id": ["a", "b"], "cause_id": ["c", "nowhere"]}))
    orphan_count.add(pl.DataFrame({"event_id": ["c"], "cause_id": ["a"]}))
    assert orphan_count.count() == 1


def test_less_memory_than_libraries_take_is_refused() -> None:
    with pytest.raises(UsageError, match="`memory` is 255MiB; it has to be at least 256MiB"):
        SessionizeRule(memory=255 << 20)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_run_that_is_ended_at_any_moment_leaves_the_old_lake_or_the_new(how: signal.Signals, tmp_path: Path) -> None:
    make_sample(tmp_path / "sample", SampleRule(events=200_000))
    run([SAMPLE / "access.log"], tmp_path / "lake")
    run([tmp_path / "sample" / "events"], tmp_path / "new")
    old, new = boundaries(tmp_path / "lake"), boundaries(tmp_path / "new")
    m2 = str(Path(sys.executable).with_name("m2"))
    command = [m2, "sessionize", str(tmp_path / "sample" / "events"), "-o", str(tmp_path / "lake"), "--replace"]
    ended = 0
    for delay in (0.15, 0.4, 0.7, 1.0, 1.3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(how)
        ended += process.wait() != 0
        found = boundaries(tmp_path / "lake")
        assert found.equals(old) or found.equals(new)
    assert ended
    run([SAMPLE / "access.log"], tmp_path / "lake", SessionizeRule(replace=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "new", "sample"], (
        "what killed runs left is gone"
    )
