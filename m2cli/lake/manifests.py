"""Manifests: the sealed lists of a pipeline's files, so that what a batch replaces does not grow with the lake's age.

A manifest is never changed: it is named after its content, and who takes a file out of it writes another. Files come
in the order of their batches, so the names that a manifest holds are a range that hardly any other overlaps, and the
few that hold a given file are known without opening them.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from m2cli.lake.layout import MANIFESTS, UNFINISHED_SUFFIX
from m2cli.lake.lists import Columns, count_files, join_lists, leave_out
from m2cli.lake.swap import make_folder, sync_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

# Files that one manifest holds at most.
MANIFEST_LIMIT = 4096


class Manifest(NamedTuple):
    """A manifest as the snapshot names it; `first` and `last` bound the stems of its files' names."""

    name: str
    file_count: int
    first: str
    last: str


class Draft(NamedTuple):
    """A manifest that is to be, or one that is (`written`) and perhaps not read."""

    columns: Columns | None
    written: Manifest | None


def read_manifest(lake: Path, name: str) -> Columns:
    """What a manifest lists. Raises `FileNotFoundError` if it is gone, `ValueError` if it is damaged."""
    content = (lake / MANIFESTS / name).read_bytes()
    if _name_content(content) != name:
        raise ValueError(f"manifest `{name}` is damaged")
    columns: Columns = json.loads(content)
    return columns


def find_listed(lake: Path, manifests: Sequence[Manifest], paths: Collection[str]) -> dict[str, Columns]:
    """Of `manifests`, by name, those that list a file of `paths`, and what they list."""
    stems = sorted(PurePosixPath(path).stem for path in paths)
    listed = {manifest.name: read_manifest(lake, manifest.name) for manifest in manifests if _may_hold(manifest, stems)}
    return {name: columns for name, columns in listed.items() if not set(paths).isdisjoint(columns["path"])}


def take_out(manifests: Sequence[Manifest], listed: dict[str, Columns], paths: frozenset[str]) -> list[Draft]:
    """`manifests` without the files at `paths`, which are in those of `listed` (`find_listed`)."""
    drafts = []
    for manifest in manifests:
        left = leave_out(listed[manifest.name], paths) if manifest.name in listed else None
        if left is None or left is listed[manifest.name]:
            drafts.append(Draft(None, manifest))
        elif count_files(left):
            drafts.append(Draft(left, None))
    return drafts


def write_manifests(lake: Path, drafts: Sequence[Draft]) -> tuple[Manifest, ...]:
    """Bring `drafts` to the disk, what is small joined to what is before it; where nothing is new, nothing is done."""
    joined: list[Draft] = []
    for draft in drafts:
        if draft.written is None and joined and _count(joined[-1]) + _count(draft) <= MANIFEST_LIMIT:
            joined[-1] = Draft(join_lists([_load(lake, joined[-1]), _load(lake, draft)]), None)
        else:
            joined.append(draft)
    manifests = tuple(draft.written or _write(lake, _load(lake, draft)) for draft in joined)
    if any(draft.written is None for draft in joined):
        sync_folder(lake / MANIFESTS)
    return manifests


def sweep_manifests(lake: Path, kept: Collection[str]) -> None:
    """Remove all manifests but those with the names `kept`."""
    folder = lake / MANIFESTS
    if folder.is_dir():
        for name in {path.name for path in folder.iterdir()}.difference(kept):
            (folder / name).unlink(missing_ok=True)


def _may_hold(manifest: Manifest, stems: Sequence[str]) -> bool:
    place = bisect_left(stems, manifest.first)
    return place < len(stems) and stems[place] <= manifest.last


def _count(draft: Draft) -> int:
    return draft.written.file_count if draft.written else count_files(draft.columns or {"path": []})


def _load(lake: Path, draft: Draft) -> Columns:
    if draft.columns is not None:
        return draft.columns
    if draft.written is None:
        raise TypeError("a draft is written or has columns")
    return read_manifest(lake, draft.written.name)


def _write(lake: Path, columns: Columns) -> Manifest:
    content = json.dumps(columns, separators=(",", ":")).encode()
    path = lake / MANIFESTS / _name_content(content)
    make_folder(path.parent, lake)
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    with unfinished.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(path)
    stems = [PurePosixPath(file).stem for file in columns["path"]]
    return Manifest(path.name, len(stems), min(stems), max(stems))


def _name_content(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
