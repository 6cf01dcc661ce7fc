"""Tracing in a lake: across visits and files, with what competed, whatever the data says."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2cli.errors import ExitCode, UnreadableSourceError
from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.lake import stage_lake
from m2cli.output.formats import to_json_values, write_frames
from m2cli.runs import trace_reader
from m2cli.runs.trace import (
    UnknownEventError,
    UnknownTypeError,
    format_time,
    trace_event,
    trace_events,
    trace_to_dict,
)
from tests.twins import trace_twin

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
COLUMNS = ("event_id", "event_time", "event_type", "entity_type", "entity_id", "cause_id", "hook", "reason")
COLUMNS += ("position", "quantity", "amount", "currency", "visitor_id", "visit_id")


def event(event_id: str | None, cause_id: str | None, minute: float, visit: str = "v1", **more: Any) -> dict[str, Any]:
    """An event of the visitor that the visit's first letter names."""
    time = START + timedelta(minutes=minute)
    row = {
        "event_id": event_id,
        "cause_id": cause_id,
        "event_time": time,
        "visit_id": visit,
        "visitor_id": visit[0],
    }
    return row | {"event_type": "page"} | more


def write_lake(target: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """A lake of these events, their visits whole and in order of start; returns them as they lie there."""
    schema = {name: LAKE_EVENT_SCHEMA[name] for name in COLUMNS}
    events = pl.DataFrame([dict.fromkeys(COLUMNS) | row for row in rows], schema=schema)
    visits = (
        events.group_by("visit_id")
        .agg(pl.col("event_time").min().alias("start_time"), pl.len().cast(pl.Int64).alias("event_count"))
        .sort("start_time", "visit_id")
        .with_row_index("place")
    )
    whole = events.join(visits.select("visit_id", "place"), on="visit_id").sort("place", "event_time").drop("place")
    with stage_lake(target, replace=True) as lake:
        lake.write_events(whole, visits)
        lake.write_visits(visits.drop("place"))
        lake.commit()
    return whole


SHOP = [
    event("home", None, 0, reason="search"),
    event("banner", "home", 0, event_type="show", position=1, reason="campaign"),
    event("shoe", "home", 0, event_type="show", position=3, reason="recommendation"),
    event("hat", "home", 0, event_type="show", position=2, reason="recommendation"),
    event("hat seen", "home", 0, event_type="seen", position=2),
    event("click", "shoe", 1, event_type="click", hook="product_page"),
    event("shoe page", "click", 2),
    event("cart show", "shoe page", 2, event_type="show"),
    event("cart click", "cart show", 60 * 24, "v2", event_type="add_to_cart"),
    event("buy", "cart click", 60 * 24 + 1, "v2", event_type="purchase", amount=Decimal("12.5000"), quantity=2),
    event("lonely", "lost", 5, "w1", event_type="purchase"),
    event("round 1", "round 2", 6, "w1"),
    event("round 2", "round 1", 7, "w1", event_type="purchase"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("trace") / "lake"
    write_lake(target, SHOP)
    return target


def test_a_purchase_is_traced_to_its_root_across_visits_and_files(shop: Path) -> None:
    trace = trace_event("buy", shop)
    assert trace.steps["event_id"].to_list() == [
        *("home", "shoe", "click", "shoe page", "cart show", "cart click", "buy")
    ]
    assert trace.end == "root"


def test_competitors_are_the_other_shows_of_the_same_cause_by_position(shop: Path) -> None:
    competitors = trace_event("buy", shop).competitors
    assert competitors.select("step", "event_id", "position").rows() == [(1, "banner", 1), (1, "hat", 2)]


def test_an_orphan_says_which_cause_is_missing(shop: Path) -> None:
    trace = trace_event("lonely", shop)
    assert (trace.end, trace.missing_cause_id) == ("orphan", "lost")


def test_a_cycle_ends(shop: Path) -> None:
    trace = trace_event("round 2", shop)
    assert (trace.end, trace.steps["event_id"].to_list()) == ("cycle", ["round 1", "round 2"])


def test_an_unknown_id_is_one_clear_line(shop: Path) -> None:
    with pytest.raises(UnknownEventError, match=r"^no event `nothing` in the lake `") as caught:
        trace_event("nothing", shop)
    assert caught.value.exit_code is ExitCode.DATA


def test_no_lake_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSourceError):
        trace_event("x", tmp_path / "nothing")


def test_all_purchases_are_traced_at_once(shop: Path) -> None:
    frame = pl.concat(trace_events(shop))
    assert frame.select("event_id", "root_id", "is_orphan", "is_cycle", "missing_cause_id").rows() == [
        ("lonely", None, True, False, "lost"),
        ("round 2", None, False, True, None),
        ("buy", "home", False, False, None),
    ]
    chain = frame["chain"][2].to_list()
    assert [step["event_id"] for step in chain] == trace_event("buy", shop).steps["event_id"].to_list()
    assert [step["competitor_count"] for step in chain] == [0, 2, 0, 0, 0, 0, 0]


def test_all_purchases_are_a_line_of_json_each(shop: Path) -> None:
    stream = io.BytesIO()
    write_frames(trace_events(shop), "ndjson", stream)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event_id"] for line in lines] == ["lonely", "round 2", "buy"]
    bought = lines[2]["chain"][-1]
    assert (bought["event_time"], bought["amount"]) == ("2026-03-02T10:01:00Z", "12.5000")


def test_json_and_a_line_of_json_say_the_same(shop: Path) -> None:
    stream = io.BytesIO()
    write_frames(trace_events(shop), "ndjson", stream)
    for line in map(json.loads, stream.getvalue().splitlines()):
        told = trace_to_dict(trace_event(line["event_id"], shop))
        counts = [step.pop("competitor_count") for step in line["chain"]]
        assert counts == [len(step.pop("competitors")) for step in told["chain"]]
        assert told.pop("occurrences") == [line["event_time"]]
        assert line == told


@pytest.mark.parametrize(
    ("microsecond", "text"),
    [
        pytest.param(0, "12:00:00Z", id="whole seconds"),
        pytest.param(500_000, "12:00:00.500Z", id="milliseconds"),
        pytest.param(500_001, "12:00:00.500001Z", id="microseconds"),
    ],
)
def test_a_time_is_the_same_text_in_a_trace_and_in_a_result(microsecond: int, text: str) -> None:
    time = datetime(2026, 3, 1, 12, 0, 0, microsecond, UTC)
    assert format_time(time) == f"2026-03-01T{text}"
    assert to_json_values(pl.DataFrame({"t": [time]})).item() == format_time(time)


@pytest.mark.parametrize(
    ("event_type", "hint"),
    [
        pytest.param("purchse", "did you mean `purchase`?", id="nearly one"),
        pytest.param("wish", "there are `add_to_cart`, `click`, `page`, `purchase`, `seen`, `show`", id="none"),
    ],
)
def test_a_type_that_no_event_has_is_an_error_with_those_that_are(shop: Path, event_type: str, hint: str) -> None:
    with pytest.raises(UnknownTypeError) as caught:
        next(trace_events(shop, event_type))
    assert str(caught.value) == f"no event of type `{event_type}` in the lake `{shop}`; {hint}"
    assert caught.value.exit_code is ExitCode.DATA


def test_a_lake_without_events_has_no_types(tmp_path: Path) -> None:
    with stage_lake(tmp_path / "lake") as lake:
        lake.commit()
    with pytest.raises(UnknownTypeError, match="there are no types"):
        next(trace_events(tmp_path / "lake"))


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "damaged"])
def test_a_lake_of_which_a_file_is_gone_or_damaged_says_so(tmp_path: Path, is_gone: bool) -> None:
    write_lake(tmp_path / "lake", SHOP)
    for path in (tmp_path / "lake").glob("events/*/*.parquet"):
        if is_gone:
            path.unlink()
        else:
            path.write_bytes(b"x")
    for trace in (lambda: trace_event("buy", tmp_path / "lake"), lambda: next(trace_events(tmp_path / "lake"))):
        with pytest.raises(UnreadableSourceError, match="a file of it is gone or damaged"):
            trace()


