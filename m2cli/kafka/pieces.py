"""Messages as columns: from lists to a frame, cut to a range and to a size."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.kafka.client import HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from m2cli.kafka.client import PieceRule, Range

_FIRST_COUNT = 1_000  # messages of a topic whose size nobody knows yet
_NO_TIME = -1  # milliseconds: what both libraries give for a message without a time


@contextmanager
def uncollected() -> Iterator[None]:
    """For the time of the block cycles are not looked for: a loop over messages makes none, and many objects.

    Python would look through all of these again and again, which is a quarter of the time of such a loop.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def build_messages(
    keys: Sequence[bytes | None], values: Sequence[bytes | None], offsets: Sequence[int], times: Sequence[int]
) -> pl.DataFrame:
    """A frame of `MESSAGE_SCHEMA` from a list a column; times are milliseconds since 1970."""
    milliseconds = pl.Series(times, dtype=pl.Int64)
    return pl.DataFrame(
        {
            "key": pl.Series(keys, dtype=pl.Binary),
            "value": pl.Series(values, dtype=pl.Binary),
            "position_in_source": pl.Series(offsets, dtype=pl.Int64),
            "arrival_time": (milliseconds * 1000).cast(pl.Datetime("us", "UTC")).set(milliseconds == _NO_TIME, None),
        }
    )


def build_headers(headers: Sequence[Sequence[tuple[str, bytes | None]] | None]) -> pl.Series:
    """The column `headers` of as many messages."""
    rows: list[list[dict[str, Any]]] = [[{"key": key, "value": value} for key, value in row or ()] for row in headers]
    return pl.Series("headers", rows, dtype=HEADERS)


def cut_to_range(messages: pl.DataFrame, wanted: Range) -> pl.DataFrame:
    """Those of `messages`, in order of offset, that are in the range."""
    offsets = messages["position_in_source"]
    if offsets[0] >= wanted.start and offsets[-1] < wanted.end:
        return messages
    first, last = offsets.search_sorted(wanted.start), offsets.search_sorted(wanted.end)
    return messages.slice(first, last - first)


def cut_to_size(messages: pl.DataFrame, rule: PieceRule) -> Iterator[pl.DataFrame]:
    """`messages`, in order, in pieces as `rule` has them; none if there are no messages."""
    sizes = _find_sizes(messages)
    if messages.height <= rule.most_count and sizes.sum() <= rule.most_bytes:
        if messages.height:
            yield messages
        return
    before = (sizes.cum_sum() - sizes) // rule.most_bytes
    for piece in messages.with_columns(piece=before).partition_by("piece", maintain_order=True, include_key=False):
        yield from piece.iter_slices(rule.most_count)


class Pace:
    """How many messages to ask for next, so that they come to about a piece."""

    def __init__(self, rule: PieceRule) -> None:
        self._rule = rule
        self.count = min(_FIRST_COUNT, rule.most_count)

    def learn(self, messages: pl.DataFrame) -> None:
        """Take the next ones to be as large as `messages`."""
        fitting = self._rule.most_bytes * messages.height // max(count_bytes(messages), 1)
        self.count = max(1, min(fitting, self._rule.most_count, 2 * messages.height + _FIRST_COUNT))


def count_bytes(messages: pl.DataFrame) -> int:
    """How many bytes are in the keys and values of `messages`."""
    return int(_find_sizes(messages).sum())


def _find_sizes(messages: pl.DataFrame) -> pl.Series:
    sizes = pl.col("key").bin.size().fill_null(0) + pl.col("value").bin.size().fill_null(0)
    return messages.select(sizes.cast(pl.Int64))["key"]
