"""Batches of a sample find exactly the truth of what was not late: the visits, and which events are late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.runs.sample import make_sample
from m2cli.sample.rule import SampleRule
from m2cli.stages.visitors import VisitorRule, assign_visitors
from m2cli.visits import VisitRule
from tests.batches import Batch, begin, run_batches
from tests.truth import read_truth

if TYPE_CHECKING:
    from pathlib import Path

    from tests.batches import Done

PLACE = ("source", "position_in_source")
FACTS = (
    *("visitor_id", "start_time", "end_time", "event_count", "page_count", "show_count", "click_count"),
    *("purchase_count", "end_reason", "continues_start_time"),
)


def run_in_batches(events: pl.DataFrame, every: str) -> list[Done]:
    """`events` in the order of arrival, a batch for each span of it and a flush at the end; nothing is ever idle."""
    # A source is read in order: no event is taken before those that stand before it.
    read_time = pl.col("arrival_time").cum_max().over("source").dt.truncate(every)
    arrived = events.sort(PLACE).with_columns(span=read_time)
    start = arrived["span"].min()
    batches = [Batch([piece.drop("span")], now=start) for piece in arrived.partition_by("span")]
    batches.sort(key=lambda batch: batch.slices[0]["arrival_time"].max())
    batches.append(Batch([], now=start, is_flush=True))
    return run_batches(batches, begin(events["source"].unique().to_list(), start), VisitRule())


@pytest.mark.parametrize("every", ["15m", "7h", "30d"])
def test_batches_find_the_truth_of_what_was_not_late(every: str, tmp_path: Path) -> None:
    make_sample(tmp_path / "sample", SampleRule(events=10_000, days=2, seed=3))
    read = pl.read_parquet(tmp_path / "sample" / "events" / "*.parquet")
    done = run_in_batches(assign_visitors(read, VisitorRule()).events, every)
    truth = tmp_path / "sample" / "truth" / "on_time"

    events = read_truth(truth / "events.parquet")
    late = pl.concat(frame for batch in done for frame in batch.late)
    duplicates = pl.concat(frame for batch in done for frame in batch.duplicates)
    assert late.select(PLACE).sort(PLACE).equals(events.filter("is_late").select(PLACE).sort(PLACE))
    is_copy = pl.col("is_duplicate") & ~pl.col("is_late")
    assert duplicates.select(PLACE).sort(PLACE).equals(events.filter(is_copy).select(PLACE).sort(PLACE))

    ended = pl.concat(frame for batch in done for frame in batch.ended)
    starts = ended.select(continues_visit_id="visit_id", continues_start_time="start_time")
    found = ended.join(starts, on="continues_visit_id", how="left").select(FACTS)
    expected = read_truth(truth / "visits.parquet").select(FACTS)
    assert found.sort(FACTS[:2]).equals(expected.sort(FACTS[:2]))
