"""A tape has all events once, in the order in which they can be read, whatever of them came in order and what fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from m2cli.events import TIME
from m2cli.runs.replay import record
from m2cli.runs.replay.record import Recorder
from m2cli.runs.replay.rule import FaultRule, ReplayRule
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    import pytest

BEGIN = datetime(2025, 10, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SCHEMA = {
    "source": pl.String,
    "part_id": pl.String,
    "position_in_source": pl.Int64,
    "event_time": TIME,
    "arrival_time": TIME,
    "visitor_id": pl.String,
}
Row = tuple[str, str | None, int, datetime, datetime, str]


@st.composite
def frames_of_arrivals(draw: st.DrawFn) -> list[list[Row]]:
    """Frames of events of a few partitions, mostly in the order of their arrival."""
    seconds = draw(st.lists(st.integers(0, 100), max_size=30))
    in_order = sorted(seconds) if draw(st.booleans()) else seconds
    rows: list[Row] = []
    for position, second in enumerate(in_order):
        time = BEGIN + second * SECOND
        part = draw(st.sampled_from([None, "a", "b"])) if draw(st.booleans()) else None
        rows.append((draw(st.sampled_from(["x", "y"])), part, position, time, time, "v"))
    if draw(st.booleans()):
        rows = draw(st.permutations(rows))
    ends = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    return [list(rows[first:end]) for first, end in zip([0, *ends], [*ends, len(rows)], strict=True)]


def read_times(rows: list[Row]) -> dict[tuple[object, ...], datetime]:
    """When each event can be read: never before one that stands before it."""
    found: dict[tuple[object, ...], datetime] = {}
    reached: dict[str, datetime] = {}
    for row in sorted(rows, key=lambda row: (row[0], row[1] or "", row[2])):
        reached[row[0]] = max(reached.get(row[0], BEGIN), row[4])
        found[row[:3]] = reached[row[0]]
    return found


@settings(max_examples=25)
@given(frames_of_arrivals(), st.booleans(), st.sampled_from([7, 40, 1_000]))
def test_the_tape_is_read_as_a_plain_loop_says(frames: list[list[Row]], is_parted: bool, span: int) -> None:
    rows = [row for frame in frames for row in frame]
    share = 1 << 40 if is_parted else 1
    with (
        TemporaryDirectory() as folder,
        patch.object(record, "_SHARE", share),
        patch.object(record, "_SPAN", span * 1_000_000),
    ):
        recorder = Recorder(Path(folder), ReplayRule())
        for frame in frames:
            recorder.add(pl.DataFrame(frame, schema=SCHEMA, orient="row"))
        tape = recorder.finish()
        found = [row for piece in tape.pieces for row in pl.read_parquet(piece.path, glob=False).iter_rows()]
        assert [piece.first for piece in tape.pieces] == _count_up([piece.path for piece in tape.pieces])
        assert len(list(Path(folder).iterdir())) == len(tape.pieces)
    expected = read_times(rows)
    assert sorted(found, key=str) == sorted(rows, key=str)
    for second in range(102):
        now = BEGIN + second * SECOND
        readable = {place for place, time in expected.items() if time < now}
        assert {row[:3] for row in found[: tape.find_end(now)]} == readable
    for source in {row[0] for row in rows}:
        places = [(row[1] or "", row[2]) for row in found if row[0] == source]
        assert places == sorted(places)


@settings(max_examples=20)
@given(frames_of_arrivals(), st.sampled_from([7, 40]), st.integers(1, 30), st.integers(0, 20))
def test_a_shuffle_does_not_depend_on_what_fits(frames: list[list[Row]], span: int, shuffle: int, bound: int) -> None:
    visit = VisitRule(max_out_of_orderness=bound * SECOND)
    rule = ReplayRule(visit=visit, faults=FaultRule(shuffle=shuffle * SECOND))
    tapes = []
    for share in (1, 1 << 40):
        with (
            TemporaryDirectory() as folder,
            patch.object(record, "_SHARE", share),
            patch.object(record, "_SPAN", span * 1_000_000),
        ):
            recorder = Recorder(Path(folder), rule)
            for frame in frames:
                recorder.add(pl.DataFrame(frame, schema=SCHEMA, orient="row"))
            tape = recorder.finish()
            found = [row for piece in tape.pieces for row in pl.read_parquet(piece.path, glob=False).iter_rows()]
            steps = pairwise([0, *tape.ends])
            tapes.append((tape.times, [sorted(found[first:end], key=str) for first, end in steps]))
    assert tapes[0] == tapes[1]


def _count_up(paths: list[Path]) -> list[int]:
    counts = [pl.read_parquet(path, glob=False).height for path in paths]
    return [sum(counts[:place]) for place in range(len(counts))]


def test_what_comes_in_order_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_SHARE", 1 << 40)
    monkeypatch.setattr(record, "_take_away", None)
    recorder = Recorder(tmp_path, ReplayRule())
    for first in range(0, 8_000, 1_000):
        numbers = range(first, first + 1_000)
        times = [BEGIN + number * SECOND / 7 for number in numbers]
        sources = ["xy"[number % 2] for number in numbers]
        columns = [sources, [None] * 1_000, list(numbers), times, times, ["v"] * 1_000]
        recorder.add(pl.DataFrame(columns, schema=SCHEMA))
    tape = recorder.finish()
    assert tape.row_count == 8_000
    assert len(tape.pieces) == 9
