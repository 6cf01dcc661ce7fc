"""Whole visits: the tagged events of visits that have ended, taken out of the segments they were kept in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence


class Gathered(NamedTuple):
    """What `gather` parts its segments into."""

    whole: pl.DataFrame
    rest: pl.DataFrame


def gather(segments: Sequence[pl.DataFrame], ended: pl.DataFrame) -> Gathered:
    """The events of the visits in `ended`, each visit whole (DESIGN 5.5), and the rest.

    `segments` are `tagged` frames of `assign_visits`, in the order in which they were made; `ended` has
    `visit_number` and `event_count`, in order of start.

    - `whole`: visits in the order of `ended`, the rows of a visit together and in their order, without
      `visit_number`.
    - `rest`: the other rows, of visits that are still open, as they were.
    """
    if not segments:
        nothing = pl.DataFrame(schema={"visit_number": pl.UInt64})
        return Gathered(nothing.drop("visit_number"), nothing)
    if len(segments) == 1 and _is_whole(segments[0], ended):
        return Gathered(segments[0].drop("visit_number"), segments[0].clear())
    taken, rest, ranks = list[pl.DataFrame](), list[pl.DataFrame](), list[pl.Series]()
    for segment in segments:  # what is not asked for is passed on as it is
        rank = _rank(segment["visit_number"], ended["visit_number"])
        is_asked = rank.is_not_null()
        taken.append(segment.filter(is_asked))
        rest.append(segment.filter(~is_asked) if is_asked.any() else segment)
        ranks.append(rank.drop_nulls())
    order = pl.DataFrame({"rank": pl.concat(ranks)}).with_row_index("row").sort("rank", maintain_order=True)["row"]
    # Gathering from many pieces costs five times as much; as expressions columns are gathered side by side.
    whole = pl.concat(taken, how="diagonal").rechunk().select(pl.all().gather(pl.lit(order)))
    return Gathered(whole.drop("visit_number"), pl.concat(rest, how="diagonal"))


def _is_whole(tagged: pl.DataFrame, ended: pl.DataFrame) -> bool:
    """Whether `tagged` is already what is asked for, as in a bounded run."""
    if tagged.height != ended["event_count"].sum():
        return False
    runs = tagged["visit_number"].rle().struct.field("value")
    return len(runs) == ended.height and bool((runs == ended["visit_number"]).all())


def _rank(numbers: pl.Series, ended: pl.Series) -> pl.Series:
    """For each of `numbers`, its row in `ended`; null where it is not there.

    Numbers are dense, so a table of them is an index: for millions of events a fraction of a join's cost.
    """
    if not len(ended):
        return pl.repeat(None, n=len(numbers), dtype=pl.UInt32, eager=True)
    least, most = ended.min(), ended.max()
    if not isinstance(least, int) or not isinstance(most, int):
        raise TypeError("visit numbers are integers")
    table = pl.repeat(None, n=most - least + 1, dtype=pl.UInt32, eager=True).scatter(
        (ended - least).cast(pl.UInt32), pl.int_range(len(ended), dtype=pl.UInt32, eager=True)
    )
    is_within = numbers.is_between(least, most)
    places = pl.select(pl.when(is_within).then(numbers - least)).to_series()
    return table.gather(places)


def count_reused_ids(whole: pl.DataFrame) -> int:
    """How many events of whole visits bear the id of an earlier event of their visit (DESIGN 4.8: `id_reused`)."""
    if "event_id" not in whole.columns or not whole.height:
        return 0
    is_next = whole["visit_id"] != whole["visit_id"].shift(1)
    visit = is_next.fill_null(value=True).cum_sum()
    ids = whole["event_id"]
    digest = pl.select(ids.hash() ^ visit.cast(pl.UInt64).hash()).to_series().filter(ids.is_not_null())
    if digest.n_unique() == len(digest):  # equal ids have equal digests, so there is none
        return 0
    named = pl.DataFrame({"visit": visit, "event_id": ids}).drop_nulls()
    return named.height - named.n_unique()
