"""The snapshot of a pipeline's lake, batch after batch: what a plain list would have, and no bigger with age."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2cli.errors import UnwritableSinkError
from m2cli.lake import LakeFile, Snapshot, manifests, publish, read_snapshot, rewrite, snapshot
from m2cli.lake.snapshot import DamagedSnapshotError
from tests.lake.pipelines import PIPELINE, batch_id_of
from tests.twins.lake_twin import START

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SEALING = sys.modules["m2cli.lake.publish"]  # by this name the package has the function


class Step(NamedTuple):
    """A batch: so many files more, and the numbers of those that it replaces."""

    added_count: int
    removed: list[int]


STEPS = st.lists(st.builds(Step, st.integers(0, 5), st.lists(st.integers(0, 60), max_size=12)), max_size=16)


def make_file(batch: int, number: int) -> LakeFile:
    start = START + timedelta(minutes=15 * batch)
    path = f"events/date={start.date()}/{batch_id_of(batch)}-{number:05d}.parquet"
    return LakeFile(path, "events", 10 * batch, number, start.date(), 3, start, start, start, start)


def publish_files(lake: Path, batch: int, added: Sequence[LakeFile], removed: Sequence[LakeFile] = ()) -> None:
    publish(lake, batch_id=batch_id_of(batch), W=START, pipeline=PIPELINE, added=added, removed=removed)


def list_paths(lake: Path) -> list[str]:
    return [file.path for file in read_snapshot(lake).files]


def manifests_of(lake: Path) -> set[str]:
    return {path.name for path in (lake / "_m2/manifests").glob("*")}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few files in the snapshot itself, and few in a manifest."""
    monkeypatch.setattr(SEALING, "TAIL_LIMIT", 4)
    monkeypatch.setattr(SEALING, "MANIFEST_LIMIT", 10)
    monkeypatch.setattr(manifests, "MANIFEST_LIMIT", 10)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
@pytest.mark.usefixtures("tiny")
def test_it_lists_what_a_plain_list_would(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    lake = tmp_path_factory.mktemp("lake")
    plain: list[LakeFile] = []
    for batch, step in enumerate(steps):
        added = [make_file(batch, number) for number in range(step.added_count)]
        removed = [plain[number] for number in sorted({n % len(plain) for n in step.removed})] if plain else []
        publish_files(lake, batch, added, removed)
        once = (lake / "_m2/snapshot").read_bytes()
        plain = [file for file in plain if file not in removed] + added
        found = read_snapshot(lake)
        assert found == Snapshot(
            m2_version=found.m2_version,
            batch_id=batch_id_of(batch),
            W=START,
            pipeline=PIPELINE,
            files=tuple(plain),
            is_linked=True,
        )
        publish_files(lake, batch, added, removed)
        assert (lake / "_m2/snapshot").read_bytes() == once


@pytest.mark.usefixtures("tiny")
def test_manifests_are_full_and_those_that_nobody_names_are_removed(tmp_path: Path) -> None:
    for batch in range(60):
        publish_files(tmp_path, batch, [make_file(batch, 0)])
    publish_files(tmp_path, 60, [])
    named = {manifest.name for manifest in snapshot.read_head(tmp_path).manifests}
    assert manifests_of(tmp_path) == named
    assert [manifest.file_count for manifest in snapshot.read_head(tmp_path).manifests] == [10] * 6


@pytest.mark.usefixtures("tiny")
def test_what_is_left_of_small_manifests_is_joined(tmp_path: Path) -> None:
    files = [make_file(batch, 0) for batch in range(60)]
    rewrite(tmp_path, batch_id="b", W=START, pipeline=PIPELINE, files=files)
    publish_files(tmp_path, 61, [], [file for number, file in enumerate(files) if number % 10])
    assert [manifest.file_count for manifest in snapshot.read_head(tmp_path).manifests] == [6]
    assert list_paths(tmp_path) == [file.path for file in files[::10]]


def test_a_batch_of_an_old_lake_writes_no_more_than_one_of_a_young_one(tmp_path: Path) -> None:
    files = [make_file(batch, number) for batch in range(5_000) for number in range(4)]
    rewrite(tmp_path, batch_id="b", W=START, pipeline=PIPELINE, files=files)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "_m2/manifests").iterdir()}
    publish_files(tmp_path, 5_000, [make_file(5_000, 0)])
    assert (tmp_path / "_m2/snapshot").stat().st_size < 300_000
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "_m2/manifests").iterdir()} == before
    assert len(read_snapshot(tmp_path).files) == 20_001


