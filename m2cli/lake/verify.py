"""A pipeline's lake held against the list of its files: each there and whole, and nothing else."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING

from m2cli.lake.content import Fault, verify_content
from m2cli.lake.layout import FILES, TABLES, UNFINISHED_SUFFIX, kept_name
from m2cli.lake.links import list_kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from m2cli.lake.lists import LakeFile

# What can be mended with a link.
NOT_IN_GLOB = "it is not in the glob"
NOT_KEPT = f"it is gone from `{FILES}`"
NOT_ONE = f"it and the one in `{FILES}` are two files, not two names of one"


def verify_files(
    lake: Path, files: Sequence[LakeFile], *, hidden: Sequence[LakeFile] = (), deep: bool = False
) -> list[Fault]:
    """What is not as it should be in the pipeline's lake `lake`, none if all is well.

    `files` are all that are current: each has one file under both its names, of the right size, with a footer that
    says the right count of rows. `hidden` are those that were replaced and stay for a while: they have no place in
    the glob. No other file lies in a table's folder or in `_m2/files`; what a batch at work has there now counts as
    such, so that the caller holds the lake's lock.

    With `deep` all that decides is read: columns have their types, the visits of a file are whole, adjacent, in order
    of start and on its date, and the events of a date are those that its visits count.
    """
    faults = list(chain.from_iterable(_verify_file(lake, file) for file in files))
    faults += [Fault(file.path, "replaced, and yet in the glob") for file in hidden if (lake / file.path).exists()]
    faults += _find_strays(lake, files, hidden)
    if deep:
        broken = {fault.path for fault in faults}
        faults += verify_content(lake, files, broken)
    return faults


def _verify_file(lake: Path, file: LakeFile) -> Iterator[Fault]:
    place, kept = lake / file.path, lake / FILES / kept_name(file.path)
    found = {path: path.stat() for path in (place, kept) if path.is_file()}
    if place not in found:
        yield Fault(file.path, "it is gone" if kept not in found else NOT_IN_GLOB)
    elif kept not in found:
        yield Fault(file.path, NOT_KEPT)
    elif not os.path.samestat(found[place], found[kept]):
        yield Fault(file.path, NOT_ONE)
    for path in list(found)[-1:]:
        if found[path].st_size != file.byte_count:
            yield Fault(file.path, f"it has {found[path].st_size:,} bytes, not {file.byte_count:,}")
        else:
            yield from _verify_footer(path, file)


def _verify_footer(path: Path, file: LakeFile) -> Iterator[Fault]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        row_count = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        yield Fault(file.path, f"it is damaged ({str(error).splitlines()[0]})")
    else:
        if row_count != file.row_count:
            yield Fault(file.path, f"it has {row_count:,} rows, not {file.row_count:,}")


def _find_strays(lake: Path, files: Sequence[LakeFile], hidden: Sequence[LakeFile]) -> Iterator[Fault]:
    places = {file.path for file in files} | {file.path for file in hidden}
    kept = {kept_name(path) for path in places}
    for name in sorted(list_kept(lake)):
        if name not in kept:
            yield _stray(f"{FILES}/{name}")
    for table in TABLES:
        for path in sorted(_walk(lake / table.name, lake)):
            if path not in places:
                yield _stray(path)


def _stray(path: str) -> Fault:
    is_unfinished = path.endswith(UNFINISHED_SUFFIX)
    return Fault(path, "left unfinished by a run that died" if is_unfinished else "nobody lists it")


def _walk(folder: Path, lake: Path) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        inside = os.path.relpath(root, lake)
        yield from (f"{inside}/{name}" for name in names)
