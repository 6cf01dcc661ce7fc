"""A sample in batches: with the events merged that its generator has made late, a lake is as if none had been."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.lake import scan_lake
from m2cli.runs.sample import make_sample
from m2cli.sample.rule import SampleRule
from m2cli.visits import VisitRule
from tests.pipelines_runs.shop import Shop, line
from tests.runs.rebuild.rebuilding import assert_conserved, assert_like_bounded, assert_whole, rebuild

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("is_flushed", [False, True], ids=["on and on", "with a flush in between"])
def test_the_late_events_of_a_sample_find_their_visits(tmp_path: Path, is_flushed: bool) -> None:
    make_sample(tmp_path / "sample", SampleRule(events=4_000, days=2, seed=5))
    read = pl.read_parquet(tmp_path / "sample" / "events" / "*.parquet")
    pieces = read.sort("arrival_time").with_columns(span=pl.col("arrival_time").dt.truncate("8h")).partition_by("span")
    shop = Shop(tmp_path / "shop", pieces[0]["span"][0])
    shop.settle(sources=(shop.log_source("*.log"), shop.events_source()), visit=VisitRule())
    for number, piece in enumerate(pieces):
        shop.now = piece["span"][0] + timedelta(hours=8)
        piece.drop("span").write_parquet(tmp_path / "shop" / "events" / f"{number:03}.parquet")
        shop.touch(tmp_path / "shop" / "events" / f"{number:03}.parquet")
        shop.run(is_flush=is_flushed and number == len(pieces) // 2)
        assert_conserved(shop)
    shop.pass_time(24 * 60)
    shop.log(line(shop.now, 1))
    shop.run(is_flush=True)
    late, days = shop.count("late"), scan_lake(shop.lake).visits.select(pl.col("start_time").dt.date().unique().sort())
    assert late > 20
    # A day after the other, as a person would; what a chain takes from the next day's is cut anew then.
    merged = [rebuild(shop, first=day, last=day, with_late=True).merged_count for day in days.collect().to_series()]
    first, last = read["event_time"].min().date(), read["event_time"].max().date()
    assert sum(merged) + rebuild(shop, first=first, last=last, with_late=True).merged_count == late
    assert_like_bounded(shop)
    assert_whole(shop)
