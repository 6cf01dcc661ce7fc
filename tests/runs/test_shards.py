"""Events that are more than memory may hold: none lost, none twice, a visitor's together and in order."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from m2cli.errors import UnwritableSinkError
from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.runs import shards
from m2cli.runs.shards import Spill, budget_events, default_memory, in_shard, plan_shards, size_in_memory

VISITORS = st.text(max_size=3)
# An event of them takes 30 to 200 bytes: from a visitor a shard to all in one.
BUDGETS = st.sampled_from([0, 300, 1_000, 3_000, 10_000])
EXTRA = ("url", "amount", "attributes", "event_time")


@st.composite
def frames_of_events(draw: st.DrawFn) -> list[pl.DataFrame]:
    """Frames with some of the columns each; `position_in_source` counts on over all of them."""
    made, count = [], 0
    for _ in range(draw(st.integers(0, 4))):
        visitors = draw(st.lists(VISITORS, max_size=9))
        places = range(count, count + len(visitors))
        count += len(visitors)
        columns = {
            "visitor_id": visitors,
            "position_in_source": list(places),
            "url": [f"/{place}" * (place % 5) if place % 3 else None for place in places],
            "amount": [Decimal(place) / 4 for place in places],
            "attributes": [{"k": str(place)} if place % 2 else None if place % 4 else {} for place in places],
            "event_time": [datetime(2026, 1, 1, 0, 0, 0, place, UTC) for place in places],
        }
        names = ("visitor_id", "position_in_source", *draw(st.lists(st.sampled_from(EXTRA), unique=True)))
        schema = {name: LAKE_EVENT_SCHEMA[name] for name in names}
        made.append(pl.DataFrame({name: columns[name] for name in names}, schema=schema))
    return made


def fill(folder: Path | str, budget: int, frames: list[pl.DataFrame]) -> Spill:
    spill = Spill(Path(folder), budget)
    spill.add(pl.DataFrame(schema={"visitor_id": pl.String, "position_in_source": pl.Int64}))
    for frame in frames:
        spill.add(frame)
    return spill


def visits_of(count: int, visitor_count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"visitor_id": [f"visitor {n % visitor_count}" for n in range(count)], "position_in_source": range(count)}
    )


@settings(max_examples=25)
@given(frames_of_events(), BUDGETS, st.integers(1, 5))
def test_all_events_are_in_shards_once_and_a_visitors_in_one_of_them_in_order(
    frames: list[pl.DataFrame], budget: int, least_count: int
) -> None:
    with TemporaryDirectory() as folder:
        spill = fill(folder, budget, frames)
        found = list(spill.shards(least_count))
        assert len(found) >= least_count
        assert spill.is_spilled or len(found) < 2 * least_count
        seen: set[str] = set()
        for shard in found:
            visitors = set(shard.events["visitor_id"])
            assert shard.events.filter(in_shard(shard.number, shard.count)).equals(shard.events)
            assert not visitors & seen
            seen |= visitors
            for _, events in shard.events.group_by("visitor_id", maintain_order=True):
                assert events["position_in_source"].is_sorted()
        assert len({tuple(shard.events.schema.items()) for shard in found}) == 1
        nothing = pl.DataFrame(schema={"visitor_id": pl.String, "position_in_source": pl.Int64})
        expected = pl.concat([nothing, *frames], how="diagonal")
        together = pl.concat([shard.events for shard in found]).sort("position_in_source")
        assert_frame_equal(together, expected, check_column_order=False)


@settings(max_examples=10)
@given(frames_of_events(), BUDGETS)
def test_shards_may_be_asked_for_again_and_drained_once(frames: list[pl.DataFrame], budget: int) -> None:
    with TemporaryDirectory() as folder:
        spill = fill(folder, budget, frames)
        once, again = list(spill.shards()), list(spill.shards())
        assert len(once) == spill.shard_count
        drained = list(spill.drain())
        for one, other, last in zip(once, again, drained, strict=True):
            assert (one.number, one.count) == (other.number, other.count) == (last.number, last.count)
            assert one.events.equals(other.events)
            assert one.events.equals(last.events)
        assert not list(Path(folder).iterdir())
        assert not sum(shard.events.height for shard in spill.shards())


@settings(max_examples=25)
@given(frames_of_events(), BUDGETS, st.sampled_from([1, 2, 8]))
def test_a_shard_may_be_read_by_its_number(frames: list[pl.DataFrame], budget: int, count: int) -> None:
    with TemporaryDirectory() as folder:
        spill = fill(folder, budget, frames)
        read = [spill.read(number, count) for number in range(count)]
        assert sum(events.height for events in read) == sum(frame.height for frame in frames)
        for number, events in enumerate(read):
            assert events.select(in_shard(number, count).all()).item()


def test_what_fits_is_one_shard_as_it_was_added_and_nothing_is_written(tmp_path: Path) -> None:
    events = visits_of(100, 7)
    spill = fill(tmp_path, 10_000, [events[:50], events[50:]])
    assert spill.shard_count == 1
    (shard,) = spill.shards()
    assert shard.events.equals(events)
    assert not list(tmp_path.iterdir())


def test_shards_keep_to_the_budget_and_are_not_much_smaller(tmp_path: Path) -> None:
    events = visits_of(20_000, 2_000)
    spill = fill(tmp_path, size_in_memory(events) // 10, list(events.iter_slices(500)))
    sizes = [size_in_memory(shard.events) for shard in spill.shards()]
    assert max(sizes) <= size_in_memory(events) / 10 * 1.01
    assert 10 <= len(sizes) <= 32


def test_a_part_that_is_too_large_is_split_again(tmp_path: Path) -> None:
    events = visits_of(20_000, 5_000)
    budget = size_in_memory(events) // 400
    sizes = [shard.events.height for shard in fill(tmp_path, budget, [events]).shards()]
    assert max(sizes) <= 20_000 / 400 * 1.5
    assert sum(sizes) == 20_000


def test_a_visitor_larger_than_the_budget_stays_together(tmp_path: Path) -> None:
    events = pl.concat([visits_of(1_000, 50), visits_of(1_000, 1)])
    shard_of = {
        visitor: number
        for number, shard in enumerate(fill(tmp_path, 4_000, [events]).shards())
        for visitor in set(shard.events["visitor_id"])
    }
    assert len(set(shard_of.values())) > 1
    assert sum(shard.events.filter(visitor_id="visitor 0").height == 1_020 for shard in
               fill(tmp_path, 4_000, [events]).shards()) == 1  # fmt: skip


def test_scratch_files_are_none_that_a_reader_of_the_lake_finds(tmp_path: Path) -> None:
    assert fill(tmp_path, 0, [visits_of(100, 10)]).is_spilled
    assert list(tmp_path.iterdir())
    assert not list(tmp_path.glob("**/*.parquet"))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 1_000, 65_536])
def test_every_visitor_is_in_one_of_any_number_of_shards(count: int) -> None:
    visitors = visits_of(50, 50)
    marks = visitors.select(pl.sum_horizontal(in_shard(number, count) for number in range(min(count, 1_000))))
    assert set(marks.to_series()) <= ({1} if count <= 1_000 else {0, 1})


@given(
    st.lists(st.sampled_from([0.0, 1.0, 5.0, 100.0]), min_size=16, max_size=16), st.floats(0, 300), st.integers(1, 9)
)
def test_a_plan_of_shards_covers_all_once_each_within_the_budget_or_as_fine_as_can_be(
    weights: list[float], budget: float, least_count: int
) -> None:
    leaves = list(plan_shards(weights, budget, least_count))
    spans = [range(number * 16 // count, (number + 1) * 16 // count) for number, count in leaves]
    assert [place for span in spans for place in span] == list(range(16))
    assert all(len(span) == 1 or sum(weights[place] for place in span) <= budget for span in spans)
    assert len(leaves) >= least_count


def test_size_in_memory_is_that_of_rows_which_share_nothing() -> None:
    events = pl.DataFrame(
        {
            "url": [f"/a/long/path/to/{n:04}" for n in range(1_000)],
            "attributes": pl.Series(
                [{"key": f"a value of {n:04}"} for n in range(1_000)], dtype=LAKE_EVENT_SCHEMA["attributes"]
            ),
            "bytes": range(1_000),
        }
    ).with_columns(source=pl.lit("a source of one name"), arrival_time=pl.lit(datetime(2026, 1, 1, tzinfo=UTC)))
    apart = pl.DataFrame([pl.Series(column.name, column.to_list(), column.dtype) for column in events])
    taken = apart.to_arrow(compat_level=pl.CompatLevel.newest()).nbytes
    assert taken <= size_in_memory(events) <= 1.5 * taken


def test_scratch_that_cannot_be_written_is_told_of_by_the_name_of_the_lake(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "gone", 0, named=tmp_path / "lake")
    with pytest.raises(UnwritableSinkError, match=r"cannot write `.*/lake`: "):
        spill.add(visits_of(10, 2))


def test_what_a_process_may_take_leaves_room_for_libraries_and_copies() -> None:
    for memory in (512 << 20, 1 << 30, 2 << 30):
        assert (250 << 20) + 3 * budget_events(memory) <= memory
    assert budget_events(0) > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [pytest.param("1000000\n", 500_000, id="a limit"), pytest.param("max\n", None, id="no limit")],
)
def test_half_of_what_a_container_may_take_is_taken(
    text: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_LIMITS", {})
    of_machine = default_memory()
    (tmp_path / "memory.max").write_text(text)
    (tmp_path / "cgroup").write_text("0::/a/service\n")
    monkeypatch.setattr(shards, "_OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(shards, "_LIMITS", {"": (str(tmp_path), "memory.max")})
    assert default_memory() == (expected or of_machine)
