"""Which files are meant, what each is, and the one clear line for those that cannot be read."""

from __future__ import annotations

import bz2
import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from m2cli.errors import ExitCode, UnreadableSourceError
from m2cli.files.find import Compression, Format, find_files

FRAME = pl.DataFrame({"event_time": [1, 2]})


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def write(path: Path, data: bytes = b"event_time\n1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def parquet(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    FRAME.write_parquet(path)
    return path


def found(*paths: Path | str) -> list[Path]:
    return [file.path for file in find_files(paths)]


def test_a_folder_is_all_event_files_below_it_by_path(tmp_path: Path) -> None:
    files = [write(tmp_path / name) for name in ("b/c.csv", "a.ndjson.gz", "z.TSV", "b/a/x.jsonl.zst")]
    write(tmp_path / "README.md")
    assert found(tmp_path) == sorted(files)


def test_hidden_and_underscored_names_are_left_out_of_folders(tmp_path: Path) -> None:
    kept = write(tmp_path / "a.csv")
    for name in (".hidden.csv", "_started.csv", "_m2/part.csv", ".tmp/part.csv"):
        write(tmp_path / name)
    assert found(tmp_path) == [kept]


def test_of_what_m2_wrote_only_the_events_are_events(tmp_path: Path) -> None:
    kept = parquet(tmp_path / "events" / "date=2019-10-01" / "a.parquet")
    for name in ("visits", "rejects", "late", "duplicates", "truth"):
        parquet(tmp_path / name / "b.parquet")
    assert found(tmp_path) == found(tmp_path / "events") == [kept]


def test_a_folder_called_visits_alone_is_any_folder(tmp_path: Path) -> None:
    kept = write(tmp_path / "visits" / "a.csv")
    assert found(tmp_path) == [kept]


def test_a_glob_is_its_matches(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a1.log.csv"), write(tmp_path / "deep" / "a2.csv")
    assert found(f"{tmp_path}/*.csv") == [first]
    assert found(f"{tmp_path}/**/*.csv") == [first, second]


def test_a_glob_of_folders_alone_is_the_files_in_them(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.csv"), write(tmp_path / "deep" / "er" / "b.csv")]
    write(tmp_path / ".hidden" / "c.csv")
    assert found(f"{tmp_path}/**") == found(f"{tmp_path}/**/**/*.csv") == files


def test_a_glob_from_here_is_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "deep" / "a.csv")
    monkeypatch.chdir(tmp_path)
    assert [file.name for file in find_files(["**/*.csv"])] == ["deep/a.csv"]


@pytest.mark.parametrize("pattern", ["", "/**/*.csv", "/**"], ids=["a folder", "a glob", "a glob of folders"])
def test_links_back_to_their_folder_are_followed_once(tmp_path: Path, pattern: str) -> None:
    kept = write(tmp_path / "deep" / "a.csv")
    for name in ("b", "c", "d"):  # 40 levels are followed before the system has enough: 3 to the 40th paths
        (tmp_path / "deep" / name).symlink_to(".")
    assert found(f"{tmp_path}{pattern}") == [kept]


def test_a_folder_behind_a_link_is_read(tmp_path: Path) -> None:
    kept = write(tmp_path / "elsewhere" / "a.csv")
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "link").symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path / "named") == [kept]


def test_a_name_with_brackets_that_is_there_is_no_glob(tmp_path: Path) -> None:
    file = write(tmp_path / "a[1].csv")
    assert found(file) == [file]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv")
    link = tmp_path / "b.csv"
    link.symlink_to(file)
    assert found(file, tmp_path, f"{tmp_path}/*.csv", link) == [file]


KINDS = {
    "an object": (b'{"event_time":1}\n', "events", Format.NDJSON),
    "blanks before an object": (b'\n  {"event_time":1}\n', "events", Format.NDJSON),
    "a mark before an object": (b'\xef\xbb\xbf{"event_time":1}\n', "events", Format.NDJSON),
    "an object in a file called csv": (b'{"event_time":1}\n', "events.csv", Format.NDJSON),
    "a header": (b"event_time\n1\n", "events", Format.CSV),
    "a header that begins as bzip2 does": (b"BZh9,event_time\n1,1\n", "events", Format.CSV),
    "a broken first line in a file called ndjson": (b"oops\n", "events.ndjson", Format.NDJSON),
    "nothing": (b"", "events", Format.CSV),
    "nothing called ndjson": (b"", "events.ndjson", Format.NDJSON),
}
PACKINGS = {
    Compression.NONE: lambda data: data,
    Compression.GZIP: gzip.compress,
    Compression.BZIP2: bz2.compress,
    Compression.ZSTD: zstd,
}


