"""Which event files are meant: paths, folders and globs, and what each file is by its first bytes."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import os
import re
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from m2cli.errors import UnreadableSourceError
from m2cli.files.paths import expand_glob, walk_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Format(StrEnum):
    """What an event file is."""

    PARQUET = "parquet"
    NDJSON = "ndjson"
    CSV = "csv"


class Compression(StrEnum):
    """What a text file is packed with."""

    NONE = "none"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    ZSTD = "zstd"


MAGICS = (
    (re.compile(rb"\x1f\x8b"), Compression.GZIP),  # RFC 1952
    # A block, or the end of an empty file: "BZh" alone could be a column's name.
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90|.{0,5}\Z)", re.DOTALL), Compression.BZIP2),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), Compression.ZSTD),  # RFC 8878; a skippable frame
)
MAGIC_BYTES = 10
SUFFIXES = {
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".json": Format.NDJSON,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
}
PACKED_SUFFIXES = (".gz", ".bz2", ".zst", ".zstd")
FOREIGN = {
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ\x00": "packed with xz",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
PARQUET_MAGIC = b"PAR1"
HEAD_BYTES = 1 << 16
CORRUPT = (EOFError, OSError, zlib.error, ValueError)


@dataclass(frozen=True, kw_only=True)
class EventFile:
    """One file of events as found: `name` as it was named, `path` in full, what it is, size and age.

    `source` is the path in full as text, bytes of it that are no UTF-8 as `\\xhh`; of a pipe, its name; of a file
    that a pipeline follows, what its settings say. `part_id` tells the files of such a source apart.
    """

    name: str
    path: Path
    source: str
    format: Format
    compression: Compression
    size: int
    modification_time: datetime
    part_id: str | None = None

    def open(self) -> IO[bytes]:
        """Its bytes, unpacked."""
        return open_unpacked(self.path, self.compression)


def find_files(paths: Sequence[str | Path]) -> list[EventFile]:
    """The event files that `paths` mean: files, folders with all below them, and globs (`**` too), by path.

    A file that is named twice is read once. In a folder only the names that end as event files do are taken
    (`.parquet`, `.pq`, `.ndjson`, `.jsonl`, `.json`, `.csv`, `.tsv`; texts with `.gz`, `.bz2` or `.zst` as
    well), none that begin with `.` or `_`, and beside a folder `events` not the others that m2 writes there;
    a file that is named itself may be called anything. Its content tells what a file is; where that says
    nothing, its name.

    Raises `UnreadableSourceError` for a path that is not there or may not be read, a folder without event
    files, a glob without matches, a Parquet file without its end, and what is none of the three formats.
    """
    found: dict[Path, EventFile] = {}
    for path in paths:
        for each in _expand(str(path)):
            with _naming(each):
                found.setdefault(each.resolve(), _examine(each))
    return [found[path] for path in sorted(found)]


def list_event_files(folder: Path) -> list[Path]:
    """The files below `folder` that are called as event files are, by path; see `find_files`."""
    with _naming(folder):
        return sorted(path for path in walk_files(folder) if format_by_name(path))


def examine_file(path: Path) -> EventFile:
    """The event file at `path`. Raises `UnreadableSourceError` as `find_files` does."""
    with _naming(path):
        return _examine(path)


def examine_pipe(spool: Path, name: str, arrival_time: datetime) -> EventFile:
    """The event file that a pipe called `name`, all of which is now in `spool`, has brought at `arrival_time`."""
    with _naming(spool):
        return replace(_examine(spool), name=name, source=name, modification_time=arrival_time)


def printable(path: str | Path) -> str:
    """`path` as text that any file can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def open_unpacked(path: Path, compression: Compression) -> IO[bytes]:
    """The unpacked bytes of a file, members and frames one after the other as one."""
    if compression == Compression.GZIP:
        return cast("IO[bytes]", gzip.open(path))
    if compression == Compression.BZIP2:
        return cast("IO[bytes]", bz2.open(path))
    if compression == Compression.ZSTD:
        import pyarrow as pa

        return cast("IO[bytes]", pa.CompressedInputStream(pa.OSFile(os.fsencode(path)), "zstd"))
    return path.open("rb")


