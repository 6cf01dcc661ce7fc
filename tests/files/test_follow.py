"""Event files that a pipeline follows: each taken whole, once, when it is complete, and read as it was planned."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2cli.errors import UnreadableSourceError
from m2cli.files.find import find_files
from m2cli.files.follow import (
    FollowedFiles,
    KnownEventFile,
    PlannedFile,
    SourceChangedError,
    follow_event_files,
    read_planned,
)
from m2cli.files.rule import FileRule
from tests.files.conftest import adds_up

if TYPE_CHECKING:
    from m2cli.events import Intake

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HEAD = "event_time,visitor_id\n"
ROW = "2026-11-22T10:00:00Z,v1\n"


def write(path: Path, text: str | bytes = HEAD + ROW, age: timedelta = HOUR) -> Path:
    """A file that was last changed `age` before NOW."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return touch(path, age)


def touch(path: Path, age: timedelta) -> Path:
    seconds = int((NOW - age).timestamp())
    os.utime(path, (seconds, seconds))
    return path


def parquet(path: Path, visitor: str = "v1", age: timedelta = HOUR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"event_time": [NOW], "visitor_id": [visitor]}).write_parquet(path)
    return touch(path, age)


class Follower:
    """A pipeline in small: plans, reads all that was planned, remembers."""

    def __init__(self, *paths: Path | str, rule: FileRule | None = None) -> None:
        self.paths, self.rule = [str(path) for path in paths], rule or FileRule()
        self.parts: dict[str, int] = {}
        self.files: dict[str, KnownEventFile] = {}

    def plan(self, now: datetime = NOW, settle: timedelta = timedelta(minutes=1)) -> FollowedFiles:
        return follow_event_files(self.paths, self.parts, self.files, now=now, rule=self.rule, settle=settle)

    def commit(self, followed: FollowedFiles) -> list[Intake]:
        pieces = [piece for file in followed.planned for piece in read_planned(file, self.rule, "web")]
        self.parts |= {file.part_id: file.size for file in followed.planned}
        self.files = {file.path: file for file in followed.files}
        return pieces

    def take(self, now: datetime = NOW) -> list[str]:
        """The names of the files that a batch takes."""
        followed = self.plan(now)
        self.commit(followed)
        return [Path(file.path).name for file in followed.planned]


def test_what_is_there_is_taken_once_in_order_of_path(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c/d.parquet"):
        parquet(tmp_path / name) if name.endswith("parquet") else write(tmp_path / name, HEAD + ROW + name)
    follower = Follower(tmp_path)
    followed = follower.plan()
    assert [file.path for file in followed.planned] == [
        f"{tmp_path}/{name}" for name in ("a.csv", "b.csv", "c/d.parquet")
    ]
    assert sorted(file.path for file in followed.files) == [file.path for file in followed.planned]
    assert followed[2:] == ((), (), ())
    follower.commit(followed)
    assert follower.plan().planned == ()


def test_what_is_planned_and_never_committed_is_planned_again(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    assert follower.plan() == follower.plan() != follower.plan()._replace(planned=())


def test_a_file_known_by_its_status_is_not_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    follower.take()
    inode = path.stat().st_ino
    path.write_text("x" * len(HEAD + ROW))  # of the same size, which none but its content tells
    touch(path, HOUR)
    assert path.stat().st_ino == inode
    assert follower.plan()[2:] == ((), (), ())
    assert follower.plan().planned == ()


def test_a_device_with_another_number_is_the_same_disk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    follower.take()
    follower.files = {name: file._replace(device=file.device + 1) for name, file in follower.files.items()}
    path.write_text("x" * len(HEAD + ROW))
    touch(path, HOUR)
    assert follower.plan()[2:] == ((), (), ())
    assert follower.plan().planned == ()


def test_a_file_that_was_renamed_is_not_opened_and_not_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    follower.take()
    path.rename(tmp_path / "b.csv")
    followed = follower.plan()
    assert (followed.planned, followed.passed_over) == ((), ())
    assert [(Path(file.path).name, file.part_id in follower.parts) for file in followed.files] == [("b.csv", True)]


def test_the_same_content_under_another_name_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    follower.take()
    write(tmp_path / "b.csv", path.read_bytes(), age=HOUR / 2)
    followed = follower.plan()
    assert (followed.planned, followed.passed_over) == ((), (f"{tmp_path}/b.csv",))
    follower.commit(followed)
    assert follower.plan().passed_over == ()  # it is known now, and not looked at again


def test_of_two_new_files_of_one_content_the_first_by_path_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "b.csv")
    write(tmp_path / "a.csv")
    followed = Follower(tmp_path).plan()
    assert [file.path for file in followed.planned] == [f"{tmp_path}/a.csv"]
    assert followed.passed_over == (f"{tmp_path}/b.csv",)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to], ids=["symlink", "hard link"])
