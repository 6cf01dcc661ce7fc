"""What is found where logs are followed, and what is said of places that cannot be looked at."""

from __future__ import annotations

import os
from dataclasses import replace
from errno import EIO
from pathlib import Path

import pytest

from m2cli.logs import follow
from m2cli.logs.listing import Listing, list_logs
from m2cli.logs.parts import name_part
from tests.logs.following import SETTLED, Follower, Logs, line, lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("access.log", "access.log.1", "error.log", ".access.log", "a[1].log"):
        (tmp_path / name).write_bytes(name.encode())
    for name in ("web1", "web2", "web2/old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "access.log").write_bytes(name.encode())
    return tmp_path


def list_names(folder: Path, *patterns: str) -> list[str]:
    return names_of(list_logs([str(folder / pattern) for pattern in patterns]), folder)


def names_of(listing: Listing, folder: Path) -> list[str]:
    return [str(Path(file.path).relative_to(folder)) for file in listing.files]


PATTERNS = {
    "a path": ("access.log", ["access.log"]),
    "a glob": ("access.log*", ["access.log", "access.log.1"]),
    "a set": ("[ae]*.log", ["a[1].log", "access.log", "error.log"]),
    "a hidden file": (".a*", [".access.log"]),
    "a name that looks like a glob": ("a[1].log", ["a[1].log"]),
    "in folders": ("*/access.log", ["web1/access.log", "web2/access.log"]),
    "in all folders": ("**/access.log", ["access.log", "web1/access.log", "web2/access.log", "web2/old/access.log"]),
    "all": ("web2/**", ["web2/access.log", "web2/old/access.log"]),
    "folders are no files": ("web*", []),
    "in a folder of some": ("*/old/*", ["web2/old/access.log"]),
    "nothing": ("nothing*", []),
    "no path": ("nothing.log", []),
    "below a file": ("access.log/*", []),
}


@pytest.mark.parametrize(("pattern", "names"), PATTERNS.values(), ids=PATTERNS.keys())
def test_files_are_found_by_path_and_by_glob(folder: Path, pattern: str, names: list[str]) -> None:
    assert list_names(folder, pattern) == names


def test_a_file_is_listed_once_whatever_matches_it(folder: Path) -> None:
    assert list_names(folder, "access.log", "access*", "*.log") == [
        "a[1].log",
        "access.log",
        "access.log.1",
        "error.log",
    ]


def test_of_a_file_and_links_to_it_the_file_counts_then_what_is_known(folder: Path) -> None:
    (folder / "a.current").symlink_to("access.log")
    (folder / "a.hard").hardlink_to(folder / "access.log")
    assert list_names(folder, "a.*", "access.log") == ["a.hard"]
    listing = list_logs([str(folder / "a*.*")], {str(folder / "access.log")})
    assert names_of(listing, folder) == ["a[1].log", "access.log", "access.log.1"]


def test_a_link_to_nothing_is_nothing(folder: Path) -> None:
    (folder / "b").symlink_to("nothing")
    assert list_logs([str(folder / "b"), str(folder / "b*")]) == ((), (), ())


def test_what_cannot_be_followed_is_said(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"b\xe9")).write_bytes(b"")
    listing = list_logs([str(folder / "pipe"), str(folder / "b*"), str(folder / "web1"), "-", "access*"])
    assert listing.files == ()
    assert listing.warnings == (
        f"`{folder}/pipe` cannot be followed: it is no file but a pipe or a device",
        f"`{folder}/b\\xe9` cannot be followed: its name is not UTF-8; rename it",
        f"`{folder}/web1` cannot be followed: it is a folder; name the log files in it, as in `{folder}/web1/*`",
        "`-` cannot be followed: it is no absolute path",
        "`access*` cannot be followed: it is no absolute path",
    )


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path.resolve())


def test_a_folder_that_vanishes_holds_what_is_unread_in_it_and_the_rest_goes_on(logs: Logs) -> None:
    (logs.folder / "web").mkdir()
    follower = Follower(logs, "web/*", "access.log")
    logs.write("web/shop.log", lines(1))
    logs.write("access.log", lines(2))
    assert follower.take() == [1, 2]
    logs.append("web/shop.log", lines(3) + line(4)[:9])
    assert follower.take() == [3]
    logs.rename("web", "elsewhere")
    logs.append("access.log", lines(5))
    for later in (SETTLED, 9 * SETTLED):
        follower.take(later)
        assert follower.last.unread == (f"{logs.folder}/web/shop.log",)
        (warning,) = follower.last.warnings
        assert warning == (
            f"the folder `{logs.folder}/web` is not there; it holds the watermark back, as 9 bytes of "
            f"`{logs.folder}/web/shop.log` that were seen there are not read; to do without them, put an empty folder "
            "there"
        )
    logs.rename("elsewhere", "web")
    logs.append("web/shop.log", line(4)[9:])
    follower.take()
    assert follower.numbers == [1, 2, 3, 5, 4]
    assert (follower.last.unread, follower.last.warnings) == ((), ())


