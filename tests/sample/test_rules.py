"""The rules of visits as the generator applies them, on any events: they agree with the twin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from m2cli.events import MONEY
from m2cli.sample.play import Arrivals
from m2cli.sample.record import ALL, ON_TIME, end_visits
from m2cli.sample.scenes import HOUR, MINUTE
from m2cli.sample.truth import settle
from tests.twins.sample_twin import Event, Visit, find_late, find_truth, place_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GAPS = st.sampled_from([0, 0, 1, MINUTE, 29 * MINUTE, 30 * MINUTE - 1, 30 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1])
ROWS = {
    "journey": pl.UInt32,
    "event": pl.Int64,
    "time": pl.Int64,
    "source": pl.String,
    "place": pl.Int64,
    "cause": pl.Int64,
    "is_late": pl.Boolean,
    "event_type": pl.String,
    "amount": MONEY,
    "currency": pl.String,
}


def at(time: int) -> datetime:
    return EPOCH + timedelta(microseconds=time)


@st.composite
def journeys(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of two journeys, in any order of arrival; ids recur, causes are anything."""
    rows: list[dict[str, Any]] = []
    for journey in range(2):
        time = 0
        gaps = draw(st.sampled_from([GAPS, GAPS, st.sampled_from([24 * MINUTE, 30 * MINUTE]), st.just(30 * MINUTE)]))
        for gap in draw(st.lists(gaps, max_size=30)):
            time += gap
            event = draw(st.integers(0, 20)) + 100 * journey
            cause = draw(st.none() | st.integers(0, 22))
            row = dict.fromkeys(ROWS, None) | {"journey": journey, "event": event, "time": time}
            row |= {"cause": None if cause is None else cause + 100 * journey, "event_type": "page"}
            row |= {
                "is_late": draw(st.integers(0, 5)) == 0,
                "source": draw(st.sampled_from(["web-10", "web-2"])),
            }
            rows.append(row)
    places = draw(st.permutations(range(len(rows))))
    causes = {row["event"]: row["cause"] for row in rows}  # one cause for an id, as a script has it
    return [row | {"place": place, "cause": causes[row["event"]]} for row, place in zip(rows, places, strict=True)]


def as_event(row: dict[str, Any]) -> Event:
    cause = row["cause"]
    return {
        "session_id": str(row["journey"]),
        "event_id": str(row["event"]),
        "cause_id": None if cause is None else str(cause),
        "event_time": at(row["time"]),
        "source": row["source"],
        "part_id": "0",
        "position_in_source": row["place"],
    }


@settings(max_examples=80)
@given(journeys(), st.booleans())
def test_whatever_happens_becomes_the_visits_and_roots_that_the_twin_finds(
    rows: list[dict[str, Any]], has_late: bool
) -> None:
    settled = settle(pl.DataFrame(rows, schema=ROWS), has_late=has_late)
    here = [row for row in rows if not (has_late and row["is_late"])]
    twin = find_truth([as_event(row) for row in here], on_time=False) if here else None
    visits = twin.visits if twin else []
    said = {
        (row["journey"], row["start"], row["end"], row["event_count"], row["continues"])
        for row in settled.visits.iter_rows(named=True)
    }
    assert said == {
        (
            int(visit.visitor),
            micros(visit.start),
            micros(visit.end),
            len(visit.events),
            None if visit.continues is None else micros(visit.continues),
        )
        for visit in visits
    }
    assert settled.visits.height == len(visits)
    assert settled.events.height == len(rows)
    for row in settled.events.iter_rows(named=True):
        place, root = place_of(as_event(row)), row["root"]
        start = twin.start_of.get(place) if twin else None
        assert row["start"] == (None if start is None else micros(start))
        assert (None if root is None else str(root)) == (twin.root_of.get(place) if twin else None)
        assert row["is_orphan"] == bool(twin and place in twin.orphans)
        assert row["is_duplicate"] == bool(twin and place in twin.duplicates)


def micros(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, 12).map(lambda n: n * 2 * MINUTE + n % 3),
        st.sampled_from([-2 * MINUTE, 0, 0, 1, 3 * MINUTE, 9 * MINUTE]),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=25,
)


