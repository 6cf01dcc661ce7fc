"""What visits would be by other rules: the numbers of plain loops, and pictures of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from m2cli.errors import UnknownNameError, UsageError
from m2cli.output.plot import draw_bars, draw_svg
from m2cli.runs.replay.what_if import measure, parse_sweep
from m2cli.runs.sample import make_sample
from m2cli.sample.rule import SampleRule
from m2cli.stages.visitors import VisitorRule, assign_visitors
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from pathlib import Path

    Row = dict[str, Any]

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("sample") / "days"
    make_sample(folder, SampleRule(events=4_000, seed=9))
    read = pl.concat(pl.read_parquet(path) for path in sorted((folder / "events").glob("*.parquet")))
    once = read.unique(["event_id", "event_time"], keep="first", maintain_order=True)
    return assign_visitors(once, VisitorRule()).events


def number_visits(events: pl.DataFrame, rule: VisitRule) -> tuple[int, list[timedelta], dict[str, int]]:
    """How many visits there are, how long they last, and the visit of each event, one event after the other."""
    count, lengths, visit_of = 0, list[timedelta](), dict[str, int]()
    before: Row | None = None
    start = events["event_time"].min()
    for row in events.sort("visitor_id", "event_time", maintain_order=True).iter_rows(named=True):
        is_new = (
            before is None
            or before["visitor_id"] != row["visitor_id"]
            or row["event_time"] - before["event_time"] > rule.inactivity
            or row["event_time"] - start > rule.max_duration
        )
        if is_new:
            count, start = count + 1, row["event_time"]
            lengths.append(timedelta(0))
        lengths[-1] = row["event_time"] - start
        visit_of[row["event_id"]] = count
        before = row
    return count, lengths, visit_of


def count_cut_off(events: pl.DataFrame, visit_of: dict[str, int]) -> tuple[int, int]:
    """Purchases whose root is there, and those of them in another visit than it."""
    rows = {row["event_id"]: row for row in events.iter_rows(named=True)}
    found = cut_off = 0
    for row in (row for row in rows.values() if row["event_type"] == "purchase"):
        top, seen = row, {row["event_id"]}
        while top is not None and top["cause_id"] is not None and top["cause_id"] not in seen:
            top = rows.get(top["cause_id"])
            seen.add(top["event_id"] if top else None)
        if top is not None and top["cause_id"] is None:
            found += 1
            cut_off += visit_of[top["event_id"]] != visit_of[row["event_id"]]
    return found, cut_off


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_the_measures_are_those_of_plain_loops(events: pl.DataFrame, tmp_path: Path, memory: int) -> None:
    rules = parse_sweep("inactivity=1m,30m", VisitRule()) + parse_sweep("max-duration=10m", VisitRule())
    found = measure(events.iter_slices(1_000), rules, memory, tmp_path)
    for rule, measured in zip(rules, found, strict=True):
        count, lengths, visit_of = number_visits(events, rule.visit)
        assert measured["visit_count"] == count
        assert measured["events_per_visit"] == round(events.height / count, 3)
        assert measured["mean_seconds"] == pytest.approx(sum(lengths, timedelta(0)).total_seconds() / count, abs=0.01)
        assert (measured["purchase_count"], measured["cut_off_count"]) == count_cut_off(events, visit_of)
    assert found[0]["cut_off_count"] > 0
    assert [each["rule"] for each in found] == ["inactivity=1m", "inactivity=30m", "max_duration=10m"]


def test_a_sweep_is_over_a_limit_that_there_is() -> None:
    with pytest.raises(UsageError, match="is no sweep"):
        parse_sweep("inactivity", VisitRule())
    with pytest.raises(UnknownNameError, match="inactivty"):
        parse_sweep("inactivty=3m", VisitRule())


def test_bars_are_as_long_as_their_values() -> None:
    lines = list(draw_bars("t", ["a", "bb"], [8, 2], ["eight", "two"]))
    assert [line.count("█") for line in lines] == [0, 40, 10]
    assert lines[2].startswith("bb  ")


def test_the_picture_is_svg_with_every_value() -> None:
    drawn = ET.fromstring(draw_svg("a < b", [("visits", ["10m", "1h"], [4, 1], ["4", "1"])]))  # noqa: S314
    bars = [float(each.attrib["width"]) for each in drawn.iter(f"{SVG}rect") if each.attrib["width"] != "100%"]
    assert bars[0] == 4 * bars[1]
    texts = [each.text for each in drawn.iter(f"{SVG}text")]
    assert {"a < b", "visits", "10m", "1h", "4", "1"} <= set(texts)
