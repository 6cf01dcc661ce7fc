"""Small logs, many at a time: what a block costs whatever it holds is paid once for all that are in a bundle."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import asdict
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import REJECT_SCHEMA, Intake
from m2cli.logs.parse import Origin, Place, count_rejects_from, name_events, parse_block, reject_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from m2cli.logs.blocks import Block
    from m2cli.logs.formats import LogFormat

# A block costs 20 ms if there is one line in it; a megabyte of lines costs as much again.
_SMALL_SIZE = 1 << 16
_BUNDLE_SIZE = 1 << 20
_ORIGIN = ("source", "part_id", "file", "arrival_time")


class Portion(NamedTuple):
    """A block of the part that `origin` describes; with it, `done` bytes of all that is to be read have been.

    `lines_before` is how many lines of the part lie before it; None if it goes on where the last portion ended.
    """

    block: Block
    origin: Origin
    done: int
    lines_before: int | None = None
    log_format: LogFormat | None = None
    """Of its log, where that is not the format of all."""


def bundle_portions(portions: Iterable[Portion], max_line_size: int) -> Iterator[list[Portion]]:
    """`portions` in order: those that are a small part, all of it, many at a time, any other alone."""
    held: list[Portion] = []
    held_size = 0
    for portion in portions:
        size = len(portion.block.data)
        can_be_bundled = portion.log_format is None or portion.log_format.can_be_bundled
        is_small = can_be_bundled and _is_small(portion.block, min(_SMALL_SIZE, max_line_size))
        if held and not (is_small and held_size + size <= _BUNDLE_SIZE and portion.log_format is held[0].log_format):
            yield held
            held, held_size = [], 0
        if is_small:
            held.append(portion)
            held_size += size
        else:
            yield [portion]
    if held:
        yield held


def _is_small(block: Block, size: int) -> bool:
    # A byte order mark is one at the beginning of a block only.
    return block.is_whole and len(block.data) < size and not block.data.startswith(BOM_UTF8)


def parse_bundle(bundle: Sequence[Portion], log_format: LogFormat, *, max_line_size: int) -> Intake:
    """The events and rejects of `bundle`; see `parse_block` for the columns.

    Line numbers of rejects count from the first line of their part if that is known, else from the bundle's.
    """
    block, origin, _, lines_before, own_format = bundle[0]
    log_format = own_format or log_format
    place = Place(log_format, origin, block.position)
    if block.fault:
        return count_rejects_from(reject_line(block.data, place, block.fault), lines_before or 0)
    if len(bundle) == 1:
        intake = parse_block(block.data, place, max_line_size=max_line_size)
        return count_rejects_from(intake, lines_before or 0)
    texts = [portion.block.data for portion in bundle]
    lines = [text if text.endswith(b"\n") else text + b"\n" for text in texts]
    parts = pl.DataFrame(
        [asdict(portion.origin) for portion in bundle], schema={name: REJECT_SCHEMA[name] for name in _ORIGIN}
    ).with_columns(
        pl.Series("begin", _count_before(map(len, lines)), dtype=pl.Int64),
        pl.Series("position", [portion.block.position for portion in bundle], dtype=pl.Int64),
        pl.Series("lines_before", _count_before(text.count(b"\n") for text in lines), dtype=pl.Int64)
        - pl.Series([portion.lines_before or 0 for portion in bundle], dtype=pl.Int64),
    )
    intake = parse_block(b"".join(lines), Place(log_format, origin, 0), max_line_size=max_line_size)
    return intake._replace(
        events=_give_back(intake.events, parts, name_events(pl.col("part_id") + "-")),
        rejects=_give_back(intake.rejects, parts, pl.col("line_number") - pl.col("lines_before")),
    )


def count_lines(bundle: Sequence[Portion], intake: Intake) -> list[int]:
    """How many lines each portion of `bundle` has, of which `intake` was made."""
    if len(bundle) == 1:
        return [intake.read_count]
    return [text.count(b"\n") + (not text.endswith(b"\n")) for text in (portion.block.data for portion in bundle)]


def _count_before(counts: Iterable[int]) -> list[int]:
    return list(accumulate(counts, initial=0))[:-1]


def _give_back(rows: pl.DataFrame, parts: pl.DataFrame, own: pl.Expr) -> pl.DataFrame:
    """`rows` of the joined text, each with the origin of its part, its position in that, and what is its `own`."""
    return (
        rows.drop(_ORIGIN, strict=False)
        .join_asof(parts, left_on="position_in_source", right_on="begin")
        .with_columns(pl.col("position_in_source") - pl.col("begin") + pl.col("position"))
        .with_columns(own)
        .select(rows.columns)
    )
