"""The files of a pipeline's lake in the glob and out of it: each keeps a second name in `_m2/files` (DESIGN 5.2).

The second name is there before the first and stays after it: whatever lies in the glob has one, so that all that is
there of a batch is found in `_m2/files` alone. Each step may be done again after a crash.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from m2cli.errors import UnwritableSinkError
from m2cli.lake.layout import EVENTS, FILES, TABLES, UNFINISHED_SUFFIX, VISITS, kept_name, place_kept
from m2cli.lake.snapshot import BrokenLakeError
from m2cli.lake.swap import ignore_step, make_folder, sync_folder
from m2cli.lake.write import explain_unwritable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from m2cli.lake.lists import LakeFile
    from m2cli.lake.swap import At

# What file systems answer that have no hard links (FAT, exFAT and some over FUSE), or no more of them.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# Whoever finds the row of a visit by glob finds its events.
_ORDER = [EVENTS.name, *(table.name for table in TABLES if table not in (EVENTS, VISITS)), VISITS.name]


def show_files(lake: Path, files: Sequence[LakeFile], *, at: At = ignore_step) -> None:
    """Put `files` in the glob: each a hard link to the file in `_m2/files`. Those that are there stay.

    Raises `BrokenLakeError` if a file is not in `_m2/files`, `UnwritableSinkError` if it cannot be linked.
    """
    shown = sorted(files, key=lambda file: _ORDER.index(file.kind))
    with explain_unlinkable(lake):
        for folder in _folders(lake, shown):
            make_folder(folder, lake)
        for file in shown:
            _show(lake, file)
            at("file shown")
        for folder in _folders(lake, shown):
            sync_folder(folder)
    at("files shown")


def hide_files(lake: Path, files: Sequence[LakeFile], *, at: At = ignore_step) -> None:
    """Take `files` out of the glob; in `_m2/files` they stay. Those that are not there are none the less hidden.

    A folder of a date that has none left stays, so that who is just listing it has no error. Raises
    `UnwritableSinkError` if a file cannot be removed.
    """
    hidden = sorted(files, key=lambda file: _ORDER.index(file.kind), reverse=True)
    with explain_unwritable(lake):
        _remove_places([lake / file.path for file in hidden], at)
    at("files hidden")


def drop_files(lake: Path, files: Sequence[LakeFile], *, at: At = ignore_step) -> None:
    """Remove `files` from the glob and from `_m2/files`, and the folders of dates that have none left.

    Readers by a snapshot that lists them miss them now. Raises `UnwritableSinkError` if one cannot be removed.
    """
    hide_files(lake, files, at=at)
    with explain_unwritable(lake):
        for folder in {(lake / file.path).parent for file in files if file.start_date}:
            _remove_empty(folder)
    _remove_kept(lake, [kept_name(file.path) for file in files], at)


def remove_batch(lake: Path, batch_id: str, *, at: At = ignore_step) -> None:
    """Remove every file of the batch, finished or not, wherever it lies in `lake`.

    It finds them in `_m2/files`; a list of 200,000 names takes 0.15 s.
    """
    names = [name for name in list_kept(lake) if _is_of_batch(name, batch_id)]
    places = [place_kept(name.removesuffix(UNFINISHED_SUFFIX)) for name in names]
    with explain_unwritable(lake):
        _remove_places([lake / place for place in places if place], at)
    _remove_kept(lake, names, at)


def list_kept(lake: Path) -> list[str]:
    """The names of all that lies in `_m2/files`."""
    folder = lake / FILES
    return os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208  # of a hundred thousand names no `Path` each


@contextmanager
def explain_unlinkable(lake: Path) -> Iterator[None]:
    """Say what can be done where a file system has no hard links; else what `explain_unwritable` says."""
    with explain_unwritable(lake):
        try:
            yield
        except OSError as error:
            said = os.strerror(error.errno or errno.EIO).lower()
            if error.errno in _NO_LINKS:
                reason = f"its file system makes no hard links ({said})"
                hint = "a pipeline's lake lies on one that does, such as ext4, XFS, ZFS, APFS or NFS"
                raise UnwritableSinkError(lake, reason, hint) from error
            if error.errno == errno.EXDEV:
                reason = f"its folders lie on several file systems ({said})"
                raise UnwritableSinkError(lake, reason, "a pipeline's lake lies on one, `_m2` with it") from error
            raise


def _show(lake: Path, file: LakeFile) -> None:
    kept, place = lake / FILES / kept_name(file.path), lake / file.path
    try:
        place.hardlink_to(kept)
    except FileExistsError:
        if place.samefile(kept):
            return
        # A copy, as a backup without links leaves it; its name is ours.
        aside = kept.with_name(kept.name + UNFINISHED_SUFFIX)
        aside.unlink(missing_ok=True)
        aside.hardlink_to(kept)
        aside.replace(place)
    except FileNotFoundError as error:
        raise BrokenLakeError(lake, error) from error


def _remove_places(places: Sequence[Path], at: At) -> None:
    for place in places:
        place.unlink(missing_ok=True)
        at("file hidden")
    for folder in {place.parent for place in places}:
        if folder.is_dir():
            sync_folder(folder)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # not empty, or gone
        folder.rmdir()
        sync_folder(folder.parent)


def _remove_kept(lake: Path, names: Iterable[str], at: At) -> None:
    with explain_unwritable(lake):
        for name in names:
            (lake / FILES / name).unlink(missing_ok=True)
            at("file dropped")
        if (lake / FILES).is_dir():
            sync_folder(lake / FILES)
    at("files dropped")


def _is_of_batch(name: str, batch_id: str) -> bool:
    return re.match(rf"{re.escape(batch_id)}-\d+\.", name) is not None


def _folders(lake: Path, files: Sequence[LakeFile]) -> list[Path]:
    return list(dict.fromkeys((lake / file.path).parent for file in files))