def test_json_has_the_root_first_and_all_that_competed(shop: Path) -> None:
    told = trace_to_dict(trace_event("buy", shop))
    assert (told["event_id"], told["root_id"], told["is_orphan"], told["is_cycle"]) == (
        "buy",
        "home",
        False,
        False,
    )
    assert told["event_time"] == "2026-03-02T10:01:00Z"
    assert told["chain"][-1]["amount"] == "12.5000"
    assert [other["event_id"] for other in told["chain"][1]["competitors"]] == ["banner", "hat"]


REUSED = [
    event("1", None, 0, "a1"),
    event("2", "1", 1, "a1", event_type="show"),
    event("1", None, 100, "a2"),
    event("2", "1", 101, "a2", event_type="show"),
    event("3", "1", 101, "a2", event_type="show"),
    event("1", None, 50, "b1"),
    event("4", "1", 51, "b1", event_type="show"),
]


def test_of_an_id_that_was_reused_each_event_has_its_own_trace(tmp_path: Path) -> None:
    write_lake(tmp_path / "lake", REUSED)
    first = trace_event("2", tmp_path / "lake")
    assert first.steps["visit_id"].to_list() == ["a1", "a1"]
    assert first.competitors.is_empty()
    assert first.occurrences == (START + timedelta(minutes=1), START + timedelta(minutes=101))
    second = trace_event("2", tmp_path / "lake", event_time=first.occurrences[1])
    assert second.steps["visit_id"].to_list() == ["a2", "a2"]
    assert second.competitors["event_id"].to_list() == ["3"]