@given(ARRIVALS, st.integers(0, 30 * MINUTE))
def test_what_is_late_when_it_arrives_is_late_for_the_twin_whatever_is_taken_at_once(
    drawn: list[tuple[int, int, int]], until: int
) -> None:
    schema = {"time": pl.Int64, "arrival": pl.Int64, "source": pl.UInt8}
    played = pl.DataFrame([(time, time + delay, n) for time, delay, n in drawn], schema=schema, orient="row")
    arrivals = Arrivals(3)
    placed = pl.concat([arrivals.take(played, until), arrivals.take(played.clear(), None)])
    assert placed["arrival"].is_sorted()
    events = [
        {
            "source": str(row["source"]),
            "position_in_source": row["place"],
            "event_time": at(row["time"]),
            "arrival_time": at(row["arrival"]),
        }
        for row in placed.iter_rows(named=True)
    ]
    late, watermark = find_late(events)
    assert {place_of(event) for event, is_late in zip(events, placed["is_late"], strict=True) if is_late} == late
    assert at(arrivals.watermark) == watermark
    assert arrivals.latest == max(time for time, _, _ in drawn)


def test_an_event_exactly_at_the_watermark_is_not_late() -> None:
    played = pl.DataFrame(
        {
            "time": [10 * MINUTE, 5 * MINUTE, 5 * MINUTE - 1],
            "arrival": [10 * MINUTE, 11 * MINUTE, 12 * MINUTE],
        }
    ).with_columns(source=pl.lit(0, dtype=pl.UInt8))
    assert Arrivals(1).take(played, None)["is_late"].to_list() == [False, False, True]


@given(
    st.integers(0, 13 * HOUR).map(lambda n: n // HOUR * HOUR) | st.just(12 * HOUR - 30 * MINUTE),
    st.sampled_from([-1, 0, 1]),
)
def test_a_visit_ends_for_the_reason_that_the_twin_finds(length: int, beyond: int) -> None:
    visits = pl.DataFrame({"start": [0], "end": [length]})
    moment = min(length + 30 * MINUTE, 12 * HOUR)
    visit = Visit("v", at(0), [{"event_time": at(length)}])
    twin = find_truth(
        [as_event({"journey": 0, "event": 0, "time": 0, "cause": None, "source": "a", "place": 0})],
        on_time=False,
    )
    twin.latest = twin.watermark = at(moment + beyond)
    for name, nothing_later in ((ALL, "end_of_input"), (ON_TIME, "flush")):
        row = end_visits(visits, moment + beyond, moment + beyond, name).row(0, named=True)
        assert row["end_reason"] == twin.end_reason(visit, nothing_later)
        assert row["is_closed"] == twin.is_closed(visit)


def settle_plain(times: list[int], causes: list[int | None]) -> pl.DataFrame:
    rows = [
        dict.fromkeys(ROWS, None)
        | {
            "journey": 0,
            "event": n,
            "time": time,
            "source": "a",
            "place": n,
            "cause": cause,
            "is_late": False,
        }
        for n, (time, cause) in enumerate(zip(times, causes, strict=True))
    ]
    return settle(pl.DataFrame(rows, schema=ROWS), has_late=True).events.sort("place")


def test_a_path_of_a_thousand_causes_leads_to_its_root() -> None:
    assert set(settle_plain(list(range(1_000)), [None, *range(999)])["root"]) == {0}


def test_a_ring_and_what_it_leads_to_have_no_root() -> None:
    settled = settle_plain([0, 1, 2, 3, 4], [2, 0, 1, 2, None])
    assert settled["root"].to_list() == [None, None, None, None, 4]
    assert not settled["is_orphan"].any()


def test_twelve_hours_after_its_start_is_the_same_visit_and_a_microsecond_more_is_the_next() -> None:
    times = [*range(0, 12 * HOUR + 1, 30 * MINUTE), 12 * HOUR + 1]
    starts = settle_plain(times, [None] * len(times))["start"].to_list()
    assert starts == [0] * 25 + [12 * HOUR + 1]
