"""Lines of JSON: what is read all at once is what the standard library reads one by one."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import UnknownNameError, UsageError
from m2cli.logs.formats import find_format
from m2cli.logs.parse import Place, parse_block
from m2cli.logs.parsers.explain import take_lines_apart
from m2cli.logs.parsers.objects import split_objects
from m2cli.logs.parsers.scalars import parse_object
from tests.logs.reading import ORIGIN

COLUMNS = {"a": ("a",), "b": ("b", "c"), "d": ("b", "d", "0"), "e": ("e",)}
texts = st.text(max_size=6)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("acd0") | texts, inner, max_size=2),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from("abe"), values, max_size=3)
lines = st.builds(
    lambda document, is_ascii, gap: json.dumps(document, ensure_ascii=is_ascii, separators=(f",{gap}", f"{gap}:")),
    objects,
    st.booleans(),
    st.sampled_from(["", " "]),
)
broken = st.builds(
    lambda line, at, insert: line[: at % (len(line) + 1)] + insert + line[at % (len(line) + 1) :],
    lines,
    st.integers(0, 60),
    st.sampled_from(["}", "{", ",", '"', "]", "\\", "x", '},{"a":1', "[", '"a":2,', "1e9", "\\ud800", "\\x41"]),
)


def frame_of(texts: list[str]) -> pl.DataFrame:
    texts = [text.replace("\n", "") for text in texts]
    return pl.DataFrame(
        {
            "line": texts,
            "line_number": range(1, len(texts) + 1),
            "position_in_source": range(len(texts)),
            "is_odd_text": [False] * len(texts),
        },
        schema={"line": pl.String, "line_number": pl.Int64, "position_in_source": pl.Int64, "is_odd_text": pl.Boolean},
    )


@given(st.lists(lines | broken | st.text(max_size=8), max_size=5))
def test_lines_together_are_what_each_is_alone(texts: list[str]) -> None:
    frame = frame_of(texts)
    together, bad = split_objects(frame, COLUMNS)
    assert len(together) + len(bad) == len(frame)
    alone = [_walk(parse_object(line)) for line in frame["line"]]
    assert together.select(COLUMNS.keys()).rows() == [row for row in alone if row is not None]
    assert bad["position_in_source"].to_list() == [place for place, row in enumerate(alone) if row is None]


def _walk(document: dict[str, object] | None) -> tuple[object, ...] | None:
    return None if document is None else tuple(_at(document, path) for path in COLUMNS.values())


def _at(value: object, path: tuple[str, ...]) -> object:
    for key in path:
        if key == "0" and isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            value = value.get(key)
        elif key != "0":
            return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def test_numbers_that_end_in_zeros_are_read_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx' `$request_time` ends in one in a tenth of all lines, and one by one takes ten times as long."""
    texts = ['{"a":0.000,"e":"0.000"}', '{"a":1772400000.100,"e":-1.50}', '{"a":-0.0,"e":20}']
    exact = [_walk(parse_object(text)) for text in texts]
    monkeypatch.setattr("m2cli.logs.parsers.objects.parse_object", None)
    good, _ = split_objects(frame_of(texts), COLUMNS)
    assert good.select(COLUMNS.keys()).rows() == exact


def test_two_halves_of_an_object_are_not_one() -> None:
    good, bad = split_objects(frame_of(['{"a":"1"', '"e":"2"}', '{"a":"3"},{"a":"4"}', '{"a":"5"}']), COLUMNS)
    assert good["a"].to_list() == ["5"]
    assert len(bad) == 3


@pytest.mark.parametrize(
    "layout",
    [
        '{"t":"$time_iso8601","u":"$request_uri","m":"$request_method","s":$status,"r":{"ip":"$remote_addr"}}',
        'escape=json {"t":"$time_local","u":"$request_uri","m":"$request_method","s":$status,"ip":"$remote_addr"}',
        "json:time=t,url=u,method=m,status=s,ip=r.ip",
    ],
)
def test_a_log_of_json_is_read_by_its_layout_or_by_a_mapping(layout: str) -> None:
    line = b'{"t":"2026-11-20T10:00:00+01:00","u":"/a","m":"GET","s":200,"r":{"ip":"192.0.2.1"}}\n'
    if "time_local" in layout:
        line = line.replace(b'"r":{"ip":"192.0.2.1"}', b'"ip":"192.0.2.1"')
        line = line.replace(b"2026-11-20T10:00:00+01:00", b"20/Nov/2026:10:00:00 +0100")
    (event,) = parse_block(line, Place(find_format(layout), ORIGIN, 0), max_line_size=1 << 20).events.to_dicts()
    assert (event["url"], event["method"], event["status"], event["ip"]) == ("/a", "GET", 200, "192.0.2.1")
    assert f"{event['event_time']:%H:%M}" == "09:00"


@pytest.mark.parametrize(
    ("mapping", "error"),
    [("json:url=u", UsageError), ("json:time", UsageError), ("json:time=t,colour=c", UnknownNameError)],
)
def test_a_mapping_that_says_too_little_or_too_much_is_refused(mapping: str, error: type[UsageError]) -> None:
    with pytest.raises(error):
        find_format(mapping)


def test_the_place_where_json_stops_being_json_is_shown() -> None:
    (line,) = take_lines_apart(b'{"ts":1,"request":{"uri":"/a" "method"}}\n', find_format("caddy"), 1)
    assert (line.fault, line.place) == ("the JSON is cut short or malformed", 30)
