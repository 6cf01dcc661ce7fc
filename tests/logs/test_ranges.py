"""Ranges of logs: what they become does not depend on where they are cut; what is not as planned is not read."""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2cli.logs.follow import KnownPart, PlannedRange, RangeLostError, RangeReader
from m2cli.logs.parts import find_first_line, name_part
from m2cli.logs.read import LogRule, read_access_log
from tests.logs.following import Follower, Logs, line, lines, numbers_of
from tests.logs.reading import COMBINED, PLANNED, assert_adds_up, gather, logs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from m2cli.events import Intake

SMALL = LogRule(block_size=100)


def plan_ranges(path: Path, text: bytes, ends: Sequence[int]) -> list[PlannedRange]:
    """The file at `path` in ranges that end at `ends`, each planned when the last was read."""
    name = name_part(find_first_line([text]) or b"")
    part = KnownPart(part_id=name, name=name, source=str(path), position=0, line_count=0, marks=())
    ranges = []
    for end in ends:
        mark = part.marks[-1] if part.marks else None
        planned = PlannedRange(
            part_id=name,
            name=name,
            source=part.source,
            path=str(path),
            inode=path.stat().st_ino,
            start=part.position,
            end=end,
            line_count=part.line_count,
            arrival_time=PLANNED,
            mark_start=mark.start if mark else None,
            mark_digest=mark.digest if mark else None,
        )
        reader = RangeReader([planned], LogRule())
        list(reader.read())
        (read,) = reader.results
        part = replace(part, position=end, line_count=read.line_count, marks=(*part.marks, *read.marks))
        ranges.append(planned)
    return ranges


def read(ranges: Sequence[PlannedRange], rule: LogRule) -> list[Intake]:
    intakes = list(RangeReader(ranges, rule).read())
    assert_adds_up(intakes)
    return intakes


@settings(max_examples=12, deadline=None)
@given(
    log=logs_of(COMBINED),
    cuts=st.sets(st.integers(0, 9), max_size=4),
    rule=st.builds(
        LogRule, block_size=st.sampled_from([1, 100, 1 << 20]), max_line_size=st.sampled_from([60, 1 << 20])
    ),
    is_compressed=st.booleans(),
)
def test_a_log_read_in_ranges_becomes_what_it_becomes_as_a_whole(
    log: bytes, cuts: set[int], rule: LogRule, is_compressed: bool
) -> None:
    text = line(0) + log
    line_ends = [at + 1 for at, byte in enumerate(text) if byte == 10]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "access.log"
        path.write_bytes(gzip.compress(text) if is_compressed else text)
        whole_events, whole_rejects = gather(list(read_access_log([path], rule, arrival_time=PLANNED)))
        ends = sorted({line_ends[cut % len(line_ends)] for cut in cuts} | {len(text)})
        events, rejects = gather([intake for each in plan_ranges(path, text, ends) for intake in read([each], rule)])
    varying = ["source", "arrival_time"]
    small_blocks = (
        ["raw"] if rule.max_line_size < 100 else []
    )  # of a line that is too long, as much as there is at hand
    assert events.drop(varying).to_dicts() == whole_events.select(events.columns).drop(varying).to_dicts()
    assert rejects.drop(varying + small_blocks).equals(whole_rejects.drop(varying + small_blocks))


