"""What is written into a lake: where, in which order, with which columns, and what a file says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2cli.events import LAKE_EVENT_SCHEMA, REJECT_SCHEMA
from m2cli.lake import read_snapshot, scan_lake, stage_lake
from tests.twins.lake_twin import Whole, make_whole, part_by_date

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = make_whole([(0, 3), (1, 2), (2, 4), (5, 1), (30, 2)])


def write(target: Path, *wholes: Whole) -> None:
    with stage_lake(target, batch_id="b") as lake:
        for whole in wholes:
            lake.write_events(whole.events, whole.visits)
            lake.write_visits(whole.visits)
        lake.commit()


def test_events_lie_by_the_date_on_which_their_visit_starts_and_not_by_their_own(tmp_path: Path) -> None:
    over_midnight = make_whole([(1, 90)])  # from 23:00 to 00:29
    write(tmp_path / "lake", over_midnight)
    assert [path.parent.name for path in (tmp_path / "lake/events").rglob("*.parquet")] == ["date=2026-03-01"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 4)), max_size=12))
def test_the_folders_hold_what_the_loop_puts_there(tmp_path: Path, visits: list[tuple[int, int]]) -> None:
    whole = make_whole(visits)
    with stage_lake(tmp_path / "lake", replace=True) as lake:
        lake.write_events(whole.events, whole.visits)
        lake.write_visits(whole.visits)
        lake.commit()
    found = {
        path.parent.name.removeprefix("date="): pl.read_parquet(path, hive_partitioning=False)["event_id"].to_list()
        for path in (tmp_path / "lake").glob("events/*/*.parquet")
    }
    assert found == part_by_date(whole)
    frames = scan_lake(tmp_path / "lake")
    assert frames.events.select(whole.events.columns).collect().equals(whole.events)
    assert frames.visits.select(whole.visits.columns).collect().equals(whole.visits)


def test_each_call_makes_files_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "lake", WHOLE, WHOLE)
    names = sorted(path.name for path in (tmp_path / "lake/events/date=2026-03-01").iterdir())
    assert names == ["b-00000.parquet", "b-00003.parquet"]


def test_a_file_has_the_columns_of_its_frame_and_no_others_in_the_order_of_the_schema(tmp_path: Path) -> None:
    shuffled = Whole(WHOLE.events.select(sorted(WHOLE.events.columns)), WHOLE.visits)
    write(tmp_path / "lake", shuffled)
    path = next((tmp_path / "lake").glob("events/*/*.parquet"))
    assert pl.read_parquet_schema(path).names() == [n for n in LAKE_EVENT_SCHEMA if n in WHOLE.events.columns]


def test_a_file_says_what_wrote_it_and_what_it_is(tmp_path: Path) -> None:
    write(tmp_path / "lake", WHOLE)
    path = next((tmp_path / "lake").glob("visits/*/*.parquet"))
    metadata = pl.read_parquet_metadata(path)
    assert metadata["m2.kind"] == "visits"
    assert metadata["m2.schema_version"] == "1"
    assert metadata["m2.version"]


def test_row_groups_are_small_enough_to_take_one_visit_out(tmp_path: Path) -> None:
    one = make_whole([(0, 1)])
    count = 140_000
    events = pl.concat([one.events]).select(pl.all().repeat_by(count).explode())
    write(tmp_path / "lake", Whole(events, one.visits.with_columns(event_count=pl.lit(count, pl.Int64))))
    groups = pq.ParquetFile(next((tmp_path / "lake").glob("events/*/*.parquet"))).metadata
    assert groups.num_row_groups == 3
    assert groups.row_group(0).column(0).statistics.has_min_max
    assert groups.row_group(0).column(0).compression == "ZSTD"


def test_empty_frames_make_no_files(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as lake:
        lake.write_events(WHOLE.events.clear(), WHOLE.visits.clear())
        lake.write_rejects(pl.DataFrame(schema=REJECT_SCHEMA))
        lake.commit()
    assert read_snapshot(tmp_path / "lake").files == ()


def test_late_duplicates_and_rejects_lie_flat_and_may_be_written_in_pieces(tmp_path: Path) -> None:
    rejects = pl.DataFrame({"source": ["s"], "reason": ["no time"], "raw": ["x"]})
    late = WHOLE.events.with_columns(late_reason=pl.lit("late"), late_by=pl.duration(seconds=5))
    with stage_lake(tmp_path / "lake", batch_id="b") as lake:
        lake.write_rejects(rejects)
        lake.write_rejects(rejects)
        lake.write_late(late)
        lake.write_duplicates(WHOLE.events.head(1))
        lake.commit()
    frames = scan_lake(tmp_path / "lake")
    assert frames.rejects.collect().height == 2
    assert frames.duplicates.collect().height == 1
    assert frames.late.select("late_reason", "late_by").collect().equals(late.select("late_reason", "late_by"))
    files = {str(path.relative_to(tmp_path / "lake")) for path in (tmp_path / "lake").rglob("*.parquet")}
    assert files == {
        f"{k}/b-0000{n}.parquet" for k, n in (("rejects", 0), ("rejects", 1), ("late", 0), ("duplicates", 0))
    }


def test_the_snapshot_counts_rows_and_bytes(tmp_path: Path) -> None:
    write(tmp_path / "lake", WHOLE)
    snapshot = read_snapshot(tmp_path / "lake")
    for kind, frame in (("events", WHOLE.events), ("visits", WHOLE.visits)):
        assert sum(file.row_count for file in snapshot.files if file.kind == kind) == frame.height
    assert all((tmp_path / "lake" / file.path).stat().st_size == file.byte_count for file in snapshot.files)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        pytest.param(WHOLE.events.with_columns(extra=1), "extra", id="a column that events do not have"),
        pytest.param(WHOLE.events.with_columns(pl.col("url").cast(pl.Binary)), "url", id="a column of another type"),
        pytest.param(WHOLE.events.head(3), "do not have the 3 events", id="fewer events than the visits count"),
    ],
)
def test_a_frame_that_is_no_whole_visits_is_refused(tmp_path: Path, frame: pl.DataFrame, message: str) -> None:
    with stage_lake(tmp_path / "lake") as lake, pytest.raises(ValueError, match=message):
        lake.write_events(frame, WHOLE.visits)


def test_visits_out_of_order_are_refused(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as lake, pytest.raises(ValueError, match="order of their start"):
        lake.write_visits(WHOLE.visits.reverse())
