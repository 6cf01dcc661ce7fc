"""The snapshot: written and read it is the same, and what cannot be read is said in one line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import UnreadableSourceError
from m2cli.events import LAKE_EVENT_SCHEMA, REJECT_SCHEMA, VISIT_SCHEMA
from m2cli.lake import LakeFile, Snapshot, read_snapshot, scan_lake, stage_lake
from m2cli.lake.snapshot import write_snapshot
from tests.twins.lake_twin import make_whole

if TYPE_CHECKING:
    from pathlib import Path

SNAPSHOT = Snapshot(
    m2_version="0.1.0",
    batch_id="b",
    W=datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
    pipeline="shop",
    files=(LakeFile(path="events/date=2026-03-01/b-00000.parquet", kind="events", row_count=3, byte_count=9),),
)


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(SNAPSHOT, id="of a pipeline"),
        pytest.param(Snapshot(m2_version="1", batch_id="b", W=None, pipeline=None, files=()), id="of a bounded run"),
    ],
)
def test_written_and_read_it_is_the_same(tmp_path: Path, snapshot: Snapshot) -> None:
    write_snapshot(tmp_path, snapshot)
    assert read_snapshot(tmp_path) == snapshot
    assert [path.name for path in (tmp_path / "_m2").iterdir()] == ["snapshot"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "it is damaged", id="a file cut short"),
        pytest.param("[]", "it is damaged", id="JSON of another shape"),
        pytest.param('{"format_version": 99}', "of format 99, this m2 knows up to 2", id="a later format"),
        pytest.param(
            json.dumps(
                {"format_version": 1, "m2_version": "1", "batch_id": "b", "W": None, "pipeline": None}
                | {"files": [{"path": "../x", "kind": "events", "row_count": 1, "byte_count": 1}]}
            ),
            "it is damaged",
            id="a file outside the lake",
        ),
    ],
)
def test_not_understood_is(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "_m2").mkdir()
    (tmp_path / "_m2" / "snapshot").write_text(text)
    with pytest.raises(UnreadableSourceError, match=message):
        read_snapshot(tmp_path)


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSourceError, match="no such folder"):
        read_snapshot(tmp_path / "lake")


def test_a_folder_that_is_no_lake_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSourceError, match="not a lake: it has no `_m2/snapshot`"):
        read_snapshot(tmp_path)


def test_a_lake_without_a_file_has_all_tables_with_all_columns(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as lake:
        lake.commit()
    frames = scan_lake(tmp_path / "lake")
    assert frames.events.collect().schema == LAKE_EVENT_SCHEMA
    assert frames.visits.collect().schema == VISIT_SCHEMA
    assert frames.rejects.collect().schema == REJECT_SCHEMA
    assert frames.duplicates.collect().schema == LAKE_EVENT_SCHEMA
    assert frames.late.collect_schema().names()[-2:] == ["late_reason", "late_by"]


def test_columns_that_no_file_has_are_null_and_files_with_other_columns_meet(tmp_path: Path) -> None:
    one, other = make_whole([(0, 1)]), make_whole([(1, 2)])
    with stage_lake(tmp_path / "lake") as lake:
        lake.write_events(one.events, one.visits)
        lake.write_events(other.events.drop("url"), other.visits)
        lake.commit()
    events = scan_lake(tmp_path / "lake").events.collect()
    assert events.schema == LAKE_EVENT_SCHEMA
    assert events["url"].to_list() == ["/0", None, None]
    assert events["country"].null_count() == 3


def test_a_file_that_the_snapshot_does_not_know_is_not_read(tmp_path: Path) -> None:
    whole = make_whole([(0, 1)])
    with stage_lake(tmp_path / "lake") as lake:
        lake.write_events(whole.events, whole.visits)
        lake.commit()
    known = next((tmp_path / "lake").glob("events/*/*.parquet"))
    (known.parent / "other.parquet").write_bytes(known.read_bytes())
    assert scan_lake(tmp_path / "lake").events.collect().height == 1


def test_a_lake_may_be_named_by_a_text(tmp_path: Path) -> None:
    whole = make_whole([(0, 1)])
    with stage_lake(tmp_path / "lake") as lake:
        lake.write_events(whole.events, whole.visits)
        lake.commit()
    assert scan_lake(str(tmp_path / "lake")).events.collect().height == 1
