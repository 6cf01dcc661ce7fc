"""The same visits by another engine in another way: DuckDB, in a recursion from event to event."""

from __future__ import annotations

import random
from datetime import timedelta

import duckdb
import polars as pl
import pytest

from m2cli.visits import Sessionized, VisitRule, sessionize
from tests.batches import to_frame

RULE = VisitRule()
SECOND = 1_000_000

VISITS = """
    WITH RECURSIVE kept AS (
        SELECT *, epoch_us(event_time) AS t FROM events
        QUALIFY event_id IS NULL OR row_number() OVER (
            PARTITION BY visitor_id, event_id, event_time
            ORDER BY source NULLS FIRST, part_id NULLS FIRST, position_in_source NULLS FIRST) = 1
    ), numbered AS (
        SELECT *, row_number() OVER (
            PARTITION BY visitor_id
            ORDER BY t, source NULLS FIRST, part_id NULLS FIRST, position_in_source NULLS FIRST) AS n
        FROM kept
    ), walk AS (
        SELECT visitor_id, n, t, t AS start_t, row FROM numbered WHERE n = 1
        UNION ALL
        SELECT e.visitor_id, e.n, e.t,
            CASE WHEN e.t - w.t > $inactivity OR e.t - w.start_t > $max_duration THEN e.t ELSE w.start_t END,
            e.row
        FROM walk w JOIN numbered e ON e.visitor_id = w.visitor_id AND e.n = w.n + 1
    )
    SELECT visitor_id, start_t, max(t) AS end_t, count(*) AS event_count, list(row ORDER BY n) AS rows
    FROM walk GROUP BY visitor_id, start_t ORDER BY ALL
"""


def few_thousand_events(seed: int) -> pl.DataFrame:
    """Visitors with gaps around the limits, ties, duplicates, and robots that never pause."""
    choice = random.Random(seed).choice
    gaps = (0, 1, 60 * SECOND, 1_799 * SECOND, 1_800 * SECOND, 1_800 * SECOND + 1, 4_000 * SECOND)
    events, row = [], 0
    for visitor in range(120):
        is_robot, time = visitor % 10 == 0, 1_700_000_000 * SECOND + visitor
        for _ in range(150 if is_robot else 20):
            time += choice((60 * SECOND, 1_800 * SECOND)) if is_robot else choice(gaps)
            events.append(
                {
                    "row": row,
                    "visitor_id": f"v{visitor}",
                    "event_time": time,
                    "event_id": choice((None, "x", f"e{row}", f"e{row}")),
                    "source": choice(("s", "t")),
                    "part_id": choice(("p", None)),
                    "position_in_source": row,
                }
            )
            row += 1
    random.Random(seed).shuffle(events)
    return to_frame(events)


@pytest.fixture(scope="module", params=[1, 2], ids="seed {}".format)
def made(request: pytest.FixtureRequest) -> tuple[pl.DataFrame, Sessionized]:
    events = few_thousand_events(request.param)
    return events, sessionize(events, RULE)


def test_duckdb_finds_the_same_visits_of_the_same_events(made: tuple[pl.DataFrame, Sessionized]) -> None:
    events, sessionized = made
    limits = {
        "inactivity": RULE.inactivity // timedelta(microseconds=1),
        "max_duration": RULE.max_duration // timedelta(microseconds=1),
    }
    with duckdb.connect() as connection:
        connection.register("events", events.to_arrow())
        found = connection.sql(VISITS, params=limits).fetchall()
    visits = sessionized.visits.join(
        sessionized.events.group_by("visit_id", maintain_order=True).agg("row"), on="visit_id", how="left"
    ).select(
        "visitor_id",
        pl.col("start_time").dt.epoch("us"),
        pl.col("end_time").dt.epoch("us"),
        "event_count",
        "row",
    )
    assert found == sorted(visits.rows())
    assert sessionized.duplicates.height > 10


def in_visits(made: tuple[pl.DataFrame, Sessionized]) -> pl.DataFrame:
    """Events in order of visitor, with the silence before each and whether it begins a visit."""
    return (
        made[1]
        .events.sort("visitor_id", "event_time", maintain_order=True)
        .with_columns(
            silence=pl.col("event_time").diff().over("visitor_id"),
            begins=(pl.col("visit_id") != pl.col("visit_id").shift(1)).over("visitor_id"),
            since_start=pl.col("event_time") - pl.col("event_time").min().over("visit_id"),
        )
    )


def test_no_silence_above_the_limit_is_inside_a_visit(made: tuple[pl.DataFrame, Sessionized]) -> None:
    inside = in_visits(made).filter(~pl.col("begins"))
    assert inside.filter(pl.col("silence") > RULE.inactivity).is_empty()
    assert inside.filter(pl.col("silence") == RULE.inactivity).height > 10


def test_no_visit_is_longer_than_the_maximum_duration(made: tuple[pl.DataFrame, Sessionized]) -> None:
    assert in_visits(made).filter(pl.col("since_start") > RULE.max_duration).is_empty()


def test_no_silence_within_the_limit_parts_two_visits_unless_the_maximum_duration_did(
    made: tuple[pl.DataFrame, Sessionized],
) -> None:
    begins = in_visits(made).filter("begins", pl.col("silence") <= RULE.inactivity)
    starts = made[1].visits.select("visit_id", "visitor_id", "start_time", "continues_visit_id")
    linked = begins.join(starts, on="visit_id").join(
        starts, left_on="continues_visit_id", right_on="visit_id", how="left", suffix="_before"
    )
    assert (linked["event_time"] - linked["start_time_before"] > RULE.max_duration).all()
    assert linked["start_time_before"].null_count() == 0
    assert linked.height > 10


def test_every_event_is_in_one_visit_or_a_duplicate(made: tuple[pl.DataFrame, Sessionized]) -> None:
    events, sessionized = made
    rows = pl.concat([sessionized.events["row"], sessionized.duplicates["row"]])
    assert rows.sort().equals(events["row"].sort())