@pytest.mark.parametrize("compression", PACKINGS)
@pytest.mark.parametrize(("data", "name", "expected"), KINDS.values(), ids=KINDS)
def test_content_tells_what_a_file_is_and_the_name_where_it_does_not(
    tmp_path: Path, data: bytes, name: str, expected: Format, compression: Compression
) -> None:
    (file,) = find_files([write(tmp_path / name, PACKINGS[compression](data))])
    assert (file.format, file.compression) == (expected, compression)


def test_a_parquet_file_may_have_any_name(tmp_path: Path) -> None:
    (file,) = find_files([parquet(tmp_path / "events.csv")])
    assert file.format == Format.PARQUET


def test_a_file_has_its_name_its_full_path_its_size_and_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.csv")
    os.utime(path, ns=(0, 1_569_888_000_123_456_789))
    monkeypatch.chdir(tmp_path)
    (file,) = find_files(["a.csv"])
    assert (file.name, file.source, file.size) == ("a.csv", str(path), 13)
    assert file.modification_time == datetime(2019, 10, 1, 0, 0, 0, 123456, tzinfo=UTC)


def test_a_name_that_is_no_utf8_is_escaped(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv"))
    try:
        write(path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (file,) = find_files([path])
    assert file.source.endswith("/\\xff.csv")


def no_such_file(folder: Path) -> Path:
    return folder / "gone.csv"


def empty_folder(folder: Path) -> Path:
    write(folder / "empty" / "notes.txt")
    return folder / "empty"


def cut_parquet(folder: Path) -> Path:
    path = parquet(folder / "a.parquet")
    path.write_bytes(path.read_bytes()[:-10])
    return path


def broken_footer(folder: Path) -> Path:
    return write(folder / "a.parquet", b"PAR1" + b"\x00" * 40 + b"PAR1")


UNREADABLE = {
    "no such file": (no_such_file, "no such file"),
    "a folder without events": (
        empty_folder,
        (
            "the folder has no event files; event files end in .parquet, .ndjson or .csv; "
            "name a file itself if it is called otherwise"
        ),
    ),
    "a glob without matches": (lambda folder: folder / "*.csv", "no file matches"),
    "Parquet cut short": (cut_parquet, "it is cut short or not Parquet"),
    "Parquet of no bytes": (
        lambda folder: write(folder / "a.parquet", b""),
        "it is cut short or not Parquet",
    ),
    "text called Parquet": (lambda folder: write(folder / "a.parquet"), "it is cut short or not Parquet"),
    "gzip that is none": (
        lambda folder: write(folder / "a.csv.gz", b"\x1f\x8b\x08nonsense"),
        "its gzip is cut short or corrupt",
    ),
    "zstd that is none": (
        lambda folder: write(folder / "a.csv.zst", b"\x28\xb5\x2f\xfdnonsense"),
        "its zstd is cut short or corrupt",
    ),
    "bzip2 that is none": (
        lambda folder: write(folder / "a.csv.bz2", b"BZh91AY&SYnonsense"),
        "its bzip2 is cut short or corrupt",
    ),
    "UTF-16": (
        lambda folder: write(folder / "a.csv", "event_time\n".encode("utf-16")),
        "it is UTF-16; event files are Parquet, NDJSON or CSV in UTF-8",
    ),
    "a zip archive": (
        lambda folder: write(folder / "a.csv", b"PK\x03\x04..."),
        "it is a zip archive; event files are Parquet, NDJSON or CSV in UTF-8",
    ),
    "packed Parquet": (
        lambda folder: write(folder / "a.gz", gzip.compress(b"PAR1...PAR1")),
        "it is a packed Parquet file; unpack it: Parquet packs itself",
    ),
    "other bytes": (
        lambda folder: write(folder / "a.bin", b"\x00\x01\x02"),
        "it is neither Parquet nor NDJSON nor CSV",
    ),
    "a device": (lambda _: Path(os.devnull), "it is not a file"),
}


@pytest.mark.parametrize(("make", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, make, reason: str) -> None:  # type: ignore[no-untyped-def]
    path = make(tmp_path)
    with pytest.raises(UnreadableSourceError) as caught:
        find_files([path])
    assert str(caught.value) == f"cannot read `{path}`: {reason}"
    assert caught.value.exit_code == ExitCode.UNREACHABLE


def test_a_file_without_the_right_to_read_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.csv")
    path.chmod(0)
    if os.geteuid() == 0:  # root may read anything, so the system's answer is given by hand

        def refuse(self: Path, *_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnreadableSourceError, match=r"a\.csv`: no right to read it$"):
        find_files([path])
