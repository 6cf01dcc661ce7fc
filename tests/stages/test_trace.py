"""Causes: paths to the root, orphans, cycles, ids that occur more than once, and what competed."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.stages.trace import count_competitors, find_causes, find_competitors, trace_causes, unfold_causes
from tests.twins import trace_twin

SCHEMA = {
    "event_id": pl.String,
    "cause_id": pl.String,
    "event_time": pl.Datetime("us", "UTC"),
    "event_type": pl.String,
    "visitor_id": pl.String,
}


def frame(
    *rows: tuple[str | None, str | None] | tuple[str | None, str | None, int, str, str | None],
) -> pl.DataFrame:
    """Events of (id, cause, time, type, visitor); by default a minute apart, pages of one visitor."""
    full = [(*row, minute, "page", "v")[: 5 if len(row) == 2 else None] for minute, row in enumerate(rows)]
    full = [row[:5] for row in full]
    return pl.DataFrame(
        [(i, c, t * 60_000_000, k, v) for i, c, t, k, v in full],
        schema=SCHEMA | {"event_time": pl.Int64},
        orient="row",
    ).cast({"event_time": SCHEMA["event_time"]})


def path(events: pl.DataFrame, event_id: str) -> list[str]:
    return trace_causes(events, [event_id])["event_id"].to_list()


def ends(events: pl.DataFrame, event_id: str) -> set[str]:
    return set(trace_causes(events, [event_id])["end"])


def test_a_path_goes_from_the_event_up_to_the_root() -> None:
    events = frame(("page", None), ("show", "page"), ("click", "show"), ("other", "show"), ("buy", "click"))
    assert path(events, "buy") == ["buy", "click", "show", "page"]
    assert ends(events, "buy") == {"root"}


def test_an_event_without_cause_is_its_own_root() -> None:
    events = frame(("page", None))
    assert (path(events, "page"), ends(events, "page")) == (["page"], {"root"})


def test_an_event_whose_cause_is_not_there_is_an_orphan() -> None:
    events = frame(("click", "lost"), ("buy", "click"))
    assert (path(events, "buy"), ends(events, "buy")) == (["buy", "click"], {"orphan"})


def test_an_id_that_does_not_occur_has_no_path() -> None:
    assert trace_causes(frame(("a", None)), ["z"]).is_empty()


def test_no_events_have_no_paths() -> None:
    assert trace_causes(frame(), ["z"]).is_empty()


def test_a_null_id_is_nobodys_cause() -> None:
    events = frame((None, None), ("a", None))
    assert path(events, "a") == ["a"]


@pytest.mark.parametrize(
    ("links", "start", "expected"),
    [
        pytest.param([("a", "a")], "a", ["a"], id="an event that names itself"),
        pytest.param([("a", "b"), ("b", "a")], "a", ["a", "b"], id="two that name each other"),
        pytest.param(
            [("a", "c"), ("b", "a"), ("c", "b"), ("d", "b"), ("e", "d")],
            "e",
            ["e", "d", "b", "a", "c"],
            id="a path that leads into a circle goes around once",
        ),
    ],
)
def test_a_cycle_is_walked_once(links: list[tuple[str, str]], start: str, expected: list[str]) -> None:
    events = frame(*links)
    assert (path(events, start), ends(events, start)) == (expected, {"cycle"})


def test_a_path_of_a_hundred_thousand_events_is_unfolded() -> None:
    count = 100_000
    ids = pl.int_range(count, eager=True).cast(pl.String)
    events = pl.DataFrame({"event_id": ids, "cause_id": ids.shift(1), "event_time": pl.int_range(count, eager=True)})
    traced = trace_causes(events, [str(count - 1)])
    assert traced.height == count
    assert traced["event_id"].to_list() == ids.reverse().to_list()


def test_a_circle_of_a_hundred_thousand_events_is_unfolded() -> None:
    count = 100_000
    ids = pl.int_range(count, eager=True).cast(pl.String)
    causes = ids.shift(1, fill_value=str(count - 1))
    events = pl.DataFrame({"event_id": ids, "cause_id": causes, "event_time": pl.int_range(count, eager=True)})
    traced = trace_causes(events, ["7"])
    assert traced.height == count
    assert set(traced["end"]) == {"cycle"}


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        pytest.param([("x", 1, "v"), ("x", 2, "v"), ("x", 9, "v")], 1, id="the latest that is not after it"),
        pytest.param([("x", 5, "v"), ("x", 4, "v")], 0, id="one at the same time is not after it"),
        pytest.param([("x", 4, "other"), ("x", 1, "v")], 1, id="the visitor's own before another's later one"),
        pytest.param([("x", 4, "other"), ("x", 9, "v")], 1, id="the visitor's own even if after it"),
        pytest.param([("x", 8, "v"), ("x", 7, "v")], 1, id="of those after it the earliest"),
        pytest.param([("x", 3, "other"), ("x", 4, "third")], 1, id="anyone's if the visitor has none"),
        pytest.param([("x", 4, "other"), ("x", 4, "third")], 0, id="the first row of those at one time"),
        pytest.param([("x", 4, None), ("x", 3, "other")], 0, id="an unknown visitor is no visitor's own"),
    ],
)
def test_of_several_events_of_one_id_the_cause_is(causes: list[tuple[str, int, str | None]], expected: int) -> None:
    events = frame(*((i, None, t, "show", v) for i, t, v in causes), ("effect", "x", 5, "click", "v"))
    assert find_causes(events)[len(causes)] == expected


def test_an_id_that_occurs_twice_has_two_paths() -> None:
    events = frame(("p", None), ("a", "p"), ("q", None), ("a", "q"))
    traced = trace_causes(events, ["a"])
    assert traced.select("trace", "event_id").rows() == [(0, "a"), (0, "p"), (1, "a"), (1, "q")]


def test_competitors_are_the_other_shows_of_the_same_cause() -> None:
    events = frame(
        ("page", None),
        ("chosen", "page", 1, "show", "v"),
        ("other", "page", 1, "show", "v"),
        ("seen", "page", 1, "seen", "v"),
        ("elsewhere", "page2", 1, "show", "v"),
    )
    found = find_competitors(events, find_causes(events), pl.Series([0, 1]))
    assert found.rows() == [(1, 2)]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b", "c", "d", "e", "f", "g"]),
        st.sampled_from([None, "a", "b", "c", "d", "e", "lost"]),
        st.integers(0, 5),
        st.sampled_from(["page", "show", "click"]),
        st.sampled_from([None, "v", "w"]),
    ),
    max_size=14,
)
DISTINCT = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=12).flatmap(
    lambda ids: st.tuples(*(st.tuples(st.just(i), st.sampled_from([None, *ids])) for i in ids)).map(list)
)


def _dicts(events: pl.DataFrame) -> list[dict[str, Any]]:
    return events.to_dicts()


def _agrees_with_the_twin(events: pl.DataFrame) -> None:
    rows, loop = list(range(events.height)), _dicts(events)
    cause_row = find_causes(events)
    assert cause_row.to_list() == [trace_twin.find_cause(loop, row) for row in rows]
    paths = unfold_causes(events, cause_row, pl.Series(rows, dtype=pl.UInt32))
    walked = [trace_twin.walk(loop, row) for row in rows]
    assert paths.steps.rows() == [(t, s, row) for t, (way, _) in enumerate(walked) for s, row in enumerate(way)]
    assert paths.ends["end"].to_list() == [end for _, end in walked]
    expected = [(row, other) for row in rows for other in trace_twin.find_competitors(loop, row)]
    assert find_competitors(events, cause_row, pl.Series(rows)).rows() == expected
    counts = [len(trace_twin.find_competitors(loop, row)) for row in rows]
    assert count_competitors(events, cause_row, pl.Series(rows, dtype=pl.UInt32)).to_list() == counts


@given(EVENTS)
def test_the_columns_agree_with_the_loop_where_ids_are_reused(rows: list[Any]) -> None:
    _agrees_with_the_twin(frame(*rows))


@given(DISTINCT)
def test_the_columns_agree_with_the_loop_where_ids_are_unique(links: list[Any]) -> None:
    _agrees_with_the_twin(frame(*links))
