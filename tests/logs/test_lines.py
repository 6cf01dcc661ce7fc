"""Lines are cut where they end, and know where they begin, whatever bytes they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.logs.lines import IS_IGNORED, cut_lines
from tests.twins.logs_twin import split_lines

ENDS = {
    "newlines": b"a\nbb\n\nc\n",
    "no end at the last line": b"a\nbb",
    "carriage returns too": b"a\r\nbb\r\n\r\n",
    "carriage returns, and no end at the last line": b"a\r\nbb",
    "both kinds": b"a\r\nbb\nc\r\n",
    "a carriage return within a line": b"a\rb\nc\r\r\n",
    "a NUL": b"a\0b\n\0\n",
    "bytes that are no text": b"a\n\xff\xfe\nb\n",
    "text and a carriage return": "é\r\nü\n".encode(),
    "nothing": b"",
    "an empty line": b"\n",
}


@pytest.mark.parametrize("data", ENDS.values(), ids=ENDS.keys())
def test_lines_end_where_the_twin_ends_them(data: bytes) -> None:
    assert_as_the_twin(data)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\xc3\xa9", b"\xff", b"\0", b" "])).map(b"".join))
def test_any_bytes_are_cut_as_the_twin_cuts_them(data: bytes) -> None:
    assert_as_the_twin(data)


def assert_as_the_twin(data: bytes) -> None:
    lines = cut_lines(data, 7)
    expected = split_lines(data)
    assert lines.get_column("position_in_source").to_list() == [offset + 7 for offset, _ in expected]
    assert lines.get_column("line_number").to_list() == list(range(1, len(expected) + 1))
    texts = [line.decode(errors="backslashreplace") for _, line in expected]
    assert lines.get_column("line").to_list() == texts
    odd = [line.decode(errors="ignore").encode() != line for _, line in expected]
    assert lines.get_column("is_odd_text").to_list() == odd


@pytest.mark.parametrize("line", [b"", b" ", b"\t \t", b"\r", b"#", b"#Fields: a b"], ids=repr)
def test_blank_lines_and_directives_are_ignored(line: bytes) -> None:
    assert cut_lines(line + b"\n", 0).select(IS_IGNORED).to_series().all()


@pytest.mark.parametrize("line", [b" #", b"\0", b"-", b"\xc2\xa0"], ids=repr)
def test_anything_else_is_not_ignored(line: bytes) -> None:
    assert not cut_lines(line + b"\n", 0).select(IS_IGNORED).to_series().any()
