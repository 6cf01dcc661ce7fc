"""A batch of a pipeline's lake: its files are written in place, and nothing of them is in the glob until all are whole.

`open_batch`, write, `finish`; then `show_files` and `publish`. Whatever is killed between two steps, `remove_batch`
takes back what a batch wrote that nobody committed, and the other steps may be done again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self

from m2cli.errors import M2Error
from m2cli.lake.layout import (
    FILES,
    MANIFESTS,
    PRIVATE,
    PRIVATE_FOLDER,
    TABLES,
    UNFINISHED_SUFFIX,
    Table,
    kept_name,
)
from m2cli.lake.links import explain_unlinkable, remove_batch
from m2cli.lake.swap import ignore_step, make_folder, sync_folder
from m2cli.lake.write import LakeWriter, explain_unwritable

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from m2cli.lake.lists import LakeFile
    from m2cli.lake.swap import At


class LakeBatch(LakeWriter):
    """Writes the files of one batch into a pipeline's lake; each table may be written many times.

    As a context it removes what it wrote when it is left by an exception before it was finished.
    """

    def __init__(self, lake: Path, batch_id: str, *, at: At) -> None:
        super().__init__(lake, batch_id, named=lake)
        self._at, self._is_finished = at, False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is not None and not self._is_finished:
            with suppress(M2Error):  # of the two errors the first says more
                remove_batch(self.folder, self.batch_id)

    @property
    def files(self) -> tuple[LakeFile, ...]:
        """What was written so far."""
        return tuple(self._files)

    def finish(self) -> tuple[LakeFile, ...]:
        """Wait until every file is on the disk, give each its name in `_m2/files`, and return them all.

        None of them is in the glob yet. Raises `UnwritableSinkError` if the sink takes no more, `ValueError` if a file
        of the batch has its name already.
        """
        for file in self._files:
            if self._path(file.path).exists():
                raise ValueError(f"`{file.path}` was written before: the batch is not new, and was not removed")
        files = super().finish()
        self._at("files named")
        with explain_unwritable(self._named):
            sync_folder(self.folder / FILES)
        self._is_finished = True
        self._at("files finished")
        return files

    def _path(self, place: str) -> Path:
        return self.folder / FILES / kept_name(place)

    def _number(self, table: Table) -> int:  # noqa: ARG002  # over all tables: a file is known by batch and number
        return len(self._files)


def open_batch(lake: Path, batch_id: str, *, at: At = ignore_step) -> LakeBatch:
    """The batch `batch_id` of the pipeline's lake `lake`, to be written; nothing of it may be there yet.

    `at` is told each step, for tests. Raises `UnwritableSinkError` for a place that cannot be written.
    """
    with explain_unwritable(lake):
        lake.mkdir(parents=True, exist_ok=True)
        make_folder(lake / FILES, lake)
    return LakeBatch(lake, batch_id, at=at)


def prepare_lake(lake: Path) -> None:
    """Make the folders of a pipeline's lake, and find out before the first batch whether they take hard links.

    Raises `UnwritableSinkError` for a place that cannot be written or whose file system has no hard links.
    """
    with explain_unwritable(lake):
        lake.mkdir(parents=True, exist_ok=True)
        sync_folder(lake.parent)
        for folder in (FILES, MANIFESTS, *(PurePosixPath(table.name) for table in TABLES)):
            make_folder(lake / folder, lake)
        for table in PRIVATE:
            (lake / table.name).chmod(PRIVATE_FOLDER)
    _try_links(lake)


def _try_links(lake: Path) -> None:
    probe = lake / FILES / f"probe{UNFINISHED_SUFFIX}"
    places = [lake / table.name / probe.name for table in TABLES]
    with explain_unlinkable(lake):
        for path in (*places, probe):  # of one who died here
            path.unlink(missing_ok=True)
        try:
            probe.touch()
            for place in places:
                place.hardlink_to(probe)
        finally:
            for path in (*places, probe):
                path.unlink(missing_ok=True)
