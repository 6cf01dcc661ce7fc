"""A file is what is in it: the same part under any name, packed or grown; another if it only begins alike."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.logs.parts import (
    NO_TIME,
    Likeness,
    compare_texts,
    find_first_line,
    name_part,
    name_source,
    settle_parts,
)
from m2cli.logs.streams import CutError

LINE = b'::1 - - [17/May/2015:10:05:03 +0200] "GET / HTTP/1.1" 200 1'

NAMES = {
    "access.log": "access.log",
    "access.log.1": "access.log",
    "access.log.2.gz": "access.log",
    "access.log.12.zst": "access.log",
    "access.log.gz": "access.log",
    "access.log-20261122": "access.log",
    "access.log-20261122.gz": "access.log",
    "access.log-2026112214.bz2": "access.log",
    "access.log-20261122-1763800000.gz": "access.log",
    "access.log.2026-11-22.zst": "access.log",
    "access.log.2026-11-22-14_00_00": "access.log",
    "access.log.2026-11-22T14:00:00": "access.log",
    "access.log.1763769600": "access.log",
    "access-20261122.log": "access.log",
    "access-2026-11-22.log.gz": "access.log",
    "access_20261122.log": "access.log",
    "apache_logs": "apache_logs",
    "shop2.access.log": "shop2.access.log",
    "web-01.log": "web-01.log",
    "port8080.log": "port8080.log",
    "20261122.log": "20261122.log",
    ".1": ".1",
    ".gz": ".gz",
}


@pytest.mark.parametrize(("name", "source"), NAMES.items())
def test_a_source_is_named_without_what_rotation_added(name: str, source: str) -> None:
    assert name_source(Path("/no/such/folder") / name) == f"/no/such/folder/{source}"


def test_a_source_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert name_source(Path("sub/../access.log.1")) == f"{tmp_path.resolve()}/access.log"


def test_a_part_is_named_by_the_time_and_a_digest_of_its_first_line() -> None:
    assert name_part(LINE) == "20150517T080503Z-d32e73a2c5cd"
    assert name_part(LINE + b"0") != name_part(LINE)


def test_parts_sort_in_the_order_in_which_they_were_begun() -> None:
    times = [b"17/May/2015:10:05:03 +0000", b"17/May/2015:09:05:03 -0200", b"01/Jan/2016:00:00:00 +0000"]
    names = [name_part(b"a - - [%s]" % time) for time in times]
    assert names == sorted(names)


def test_a_first_line_without_a_time_still_names_its_part() -> None:
    assert name_part(b"\xff\0").startswith(f"{NO_TIME}-")
    assert name_part(b"\xff\0") < name_part(LINE)


FIRST = {
    "at once": (b"a\nb\n", b"a"),
    "after directives and blank lines": (b"#Fields\n\n  \r\n\r\na\r\n", b"a"),
    "after a byte order mark": (b"\xef\xbb\xbf#Fields\na\n", b"a"),
    "without an end": (b"a", b"a"),
    "a long one": (b"a" * 70_000 + b"\n", b"a" * 65_536),
    "none": (b"\n#a\n", None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize(("text", "line"), FIRST.values(), ids=FIRST.keys())
@pytest.mark.parametrize("size", [1, 3, 100_000])
def test_the_first_line_is_no_directive(text: bytes, line: bytes | None, size: int) -> None:
    size = max(size, len(text) // 100)
    assert find_first_line(text[at : at + size] for at in range(0, len(text), size)) == line


def test_the_first_line_is_found_before_a_cut() -> None:
    def pieces() -> object:
        yield b"#a\nhalf a li"
        raise CutError("cut")

    assert find_first_line(pieces()) == b"half a li"


def in_pieces(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@given(st.text("ab", max_size=9), st.text("ab", max_size=9), st.integers(1, 4), st.integers(1, 4))
def test_texts_compare_alike_however_they_are_cut(one: str, other: str, one_size: int, other_size: int) -> None:
    left, right = one.encode(), other.encode()
    assert compare_texts(in_pieces(left, one_size), in_pieces(right, other_size)) is likeness(left, right)


def likeness(left: bytes, right: bytes) -> Likeness:
    if left == right:
        return Likeness.EQUAL
    if right.startswith(left):
        return Likeness.BEGINS
    if left.startswith(right):
        return Likeness.GROWN
    return Likeness.BEFORE if left < right else Likeness.AFTER


def settle(texts: list[bytes]) -> list[tuple[str, int | None]]:
    settled = settle_parts([text[:1].decode() for text in texts], lambda one, other: likeness(texts[one], texts[other]))
    return [(part.part_id, part.copy_of) for part in settled]


def test_each_file_with_a_first_line_of_its_own_is_a_part() -> None:
    assert settle([b"b", b"a"]) == [("b", None), ("a", None)]


def test_of_equal_files_the_first_is_read() -> None:
    assert settle([b"a", b"a", b"a"]) == [("a", None), ("a", 0), ("a", 0)]


def test_a_shorter_copy_is_passed_over_for_the_one_that_grew() -> None:
    assert settle([b"a", b"abc", b"ab"]) == [("a", 1), ("a", None), ("a", 1)]


def test_different_files_with_the_same_first_line_get_a_suffix() -> None:
    assert settle([b"ac", b"ab", b"ad"]) == [("a-2", None), ("a", None), ("a-3", None)]


def test_a_beginning_of_two_files_is_passed_over() -> None:
    assert settle([b"ac", b"a", b"ab"]) == [("a-2", None), ("a", 2), ("a", None)]


@given(st.lists(st.text("ab", min_size=1, max_size=4).map(str.encode), max_size=4))
def test_the_order_in_which_files_are_given_decides_nothing(texts: list[bytes]) -> None:
    def outcome(given_texts: list[bytes]) -> set[tuple[bytes, str]]:
        settled = zip(given_texts, settle(given_texts), strict=True)
        return {(text, part_id) for text, (part_id, copy_of) in settled if copy_of is None}

    outcomes = [outcome(list(order)) for order in permutations(texts)]
    assert all(each == outcomes[0] for each in outcomes)
    read = {text for text, _ in outcomes[0]}
    assert read == {text for text in texts if not any(other != text and other.startswith(text) for other in texts)}
    assert len({part_id for _, part_id in outcomes[0]}) == len(read)