def test_small_ranges_of_many_parts_are_parsed_at_a_time(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    follower = Follower(logs)
    for number in range(50):
        logs.write(f"access.log.{number}", lines(number) + b"none\n")
    (intake,) = follower.carry_out(follower.plan())
    assert numbers_of([intake]) == [*range(50)]
    for number in range(50):
        logs.append(f"access.log.{number}", b"none\n" * number + lines(100 + number))
    (intake,) = follower.carry_out(follower.plan())
    assert numbers_of([intake]) == [*range(100, 150)]
    begins = [len(line(number)) + 5 * (number + 1) for number in range(50)]
    assert intake.events["position_in_source"].to_list() == begins
    expected = [3 + place for number in range(50) for place in range(number)]
    assert intake.rejects["line_number"].to_list() == expected
    assert [part.line_count for _, part in sorted(follower.parts.items())] == [3 + number for number in range(50)]


def test_the_work_done_is_told_in_bytes_of_text(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.write("access.log", lines(*range(9)))
    logs.write("access.log.1.gz", gzip.compress(lines(*range(20, 50))))
    reader = RangeReader(Follower(logs).plan().ranges, LogRule(block_size=500))
    told: list[int] = []
    list(reader.read(told.append))
    assert told == sorted(told)
    assert told[-1] == reader.total_size == len(lines(*range(9), *range(20, 50)))


def test_a_range_is_made_of_types_that_json_has(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.write("access.log", lines(1))
    (planned,) = Follower(logs).plan().ranges
    kept = json.loads(json.dumps(asdict(planned) | {"arrival_time": planned.arrival_time.isoformat()}))
    assert PlannedRange(**kept | {"arrival_time": datetime.fromisoformat(kept["arrival_time"])}) == planned


def cut_file(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(10)


LOST = {
    "the file is gone": (Path.unlink, "no such file"),
    "the file is cut": (cut_file, "the file is shorter than it was"),
    "other text is in it": (lambda path: path.write_bytes(lines(*range(50, 60))), "the text before them differs"),
    "only what comes before differs": (
        lambda path: path.write_bytes(lines(1, 2, 7, 4)),
        "the text before them differs",
    ),
    "only the new text is cut": (lambda path: path.write_bytes(lines(1, 2, 3)), "the file is shorter than it was"),
    "another file is there": (
        lambda path: (path.with_name("b").write_bytes(path.read_bytes()), path.with_name("b").rename(path)),
        "another file has taken its place",
    ),
}


@pytest.mark.parametrize(("change", "cause"), LOST.values(), ids=LOST.keys())
def test_a_range_that_is_not_there_any_more_is_not_read(tmp_path: Path, change: object, cause: str) -> None:
    logs = Logs(tmp_path)
    follower = Follower(logs)
    path = logs.write("access.log", lines(1, 2, 3))
    follower.take()
    logs.append("access.log", lines(4))
    (planned,) = follower.plan().ranges
    change(path)
    with pytest.raises(RangeLostError, match=cause) as error:
        read([planned], LogRule())
    assert (error.value.part_id, error.value.path) == (planned.part_id, str(path))
    assert (error.value.start, error.value.end) == (planned.start, planned.end)
    assert str(error.value).endswith("; plan anew")


@pytest.mark.parametrize("is_first", [True, False], ids=["from its beginning", "from a mark on"])
def test_a_range_is_read_in_the_file_that_was_renamed_since(tmp_path: Path, is_first: bool) -> None:
    logs = Logs(tmp_path)
    follower = Follower(logs)
    if not is_first:
        logs.write("access.log", lines(1))
        follower.take()
    logs.append("access.log", lines(2, 3))
    followed = follower.plan()
    logs.rename("access.log", "access.log.1")
    logs.write("access.log", lines(4))
    assert numbers_of(follower.carry_out(followed)) == [2, 3]
    assert follower.take() == [4]


def test_a_range_is_read_where_a_link_no_longer_leads(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "current.log").symlink_to(logs.write("there/a", lines(1)))
    follower = Follower(logs, "current.log")
    followed = follower.plan()
    (tmp_path / "current.log").unlink()
    (tmp_path / "current.log").symlink_to(logs.write("there/b", lines(2)))
    assert numbers_of(follower.carry_out(followed)) == [1]
    assert follower.take() == [2]


def test_a_log_that_is_renamed_before_each_range_is_read_is_read_up(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    follower = Follower(logs)
    read_numbers = []
    for number in range(8):
        logs.append("access.log", lines(number))
        followed = follower.plan()
        for old in range(number, 0, -1):
            logs.rename(f"access.log.{old}", f"access.log.{old + 1}")
        logs.rename("access.log", "access.log.1")
        read_numbers += numbers_of(follower.carry_out(followed))
    assert read_numbers == [*range(8)]


def test_a_plan_that_is_carried_out_at_once_lists_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = Logs(tmp_path)
    logs.write("access.log", lines(1))
    ranges = Follower(logs).plan().ranges
    monkeypatch.setattr("m2cli.logs.reopen.os.scandir", None)
    assert numbers_of(read(ranges, LogRule())) == [1]


def test_the_first_range_of_a_part_is_known_by_its_first_line(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.write("access.log", lines(1, 2))
    (planned,) = Follower(logs).plan().ranges
    logs.write("access.log", lines(3, 2))
    with pytest.raises(RangeLostError, match="the first line differs"):
        read([planned], LogRule())


def test_a_compressed_file_that_was_cut_since_is_not_read(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    path = logs.write("access.log.gz", gzip.compress(lines(*range(2_000)), 1))
    (planned,) = Follower(logs).plan().ranges
    path.write_bytes(path.read_bytes()[:-2_000])
    with pytest.raises(RangeLostError, match="the compressed data ends early"):
        read([planned], LogRule())


def test_a_compressed_file_with_other_text_is_not_read(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    follower = Follower(logs)
    logs.write("access.log.gz", gzip.compress(lines(1, 2)))
    follower.take()
    logs.write("access.log.gz", gzip.compress(lines(1, 2, 3)))
    (planned,) = follower.plan().ranges
    logs.write("access.log.gz", gzip.compress(lines(1, 5, 3)))
    with pytest.raises(RangeLostError, match="the text before them differs"):
        read([planned], LogRule())


CUT_MEANWHILE = {
    "cut": b"",
    "cut and grown again": lines(*range(200, 230)),
}


@pytest.mark.parametrize("text", CUT_MEANWHILE.values(), ids=CUT_MEANWHILE.keys())
@pytest.mark.parametrize("is_first", [True, False], ids=["from its beginning", "from a mark on"])
def test_a_file_that_is_cut_while_it_is_read_is_no_range(tmp_path: Path, text: bytes, is_first: bool) -> None:
    logs = Logs(tmp_path)
    follower = Follower(logs)
    if not is_first:
        logs.write("access.log", lines(1))
        follower.take()
    path = logs.append("access.log", lines(*range(2, 22)))
    reader = RangeReader(follower.plan().ranges, LogRule(block_size=200))
    pieces = reader.read()
    next(pieces)
    path.write_bytes(text)
    with pytest.raises(RangeLostError):
        list(pieces)
    assert reader.results == ()