@pytest.mark.usefixtures("tiny")
def test_a_batch_reads_only_the_manifests_that_hold_what_it_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [make_file(batch, 0) for batch in range(60)]
    rewrite(tmp_path, batch_id="b", W=START, pipeline=PIPELINE, files=files)
    read: list[str] = []
    monkeypatch.setattr(
        manifests, "read_manifest", lambda lake, name: read.append(name) or snapshot.read_manifest(lake, name)
    )
    third = snapshot.read_head(tmp_path).manifests[2].name
    publish_files(tmp_path, 61, [make_file(61, 0)], [files[25]])
    assert read == [third]


def test_the_whole_list_takes_the_place_of_a_damaged_one(tmp_path: Path) -> None:
    files = [make_file(batch, 0) for batch in range(3)]
    publish_files(tmp_path, 0, files)
    (tmp_path / "_m2/snapshot").write_text("{")
    (tmp_path / "_m2/ledger.sqlite").touch()
    with pytest.raises(DamagedSnapshotError, match="it is damaged; `m2 run` makes it anew"):
        publish_files(tmp_path, 1, [])
    rewrite(tmp_path, batch_id="b", W=None, pipeline=PIPELINE, files=files)
    assert list_paths(tmp_path) == [file.path for file in files]


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _change(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"shop-000003", b"shop-000004"))


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(_cut_short, id="cut short"),
        pytest.param(_change, id="changed"),
        pytest.param(lambda path: path.unlink(), id="gone"),
    ],
)
@pytest.mark.usefixtures("tiny")
def test_a_manifest_that_is_not_whole_is_said_so(tmp_path: Path, harm: object) -> None:
    assert callable(harm)
    files = [make_file(batch, 0) for batch in range(9)]
    publish_files(tmp_path, 9, files)
    harm(next((tmp_path / "_m2/manifests").iterdir()))
    with pytest.raises(DamagedSnapshotError):
        read_snapshot(tmp_path)
    with pytest.raises(DamagedSnapshotError):
        publish_files(tmp_path, 10, [], files[:1])


@pytest.mark.usefixtures("tiny")
def test_a_reader_whose_manifests_are_replaced_meanwhile_reads_the_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [make_file(batch, 0) for batch in range(30)]
    rewrite(tmp_path, batch_id="b", W=START, pipeline=PIPELINE, files=files)
    read, batches = snapshot.read_manifest, iter(range(100, 110))

    def read_late(lake: Path, name: str) -> manifests.Columns:
        for batch in islice(batches, 1):
            publish_files(tmp_path, batch, [make_file(batch, 0)], [files[batch - 100], files[batch - 100 + 20]])
        return read(lake, name)

    monkeypatch.setattr(snapshot, "read_manifest", read_late)
    found = read_snapshot(tmp_path)
    passed = int(found.batch_id.removeprefix("shop-")) - 99
    assert passed > 2
    left = [*files[passed:20], *files[20 + passed :]]
    assert list(found.files) == [*left, *(make_file(batch, 0) for batch in range(100, 100 + passed))]


def test_a_lake_of_the_first_format_is_read_on(tmp_path: Path) -> None:
    (tmp_path / "_m2").mkdir()
    file = {"path": "rejects/b-00000.parquet", "kind": "rejects", "row_count": 3, "byte_count": 9}
    found = {"format_version": 1, "m2_version": "0.1", "batch_id": "b", "W": None, "pipeline": None, "files": [file]}
    (tmp_path / "_m2/snapshot").write_text(json.dumps(found))
    files = (LakeFile("rejects/b-00000.parquet", "rejects", 3, 9),)
    assert read_snapshot(tmp_path) == Snapshot(
        m2_version="0.1", batch_id="b", W=None, pipeline=None, files=files, format_version=1
    )
    assert read_snapshot(tmp_path).paths(tmp_path, "rejects") == [tmp_path / "rejects/b-00000.parquet"]


@pytest.mark.usefixtures("tiny")
def test_a_disk_that_is_full_leaves_the_snapshot_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_files(tmp_path, 1, [make_file(1, number) for number in range(3)])
    before = read_snapshot(tmp_path)

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        for batch in (2, 3):
            with pytest.raises(UnwritableSinkError, match="no space left"):
                publish_files(tmp_path, batch, [make_file(batch, number) for number in range(batch)])
    assert read_snapshot(tmp_path) == before
    publish_files(tmp_path, 2, [make_file(2, 0)])
    assert len(read_snapshot(tmp_path).files) == 4
    assert not [name for name in manifests_of(tmp_path) if name.endswith(".unfinished")]
