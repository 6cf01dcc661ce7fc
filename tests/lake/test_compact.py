"""Compaction: the same rows in fewer files, visits whole and in order of start within and over them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2cli.errors import UnreadableSourceError
from m2cli.events import MONEY, TEXTS
from m2cli.lake import Compacted, LakeFile, compact, compact_date, open_batch, scan_lake, verify_files
from m2cli.lake.layout import FILES, TABLES, kept_name
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import BrokenLakeError
from tests.lake.pipelines import make_batch, publish_batch, take_in, write_batch
from tests.twins.lake_twin import START, Whole
from tests.twins.lake_twin import compact as compact_twin

if TYPE_CHECKING:
    from pathlib import Path

TABLE = {table.name: table for table in TABLES}
# Minutes instead of hours, so that many visits start on one date and some at one time.
VISITS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=5)


def crowd(whole: Whole) -> Whole:
    """The same visits with their starts minutes apart."""
    minutes = (pl.col("start_time") - START).dt.total_hours() * timedelta(minutes=1)
    new = whole.visits.select("visit_id", old="start_time", new=START + minutes)
    events = whole.events.join(new, on="visit_id", maintain_order="left")
    return Whole(
        events.with_columns(pl.col("event_time") - pl.col("old") + pl.col("new")).drop("old", "new"),
        whole.visits.with_columns(start_time=new["new"], end_time=pl.col("end_time") - new["old"] + new["new"]),
    )


def compact_kind(lake: Path, files: list[LakeFile], kind: str, max_rows: int) -> Compacted:
    chosen = [file for file in files if file.kind == kind]
    with open_batch(lake, "shop-900000") as batch:
        compacted = compact_date(lake, chosen, batch, max_rows=max_rows)
        assert batch.finish() == compacted.added
    return compacted


def read_each(lake: Path, files: tuple[LakeFile, ...] | list[LakeFile]) -> list[pl.DataFrame]:
    return [scan_files([lake / FILES / kept_name(file.path)], TABLE[file.kind]).collect() for file in files]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VISITS, min_size=2, max_size=4), st.integers(1, 40), st.integers(1, 5))
def test_files_hold_the_visits_that_the_loop_puts_there_and_every_row_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, int]]], max_rows: int, block: int
) -> None:
    lake = tmp_path_factory.mktemp("lake")
    wholes = [crowd(make_batch(9 - number, visits)) for number, visits in enumerate(batches)]  # ids against the batches
    files = [file for number, whole in enumerate(wholes) for file in write_batch(lake, number, whole)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("m2cli.lake.compact._INDEX_ROWS", block)
        compacted = compact_kind(lake, files, "events", max_rows)
    expected = compact_twin(wholes, max_rows)
    if len(expected) >= len(batches):
        assert compacted == ((), ())
        return
    found = read_each(lake, compacted.added)
    assert [frame.select("visit_id", "event_id").rows() for frame in found] == expected
    before = pl.concat(read_each(lake, compacted.removed))
    assert pl.concat(found).sort("event_id").equals(before.sort("event_id"))
    assert compacted.removed == tuple(file for file in files if file.kind == "events")


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VISITS, min_size=2, max_size=4), st.integers(1, 40))
def test_the_rows_of_visits_are_in_order_of_start_over_all_files(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, int]]], max_rows: int
) -> None:
    lake = tmp_path_factory.mktemp("lake")
    wholes = [crowd(make_batch(9 - number, visits)) for number, visits in enumerate(batches)]  # ids against the batches
    files = [file for number, whole in enumerate(wholes) for file in write_batch(lake, number, whole)]
    compacted = compact_kind(lake, files, "visits", max_rows)
    if compacted.added:
        found, before = (pl.concat(read_each(lake, some)) for some in compacted)
        assert found.equals(before.sort("start_time", "visit_id"))
        assert len(compacted.added) < len(compacted.removed)


def test_the_lake_is_as_it_should_be_afterwards(tmp_path: Path) -> None:
    wholes = [crowd(make_batch(number, [(number, 3), (number + 2, 2)])) for number in range(6)]
    files = [file for number, whole in enumerate(wholes) for file in take_in(tmp_path, number, whole)]
    before = scan_lake(tmp_path).events.collect()
    with open_batch(tmp_path, "shop-000006") as batch:
        done = [
            compact_date(tmp_path, [file for file in files if file.kind == kind], batch, max_rows=1_000)
            for kind in ("events", "visits")
        ]
        added = batch.finish()
    assert [len(compacted.added) for compacted in done] == [1, 1]
    publish_batch(tmp_path, 6, added, files)
    assert verify_files(tmp_path, added, hidden=files, deep=True) == []
    assert scan_lake(tmp_path).events.collect().sort("event_id").equals(before.sort("event_id"))
    assert added[0].visit_count == 12


def test_rows_of_other_tables_follow_each_other_as_they_did(tmp_path: Path) -> None:
    events = make_batch(0, [(0, 7)]).events
    late = events.with_columns(late_reason=pl.lit("late"), late_by=pl.duration(seconds=5))
    files: list[LakeFile] = []
    for number, count in enumerate((3, 1, 7, 2)):
        with open_batch(tmp_path, f"shop-{number:06d}") as batch:
            batch.write_late(late.head(count).with_columns(url=pl.lit(str(number))))
            files += batch.finish()
    compacted = compact_kind(tmp_path, files, "late", 5)
    assert [file.row_count for file in compacted.added] == [5, 5, 3]
    found, before = (pl.concat(read_each(tmp_path, some)) for some in compacted)
    assert found.equals(before)


def test_values_of_every_type_stay_and_columns_that_some_files_lack_are_null(tmp_path: Path) -> None:
    one, other = crowd(make_batch(0, [(0, 2), (2, 1)])), crowd(make_batch(1, [(1, 2)]))
    rich: dict[str, Any] = {
        "amount": pl.lit(Decimal("12.3400"), MONEY),
        "attributes": pl.Series([{"k": "v"}] * 3, dtype=TEXTS),
        "is_robot": pl.lit(value=True),
    }
    files = [
        *write_batch(tmp_path, 0, Whole(one.events.with_columns(**rich), one.visits)),
        *write_batch(tmp_path, 1, Whole(other.events.drop("url"), other.visits)),
    ]
    compacted = compact_kind(tmp_path, files, "events", 100)
    found, before = (pl.concat(read_each(tmp_path, some)) for some in compacted)
    assert found["visit_id"].to_list() == ["0-visit-0", "0-visit-0", "1-visit-0", "1-visit-0", "0-visit-1"]
    assert found.sort("event_id").equals(before.sort("event_id"))
    assert found["amount"].to_list() == [Decimal("12.3400")] * 2 + [None] * 2 + [Decimal("12.3400")]


@pytest.mark.parametrize(
    ("count", "max_rows"), [(1, 100), (2, 3), (2, 1)], ids=["one file", "full files", "visits longer than a file"]
)
def test_files_that_would_not_become_fewer_stay(tmp_path: Path, count: int, max_rows: int) -> None:
    files = [
        file
        for number in range(count)
        for file in write_batch(tmp_path, number, make_batch(number, [(number, 3)]))
        if file.kind == "events"
    ]
    files = [file._replace(start_date=None) for file in files]
    assert compact_kind(tmp_path, files, "events", max_rows) == ((), ())


def test_a_file_whose_visits_are_out_of_order_is_not_taken(tmp_path: Path) -> None:
    whole = crowd(make_batch(0, [(0, 1), (1, 1)]))
    files = [*write_batch(tmp_path, 0, whole), *write_batch(tmp_path, 1, whole)]
    path = tmp_path / FILES / kept_name(files[0].path)
    whole.events.reverse().write_parquet(path)
    with pytest.raises(UnreadableSourceError, match="not in the order of their start; `m2 check`"):
        compact_kind(tmp_path, files, "events", 100)


def test_a_file_that_is_gone_is_said_so_and_one_that_has_lost_rows_stops_all(tmp_path: Path) -> None:
    whole = crowd(make_batch(0, [(0, 1), (1, 1)]))
    files = [*write_batch(tmp_path, 0, whole), *write_batch(tmp_path, 1, whole)]
    path = tmp_path / FILES / kept_name(files[0].path)
    whole.events.head(1).write_parquet(path)
    with pytest.raises(compact.NotConservedError, match="does not keep all rows"):
        compact_kind(tmp_path, files, "events", 100)
    path.unlink()
    with pytest.raises(BrokenLakeError):
        compact_kind(tmp_path, files, "events", 100)


def test_files_of_several_dates_or_tables_are_a_bug(tmp_path: Path) -> None:
    files = write_batch(tmp_path, 0, make_batch(0, [(0, 1)]))
    with open_batch(tmp_path, "b") as batch, pytest.raises(ValueError, match="one table and one date"):
        compact_date(tmp_path, files, batch, max_rows=100)
