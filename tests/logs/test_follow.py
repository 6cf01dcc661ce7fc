"""Logs that are followed: whatever rotation does to the files, every line is read once."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from m2cli.logs.follow import PartsById, declared_sources, follow_logs
from m2cli.logs.look import OpenLog
from m2cli.logs.parts import Likeness, compare_texts, name_part
from tests.logs.following import SETTLED, Follower, Logs, line, lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from m2cli.logs.follow import KnownPart


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path.resolve())


@pytest.fixture
def follower(logs: Logs) -> Follower:
    """Who has read lines 1 to 3 of `access.log`."""
    logs.write("access.log", lines(1, 2, 3))
    follower = Follower(logs)
    assert follower.take() == [1, 2, 3]
    return follower


def test_a_log_that_has_not_changed_gives_nothing(follower: Follower) -> None:
    assert follower.take() == []
    assert (follower.last.unread, follower.last.warnings, follower.last.passed_over) == ((), (), ())


def test_a_log_that_grew_is_read_on_where_it_was_left(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", lines(4, 5))
    (planned,) = follower.plan().ranges
    assert (planned.start, planned.end, planned.line_count) == (len(lines(1, 2, 3)), len(lines(1, 2, 3, 4, 5)), 3)
    assert follower.take() == [4, 5]


def test_a_plan_that_was_not_carried_out_is_made_again(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", lines(4))
    logs.write("access.log.other", lines(7))
    assert follower.plan() == follower.plan()
    assert follower.take() == [4, 7]


# Rotation


def test_rotation_by_rename_reads_on_in_the_renamed_file_first(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", lines(4))
    logs.rename("access.log", "access.log.1")
    logs.write("access.log", lines(6))
    logs.append("access.log.1", lines(5))  # the server has it open for a while
    assert follower.take() == [4, 5, 6]
    assert follower.last.warnings == ()


def test_rotation_several_times_while_stopped_loses_nothing(logs: Logs, follower: Follower) -> None:
    for number in range(4, 8):
        logs.append("access.log", lines(number))
        for old in (3, 2, 1):
            if (logs.folder / f"access.log.{old}").exists():
                logs.rename(f"access.log.{old}", f"access.log.{old + 1}")
        logs.rename("access.log", "access.log.1")
        logs.write("access.log", lines(10 * number))
    assert follower.take() == [4, 40, 5, 50, 6, 60, 7, 70] == sorted(follower.numbers[3:], key=str)


def test_a_rename_while_another_file_takes_the_name_is_seen_without_reading(
    logs: Logs, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.write("access.log.1", lines(7))
    assert follower.take(SETTLED) == [7]
    logs.rename("access.log", "other")
    logs.rename("access.log.1", "access.log")
    logs.rename("other", "access.log.1")
    monkeypatch.setattr("m2cli.logs.sights.OpenLog", None)
    assert follower.take(SETTLED) == []
    assert {Path(file.path).name: file.part_id for file in follower.last.files} == {
        "access.log": name_part(line(7).strip()),
        "access.log.1": name_part(line(1).strip()),
    }


def test_copytruncate_reads_the_rest_from_the_copy(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", lines(4, 5))
    logs.copy("access.log", "access.log.1")
    logs.write("access.log", lines(6))
    assert follower.take() == [4, 5, 6]
    assert follower.last.warnings == ()


@pytest.mark.parametrize("size", [1, 30, 75, len(lines(1, 2, 3)), len(lines(1, 2, 3)) + 30, len(lines(1, 2, 3, 4))])
def test_copytruncate_seen_in_the_middle_of_the_copy_reads_nothing_twice(
    logs: Logs, follower: Follower, size: int
) -> None:
    logs.append("access.log", lines(4))
    logs.copy("access.log", "access.log.1", size)
    assert follower.take() == [4]
    logs.append("access.log", lines(5))
    logs.copy("access.log", "access.log.1")
    logs.write("access.log", b"")
    assert follower.take() == [5]
    logs.append("access.log", lines(6))
    assert follower.take() == [6]
    assert follower.last.unread == ()


def test_copytruncate_seen_before_the_truncation_reads_nothing_twice(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", lines(4))
    logs.copy("access.log", "access.log.1")
    assert follower.take() == [4]
    assert follower.last.passed_over == (str(logs.folder / "access.log.1"),)
    logs.write("access.log", lines(5))
    assert follower.take() == [5]


def test_text_that_no_copy_has_is_missed_in_a_warning(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", lines(4))
    follower.carry_out(follower.plan()._replace(ranges=()))  # seen, and not read
    logs.copy("access.log", "access.log.1", len(lines(1, 2, 3)))
    logs.write("access.log", b"")
    assert follower.take() == []
    (warning,) = follower.last.warnings
    assert warning.startswith(
        f"74 bytes that were seen in `{logs.folder}/access.log` before they could be read are in no"
    )
    assert follower.plan().warnings == ()


@pytest.mark.parametrize("is_plain_there", [False, True], ids=["gz alone", "gz and plain"])
def test_a_log_rotated_then_compressed_is_read_on(logs: Logs, follower: Follower, is_plain_there: bool) -> None:
    logs.append("access.log", lines(4))
    logs.rename("access.log", "access.log.1")
    logs.write("access.log", lines(5))
    plain = (logs.folder / "access.log.1").read_bytes()
    logs.pack("access.log.1", "access.log.2.gz")
    if is_plain_there:
        logs.write("access.log.1", plain)
    assert follower.take() == [4, 5]
    assert follower.take() == []
    assert follower.last.warnings == ()


def test_a_compressed_log_that_was_read_before_is_passed_over(logs: Logs, follower: Follower) -> None:
    logs.pack("access.log", "access.log.1.gz")
    assert follower.take() == []
    assert follower.last.passed_over == (str(logs.folder / "access.log.1.gz"),)
    assert follower.take() == []
    assert follower.last.passed_over == ()


def test_a_compressed_log_that_is_new_is_read(logs: Logs, follower: Follower) -> None:
    logs.write("access.log.1.gz", gzip.compress(lines(-5, -4)))
    assert follower.take() == [-5, -4]
    assert follower.files[str(logs.folder / "access.log.1.gz")].text_size == len(lines(-5, -4))


def test_a_daily_name_pattern_is_one_source(logs: Logs) -> None:
    follower = Follower(logs, "access-*.log")
    logs.write("access-20261122.log", lines(1))
    assert follower.take() == [1]
    logs.append("access-20261122.log", lines(2))
    logs.write("access-20261123.log", lines(3))
    assert [planned.source for planned in follower.plan().ranges] == [f"{logs.folder}/access.log"] * 2
    assert follower.take() == [2, 3]


def test_a_deleted_log_that_was_read_is_not_missed(logs: Logs, follower: Follower) -> None:
    (logs.folder / "access.log").unlink()
    assert follower.take() == []
    assert follower.last == ((), (), (), (), ())
    logs.write("access.log", lines(4))
    assert follower.take() == [4]


def test_a_log_deleted_with_unread_text_is_missed_in_a_warning(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", line(4)[:30])
    assert follower.take() == []
    (logs.folder / "access.log").unlink()
    assert follower.take() == []
    assert "30 bytes that were seen in" in follower.last.warnings[0]


# Lines without an end


def test_half_a_last_line_is_left_until_it_is_completed(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", lines(4) + line(5)[:30])
    assert follower.take() == [4]
    assert follower.last.unread == (f"{logs.folder}/access.log",)
    logs.append("access.log", line(5)[30:-1])
    assert follower.take() == []
    logs.append("access.log", b"\n")
    assert follower.take() == [5]
    assert follower.last.unread == ()


@pytest.mark.parametrize("is_flush", [False, True], ids=["settled", "flushed"])
def test_a_last_line_that_stays_without_an_end_is_a_line(logs: Logs, follower: Follower, is_flush: bool) -> None:
    logs.append("access.log", line(4)[:-1])
    assert follower.take(follower.rule.settled_after - timedelta(seconds=1)) == []
    assert follower.take(timedelta(0) if is_flush else follower.rule.settled_after, is_flush=is_flush) == [4]
    assert follower.last.unread == ()
    logs.append("access.log", b"\n" + line(5))
    assert follower.take() == [5]


def test_half_a_first_line_has_no_part_yet(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log", b"#Fields\n" + line(1)[:30])
    assert follower.take() == []
    assert follower.last.unread == (f"{logs.folder}/access.log",)
    assert [file.part_id for file in follower.last.files] == [None]
    logs.append("access.log", line(1)[30:])
    assert follower.take() == [1]


def test_half_a_first_line_that_was_taken_is_not_taken_again_when_it_goes_on(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log", line(1)[:30])
    (intake,) = follower.carry_out(follower.plan(SETTLED))
    assert len(intake.rejects) == 1
    logs.append("access.log", line(1)[30:] + line(2))
    (intake,) = follower.carry_out(follower.plan(SETTLED))
    assert (intake.events["url"].to_list(), len(intake.rejects)) == (["/2"], 1)
    assert len(follower.parts) == 1


# Files that shrink, or are others


def test_a_file_that_shrinks_gives_nothing_twice(logs: Logs, follower: Follower) -> None:
    for text in (lines(1, 2), line(1), line(1)[:30], b""):
        logs.write("access.log", text)
        assert follower.take(SETTLED) == []


def test_a_file_that_shrinks_and_goes_on_otherwise_is_another_part_and_says_so(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log", lines(1, 2, 3, size=300))
    assert follower.take() == [1, 2, 3]
    logs.write("access.log", lines(1, size=300))
    assert follower.take() == []
    logs.append("access.log", lines(7, 8, size=300))
    assert follower.take() == [1, 7, 8]
    (warning,) = follower.last.warnings
    assert warning.endswith("-2`; what both have is read twice")


@pytest.mark.parametrize("size", [0, 400], ids=["shorter than before", "past the old position"])
def test_a_file_truncated_while_stopped_and_regrown_is_read_from_its_beginning(
    logs: Logs, follower: Follower, size: int
) -> None:
    logs.write("access.log", lines(5, size=size))
    assert follower.take() == [5]
    assert follower.last.warnings == ()


def test_a_file_that_has_the_inode_of_a_deleted_one_is_another(logs: Logs, follower: Follower) -> None:
    path = str(logs.folder / "access.log")
    (logs.folder / "access.log").unlink()
    new = logs.write("access.log-20261123", lines(5, 6, 7, 8))
    follower.files = {path: follower.files[path]._replace(inode=new.stat().st_ino)}
    assert follower.take() == [5, 6, 7, 8]


def test_a_regrown_file_with_the_same_first_line_is_another(logs: Logs, follower: Follower) -> None:
    logs.write("access.log", lines(1, 7, 8, 9, 10))
    assert follower.take() == [1, 7, 8, 9, 10]
    assert [part_id[-2:] for part_id in sorted(follower.parts)][1] == "-2"


def test_two_new_files_with_the_same_first_line_are_two_parts(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log.1", lines(1, 3))
    logs.write("access.log", lines(1, 2))
    name = name_part(line(1).strip())
    assert follower.take() == [1, 2, 1, 3]
    assert sorted(follower.parts) == [name, f"{name}-2"]
    logs.append("access.log", lines(4))
    logs.append("access.log.1", lines(5))
    assert follower.take() == [4, 5]


def test_a_file_with_the_first_line_of_a_known_part_gets_the_next_free_id(logs: Logs, follower: Follower) -> None:
    name = name_part(line(1).strip())
    logs.rename("access.log", "access.log.1")
    logs.write("access.log", lines(1, 5))  # no longer than what is known, so marks cannot tell
    assert follower.take() == [1, 5]
    assert sorted(follower.parts) == [name, f"{name}-2"]
    logs.write("access.log.2", lines(1, 4))
    logs.write("access.log.3.gz", gzip.compress(lines(1, 6)))
    assert follower.take() == [1, 4, 1, 6]
    assert sorted(follower.parts) == [name, *(f"{name}-{number}" for number in (2, 3, 4))]


def test_a_beginning_that_nothing_can_be_compared_with_waits_then_is_a_copy(logs: Logs, follower: Follower) -> None:
    logs.rename("access.log", "other")
    logs.write("access.log", lines(1, 5))
    assert follower.take() == []
    assert follower.last.unread == (f"{logs.folder}/access.log",)
    assert follower.take(SETTLED) == []
    (warning,) = follower.last.warnings
    assert warning.endswith("there is no other file of that part to compare it with; nothing of it is read")
    assert follower.take(SETTLED) == []
    assert (follower.last.unread, follower.last.warnings) == ((), ())
    logs.append("access.log", lines(6, 7))
    assert follower.take() == [1, 5, 6, 7]


def test_two_copies_that_went_on_in_different_ways_are_two_parts(logs: Logs, follower: Follower) -> None:
    logs.copy("access.log", "access.log.1")
    logs.append("access.log", lines(4, 5))
    logs.append("access.log.1", lines(6))
    assert follower.take() == [4, 5, 1, 2, 3, 6]
    assert "what both have is read twice" in follower.last.warnings[0]
    logs.append("access.log.1", lines(7))
    assert follower.take() == [7]


def test_of_several_copies_the_longest_is_read(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", lines(4, 5, 6))
    logs.copy("access.log", "access.log.1", len(lines(1, 2, 3, 4)))
    logs.copy("access.log", "access.log.2", len(lines(1, 2, 3, 4)) + 30)
    assert follower.take() == [4, 5, 6]
    assert (follower.last.unread, follower.last.warnings) == ((), ())


def test_directives_that_all_files_begin_with_tell_nothing(logs: Logs) -> None:
    follower = Follower(logs)
    header = b"#Software: IIS\r\n#Fields: date time\r\n"
    logs.write("access.log.1", header)
    logs.write("access.log", header + line(2))
    assert follower.take() == [2]
    assert follower.last.unread == ()
    logs.append("access.log.1", line(1))
    logs.append("access.log", header + line(3))
    assert follower.take() == [1, 3]
    assert len(follower.parts) == 2


def test_empty_and_tiny_files_are_followed(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log", b"")
    assert follower.take() == []
    assert (follower.last.unread, follower.parts) == ((), {})
    logs.append("access.log", line(1))
    assert follower.take() == [1]
    logs.write("access.log.1", b"?\n")
    assert [len(intake.rejects) for intake in follower.carry_out(follower.plan())] == [1]


def test_a_file_of_directives_alone_is_not_looked_into_again(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(logs)
    logs.write("access.log", b"#Fields\n\n")
    logs.write("access.log.1.gz", gzip.compress(b"\n"))
    follower.take(SETTLED)
    monkeypatch.setattr("m2cli.logs.sights.OpenLog", None)
    assert follower.take(SETTLED) == []


# Compressed files that are not whole


def test_a_compressed_file_that_is_still_written_is_left(logs: Logs) -> None:
    follower = Follower(logs)
    data = gzip.compress(lines(*range(100)))
    for size in (1, 5, 50, len(data) - 1):
        logs.write("access.log.1.gz", data[:size])
        assert follower.take() == []
        assert follower.last.unread == (f"{logs.folder}/access.log",)
    logs.write("access.log.1.gz", data)
    assert follower.take() == [*range(100)]
    assert follower.last.unread == ()


def test_a_compressed_file_that_stays_cut_is_read_up_to_there_with_a_reject(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log.1.gz", gzip.compress(lines(*range(100)))[:-1])
    assert follower.take() == []
    (intake,) = follower.carry_out(follower.plan(SETTLED))[1:] or [None]
    assert intake.rejects.select("line_number", "reason").rows() == [(101, "the compressed data ends early")]
    assert follower.last.warnings[0].endswith(
        f"byte {len(lines(*range(100))):,} of its text: the compressed data ends early"
    )
    assert [part.line_count for part in follower.parts.values()] == [101]
    assert follower.take(SETTLED) == []
    assert follower.last.warnings == ()


def test_a_cut_copy_of_a_known_part_gives_nothing(logs: Logs, follower: Follower) -> None:
    data = gzip.compress((logs.folder / "access.log").read_bytes())
    logs.write("access.log.1.gz", data[:-1])
    assert follower.take(SETTLED) == []
    assert follower.last.passed_over == (str(logs.folder / "access.log.1.gz"),)


# Links, copies, names


def test_a_log_and_links_to_it_are_one(logs: Logs, follower: Follower) -> None:
    (logs.folder / "access.log.current").symlink_to("access.log")
    (logs.folder / "access.log.0").hardlink_to(logs.folder / "access.log")
    logs.append("access.log", lines(4))
    assert follower.take() == [4]
    assert [Path(file.path).name for file in follower.last.files] == ["access.log"]


def test_a_link_that_is_moved_on_to_the_next_log_is_followed(logs: Logs) -> None:
    follower = Follower(logs, "current.log")
    link = logs.folder / "current.log"
    link.symlink_to(logs.write("a", lines(1)))
    assert follower.take() == [1]
    link.unlink()
    link.symlink_to(logs.write("b", lines(2)))
    assert follower.take() == [2]
    assert follower.last.warnings == ()


def test_a_copy_with_another_inode_is_read_on(logs: Logs, follower: Follower) -> None:
    logs.copy("access.log", "new")
    (logs.folder / "access.log").unlink()
    logs.rename("new", "access.log")
    logs.append("access.log", lines(4))
    assert follower.take() == [4]


def test_another_device_number_alone_is_no_reason_to_look(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    follower.take(SETTLED)
    follower.files = {path: file._replace(device=7) for path, file in follower.files.items()}
    monkeypatch.setattr("m2cli.logs.sights.OpenLog", None)
    assert follower.take(SETTLED) == []


def test_a_change_that_does_not_show_in_the_time_is_seen(logs: Logs, follower: Follower) -> None:
    path = logs.folder / "access.log"
    path.write_bytes(lines(4, 5, 6))
    logs.now -= timedelta(seconds=10)
    logs.touch(path)
    assert follower.take() == [4, 5, 6]


def test_a_part_keeps_its_source_wherever_it_goes(logs: Logs, follower: Follower) -> None:
    (logs.folder / "old").mkdir()
    follower.patterns.append(f"{logs.folder}/old/*")
    logs.append("access.log", lines(4))
    logs.rename("access.log", "old/kept.log")
    assert [planned.source for planned in follower.plan().ranges] == [f"{logs.folder}/access.log"]


def test_a_part_that_was_taken_out_is_never_read_again(logs: Logs, follower: Follower) -> None:
    follower.parts = {
        part_id: type(part)(**{**vars(part), "is_excluded": True}) for part_id, part in follower.parts.items()
    }
    logs.append("access.log", lines(4) + line(5)[:9])
    logs.copy("access.log", "access.log.1")
    assert follower.take() == []
    assert follower.last.unread == ()


def test_what_a_log_has_since_its_part_was_taken_out_is_missed_in_a_warning(logs: Logs, follower: Follower) -> None:
    logs.append("access.log", line(4)[:9])
    follower.take()
    follower.parts = {part_id: replace(part, is_excluded=True) for part_id, part in follower.parts.items()}
    warning = f"`{logs.folder}/access.log` was taken out by a rebuild, and what it has now is not read"
    assert follower.take() == []
    assert follower.last.warnings == ()
    logs.append("access.log", line(4)[9:])
    assert follower.take() == []
    assert (follower.last.unread, follower.last.warnings) == ((), (warning,))
    logs.rename("access.log", "access.log.1")
    logs.copy("access.log.1", "access.log.2")
    assert follower.take() == []
    assert follower.last.warnings == ()


def test_a_byte_order_mark_belongs_to_the_text(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log", b"\xef\xbb\xbf" + line(1))
    assert follower.take() == [1]
    assert follower.positions == [len(line(1)) + 3]
    logs.append("access.log", line(2))
    assert follower.take() == [2]


def test_arrival_is_when_a_file_was_changed_or_planned_whichever_came_first(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log", line(1))
    assert follower.plan(SETTLED).ranges[0].arrival_time == logs.now
    assert follower.plan(timedelta(seconds=-1)).ranges[0].arrival_time == logs.now - timedelta(seconds=1)


def test_ids_that_others_have_in_the_same_plan_are_left_out(logs: Logs) -> None:
    follower = Follower(logs)
    logs.write("access.log", line(1))
    name = name_part(line(1).strip())
    plan = follow_logs(
        follower.patterns, PartsById({}), {}, now=logs.now, rule=follower.rule, taken_ids=[name, f"{name}-2"]
    )
    assert [planned.part_id for planned in plan.ranges] == [f"{name}-3"]


class AskedParts:
    """Parts that can be asked for, and no more; it notes for which."""

    def __init__(self, parts: Mapping[str, KnownPart]) -> None:
        self._parts, self.asked = PartsById(parts), set()

    def get(self, part_id: str) -> KnownPart | None:
        self.asked.add(part_id)
        return self._parts.get(part_id)

    def find_named(self, name: str) -> Sequence[KnownPart]:
        self.asked.add(name)
        return self._parts.find_named(name)


def test_of_all_parts_only_those_of_the_files_there_are_are_asked_for(logs: Logs) -> None:
    follower = Follower(logs)
    for number in range(5):
        logs.write(f"access.log.{number}", lines(number, 50 + number))
    follower.take()
    for number in range(2, 5):
        (logs.folder / f"access.log.{number}").unlink()
    follower.take()
    logs.append("access.log.0", lines(10))
    logs.write("access.log", lines(1, 11))
    parts = AskedParts(follower.parts)
    followed = follow_logs(follower.patterns, parts, follower.files, now=logs.now, rule=follower.rule)
    names = [name_part(line(number).strip()) for number in (0, 1)]
    assert [planned.part_id for planned in followed.ranges] == [names[0], f"{names[1]}-2"]
    assert parts.asked == set(names)


def test_a_new_id_is_one_that_no_part_of_that_name_has(logs: Logs) -> None:
    follower = Follower(logs)
    for number in range(3):
        logs.write(f"access.log.{number}", lines(1, 2 + number))
    follower.take()
    name = name_part(line(1).strip())
    del follower.parts[f"{name}-2"]
    logs.write("access.log", lines(1, 9))
    (logs.folder / "access.log.1").unlink()
    plan = follow_logs(
        follower.patterns,
        PartsById(follower.parts),
        follower.files,
        now=logs.now,
        rule=follower.rule,
        taken_ids=[f"{name}-2"],
    )
    assert [planned.part_id for planned in plan.ranges] == [f"{name}-4"]


# Rotation while files are compared


def replace_when_compared(logs: Logs, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever two texts are compared, another file with the same text takes the place of `name`."""

    def replace_then_compare(*texts: Iterator[bytes]) -> Likeness:
        logs.copy(name, "other")
        logs.rename("other", name)
        return compare_texts(*texts)

    monkeypatch.setattr("m2cli.logs.sights.compare_texts", replace_then_compare)


