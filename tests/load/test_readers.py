"""Readers in a loop while batches, compactions and rebuilds are committed: no visit in part, no batch torn or missing.

By glob (Polars, DuckDB) every visit that is found has all its events. By snapshot a reader has just what the ledger
says of the batch that the snapshot names, and still has it when other batches have been committed meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Self

import duckdb
import polars as pl
import pytest

from m2cli.lake import read_snapshot
from m2cli.lake.layout import DUPLICATES, EVENTS, LATE, REJECTS, VISITS
from m2cli.lake.scan import scan_files
from m2cli.ledger import open_ledger
from m2cli.pipeline import load_pipeline
from m2cli.runs.compact import CompactRule, compact_lake
from m2cli.runs.rebuild.rule import RebuildRule
from m2cli.runs.rebuild.work import rebuild_dates
from m2cli.runs.run import run_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2026, 3, 1, 20, tzinfo=UTC)  # a long run of batches goes over midnight
QUARTER = timedelta(minutes=15)
PLACE_COUNT, STAY = 12, 3  # so many visitors at a time, each there for so many batches
LATE_BY = 8  # batches
TABLES = (EVENTS, VISITS, LATE, DUPLICATES, REJECTS)
FACTS = ("closed_event_count", "visit_count", "late_count", "duplicate_count", "reject_count")

PIPELINE = """
[pipeline]
name = "shop"
lake = "lake"

[[source]]
type = "events"
paths = ["events/*.parquet"]
"""


DAWDLED = {"file shown", "file hidden", "files hidden", "files shown", "manifests written", "snapshot replaced"}


def dawdle(step: str) -> None:
    """Give readers time between two steps that lie close together."""
    if step in DAWDLED:
        threading.Event().wait(0.01)


class Shop:
    """A pipeline in a folder, and what arrives for it; its clock stands at the end of the last quarter of an hour."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lake, self.count = folder, folder / "lake", 0
        (folder / "events").mkdir()
        (folder / "shop.toml").write_text(PIPELINE)
        self.pipeline = load_pipeline(folder / "shop.toml", environment={})

    def now(self) -> datetime:
        return START + self.count * QUARTER

    def run_batch(self) -> None:
        """One more quarter of an hour: a page every minute, a copy of one, a row without a time, a late event."""
        begin, number = self.now(), self.count
        rows = [
            {"event_id": f"{number}-{place}-{minute}", "visitor_id": _visitor(number, place), "event_time": time}
            for place in range(PLACE_COUNT)
            for minute in range(15)
            for time in [begin + timedelta(minutes=minute, seconds=place)]
        ]
        rows += [rows[-1], rows[0] | {"event_time": None}]
        if number >= LATE_BY:
            before = number - LATE_BY
            time = START + before * QUARTER + timedelta(minutes=7)
            rows.append({"event_id": f"late-{number}", "visitor_id": _visitor(before, 0), "event_time": time})
        path = self.folder / "events" / f"{number:06}.parquet"
        frame = pl.DataFrame(rows, schema_overrides={"event_time": pl.Datetime("us", "UTC")})
        frame.with_columns(event_type=pl.lit("page")).write_parquet(path)
        self.count += 1
        os.utime(path, (self.now().timestamp(),) * 2)
        run_pipeline(self.pipeline, now=self.now, at=dawdle)

    def compact(self) -> None:
        rule = CompactRule(first_date=START.date(), last_date=self.now().date())
        assert compact_lake(self.lake, rule, now=self.now, at=dawdle).removed_count

    def rebuild(self) -> None:
        rule = RebuildRule(first_date=START.date(), last_date=self.now().date(), with_late=True)
        assert rebuild_dates(self.pipeline, rule, now=self.now, at=dawdle).merged_count


def _visitor(number: int, place: int) -> str:
    return f"visitor-{(number + place) // STAY}-{place}"


class State(NamedTuple):
    """What a reader by snapshot finds."""

    batch_id: str
    row_counts: tuple[int, ...]
    """Of each of `TABLES`."""
    content: int
    """A digest of which event is in which visit."""


def read_state(lake: Path, pause: float = 0.0) -> State:
    """All that is in the lake as of one snapshot, read `pause` seconds after that was."""
    snapshot = read_snapshot(lake)
    frames = [scan_files(snapshot.paths(lake, table.name), table) for table in TABLES]
    threading.Event().wait(pause)
    counts = tuple(frame.select(pl.len()).collect().item() for frame in frames)
    placed = frames[0].select("visit_id", "event_id", "event_time").collect()
    return State(snapshot.batch_id, counts, int(placed.hash_rows().sort().hash().sum()))


def read_by_polars(lake: Path) -> tuple[dict[str, int], dict[str, int]]:
    """The visits by glob with their counts of events, then the events by glob, counted by visit."""
    visits = pl.read_parquet(lake / "visits" / "*" / "*.parquet", columns=["visit_id", "event_count"])
    events = pl.read_parquet(lake / "events" / "*" / "*.parquet", columns=["visit_id"])
    assert visits["visit_id"].is_unique().all()
    return dict(visits.rows()), dict(events["visit_id"].value_counts().rows())


def read_by_duckdb(lake: Path) -> tuple[dict[str, int], dict[str, int]]:
    """The same as `read_by_polars`."""
    with duckdb.connect() as connection:
        visits = connection.execute(f"SELECT visit_id, event_count FROM '{lake}/visits/*/*.parquet'").fetchall()
        counts = f"SELECT visit_id, count(*) FROM '{lake}/events/*/*.parquet' GROUP BY ALL"
        events = connection.execute(counts).fetchall()
    assert len(dict(visits)) == len(visits)
    return dict(visits), dict(events)


