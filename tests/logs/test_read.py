"""Access logs in files and pipes: what they become does not depend on how they are kept, given or cut."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from m2cli.errors import UnknownNameError, UnreadableSourceError, UsageError
from m2cli.logs.formats import FORMATS, find_format
from m2cli.logs.parsers.grammar import reasons
from m2cli.logs.read import LogRule, open_access_log, read_access_log
from tests.logs.reading import COMBINED, PLANNED, assert_adds_up, gather, shared, splice

if TYPE_CHECKING:
    from m2cli.events import Intake

CONTENT = ["event_id", "event_time", "ip", "url", "user_agent", "position_in_source", "part_id"]


def line_of(second: int, url: str = "/") -> bytes:
    return b'10.0.0.1 - - [17/May/2015:10:%02d:%02d +0000] "GET %s HTTP/1.1" 200 5 "-" "x"\n' % (
        second // 60,
        second % 60,
        url.encode(),
    )


def log_of(count: int, url: str = "/") -> bytes:
    return b"".join(line_of(second, url) for second in range(count))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def read(*paths: Path, rule: LogRule | None = None) -> list[Intake]:
    return list(read_access_log(paths, rule or LogRule(), arrival_time=PLANNED))


def test_the_log_of_ten_thousand_lines_has_one_that_is_none() -> None:
    events, rejects = gather(read(shared("apache-combined-10k/apache_logs")))
    assert len(events) == 9_999
    assert rejects.select("line_number", "position_in_source", "reason").rows() == [
        (8899, 2_111_246, "the user agent is not closed by a quote")
    ]


@pytest.mark.parametrize("block_size", [1, 100, 5_000, 1 << 20])
def test_the_size_of_blocks_decides_nothing(tmp_path: Path, block_size: int) -> None:
    log = write(tmp_path / "access.log", b"\n".join((*COMBINED, b"", b"no line", b"#")) * 3)
    whole, rejects = gather(read(log))
    events, same = gather(read(log, rule=LogRule(block_size=block_size)))
    assert events.select(whole.columns).equals(whole)
    assert same.equals(rejects)


COMPRESSIONS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    "gzip, in members": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
}


@pytest.mark.parametrize("name", ["access.log", "access.log.gz", "access.log.zst"])
@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
def test_a_compressed_log_has_the_same_ids_under_any_name(tmp_path: Path, name: str, compress: object) -> None:
    plain, _ = gather(read(write(tmp_path / "plain.log", log_of(90))))
    packed, _ = gather(read(write(tmp_path / name, compress(log_of(90)))))
    assert packed.select(CONTENT).equals(plain.select(CONTENT))


def test_a_pipe_gives_what_the_file_gives() -> None:
    for data in (log_of(50), gzip.compress(log_of(50))):
        (piped,) = read_access_log(io.BytesIO(data), LogRule(), arrival_time=PLANNED)
        assert piped.events.get_column("source").unique().to_list() == ["-"]
        assert piped.events.get_column("arrival_time").unique().to_list() == [PLANNED]
        assert len(piped.events) == 50
        assert piped.events.get_column("event_id").str.starts_with("20150517T100000Z-").all()


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, log_of(5))
    os.close(write_end)
    events, _ = gather(read(Path(f"/dev/fd/{read_end}"), write(tmp_path / "a.log", log_of(3))))
    os.close(read_end)
    assert len(events) == 8
    assert events.get_column("event_id").n_unique() == 8


def test_files_are_read_in_the_order_in_which_they_were_begun(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "access.log.1", line_of(10)),
        write(tmp_path / "access.log", line_of(20)),
        write(tmp_path / "access.log.2.gz", gzip.compress(line_of(0))),
    ]
    for order in (paths, paths[::-1]):
        events, _ = gather(read(*order))
        assert events.get_column("event_time").dt.second().to_list() == [0, 10, 20]
        assert events.get_column("source").unique().to_list() == [str(tmp_path.resolve() / "access.log")]


def test_a_log_given_twice_is_read_once(tmp_path: Path) -> None:
    whole = write(tmp_path / "access.log", log_of(9))
    packed = write(tmp_path / "access.log.1.gz", gzip.compress(log_of(9)))
    older = write(tmp_path / "older.log", log_of(4))
    log = open_access_log([packed, older, whole, whole], LogRule(), arrival_time=PLANNED)
    assert [part.file.name for part in log.parts] == [str(whole)]
    assert sorted(log.passed_over) == sorted(map(str, [packed, older, whole]))
    assert sum(len(intake.events) for intake in log.read()) == 9


def test_two_logs_with_the_same_first_line_are_both_read_whatever_the_order(tmp_path: Path) -> None:
    one = write(tmp_path / "one.log", log_of(1) + log_of(5, "/one"))
    two = write(tmp_path / "two.log", log_of(1) + log_of(5, "/two"))
    (forth, _), (back, _) = gather(read(one, two)), gather(read(two, one))
    assert forth.select(CONTENT).equals(back.select(CONTENT))
    assert len(forth) == forth.get_column("event_id").n_unique() == 12


def test_an_event_arrived_when_its_file_was_last_changed_or_now(tmp_path: Path) -> None:
    changed = datetime(2020, 5, 5, tzinfo=UTC)
    old, future = write(tmp_path / "old.log", line_of(1)), write(tmp_path / "future.log", line_of(2))
    os.utime(old, (changed.timestamp(),) * 2)
    os.utime(future, (PLANNED.timestamp() + 1e6,) * 2)
    events, _ = gather(read(old, future))
    assert events.get_column("arrival_time").to_list() == [changed, PLANNED]


def test_a_gzip_that_was_cut_keeps_the_lines_before(tmp_path: Path) -> None:
    noise = random.Random(7)
    data = b"".join(line_of(second, f"/{noise.random()}") for second in range(3000))
    packed = gzip.compress(data)
    events, rejects = gather(read(write(tmp_path / "access.log.gz", packed[: len(packed) // 2])))
    assert 1000 < len(events) < 2000
    (reject,) = rejects.to_dicts()
    end = reject["position_in_source"]
    assert data[:end].count(b"\n") == len(events) == reject["line_number"] - 1
    assert data[end:].startswith(reject["raw"].encode())
    assert reject["reason"] == "the compressed data ends early"


def test_a_gzip_that_was_cut_at_once_is_one_reject(tmp_path: Path) -> None:
    for size in (1, 2, 5, 15):
        (intake,) = read(write(tmp_path / "access.log.gz", gzip.compress(log_of(9))[:size]))
        assert (len(intake.events), len(intake.rejects), intake.read_count) == (0, 1, 1)
        assert "event_time" in intake.events.columns


def test_garbage_is_rejects(tmp_path: Path) -> None:
    data = random.Random(7).randbytes(100_000)
    events, rejects = gather(read(write(tmp_path / "access.log", data)))
    assert events.is_empty()
    assert len(rejects) > 300
    assert rejects.get_column("reason").is_in(reasons(FORMATS["combined"])).all()


@pytest.mark.parametrize("data", [b"", b"\n\n \n", b"#Software: x\n"], ids=["nothing", "blank lines", "a directive"])
def test_a_file_without_lines_has_neither_events_nor_rejects(tmp_path: Path, data: bytes) -> None:
    intakes = read(write(tmp_path / "access.log", data))
    assert_adds_up(intakes)
    assert sum(intake.ignored_count for intake in intakes) == data.count(b"\n")
    assert all(intake.events.is_empty() and intake.rejects.is_empty() for intake in intakes)


def test_progress_is_told_in_bytes_on_disk(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.log", log_of(500)),
        write(tmp_path / "b.log", gzip.compress(log_of(400, "/b"))),
    ]
    told: list[int] = []
    log = open_access_log(paths, LogRule(block_size=5_000), arrival_time=PLANNED)
    intakes = list(log.read(told.append))
    assert len(told) == len(intakes) > 5
    assert told == sorted(told)
    assert told[-1] == log.total_size == sum(path.stat().st_size for path in paths)


def test_what_cannot_be_read_is_said_before_any_work(tmp_path: Path) -> None:
    good, missing = write(tmp_path / "a.log", log_of(1)), tmp_path / "none.log"
    with pytest.raises(UnreadableSourceError, match=r"cannot read `.*none.log`: no such file"):
        read_access_log([good, missing], LogRule(), arrival_time=PLANNED)
    with pytest.raises(UnreadableSourceError, match=r"it is a folder; name the log files in it"):
        read_access_log([good, tmp_path], LogRule(), arrival_time=PLANNED)


@pytest.mark.parametrize("url", ["s3://logs/access.log", "https://shop.example/access.log.gz"])
def test_a_url_is_said_to_be_one(url: str) -> None:
    expected = f"cannot read `{url}`: URLs are not read; download it, or pipe it in"
    with pytest.raises(UnreadableSourceError, match=f"^{re.escape(expected)}$"):
        read_access_log([Path(url)], LogRule(), arrival_time=PLANNED)


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("width", [16, 32])
def test_a_log_in_utf_16_is_refused_with_a_remedy(tmp_path: Path, width: int, order: str) -> None:
    data = ("\ufeff" + log_of(3).decode()).encode(f"utf-{width}-{order}")
    remedy = rf"it is UTF-{width}; convert it to UTF-8, as with `iconv -f UTF-{width} -t UTF-8`"
    with pytest.raises(UnreadableSourceError, match=remedy):
        read(write(tmp_path / "access.log", gzip.compress(data)))
    with pytest.raises(UnreadableSourceError, match=f"cannot read `-`: {remedy}"):
        read_access_log(io.BytesIO(data), LogRule(), arrival_time=PLANNED)


def test_a_name_that_is_not_utf_8_is_escaped(tmp_path: Path) -> None:
    path = write(tmp_path / os.fsdecode(b"bad\xff.log"), log_of(1) + b"no line\n")
    events, rejects = gather(read(path))
    assert events["source"].item() == rejects["file"].item() == f"{tmp_path}/bad\\xff.log"
    with pytest.raises(UnreadableSourceError, match=r"bad\\xfe\.log`: no such file"):
        read(tmp_path / os.fsdecode(b"bad\xfe.log"))


@pytest.mark.parametrize("ignored", [b"", b"#Fields\n"], ids=["after a line", "before the first line"])
def test_a_pipe_that_was_cut_gives_what_came_before(ignored: bytes) -> None:
    data = ignored or log_of(50)
    packed = gzip.compress(data)[:-1]
    (intake, *rest) = read_access_log(io.BytesIO(packed), LogRule(), arrival_time=PLANNED)
    (reject,) = gather([intake, *rest])[1].to_dicts()
    assert len(intake.events) + intake.ignored_count == data.count(b"\n")
    assert reject["line_number"] == data.count(b"\n") + 1
    assert reject["reason"] == "the compressed data ends early"


def test_a_file_without_rights_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.log", log_of(1))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(UnreadableSourceError, match="no right to read it"):
        read_access_log([path], LogRule(), arrival_time=PLANNED)


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown log format `comboned`; did you mean `combined`"):
        LogRule(format="comboned")
    assert LogRule(format=find_format("common")).log_format is find_format("common")


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_byte_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match="`block_size` is"):
        LogRule(block_size=size)
    with pytest.raises(UsageError, match="`max_line_size` is"):
        LogRule(max_line_size=size)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.binary(max_size=400), block_size=st.integers(1, 50), max_line_size=st.integers(1, 300))
@example(data=b"\n\xfe\xff", block_size=1, max_line_size=1)
def test_lines_of_any_bytes_add_up(tmp_path: Path, data: bytes, block_size: int, max_line_size: int) -> None:
    data = data.replace(b"a", b"\n")
    rule = LogRule(block_size=block_size, max_line_size=max_line_size)
    try:
        intakes = read(write(tmp_path / "any.log", data), rule=rule)
    except UnreadableSourceError as refused:
        marks = (BOM_UTF16_LE, BOM_UTF16_BE, BOM_UTF32_BE)
        if "it is UTF-" in str(refused) and any(line.startswith(marks) for line in data.split(b"\n")):
            return  # the first line begins with the mark of another encoding
        raise
    assert_adds_up(intakes)
    if not data.startswith((b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd")):
        text = data.removeprefix(BOM_UTF8)  # which is no line
        assert sum(intake.read_count for intake in intakes) == len(text.removesuffix(b"\n").split(b"\n")) * bool(text)


def test_a_hundred_thousand_random_and_mutated_lines_add_up(tmp_path: Path) -> None:
    noise = random.Random(11)
    pieces = [b'"', b" ", b"\\", b"[", b"\0", b"\xff", b"#", b"\\x", b"\r", b'\\"', b""]
    lines = []
    for number in range(100_000):
        line = noise.choice(COMBINED)
        for _ in range(number % 4):
            line = splice(line, noise.randrange(200), noise.randrange(4), noise.choice(pieces))
        lines.append(noise.randbytes(40).replace(b"\n", b"") if number % 10 == 0 else line)
    log = write(tmp_path / "access.log", b"\n".join(lines) + b"\n")
    intakes = read(log, rule=LogRule(block_size=1 << 20))
    events, rejects = gather(intakes)
    ignored_count = sum(intake.ignored_count for intake in intakes)
    assert len(events) + len(rejects) + ignored_count == 100_000
    assert min(len(events), len(rejects)) > 20_000
    assert rejects.get_column("raw").map_elements(str.isprintable, pl.Boolean).all()
    numbers = rejects.get_column("line_number")
    assert numbers.is_sorted()
    assert numbers.is_unique().all()