def test_a_file_whose_place_is_taken_while_it_is_compared_is_left_for_the_next_plan(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(logs, "access.log*", "shop.log")
    logs.write("shop.log", lines(1, 2))
    logs.write("access.log", lines(1, 3))
    with monkeypatch.context() as patch:
        replace_when_compared(logs, "access.log", patch)
        assert follower.take() == [1, 2]
    assert follower.last.unread == (f"{logs.folder}/access.log",)
    assert follower.last.warnings == (
        f"cannot read `{logs.folder}/access.log`: another file has taken its place; it is left for a later plan",
    )
    assert follower.take() == [1, 3]
    assert (follower.last.unread, follower.last.warnings) == ((), ())


def test_unread_text_of_a_file_that_is_left_is_not_missed(
    logs: Logs, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.append("access.log", lines(4) + line(5)[:9])
    assert follower.take() == [4]
    logs.copy("access.log", "access.log.1", 75)
    with monkeypatch.context() as patch:
        replace_when_compared(logs, "access.log", patch)
        follower.take()
    assert [warning.split("; ")[1] for warning in follower.last.warnings] == ["it is left for a later plan"]
    assert follower.last.unread == (f"{logs.folder}/access.log",)


def test_files_that_are_renamed_while_they_are_compared_are_compared(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(logs)
    logs.write("access.log.1", lines(1, 2))
    logs.write("access.log", lines(1, 3))

    def rename_then_compare(*texts: Iterator[bytes]) -> Likeness:
        logs.rename("access.log.1", "access.log.2")
        logs.rename("access.log", "access.log.1")
        monkeypatch.setattr("m2cli.logs.sights.compare_texts", compare_texts)
        return compare_texts(*texts)

    monkeypatch.setattr("m2cli.logs.sights.compare_texts", rename_then_compare)
    assert sorted(follower.take()) == [1, 1, 2, 3]
    assert (follower.last.unread, follower.last.warnings) == ((), ())


def test_the_sources_of_paths_are_known_before_their_files_are() -> None:
    assert declared_sources(["/no/b.log", "/no/a.log.1", "/no/c*.log", "/no/b.log"]) == ("/no/a.log", "/no/b.log")


@pytest.mark.parametrize("change", ["grown", "grown by half a line", "as it was"])
def test_of_a_big_log_little_is_looked_at(
    logs: Logs, follower: Follower, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    logs.append("access.log", lines(*range(4, 404), size=5_000))
    assert len(follower.take()) == 400
    text = {"grown": lines(*range(404, 424), size=5_000), "grown by half a line": b"half", "as it was": b""}[change]
    logs.append("access.log", text)
    read_sizes = []

    def read_and_count(self: OpenLog, *args: object, **options: object) -> Iterator[bytes]:
        for piece in real_read(self, *args, **options):
            read_sizes.append(len(piece))
            yield piece

    real_read = OpenLog.read_text
    monkeypatch.setattr(OpenLog, "read_text", read_and_count)
    assert len(follower.plan().ranges) == (change == "grown")
    assert 0 < sum(read_sizes) <= 1 << 17


def test_many_files_cost_a_look_at_their_status_alone(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(logs)
    for number in range(300):
        logs.write(f"access.log.{number}", lines(number))
    assert len(follower.take(SETTLED)) == 300
    monkeypatch.setattr("m2cli.logs.sights.OpenLog", None)
    monkeypatch.setattr("m2cli.logs.sights.name_source", None)
    assert follower.take(SETTLED) == []
    assert len(follower.last.files) == 300