def test_a_file_by_two_names_is_one(tmp_path: Path, link) -> None:  # type: ignore[no-untyped-def]  # a method
    write(tmp_path / "a.csv")
    link(tmp_path / "b.csv", tmp_path / "a.csv")
    follower = Follower(f"{tmp_path}/*.csv", tmp_path, tmp_path / "a.csv")
    followed = follower.plan()
    assert len(followed.planned) == len(followed.files) == 1
    follower.commit(followed)
    (tmp_path / "a.csv").unlink() if link is Path.hardlink_to else None
    assert follower.plan().planned == ()


def test_a_file_that_was_taken_before_and_comes_back_is_not_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    follower.take()
    path.unlink()
    assert follower.take() == []
    assert follower.files == {}
    write(path)
    assert follower.plan().passed_over == (str(path),)


def test_a_file_replaced_by_another_is_a_new_part(tmp_path: Path) -> None:
    path = write(tmp_path / "export.csv")
    follower = Follower(path)
    first = follower.plan().planned[0]
    follower.take()
    write(path, HEAD + "2026-11-22T11:00:00Z,v2\n" * 2, age=HOUR / 2)
    second = follower.plan().planned[0]
    assert first.path == second.path
    assert first.part_name != second.part_name


@pytest.mark.parametrize("is_renamed", [False, True], ids=["in its place", "and renamed"])
def test_a_file_that_grew_after_it_was_taken_is_warned_of_and_left(tmp_path: Path, *, is_renamed: bool) -> None:
    path = write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    follower.take()
    with path.open("a") as file:
        file.write(ROW)
    touch(path, HOUR / 2)
    if is_renamed:
        path = path.rename(tmp_path / "b.csv")
    followed = follower.plan()
    assert (followed.planned, followed.passed_over, followed.waiting) == ((), (), ())
    assert len(followed.warnings) == 1
    assert f"`{path}` has grown by {len(ROW)} bytes since it was taken, and they are not read" in followed.warnings[0]
    follower.commit(followed)
    assert follower.plan().warnings == ()


def test_a_file_that_was_touched_has_not_grown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    follower.take()
    touch(path, HOUR / 2)
    followed = follower.plan()
    assert (followed.planned, followed.warnings, followed.passed_over) == ((), (), (str(path),))