class _naming:  # noqa: N801  (reads as a statement)
    """Turns what the system says about `path` into one clear line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise UnreadableSourceError(printable(self.path), "no such file") from error
        if isinstance(error, PermissionError):
            raise UnreadableSourceError(printable(self.path), "no right to read it") from error
        if isinstance(error, OSError):
            raise UnreadableSourceError(printable(self.path), (error.strerror or str(error)).lower()) from error


def _expand(path: str) -> Iterator[Path]:
    if not os.path.lexists(path) and glob.has_magic(path):
        matches = expand_glob(path)
        if not matches:
            raise UnreadableSourceError(path, "no file matches")
        for match in matches:
            yield from _expand_folder(Path(match), is_named=False)
    else:
        yield from _expand_folder(Path(path), is_named=True)


def _expand_folder(path: Path, *, is_named: bool) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    files = list_event_files(path)
    if not files and is_named:
        hint = "event files end in .parquet, .ndjson or .csv; name a file itself if it is called otherwise"
        raise UnreadableSourceError(printable(path), "the folder has no event files", hint)
    yield from files


def format_by_name(path: Path) -> Format | None:
    """What its name says that a file is; in a folder, only those that say so are taken."""
    name = path.name.lower()
    for suffix in PACKED_SUFFIXES:
        name = name.removesuffix(suffix)
    return SUFFIXES.get(Path(name).suffix)


def _examine(path: Path) -> EventFile:
    status = path.stat()
    if not path.is_file():
        raise UnreadableSourceError(printable(path), "it is not a file")
    with path.open("rb") as file:
        magic = file.read(MAGIC_BYTES)
    compression = next((kind for pattern, kind in MAGICS if pattern.match(magic)), Compression.NONE)
    format_ = _tell_format(path, magic, compression)
    if format_ == Format.PARQUET:
        _require_end(path, status.st_size)
    modified = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=status.st_mtime_ns // 1000)
    return EventFile(
        name=printable(path),
        path=path.resolve(),
        source=printable(path.resolve()),
        format=format_,
        compression=compression,
        size=status.st_size,
        modification_time=modified,
    )


def _tell_format(path: Path, magic: bytes, compression: Compression) -> Format:
    by_name = format_by_name(path)
    if magic.startswith(PARQUET_MAGIC) or (by_name == Format.PARQUET and compression == Compression.NONE):
        return Format.PARQUET
    head = _head(path, compression)
    for start, what in FOREIGN.items():
        if head.startswith(start):
            raise UnreadableSourceError(
                printable(path), f"it is {what}", "event files are Parquet, NDJSON or CSV in UTF-8"
            )
    if head.startswith(PARQUET_MAGIC):
        raise UnreadableSourceError(printable(path), "it is a packed Parquet file", "unpack it: Parquet packs itself")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return Format.NDJSON
    if by_name in (Format.NDJSON, Format.CSV):
        return by_name
    if b"\x00" in head:
        raise UnreadableSourceError(printable(path), "it is neither Parquet nor NDJSON nor CSV")
    return Format.CSV


def _head(path: Path, compression: Compression) -> bytes:
    try:
        with open_unpacked(path, compression) as file:
            return io.BytesIO(file.read(HEAD_BYTES)).getvalue()
    except CORRUPT as error:
        if isinstance(error, (FileNotFoundError, PermissionError)):
            raise
        raise UnreadableSourceError(printable(path), f"its {compression} is cut short or corrupt") from error


def _require_end(path: Path, size: int) -> None:
    with path.open("rb") as file:
        file.seek(max(size - len(PARQUET_MAGIC), 0))
        end = file.read()
    if size < 2 * len(PARQUET_MAGIC) + 4 or end != PARQUET_MAGIC:
        raise UnreadableSourceError(printable(path), "it is cut short or not Parquet")
