"""Where visits begin: after a silence of more than `inactivity`, or beyond `max_duration` of the first event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.visits.rules import microseconds

if TYPE_CHECKING:
    from m2cli.visits.rules import VisitRule


def cut_visits(key: pl.Series, carried: pl.DataFrame, rule: VisitRule) -> pl.DataFrame:
    """The visits in a sorted `key`, as ranges of its rows.

    `key` is one of `make_keys`, in order: two visitors are more than `inactivity` apart, so one look at
    the differences cuts visitors and silences alike (DESIGN 4.2: more than, exactly is the same visit).
    `carried` has, for each open visit that is a row of `key`, its `place` there and its `lead`, the µs
    from its first event to that row.

    Columns: `first` and `end` (UInt32, half-open range of rows), `is_cut` (whether `max_duration` began
    it, so that it continues the visit before it).
    """
    opens = (key.diff() > microseconds(rule.inactivity)).fill_null(value=True)
    first = opens.arg_true().cast(pl.UInt32)
    chains = _ranges(first, len(key))
    cuts = _cut_long_chains(key, _with_start(chains, key, carried), microseconds(rule.max_duration))
    if not len(cuts):
        return chains.with_columns(is_cut=pl.lit(value=False))
    begins = pl.concat([first, cuts]).sort()
    return _ranges(begins, len(key)).with_columns(is_cut=pl.col("first").is_in(cuts.implode()))


def _ranges(first: pl.Series, length: int) -> pl.DataFrame:
    return pl.DataFrame({"first": first, "end": first.shift(-1, fill_value=length)})


def _with_start(chains: pl.DataFrame, key: pl.Series, carried: pl.DataFrame) -> pl.DataFrame:
    """`chains` with the key at which the first visit of each began, and that of its last event."""
    ranges = chains.with_columns(
        start=key.gather(chains["first"]), last=key.gather(chains["end"] - 1) if chains.height else key.clear()
    )
    if not carried.height:
        return ranges
    leads = carried.select(first="place", lead="lead")
    return (
        ranges.join(leads, on="first", how="left", maintain_order="left")
        .with_columns(start=pl.col("start") - pl.col("lead").fill_null(0))
        .drop("lead")
    )


def _cut_long_chains(key: pl.Series, chains: pl.DataFrame, max_duration: int) -> pl.Series:
    """The rows at which `max_duration` begins a visit, greedily from each visit's own first event.

    Only chains longer than the limit are looked at; a pass cuts one visit off each, with one probe each.
    """
    is_long = pl.col("last") - pl.col("start") > max_duration
    chains = chains.filter(is_long)
    cuts = [chains["first"].clear()]
    while chains.height:
        limit = chains.select(pl.col("start") + max_duration).to_series()  # a Series of Int128 takes no int
        beyond = key.search_sorted(limit, side="right")
        chains = chains.with_columns(first=beyond, start=key.gather(beyond))
        cuts.append(chains["first"])
        chains = chains.filter(is_long)
    return pl.concat(cuts)