def test_an_earlier_visits_event_is_the_cause_where_this_visit_has_its_id_only_later(tmp_path: Path) -> None:
    rows = [event("x", None, 0, "p1"), event("effect", "x", 600, "p2"), event("x", None, 601, "p2")]
    write_lake(tmp_path / "lake", rows)
    assert trace_event("effect", tmp_path / "lake").steps["visit_id"].to_list() == ["p1", "p2"]


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one with every scan of the whole lake."""
    made: list[str] = []
    for name in ("find", "locate"):
        scan = getattr(trace_reader.EventReader, name)

        def count(*args: Any, scan: Any = scan, name: str = name) -> pl.DataFrame:
            made.append(name)
            return scan(*args)

        monkeypatch.setattr(trace_reader.EventReader, name, count)
    return made


def test_a_trace_within_a_visit_takes_two_scans_and_one_more_for_each_further_visit(
    shop: Path, scans: list[str]
) -> None:
    trace_event("shoe page", shop)
    assert scans == ["locate", "find"]  # the event, then what competed
    scans.clear()
    trace_event("buy", shop)
    assert scans == ["locate", "find", "find"]


def test_a_visit_longer_than_what_is_read_around_an_event_is_read_whole(tmp_path: Path, scans: list[str]) -> None:
    count = 3 * trace_reader._REACH
    rows = [event(str(n), str(n - 1) if n else None, n / 60) for n in range(count)]
    rows += [event("other", None, 1, "w1"), event("before", None, -1, "x1")]
    write_lake(tmp_path / "lake", rows)
    assert trace_event(str(count - 1), tmp_path / "lake").steps.height == count
    assert scans == ["locate", "find"]


def test_many_traces_come_in_several_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2cli.runs.trace._STARTS_AT_ONCE", 30)
    monkeypatch.setattr("m2cli.runs.trace._STEPS_AT_ONCE", 7)
    rows = [event(f"{v}-{n}", f"{v}-{n - 1}" if n else None, 40 * v + n, f"{v}") for v in range(40) for n in range(3)]
    write_lake(tmp_path / "lake", rows)
    frames = list(trace_events(tmp_path / "lake", "page"))
    assert len(frames) > 3
    told = pl.concat(frames)
    assert told["event_id"].sort().to_list() == sorted(row["event_id"] for row in rows)
    assert (told["root_id"] == told["event_id"].str.replace(r"-.*", "-0")).all()
    assert (told["chain"].list.len() == told["event_id"].str.extract(r"-(\d)").cast(pl.UInt32) + 1).all()


IDS = st.sampled_from(["a", "b", "c", "d", "e"])
EVENTS = st.lists(
    st.tuples(
        st.one_of(st.none(), IDS),
        st.one_of(st.none(), IDS, st.just("lost")),
        st.integers(0, 6),
        st.sampled_from(["p1", "p2", "p3", "q1", "q2"]),
        st.sampled_from(["page", "show", "purchase"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS)
def test_what_is_found_in_few_scans_is_what_the_loop_finds_in_all_events(tmp_path: Path, drawn: list[Any]) -> None:
    # Visits of a visitor follow each other: hours apart by their number.
    rows = [event(i, c, 600 * int(v[1]) + m, v, event_type=k) for i, c, m, v, k in drawn]
    loop = write_lake(tmp_path / "lake", rows).to_dicts()
    asked = [row for row, one in enumerate(loop) if one["event_type"] == "purchase"]
    told = pl.concat(trace_events(tmp_path / "lake")).to_dicts() if asked else []
    assert len(told) == len(asked)
    for line, start in zip(told, asked, strict=True):
        path, end = trace_twin.walk(loop, start)
        path = path[::-1]
        assert [(s["event_id"], s["event_time"], s["visit_id"]) for s in line["chain"]] == [
            (loop[row]["event_id"], loop[row]["event_time"], loop[row]["visit_id"]) for row in path
        ]
        assert (line["is_orphan"], line["is_cycle"]) == (end == "orphan", end == "cycle")
        expected = [len(trace_twin.find_competitors(loop, row)) for row in path]
        assert [step["competitor_count"] for step in line["chain"]] == expected
    for event_id in {one["event_id"] for one in loop} - {None}:
        start = min(
            (r for r, one in enumerate(loop) if one["event_id"] == event_id),
            key=lambda r: loop[r]["event_time"],
        )
        trace = trace_event(event_id, tmp_path / "lake")
        path, end = trace_twin.walk(loop, start)
        assert trace.end == end
        assert trace.steps["event_time"].to_list() == [loop[row]["event_time"] for row in path[::-1]]
        others = [len(trace_twin.find_competitors(loop, row)) for row in path]
        assert trace.competitors.height == sum(others)
