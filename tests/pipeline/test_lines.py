"""Where a setting stands in its file: the scan that finds it agrees with the parser about what is there."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.pipeline.lines import Place, find_line, find_lines

DOCUMENT = '''\
name = "a#b" # [[source]]
"quo ted" . 'b = c' = 1
[pipeline]   # of the shop
lake = """a
[visit]
inactivity = \\"""
"""
  memory = "x"
[[source]]
paths = [ # "
  "[source]",
  "b = 3", ]
map = { a = "[", b = "}" }
[source.more.deeply]
k=1
[[source]]
paths = \'\'\'
q\'\'\'\'\'
type="e"\r
[ visit ]
a.b = 3.5
date = 1979-05-27T07:32:00Z
'''
PLACES: dict[Place, int] = {
    ("name",): 1,
    ("quo ted",): 2,
    ("quo ted", "b = c"): 2,
    ("pipeline",): 3,
    ("pipeline", "lake"): 4,
    ("pipeline", "memory"): 8,
    ("source",): 9,
    ("source", 0): 9,
    ("source", 0, "paths"): 10,
    ("source", 0, "map"): 13,
    ("source", 0, "more", "deeply"): 14,
    ("source", 0, "more", "deeply", "k"): 15,
    ("source", 1): 16,
    ("source", 1, "paths"): 17,
    ("source", 1, "type"): 19,
    ("visit",): 20,
    ("visit", "a"): 21,
    ("visit", "a", "b"): 21,
    ("visit", "date"): 22,
}


def list_places(value: Any, place: Place = ()) -> set[Place]:
    """All tables and keys of what tomllib has read."""
    if isinstance(value, dict):
        return {place}.union(*(list_places(each, (*place, name)) for name, each in value.items()))
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return {place}.union(*(list_places(each, (*place, number)) for number, each in enumerate(value)))
    return {place}


def test_each_header_and_key_is_found_on_its_line() -> None:
    assert find_lines(DOCUMENT) == PLACES


def test_what_is_found_is_there() -> None:
    assert set(find_lines(DOCUMENT)) <= list_places(tomllib.loads(DOCUMENT))


def test_what_has_no_line_is_where_the_table_around_it_is() -> None:
    places = find_lines(DOCUMENT)
    assert find_line(places, ("source", 0, "map", "b")) == 13
    assert find_line(places, ("source", 1, "format")) == 16
    assert find_line(places, ("redaction", "names")) is None


NAMES = st.sampled_from(["a", "b", '"c d"', "'e.f'", '"[x]"', '"g\\"h = 1"'])
TEXTS = st.sampled_from(['"x"', "'y = 1'", '"""\n[a]\n"""', "'''\nb = 2 # '''", '"#"', '"\\\\"', '""', '""""q"" """'])
VALUES = st.one_of(
    TEXTS,
    st.just("1"),
    st.lists(TEXTS, max_size=3).map(lambda texts: "[\n" + ",\n".join(texts) + "\n]"),
    TEXTS.filter(lambda text: "\n" not in text).map(lambda text: f"{{ k = {text} }}"),
)


@given(st.lists(st.tuples(NAMES, VALUES, st.sampled_from(["", " # c", " # [q]"])), unique_by=lambda one: one[0]))
def test_every_key_is_found_on_the_line_it_was_written_on(written: list[tuple[str, str, str]]) -> None:
    text, lines = "[[t]]\n", {}
    for name, value, comment in written:
        lines[next(iter(tomllib.loads(f"{name} = 0")))] = text.count("\n") + 1
        text += f"{name} = {value}{comment}\n"
    tomllib.loads(text)
    assert find_lines(text) == {("t",): 1, ("t", 0): 1} | {("t", 0, name): line for name, line in lines.items()}


@pytest.mark.parametrize("text", ["", "# nothing", "\n\n"], ids=["empty", "a comment", "blank lines"])
def test_a_file_without_settings_has_no_places(text: str) -> None:
    assert find_lines(text) == {}
