"""Making a lake aside and putting it in its place when it is whole; until then nothing of it is seen."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from m2cli.errors import UsageError
from m2cli.lake.layout import OWN_NAMES, PRIVATE, PRIVATE_FOLDER, SNAPSHOT, has_ledger
from m2cli.lake.snapshot import DamagedSnapshotError, Snapshot, read_snapshot, write_snapshot
from m2cli.lake.swap import clear_remains, hold_new_sibling, ignore_step, replace_folder, sync_folder
from m2cli.lake.write import LakeWriter, explain_unwritable, m2_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from m2cli.lake.swap import At


class StagedLake(LakeWriter):
    """A lake in the making: write its tables, then `commit`; without that, nothing of it is ever seen."""

    def __init__(self, folder: Path, target: Path, batch_id: str, *, replace: bool, at: At) -> None:
        super().__init__(folder, batch_id, named=target)
        self._target, self._replace, self._at = target, replace, at

    def commit(self, *, W: datetime | None = None, pipeline: str | None = None) -> Snapshot:
        """Put the lake in its place, whole and on the disk, and return what it holds.

        Raises `UsageError` if the target has become one that is not taken, `UnwritableSinkError` if the sink
        takes no more; then the target is as it was.
        """
        snapshot = Snapshot(
            m2_version=m2_version(), batch_id=self.batch_id, W=W, pipeline=pipeline, files=self.finish()
        )
        self._at("files named")
        with explain_unwritable(self._target):
            write_snapshot(self.folder, snapshot)
            self._at("snapshot written")
            for table in PRIVATE:
                if (self.folder / table.name).is_dir():
                    (self.folder / table.name).chmod(PRIVATE_FOLDER)
            for folder in (*(path for path in self.folder.rglob("*") if path.is_dir()), self.folder):
                sync_folder(folder)
            self._at("folders synced")
            refuse_target(self._target, replace=self._replace)  # it may have changed while the lake was made
            replace_folder(self.folder, self._target.resolve(), self._at)
        return snapshot


@contextmanager
def stage_lake(
    target: Path, *, replace: bool = False, batch_id: str | None = None, at: At = ignore_step
) -> Iterator[StagedLake]:
    """A lake to be written, which takes the place of `target` when it is committed.

    `target` is a new folder, an empty one, or, with `replace`, a lake that no pipeline writes, be its
    snapshot damaged. Its parent folders are made. Files are named after `batch_id`: a random one if none is
    given, so that who reads a lake while it is replaced misses a file and never mixes two lakes. `at` is told
    each step, for tests.

    Raises `UsageError` for a target that is not taken, `UnwritableSinkError` for a place that cannot be
    written.
    """
    real = target.resolve()  # a link to a folder stays one
    with ExitStack() as stack:
        with explain_unwritable(target):
            refuse_target(target, replace=replace)
            real.parent.mkdir(parents=True, exist_ok=True)
            clear_remains(real)
            refuse_target(target, replace=replace)  # a killed run's remains may have been put back
            folder = stack.enter_context(hold_new_sibling(real))
            if real.is_dir():
                shutil.copymode(real, folder)
        at("folder made")
        staged = StagedLake(folder, target, batch_id or f"run-{uuid4().hex[:12]}", replace=replace, at=at)
        stack.callback(staged.close)
        yield staged
    at("old removed")


def refuse_target(target: Path, *, replace: bool) -> None:
    """Raise `UsageError` unless a new lake may take the place of `target`."""
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"`{target}` is a file; a lake is a folder, name another one")
    if Path.cwd().is_relative_to(target.resolve()):
        raise UsageError(f"`{target}` holds the working folder and cannot be replaced; name another folder")
    if any(target.iterdir()):
        _refuse_filled(target, replace=replace)


def _refuse_filled(target: Path, *, replace: bool) -> None:
    if not (target / SNAPSHOT).exists():
        hint = "; `--replace` replaces lakes only" if replace else ""
        raise UsageError(f"`{target}` is not empty and not a lake{hint}; name another folder")
    foreign = {path.name for path in target.iterdir()} - OWN_NAMES
    if foreign:
        raise UsageError(f"`{target}` holds `{min(foreign)}`, no part of a lake; name another folder")
    if has_ledger(target) or _names_pipeline(target, replace=replace):
        raise UsageError(f"`{target}` is a lake that a pipeline writes; name another folder")
    if not replace:
        raise UsageError(f"`{target}` is a lake already; name another folder, or make it anew with `--replace`")


def _names_pipeline(target: Path, *, replace: bool) -> bool:
    try:
        return read_snapshot(target).pipeline is not None
    except DamagedSnapshotError:
        if replace:  # the way to mend it; a pipeline's lake has a ledger as well
            return False
        raise
