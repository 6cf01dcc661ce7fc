"""What a lake holds at one moment: `_m2/snapshot`, replaced atomically, for who needs whole batches."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from m2cli.errors import UnreadableSourceError
from m2cli.lake.layout import FILES, SNAPSHOT, UNFINISHED_SUFFIX, has_ledger, kept_name
from m2cli.lake.lists import Columns, LakeFile, from_columns, join_lists, to_columns
from m2cli.lake.manifests import Manifest, read_manifest
from m2cli.lake.swap import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

# 2: lists by column, manifests, and whether files are read from `_m2/files`.
FORMAT_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files of a lake and what made them.

    `W` is the query boundary: every visit that ended before it is in the files; null after a bounded run,
    which leaves nothing outside. `pipeline` names the pipeline that writes the lake, null where none does.
    With `is_linked` the files are read from `_m2/files`, where they stay for a while after they were replaced.
    """

    m2_version: str
    batch_id: str
    W: datetime | None
    pipeline: str | None
    files: tuple[LakeFile, ...]
    is_linked: bool = False
    format_version: int = FORMAT_VERSION

    def paths(self, lake: Path, kind: str | None = None) -> list[Path]:
        """Where to read the files of the table `kind`, or of all, as paths under `lake`."""
        places = (file.path for file in self.files if kind in (None, file.kind))
        if not self.is_linked:
            return [lake / place for place in places]
        folder = lake / FILES
        return [folder / kept_name(place) for place in places]


@dataclass(frozen=True, kw_only=True)
class Head:
    """A snapshot as it stands in its file: the latest files (`tail`), and the manifests that list those before."""

    m2_version: str
    batch_id: str
    W: datetime | None
    pipeline: str | None
    is_linked: bool
    manifests: tuple[Manifest, ...] = ()
    tail: Columns = field(default_factory=lambda: to_columns([]))
    format_version: int = FORMAT_VERSION


class DamagedSnapshotError(UnreadableSourceError):
    """A snapshot that says nothing any more."""

    def __init__(self, path: Path) -> None:
        is_pipelines = has_ledger(path.parent.parent)
        hint = (
            "`m2 run` makes it anew from the ledger"
            if is_pipelines
            else "make the lake anew from its sources, with `--replace`"
        )
        super().__init__(path, "it is damaged", hint)


class BrokenLakeError(UnreadableSourceError):
    """A lake of which not all is there that its snapshot lists."""

    def __init__(self, lake: Path, cause: Exception) -> None:
        said = str(cause).splitlines()[0]
        super().__init__(lake, f"a file of it is gone or damaged; was it replaced meanwhile? ({said})")


def write_snapshot(lake: Path, snapshot: Snapshot) -> None:
    """Put `snapshot` in the place of the lake's present one: a reader finds the one or the other, whole."""
    write_head(
        lake,
        Head(
            m2_version=snapshot.m2_version,
            batch_id=snapshot.batch_id,
            W=snapshot.W,
            pipeline=snapshot.pipeline,
            is_linked=snapshot.is_linked,
            tail=to_columns(snapshot.files),
        ),
    )


def read_snapshot(lake: Path) -> Snapshot:
    """The snapshot of `lake`.

    Raises `UnreadableSourceError` where there is no lake, or one that this version of m2 does not understand;
    `DamagedSnapshotError` where no version would.
    """
    head, lists = _read_lists(lake)
    try:
        files = tuple(chain.from_iterable(map(from_columns, lists)))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedSnapshotError(lake / SNAPSHOT) from error
    return Snapshot(
        m2_version=head.m2_version,
        batch_id=head.batch_id,
        W=head.W,
        pipeline=head.pipeline,
        files=files,
        is_linked=head.is_linked,
        format_version=head.format_version,
    )


def _read_lists(lake: Path) -> tuple[Head, list[Columns]]:
    """The head and all lists of one moment.

    A batch that replaces the head meanwhile may remove manifests of the one before. Those that were read stay good,
    so that each further try has less to read.
    """
    lists: dict[str, Columns] = {}
    head = read_head(lake)
    while True:
        try:
            lists |= {name: read_manifest(lake, name) for name, *_ in head.manifests if name not in lists}
        except FileNotFoundError as error:
            before, head = head, read_head(lake)
            if head.manifests == before.manifests:
                raise DamagedSnapshotError(lake / SNAPSHOT) from error
        except OSError as error:
            raise _unreadable(lake / SNAPSHOT, error) from error
        except ValueError as error:
            raise DamagedSnapshotError(lake / SNAPSHOT) from error
        else:
            return head, [*(lists[manifest.name] for manifest in head.manifests), head.tail]


def write_head(lake: Path, head: Head) -> None:
    """Put `head` in the place of the present one, and bring it to the disk."""
    path = lake / SNAPSHOT
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    content = {
        "format_version": FORMAT_VERSION,
        "m2_version": head.m2_version,
        "batch_id": head.batch_id,
        "W": head.W and head.W.isoformat(),
        "pipeline": head.pipeline,
        "is_linked": head.is_linked,
        "manifests": head.manifests,
        "files": head.tail,
    }
    with unfinished.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(content, separators=(",", ":")))  # `json.dump` would take ten times as long
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def read_head(lake: Path) -> Head:
    """What `_m2/snapshot` itself says, of any format up to this one; it raises what `read_snapshot` does."""
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
        raise _unreadable(path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedSnapshotError(path) from error


def _no_lake(lake: Path) -> UnreadableSourceError:
    reason = f"not a lake: it has no `{SNAPSHOT}`" if lake.exists() else "no such folder"
    hint = "`m2 run` makes it anew from the ledger" if has_ledger(lake) else "`m2 sessionize` makes a lake"
    return UnreadableSourceError(lake, reason, hint)


def _unreadable(path: Path, error: OSError) -> UnreadableSourceError:
    return UnreadableSourceError(path, (error.strerror or str(error)).lower())


def _parse(found: dict[str, Any]) -> Head:
    W = found["W"]
    head = Head(
        format_version=found["format_version"],
        m2_version=found["m2_version"],
        batch_id=found["batch_id"],
        W=None if W is None else datetime.fromisoformat(W),
        pipeline=found["pipeline"],
        is_linked=False,
    )
    if head.format_version == 1:  # an object for each file, and no manifests
        files = [{name: [value] for name, value in file.items()} for file in found["files"]]
        return replace(head, tail=join_lists(files) or to_columns([]))
    manifests = tuple(Manifest(*manifest) for manifest in found["manifests"])
    return replace(head, is_linked=found["is_linked"], manifests=manifests, tail=found["files"])