class Appending(dict[str, int]):
    """Known parts; whoever asks for one has the file appended to at that moment."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def __contains__(self, part_id: object) -> bool:
        if part_id is not None:
            with self.path.open("a") as file:
                file.write(ROW)
        return super().__contains__(part_id)


def test_a_file_that_changes_while_it_is_looked_at_waits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    follower = Follower(tmp_path)
    follower.parts = Appending(path)
    followed = follower.plan()
    assert (followed.planned, followed.waiting, followed.warnings) == ((), (str(path),), ())


def test_a_header_alone_that_was_taken_does_not_hide_other_files(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", HEAD)
    follower = Follower(tmp_path)
    follower.take()
    write(tmp_path / "b.csv")
    assert follower.take() == ["b.csv"]


@pytest.mark.parametrize(
    ("age", "is_taken"),
    [
        pytest.param(timedelta(seconds=60), True, id="a minute old"),
        pytest.param(timedelta(seconds=59), False, id="not quite a minute old"),
        pytest.param(timedelta(0), False, id="new"),
        pytest.param(-HOUR, False, id="of the future"),
    ],
)
def test_a_text_is_taken_when_it_has_not_changed_for_a_minute(
    tmp_path: Path, age: timedelta, *, is_taken: bool
) -> None:
    path = write(tmp_path / "a.csv", age=age)
    followed = Follower(tmp_path).plan()
    assert (len(followed.planned), followed.waiting) == ((1, ()) if is_taken else (0, (str(path),)))
    assert [file.part_id is None for file in followed.files] == [not is_taken]


def test_a_text_of_the_future_is_taken_when_two_plans_saw_it_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", age=-HOUR)
    follower = Follower(tmp_path)
    assert follower.take() == []
    write(path, HEAD + ROW * 2, age=-HOUR)
    assert follower.take() == []
    followed = follower.plan()
    assert [file.arrival_time for file in followed.planned] == [NOW]


def test_parquet_is_taken_as_soon_as_its_end_is_there(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", age=timedelta(0))
    whole = path.read_bytes()
    write(path, whole[:-1], age=timedelta(0))
    follower = Follower(tmp_path)
    followed = follower.plan()
    assert (followed.planned, followed.waiting, followed.warnings) == ((), (str(path),), ())
    follower.commit(followed)
    write(path, whole, age=timedelta(0))
    assert follower.take() == ["a.parquet"]


BROKEN = {
    "Parquet without its end": ("a.parquet", b"PAR1" + b"x" * 100, "cut short"),
    "Parquet that is none": ("a.parquet", b"PAR1" + b"x" * 100 + b"PAR1", "cut short, corrupt"),
    "a gzip without its end": ("a.csv.gz", gzip.compress((HEAD + ROW * 100_000).encode(), 1)[:-5], "cut short"),
    "a gzip whose middle is gone": (
        "a.csv.gz",
        gzip.compress(HEAD.encode()) + gzip.compress(os.urandom(1 << 18))[:-500],
        "cut short",
    ),
    "a zip archive": ("a.csv", b"PK\x03\x04" + b"x" * 100, "a zip archive"),
    "no time": (
        "a.csv",
        b"my_event_time,visitor_id\n1,2\n",
        'did you mean `my_event_time`? (write `map = { event_time = "my_event_time" }`)',
    ),
    "a header that names twice": ("a.csv", b"event_time,a,a\n1,2,3\n", "names `a` twice"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_warned_of_in_each_plan_and_stops_nothing_else(tmp_path: Path, case: str) -> None:
    name, data, reason = BROKEN[case]
    path = write(tmp_path / name, data)
    write(tmp_path / "z.csv")
    follower = Follower(tmp_path)
    followed = follower.plan()
    assert [Path(file.path).name for file in followed.planned] == ["z.csv"]
    assert len(followed.warnings) == 1
    assert f"`{path}`" in followed.warnings[0]
    assert reason in followed.warnings[0]
    assert followed.waiting == ()
    follower.commit(followed)
    assert follower.plan().warnings == followed.warnings


def test_what_cannot_be_read_yet_waits_without_a_word(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv.gz", b"\x1f\x8b", age=timedelta(seconds=1))
    followed = Follower(tmp_path).plan()
    assert (followed.waiting, followed.warnings) == ((str(path),), ())


def test_an_empty_file_is_nothing_yet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "")
    follower = Follower(tmp_path)
    assert follower.plan()[0] == follower.plan()[2] == follower.plan()[3] == ()
    follower.take()
    write(path)
    assert follower.take() == ["a.csv"]


def test_a_link_round_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("a.csv")
    write(tmp_path / "b.csv")
    followed = Follower(f"{tmp_path}/*.csv").plan()
    assert [Path(file.path).name for file in followed.planned] == ["b.csv"]
    assert followed.warnings == (f"cannot read `{tmp_path}/a.csv`: too many levels of symbolic links",)


def test_a_pipe_is_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    followed = Follower(tmp_path).plan()
    assert followed.warnings == (f"`{tmp_path}/a.csv` is no file of events but a pipe or a device; it is passed over",)


def test_a_name_that_is_no_text_is_a_warning(tmp_path: Path) -> None:
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")))
    followed = Follower(tmp_path).plan()
    assert (followed.planned, followed.files) == ((), ())
    assert followed.warnings == (f"`{tmp_path}/caf\\xe9.csv` cannot be followed: its name is not UTF-8; rename it",)


@pytest.mark.parametrize("name", ["*.csv", "a.csv", "**/*.csv", "deep/*/a.csv"])
def test_what_is_not_there_yet_is_no_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "deep").mkdir()
    assert Follower(f"{tmp_path}/{name}").plan() == FollowedFiles((), (), (), (), ())


@pytest.mark.parametrize("name", ["gone/*.csv", "gone/a.csv", "gone/**/*.csv"])
def test_a_folder_that_is_gone_is_a_warning(tmp_path: Path, name: str) -> None:
    write(tmp_path / "b.csv")
    followed = Follower(f"{tmp_path}/{name}", tmp_path / "b.csv").plan()
    assert followed.warnings == (f"the folder `{tmp_path}/gone` is not there",)
    assert len(followed.planned) == 1


def test_folders_and_globs_mean_what_they_mean_to_other_verbs(tmp_path: Path) -> None:
    names = ("a.csv", "README.md", ".h.csv", "_m2/x.csv", "late/x.csv", "events/date=1/x.csv", "d/e.csv", "d/.g/f.csv")
    for name in names:
        write(tmp_path / name, HEAD + ROW + name)
    (tmp_path / "d" / "round").symlink_to(tmp_path)
    for pattern in ("", "/*", "/**/*.csv", "/d", "/[ad]*", "/**"):
        planned = follow_event_files([f"{tmp_path}{pattern}"], {}, {}, now=NOW, rule=FileRule()).planned
        found = {file.path for file in find_files([f"{tmp_path}{pattern}"])}
        taken = {Path(file.path).resolve() for file in planned}
        assert taken == found, pattern


def test_a_column_of_the_map_that_no_file_has_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "ts,visitor_id\n2026-11-22T10:00:00Z,v\n")
    follower = Follower(tmp_path, rule=FileRule(mapping={"event_time": "ts", "customer_id": "custmer"}))
    followed = follower.plan()
    assert followed.warnings == ("no new file has a column `custmer`, which `map` names",)
    [piece] = follower.commit(followed)
    assert piece.events["visitor_id"].to_list() == ["v"]


def test_events_of_a_source_are_one_partition_whose_parts_are_the_files(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", HEAD + ROW + "oops,v\n")
    parquet(tmp_path / "b.parquet")
    follower = Follower(tmp_path)
    followed = follower.plan()
    pieces = follower.commit(followed)
    assert all(adds_up(piece) for piece in pieces)
    events = pl.concat([piece.events for piece in pieces], how="diagonal")
    assert events["source"].to_list() == ["web", "web"]
    assert events["part_id"].to_list() == [file.part_name for file in followed.planned]
    assert events["part_id"].is_sorted()
    assert events["position_in_source"].to_list() == [0, 0]
    assert events["arrival_time"].to_list() == [NOW - HOUR] * 2
    [reject] = pieces[0].rejects.to_dicts()
    assert (reject["source"], reject["part_id"]) == ("web", followed.planned[0].part_name)


def test_what_a_file_says_of_its_source_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "event_time,source,part_id,position_in_source\n2026-11-22,shop/0,p,7\n")
    write(tmp_path / "b.csv", "event_time,source\n2026-11-22,shop/0\n2026-11-22,\n")
    follower = Follower(tmp_path)
    followed = follower.plan()
    own, partly = (piece.events for piece in follower.commit(followed))
    assert own.select("source", "part_id", "position_in_source").rows() == [("shop/0", "p", 7)]
    name = followed.planned[1].part_name
    assert partly.select("source", "part_id", "position_in_source").rows() == [("shop/0", name, 0), ("web", name, 1)]


def plan_one(path: Path) -> PlannedFile:
    [planned] = Follower(path).plan().planned
    return planned


def read(planned: PlannedFile) -> list[Intake]:
    return list(read_planned(planned, FileRule(block_bytes=64), "web"))


def test_a_file_whose_status_alone_changed_is_read_as_planned(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    planned = plan_one(path)
    copy = write(tmp_path / "copy", path.read_bytes(), age=timedelta(0))
    copy.replace(path)
    [piece] = read(planned)
    assert piece.events["arrival_time"].to_list() == [NOW - HOUR]
    touch(path, 2 * HOUR)
    assert read(planned)[0].events.equals(piece.events)


CHANGES = {
    "is gone": (lambda path: path.unlink(), "no longer there"),
    "grew": (lambda path: write(path, HEAD + ROW * 2, age=HOUR), "not what was planned"),
    "was rewritten": (lambda path: write(path, HEAD + ROW.replace("1", "2"), age=HOUR / 2), "not what was planned"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_file_that_changed_since_the_plan_is_not_read(tmp_path: Path, case: str) -> None:
    change, reason = CHANGES[case]
    path = write(tmp_path / "a.csv")
    planned = plan_one(path)
    change(path)
    with pytest.raises(SourceChangedError, match=reason) as caught:
        read(planned)
    assert caught.value.planned == planned
    assert isinstance(caught.value, UnreadableSourceError)


@pytest.mark.parametrize("is_gone", [False, True], ids=["appended to", "deleted"])
def test_a_file_that_changes_while_it_is_read_is_told_of_at_the_end(tmp_path: Path, *, is_gone: bool) -> None:
    path = write(tmp_path / "a.csv", HEAD + ROW * 100)
    pieces = read_planned(plan_one(path), FileRule(block_bytes=64), "web")
    next(pieces)
    path.unlink() if is_gone else write(path, HEAD + ROW * 101)
    with pytest.raises(SourceChangedError, match="changed while it was read"):
        list(pieces)


def test_a_file_that_is_cut_while_it_is_read_has_changed(tmp_path: Path) -> None:
    data = gzip.compress((HEAD + "\n".join(os.urandom(50).hex() for _ in range(40_000))).encode())
    path = write(tmp_path / "a.csv.gz", data)
    pieces = read_planned(plan_one(path), FileRule(block_bytes=1 << 16), "web")
    next(pieces)
    os.truncate(path, len(data) // 2)
    with pytest.raises(SourceChangedError, match="changed while it was read"):
        list(pieces)


def test_a_file_that_is_as_planned_and_corrupt_is_told_as_such(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet")
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36  # pages, of which the plan sees nothing
    planned = plan_one(write(path, bytes(data)))
    with pytest.raises(UnreadableSourceError, match="corrupt") as caught:
        read(planned)
    assert not isinstance(caught.value, SourceChangedError)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, 9)),
        st.tuples(st.just("rename"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("copy"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("plan"), st.just(0), st.just(0)),
        st.tuples(st.just("fail"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(steps=STEPS)
def test_each_content_that_a_plan_sees_is_taken_once_whatever_happens_between(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("followed")
    follower, taken, seen = Follower(folder), [], set()
    for number, (step, one, other) in enumerate([*steps, ("plan", 0, 0)]):
        path, target = folder / f"{one}.csv", folder / f"{other}.csv"
        if step == "write":  # never the same length, so that none grows out of another
            write(path, f"event_time,visitor_id\n2026-11-22,v{other}\n", age=HOUR + timedelta(seconds=number))
        elif step == "rename" and path.exists():
            path.replace(target)
        elif step == "copy" and path.exists() and path != target:
            write(target, path.read_bytes(), age=HOUR + timedelta(seconds=number))
        elif step == "delete":
            path.unlink(missing_ok=True)
        elif step in ("plan", "fail"):
            followed = follower.plan()
            assert (followed.waiting, followed.warnings) == ((), ())
            if step == "plan":
                seen |= {file.read_text() for file in folder.iterdir()}
                taken += [piece.events["visitor_id"][0] for piece in follower.commit(followed)]
    assert sorted(taken) == sorted(text.split(",")[-1].strip() for text in seen)
