"""Messages are cut to a range and to a size, and none is lost or comes twice."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from m2cli.kafka import MESSAGE_SCHEMA, PieceRule, Range
from m2cli.kafka.pieces import Pace, build_messages, count_bytes, cut_to_range, cut_to_size

SIZES = st.lists(st.none() | st.integers(0, 40), max_size=30)


def _messages(sizes: list[int | None]) -> pl.DataFrame:
    values = [None if size is None else b"x" * size for size in sizes]
    return build_messages([None] * len(sizes), values, range(len(sizes)), [0] * len(sizes))


def test_a_message_without_a_time_has_none() -> None:
    messages = build_messages([None, b"k"], [b"v", None], [3, 9], [-1, 1_764_000_000_123])
    assert messages.schema == MESSAGE_SCHEMA
    assert messages["arrival_time"].dt.epoch("us").to_list() == [None, 1_764_000_000_123_000]


@given(SIZES, st.integers(1, 100), st.integers(1, 10))
def test_pieces_are_all_messages_in_order_each_within_its_size(
    sizes: list[int | None], most_bytes: int, most_count: int
) -> None:
    messages = _messages(sizes)
    pieces = list(cut_to_size(messages, PieceRule(most_bytes, most_count)))
    assert all(0 < piece.height <= most_count for piece in pieces)
    # The one that crosses the limit still belongs to the piece.
    assert all(count_bytes(piece[:-1]) <= most_bytes or piece.height == 1 for piece in pieces)
    assert pl.concat([messages.clear(), *pieces]).equals(messages)


@given(st.sets(st.integers(0, 50), min_size=1), st.integers(0, 50), st.integers(0, 50))
def test_what_is_cut_to_a_range_is_what_is_in_it(offsets: set[int], start: int, end: int) -> None:
    start, end = sorted((start, end))
    ordered = sorted(offsets)
    messages = build_messages([None] * len(ordered), [b""] * len(ordered), ordered, [0] * len(ordered))
    found = cut_to_range(messages, Range(start, end))["position_in_source"].to_list()
    assert found == [offset for offset in ordered if start <= offset < end]


def test_as_many_messages_are_asked_for_as_fit() -> None:
    pace = Pace(PieceRule(most_bytes=10_000, most_count=500))
    assert pace.count == 500
    pace.learn(_messages([1_000] * 20))
    assert pace.count == 10
    pace.learn(_messages([None] * 5))
    assert pace.count == 500
    pace.learn(_messages([1_000_000]))
    assert pace.count == 1
