"""What a lake holds at one moment: `_m2/snapshot`, replaced atomically, for who needs whole batches."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from m2cli.errors import UnreadableSourceError
from m2cli.lake.layout import SNAPSHOT, UNFINISHED_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LakeFile:
    """One Parquet file of a lake; `path` is relative to the lake's folder, `kind` the name of its table."""

    path: str
    kind: str
    row_count: int
    byte_count: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files of a lake and what made them.

    `W` is the query boundary: every visit that ended before it is in the files; null after a bounded run,
    which leaves nothing outside. `pipeline` names the pipeline that writes the lake, null where none does.
    """

    m2_version: str
    batch_id: str
    W: datetime | None
    pipeline: str | None
    files: tuple[LakeFile, ...]
    format_version: int = FORMAT_VERSION

    def paths(self, lake: Path, kind: str) -> list[Path]:
        """The files of the table `kind`, as paths under `lake`."""
        return [lake / file.path for file in self.files if file.kind == kind]


class DamagedSnapshotError(UnreadableSourceError):
    """A snapshot that says nothing any more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "it is damaged", "make the lake anew from its sources, with `--replace`")


class BrokenLakeError(UnreadableSourceError):
    """A lake of which not all is there that its snapshot lists."""

    def __init__(self, lake: Path, cause: Exception) -> None:
        said = str(cause).splitlines()[0]
        super().__init__(lake, f"a file of it is gone or damaged; was it replaced meanwhile? ({said})")


def write_snapshot(lake: Path, snapshot: Snapshot) -> None:
    """Put `snapshot` in the place of the lake's present one: a reader finds the one or the other, whole."""
    path = lake / SNAPSHOT
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    with unfinished.open("w", encoding="utf-8") as stream:
        json.dump(asdict(snapshot), stream, indent=1, default=datetime.isoformat)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(path)


def read_snapshot(lake: Path) -> Snapshot:
    """The snapshot of `lake`.

    Raises `UnreadableSourceError` where there is no lake, or one that this version of m2 does not understand;
    `DamagedSnapshotError` where no version would.
    """
    path = lake / SNAPSHOT
    try:
        found = json.loads(path.read_bytes())
        version = found["format_version"]
        if version > FORMAT_VERSION:
            reason = f"the lake is of format {version}, this m2 knows up to {FORMAT_VERSION}"
            raise UnreadableSourceError(lake, reason, "use the newer m2 that wrote it")
        return _parse(found)
    except (FileNotFoundError, NotADirectoryError):
        raise _no_lake(lake) from None
    except OSError as error:
        raise UnreadableSourceError(path, (error.strerror or str(error)).lower()) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedSnapshotError(path) from error


def _no_lake(lake: Path) -> UnreadableSourceError:
    reason = f"not a lake: it has no `{SNAPSHOT}`" if lake.exists() else "no such folder"
    return UnreadableSourceError(lake, reason, "`m2 sessionize` makes a lake")


def _parse(found: dict[str, Any]) -> Snapshot:
    W = found["W"]
    return Snapshot(
        format_version=found["format_version"],
        m2_version=found["m2_version"],
        batch_id=found["batch_id"],
        W=None if W is None else datetime.fromisoformat(W),
        pipeline=found["pipeline"],
        files=tuple(_parse_files(found["files"])),
    )


def _parse_files(found: Iterable[dict[str, Any]]) -> Iterable[LakeFile]:
    for file in found:
        path = PurePosixPath(file["path"])
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"`{path}` lies outside the lake")
        yield LakeFile(**file)
