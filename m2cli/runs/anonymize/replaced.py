"""Files of a pseudonymous lake that others have replaced: a lake without a ledger notes them in `_m2/replaced.json`.

They are noted before the snapshot lists what replaces them, so that whoever is killed in between, the next one at work
finds what to hide and what to show; the files themselves go when their grace is over.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from m2cli.lake.layout import OWN_FOLDER, UNFINISHED_SUFFIX
from m2cli.lake.links import drop_files, hide_files, show_files
from m2cli.lake.lists import LakeFile
from m2cli.lake.publish import publish
from m2cli.lake.snapshot import read_snapshot
from m2cli.lake.swap import ignore_step, sync_folder
from m2cli.lake.write import explain_unwritable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from pathlib import Path

    from m2cli.lake.swap import At

NOTE = "replaced.json"


@dataclass
class _Note:
    replaced: list[tuple[LakeFile, datetime]] = field(default_factory=list)
    """With when they were."""
    showing: list[LakeFile] = field(default_factory=list)
    """What may not be in the glob yet."""
    pending: str | None = None
    """A batch that replaces files and is not shown yet; until it is, nobody else may replace any."""


def note_pending(lake: Path, batch_id: str | None) -> None:
    """Note that the pipeline's batch `batch_id` is to replace files of `lake`; None: that there is none any more."""
    note = _read(lake)
    if note.pending != batch_id:
        note.pending = batch_id
        _write(lake, note)


def find_pending(lake: Path) -> str | None:
    """The batch of a pipeline that is to replace files of `lake`, and is not shown yet."""
    return _read(lake).pending


def replace_files(  # noqa: PLR0913  # what a snapshot says, each by its name
    lake: Path,
    *,
    batch_id: str,
    W: datetime | None,
    pipeline: str,
    added: Sequence[LakeFile],
    removed: Sequence[LakeFile],
    now: datetime,
    at: At = ignore_step,
) -> None:
    """Put `added` in the place of `removed`; may be done again. Readers by an earlier snapshot still find the latter.

    What is replaced leaves the glob before what replaces it appears: a reader by glob may miss visits for a moment, and
    never meets one twice.
    """
    note = _read(lake)
    known = {file.path for file, _ in note.replaced}
    note.replaced += [(file, now) for file in removed if file.path not in known]
    note.showing = list(added)
    _write(lake, note)
    at("replacement noted")
    publish(lake, batch_id=batch_id, W=W, pipeline=pipeline, added=added, removed=removed, at=at)
    hide_files(lake, removed, at=at)
    show_files(lake, added, at=at)
    note.showing, note.pending = [], None
    _write(lake, note)
    at("replaced")


def settle_replaced(
    lake: Path, *, now: datetime | None = None, grace: timedelta | None = None, at: At = ignore_step
) -> None:
    """Bring the glob to what the snapshot lists, if who replaced files was killed; drop those whose `grace` is over."""
    if not (lake / OWN_FOLDER / NOTE).exists():
        return
    note = _read(lake)
    listed = {file.path for file in read_snapshot(lake).files}
    kept = [(file, time) for file, time in note.replaced if file.path not in listed]
    if note.showing:
        hide_files(lake, [file for file, _ in kept], at=at)
        show_files(lake, [file for file in note.showing if file.path in listed], at=at)
    over = [file for file, time in kept if now and grace is not None and time + grace <= now]
    if over:
        drop_files(lake, over, at=at)
    left = _Note([(file, time) for file, time in kept if file not in over], pending=note.pending)
    if left != note:
        _write(lake, left)


def list_replaced(lake: Path) -> list[LakeFile]:
    """The files of `lake` that stay for readers by an earlier snapshot."""
    return [file for file, _ in _read(lake).replaced]


def _read(lake: Path) -> _Note:
    try:
        kept = json.loads((lake / OWN_FOLDER / NOTE).read_bytes())
    except FileNotFoundError:
        return _Note()
    return _Note(
        [(LakeFile.from_dict(file), datetime.fromisoformat(time)) for file, time in kept["replaced"]],
        [LakeFile.from_dict(file) for file in kept["showing"]],
        kept["pending"],
    )


def _write(lake: Path, note: _Note) -> None:
    path = lake / OWN_FOLDER / NOTE
    said = {
        "replaced": [(file.to_dict(), time.isoformat()) for file, time in note.replaced],
        "showing": [file.to_dict() for file in note.showing],
        "pending": note.pending,
    }
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    with explain_unwritable(lake):
        with unfinished.open("w") as stream:
            json.dump(said, stream)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
