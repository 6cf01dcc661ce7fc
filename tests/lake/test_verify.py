"""Whatever is wrong in a pipeline's lake is found, and named by its file; a lake that is well has no fault."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.lake import LakeFile, hide_files, open_batch, verify_files
from m2cli.lake.layout import FILES, kept_name
from tests.lake.pipelines import make_batch, take_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Harm = Callable[[Path, Path], None]
    """Told a file's place in the glob and in `_m2/files`."""

WHOLE = make_batch(1, [(0, 3), (1, 2)])
FILE = "events/date=2026-03-01/shop-000001-00000.parquet"


def reasons(lake: Path, files: tuple[LakeFile, ...], *, deep: bool = False) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for fault in verify_files(lake, files, deep=deep):
        found.setdefault(fault.path, []).append(fault.reason)
    return found


def write_bytes(path: Path, content: bytes) -> None:
    """Into the one file that both names have."""
    with path.open("r+b") as stream:
        stream.truncate()
        stream.write(content)


def remove_both(place: Path, kept: Path) -> None:
    place.unlink()
    kept.unlink()


def copy_over(place: Path, kept: Path) -> None:
    place.unlink()
    shutil.copy(kept, place)


@pytest.mark.parametrize("deep", [False, True], ids=["looked at", "read"])
def test_a_lake_that_is_well_has_no_fault(tmp_path: Path, deep: bool) -> None:
    files = [*take_in(tmp_path, 1, WHOLE), *take_in(tmp_path, 2, make_batch(2, [(0, 1), (2, 5)]))]
    with open_batch(tmp_path, "shop-000003") as batch:
        batch.write_rejects(pl.DataFrame({"reason": ["no time"]}))
        batch.write_late(WHOLE.events.with_columns(late_reason=pl.lit("late"), late_by=pl.duration(seconds=5)))
        hidden = batch.finish()
    assert verify_files(tmp_path, files, hidden=hidden, deep=deep) == []


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        pytest.param(lambda place, _: place.unlink(), "it is not in the glob", id="out of the glob"),
        pytest.param(lambda _, kept: kept.unlink(), "it is gone from `_m2/files`", id="out of m2's own folder"),
        pytest.param(remove_both, "it is gone", id="gone"),
        pytest.param(copy_over, "it and the one in `_m2/files` are two files", id="a copy"),
        pytest.param(
            lambda place, _: write_bytes(place, place.read_bytes()[:-1]), r"it has [\d,]+ bytes, not", id="cut short"
        ),
        pytest.param(
            lambda place, _: write_bytes(place, b"?" * place.stat().st_size), "it is damaged", id="no Parquet file"
        ),
    ],
)
def test_found_is_a_file_that_is(tmp_path: Path, harm: Harm, reason: str) -> None:
    files = take_in(tmp_path, 1, WHOLE)
    harm(tmp_path / FILE, tmp_path / FILES / kept_name(FILE))
    found = reasons(tmp_path, files)
    assert list(found) == [FILE]
    (said,) = found[FILE]
    assert pl.select(pl.lit(said).str.contains(f"^{reason}")).item()


def test_found_is_a_count_of_rows_that_is_not_the_listed_one(tmp_path: Path) -> None:
    events, visits = take_in(tmp_path, 1, WHOLE)
    assert reasons(tmp_path, (events._replace(row_count=6), visits)) == {FILE: ["it has 5 rows, not 6"]}


def test_found_is_what_nobody_lists(tmp_path: Path) -> None:
    files = take_in(tmp_path, 1, WHOLE)
    strays = ("events/date=2026-03-01/other.parquet", "late/x/y.txt", "_m2/files/shop-000009-00000.late")
    for name in strays:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "_m2/files/shop-000009-00001.late.unfinished").touch()
    unfinished = {"_m2/files/shop-000009-00001.late.unfinished": ["left unfinished by a run that died"]}
    assert reasons(tmp_path, files) == {name: ["nobody lists it"] for name in strays} | unfinished


def test_found_is_a_replaced_file_that_is_still_in_the_glob(tmp_path: Path) -> None:
    files = take_in(tmp_path, 1, WHOLE)
    assert [fault.reason for fault in verify_files(tmp_path, files[1:], hidden=files[:1])] == [
        "replaced, and yet in the glob"
    ]
    hide_files(tmp_path, files[:1])
    assert verify_files(tmp_path, files[1:], hidden=files[:1]) == []


@pytest.mark.parametrize(
    ("rewrite", "expected"),
    [
        pytest.param(
            lambda events: events[[0, 3, 1, 2, 4]], ["a visit is in it twice, or its rows"], id="a visit in two pieces"
        ),
        pytest.param(lambda events: events[[3, 4, 0, 1, 2]], ["its visits are not in the order"], id="visits swapped"),
        pytest.param(
            lambda events: events[[0, 2, 1, 3, 4]], ["the events of a visit are not in"], id="events of a visit swapped"
        ),
        pytest.param(
            lambda events: events.with_columns(pl.col("event_time") + pl.duration(days=1)),
            ["a visit in it starts on another date"],
            id="another date",
        ),
        pytest.param(lambda events: events.rename({"url": "uri"}), ["its columns are not those"], id="another column"),
        pytest.param(
            lambda events: events.with_columns(pl.lit("other").alias("visit_id")),
            ["of its visits, there are 1 whose row in `visits`"],
            id="a visit that no row of visits has",
        ),
    ],
)
def test_read_whole_it_is_found_that_rows_are_not_as_they_should_be(
    tmp_path: Path, rewrite: Callable[[pl.DataFrame], pl.DataFrame], expected: list[str]
) -> None:
    events, visits = take_in(tmp_path, 1, WHOLE)
    rewrite(WHOLE.events.select(n for n in LAKE_EVENT_SCHEMA if n in WHOLE.events.columns)).write_parquet(
        tmp_path / FILE
    )
    events = events._replace(byte_count=(tmp_path / FILE).stat().st_size)
    assert reasons(tmp_path, (events, visits)) == {}
    found = reasons(tmp_path, (events, visits), deep=True)[FILE]
    assert [said[: len(start)] for said, start in zip(found, expected, strict=False)] == expected


def test_read_whole_it_is_found_that_half_a_visit_lies_in_another_file(tmp_path: Path) -> None:
    whole, half = WHOLE.visits, pl.col("visit_id") == "1-visit-0"
    files: list[LakeFile] = []
    for number, rows in enumerate((WHOLE.events.slice(1), WHOLE.events.head(1))):
        counts = pl.when(half).then(rows.filter(half).height).otherwise("event_count")
        visits = whole.filter(pl.col("visit_id").is_in(rows["visit_id"].implode())).with_columns(event_count=counts)
        files += take_in(tmp_path, number, type(WHOLE)(rows, visits))
    found = reasons(tmp_path, tuple(files), deep=True)
    assert all(any("1 are in another file" in said for said in found[file.path]) for file in files)


def test_a_page_that_is_damaged_is_found_only_when_it_is_read(tmp_path: Path) -> None:
    files = take_in(tmp_path, 1, WHOLE)
    content = bytearray((tmp_path / FILE).read_bytes())
    content[4:200] = bytes(196)
    write_bytes(tmp_path / FILE, bytes(content))
    assert reasons(tmp_path, files) == {}
    assert [said[:13] for said in reasons(tmp_path, files, deep=True)[FILE]] == ["it is damaged"]