# What a reader by glob meets when a file leaves the glob after it was listed, or when all have for a moment.
GONE = (FileNotFoundError, duckdb.IOException, pl.exceptions.ComputeError)
HOW_GONE = ("No such file", "No files found", "paths were empty")


@dataclass
class Reader:
    """Reads in rounds until it is told to stop; keeps what it has read."""

    lake: Path
    read: Callable[[Reader], None]
    states: set[State] = field(default_factory=set)
    visits: set[tuple[str, int]] = field(default_factory=set)
    """Visits that were found, each with how many events."""
    round_count: int = 0
    gone_count: int = 0
    error: BaseException | None = None
    is_stopped: bool = False

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_stopped = True
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self.is_stopped:
                self.read(self)
                self.round_count += 1
                threading.Event().wait(0.02)  # batches want the processor too
        except BaseException as error:  # noqa: BLE001  # told to the test
            self.error = error


def look_by_snapshot(reader: Reader) -> None:
    reader.states.add(read_state(reader.lake, pause=0.05))


def look_by_glob(read: Callable[[Path], tuple[dict[str, int], dict[str, int]]]) -> Callable[[Reader], None]:
    """Whose visit is found, its events are: nothing has left the glob."""

    def look(reader: Reader) -> None:
        visits, events = read(reader.lake)
        assert visits.items() <= events.items()
        reader.visits |= set(events.items())

    return look


def look_by_changing_glob(read: Callable[[Path], tuple[dict[str, int], dict[str, int]]]) -> Callable[[Reader], None]:
    """Visits may be missing for a moment, and those that are there are whole, as before or as after."""

    def look(reader: Reader) -> None:
        try:
            _, events = read(reader.lake)
        except GONE as error:
            if not any(text in str(error) for text in HOW_GONE):
                raise
            reader.gone_count += 1
        else:
            reader.visits |= set(events.items())

    return look


def find_visits(lake: Path) -> set[tuple[str, int]]:
    """All visits by snapshot, with the events that they count."""
    visits = scan_files(read_snapshot(lake).paths(lake, VISITS.name), VISITS)
    return set(visits.select("visit_id", "event_count").collect().rows())


def expect_row_counts(lake: Path) -> dict[str, tuple[int, ...]]:
    """What the lake has to hold after each run, as the ledger adds it up."""
    sums: Counter[str] = Counter()
    expected = {}
    with open_ledger(lake / "_m2" / "ledger.sqlite") as ledger:
        for batch in ledger.list_batches():
            sums.update({name: batch.facts[name] for name in FACTS})
            expected[batch.batch_id] = tuple(sums[name] for name in FACTS)
    return expected


def check_readers_during_batches(shop: Shop, batch_count: int) -> None:
    for _ in range(STAY + 3):  # until there are visits that have ended
        shop.run_batch()
    states = {read_state(shop.lake)}
    with ExitStack() as stack:
        looks = (look_by_snapshot, look_by_glob(read_by_polars), look_by_glob(read_by_duckdb))
        readers = [stack.enter_context(Reader(shop.lake, look)) for look in looks]
        for _ in range(batch_count):
            shop.run_batch()
            states.add(read_state(shop.lake))
    assert [reader.error for reader in readers] == [None, None, None]
    expected = expect_row_counts(shop.lake)
    assert {state.batch_id: state.row_counts for state in states}.items() <= expected.items()
    assert readers[0].states <= states
    whole = find_visits(shop.lake)
    assert readers[1].visits | readers[2].visits <= whole
    assert len(whole) > PLACE_COUNT * batch_count / STAY - PLACE_COUNT
    assert len(readers[0].states) > batch_count / 5  # they met many states
    assert min(reader.round_count for reader in readers) > batch_count / 5


def check_readers_during_changes(shop: Shop, round_count: int) -> None:
    for _ in range(2 * LATE_BY):
        shop.run_batch()
    states, whole = {read_state(shop.lake)}, find_visits(shop.lake)
    with ExitStack() as stack:
        looks = (look_by_snapshot, look_by_changing_glob(read_by_polars), look_by_changing_glob(read_by_duckdb))
        readers = [stack.enter_context(Reader(shop.lake, look)) for look in looks]
        for _ in range(round_count):
            for change in (shop.compact, shop.run_batch, shop.run_batch, shop.rebuild, shop.run_batch):
                change()
                states.add(read_state(shop.lake))
                whole |= find_visits(shop.lake)
    assert [reader.error for reader in readers] == [None, None, None]
    assert len({state.content for state in states}) == 1 + 4 * round_count  # a compaction changes nothing
    # One compaction is a batch for each date and table, of which `states` has the last.
    assert {state[1:] for state in readers[0].states} <= {state[1:] for state in states}
    assert readers[1].visits | readers[2].visits <= whole
    assert len(readers[0].states) > round_count
    assert min(reader.round_count - reader.gone_count for reader in readers) > round_count


def test_readers_find_whole_visits_and_whole_batches_while_batches_are_committed(tmp_path: Path) -> None:
    check_readers_during_batches(Shop(tmp_path), 25)


def test_readers_find_whole_visits_and_whole_batches_while_a_lake_is_compacted_and_rebuilt(tmp_path: Path) -> None:
    check_readers_during_changes(Shop(tmp_path), 2)


@pytest.mark.soak
def test_readers_find_whole_visits_and_whole_batches_during_200_batches(tmp_path: Path) -> None:
    check_readers_during_batches(Shop(tmp_path), 200)


@pytest.mark.soak
def test_readers_find_whole_visits_and_whole_batches_during_20_compactions_and_rebuilds(tmp_path: Path) -> None:
    check_readers_during_changes(Shop(tmp_path), 20)
