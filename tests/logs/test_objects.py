"""Lines of JSON: what is read all at once is what the standard library reads one by one."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import UnknownNameError, UsageError
from m2cli.logs.formats import find_format
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.parse import Place, parse_block
from m2cli.logs.parsers import alike
from m2cli.logs.parsers.explain import take_lines_apart
from m2cli.logs.parsers.objects import name_paths, split_objects
from m2cli.logs.parsers.scalars import parse_object
from tests.logs.lines_of_formats import LINES
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


@given(
    st.lists(lines | broken | st.text(max_size=8), max_size=7), st.sampled_from([1, 2, 2048]), st.sampled_from([1, 64])
)
def test_lines_together_are_what_each_is_alone(texts: list[str], slab: int, sample_count: int) -> None:
    frame = frame_of(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alike, "_SLAB", slab)
        patch.setattr(alike, "_SAMPLE_COUNT", sample_count)
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


NUMBERS = ["0.000", "1772400000.100", "-0", "-0.0", "20", "12345678901234567890", "0.1234567890123456789", "-1.50"]


@pytest.mark.parametrize("is_exact", [False, True])
def test_a_number_is_read_as_it_is_written(is_exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frame_of([f'{{"a":{number},"e":"{number}"}}' for number in NUMBERS])
    monkeypatch.setattr("m2cli.logs.parsers.alike._ROUNDS", 0 if is_exact else 4)
    if not is_exact:
        monkeypatch.setattr("m2cli.logs.parsers.objects.parse_object", None)
    good, _ = split_objects(frame, COLUMNS)
    assert good["a"].to_list() == good["e"].to_list() == NUMBERS


@pytest.mark.parametrize("rounds", [0, 4], ids=["one by one", "all at once"])
def test_a_number_with_an_exponent_is_written_out_and_the_last_of_equal_keys_counts(
    rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2cli.logs.parsers.alike._ROUNDS", rounds)
    good, _ = split_objects(frame_of(['{"a":5e-05,"e":1.5E3}', '{"a":1,"a":2}', '{"a":[1],"e":true}']), COLUMNS)
    assert good.select("a", "e").rows() == [("0.00005", "1500"), ("2", None), (None, "true")]


@pytest.mark.parametrize("name", ["caddy", "traefik_json", "json"])
def test_lines_of_the_formats_that_m2_knows_are_read_all_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one takes three times as long, so no kind of line that is common may end there."""
    lines = [line.decode() for line in LINES[name].splitlines() if b"\\x" not in line]
    monkeypatch.setattr("m2cli.logs.parsers.objects.parse_object", None)
    log_format = find_format(name).with_options(FieldRule(keep=("all",)))
    good, bad = split_objects(frame_of(lines * 50), name_paths(log_format))
    assert (len(good), len(bad)) == (len(lines) * 50, 0)


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