def test_a_folder_that_vanishes_when_all_of_it_was_read_holds_nothing(logs: Logs) -> None:
    (logs.folder / "web").mkdir()
    follower = Follower(logs, "web/*")
    logs.write("web/shop.log", lines(1))
    logs.write("web/none.log", b"#Fields\n")
    logs.write("web/begun.log", line(2)[:9])
    logs.write("web/out.log", lines(3) + line(4)[:9])
    assert follower.take() == [1, 3]
    part_id = name_part(line(3).strip())
    follower.parts[part_id] = replace(follower.parts[part_id], is_excluded=True)
    logs.rename("web", "elsewhere")
    for _ in range(2):
        assert follower.take() == []
        assert follower.last.unread == ()
        assert follower.last.warnings == (f"the folder `{logs.folder}/web` is not there",)
    logs.rename("elsewhere", "web")
    logs.append("web/shop.log", lines(5))
    assert follower.take() == [5]


def test_what_is_unread_in_a_folder_that_vanished_is_given_up_for_an_empty_folder(logs: Logs) -> None:
    (logs.folder / "web").mkdir()
    follower = Follower(logs, "web/*")
    logs.write("web/shop.log", lines(1) + line(2)[:9])
    logs.write("web/shop.log.2", lines(1) + line(2)[:7])
    logs.write("web/shop.log.1", lines(3) + line(4)[:5])
    assert follower.take() == [1, 3]
    logs.rename("web", "elsewhere")
    follower.take()
    assert f" as 14 bytes of `{logs.folder}/web/shop.log` that" in follower.last.warnings[0]
    (logs.folder / "web").mkdir()
    follower.take()
    assert follower.last.unread == ()
    assert [warning.split(" that")[0] for warning in follower.last.warnings] == ["9 bytes", "5 bytes"]
    follower.take()
    assert follower.last.warnings == ()


def test_a_folder_that_may_not_be_read_holds_what_is_unread_in_it(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.write("access.log", lines(1) + line(2)[:9])
    follower = Follower(logs)
    follower.take()

    def refuse(path: str) -> object:
        raise PermissionError(13, "refused", path)

    monkeypatch.setattr("m2cli.logs.listing.os.scandir", refuse)
    assert follower.take() == []
    (warning,) = follower.last.warnings
    assert warning.startswith(
        f"cannot read the folder `{logs.folder}`: no right to read it; it holds the watermark back, as 9 bytes of "
    )
    assert follower.last.unread == (f"{logs.folder}/access.log",)
    assert len(follower.files) == 1


def test_a_file_that_cannot_be_looked_up_holds_its_source_if_it_had_more(logs: Logs) -> None:
    path = logs.write("access.log", lines(1) + line(3)[:9])
    follower = Follower(logs)
    follower.take()
    path.unlink()
    path.symlink_to("access.log")
    logs.write("access.log.1", lines(2))
    assert follower.take() == [2]
    (warning,) = follower.last.warnings
    assert warning.startswith(f"cannot read `{path}`: Too many levels of symbolic links; it holds the watermark back")
    assert follower.last.unread == (f"{logs.folder}/access.log",)


def test_a_file_that_cannot_be_read_holds_its_source_while_it_may_change(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs.write("access.log", lines(1))
    follower = Follower(logs)
    follower.take()
    logs.append("access.log", lines(2))
    logs.write("other.log", lines(3))
    follower.patterns.append(str(logs.folder / "other.log"))

    def open_but_one(self: Path, *args: object, **options: object) -> object:
        if self == path:
            raise OSError(EIO, "Input/output error")
        return real_open(self, *args, **options)

    real_open = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_but_one)
        assert follower.take() == [3]
        assert follower.last.warnings == (f"cannot read `{path}`: Input/output error",)
        assert follower.last.unread == (f"{logs.folder}/access.log",)
        assert follower.take(SETTLED) == []
        assert follower.last.unread == ()
        assert follower.last.warnings
    assert follower.take(SETTLED) == [2]


def test_a_log_in_another_encoding_is_refused_with_a_remedy(logs: Logs) -> None:
    logs.write("access.log", lines(1).decode().encode("utf-16"))
    follower = Follower(logs)
    assert follower.take() == []
    assert "`iconv -f UTF-16 -t UTF-8`" in follower.last.warnings[0]


def test_a_rotation_while_the_plan_is_made_is_planned_anew(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.write("access.log", lines(1))
    follower = Follower(logs)
    follower.take()
    logs.append("access.log", lines(2))
    calls = []

    def list_then_rotate(*args: object) -> Listing:
        listing = list_logs(*args)
        if not calls:  # between the names and the status: the old file is behind neither
            logs.rename("access.log", "access.log.1")
            logs.write("access.log", lines(3))
            listing = listing._replace(files=())
        calls.append(1)
        return listing

    monkeypatch.setattr(follow, "list_logs", list_then_rotate)
    assert follower.take() == [2, 3]
    assert follower.last.warnings == ()
