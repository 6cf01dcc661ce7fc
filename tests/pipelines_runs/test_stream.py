"""A pipeline says what the plain stream simulator says: idle, new and returning partitions, late events, flushes."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from m2cli.logs.parts import name_source
from m2cli.stages.visitors import derive_visitors
from m2cli.visits import VisitRule
from tests.batches import to_time
from tests.pipelines_runs.shop import AGENTS, START, Shop, assert_sound, line
from tests.properties.worlds import chooser_of, some
from tests.twins.visits_twin import BEGINNING_OF_TIME, Stream, TwinRule, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.properties.worlds import Choose
    from tests.twins.visits_twin import Event

MINUTE = 60_000_000
LOGS = ("a.log", "b.log", "c.log")
FOREVER = timedelta(days=1_000)


class Writing(NamedTuple):
    """What a server writes to its log before a plan: (visitor, time in µs) each line, and when it did, in µs."""

    log: str
    lines: tuple[tuple[int, int], ...]
    modified: int


class Round(NamedTuple):
    """What is written, and the plan that follows, in µs since the beginning."""

    writings: tuple[Writing, ...]
    now: int
    is_flush: bool


class World(NamedTuple):
    """A rule, which of the logs are declared, and what happens."""

    rule: TwinRule
    is_declared: bool
    rounds: tuple[Round, ...]


def make_rule(choose: Choose) -> TwinRule:
    return TwinRule(
        inactivity=choose((30, 1)) * MINUTE,
        max_duration=choose((60, 31, 29)) * MINUTE,
        B=choose((5, 0, 20)) * MINUTE,
        idle_after=choose((60, 10)) * MINUTE,
    )


# The last server's log is shipped so much later than the others'.
SHIPPED = {"a.log": 0, "b.log": 0, "c.log": 70 * MINUTE}


def make_round(clock: int, rule: TwinRule, choose: Choose) -> Round:
    """Logs of servers whose clocks are about right, read a while later, by a clock that now and then is put back."""
    writings = []
    for log in LOGS:
        lines, time = [], clock - SHIPPED[log]
        for _ in range(choose((0, 1, 2, 4))):
            behind = choose((0, 0, 1, rule.B // MINUTE, rule.B // MINUTE + 1, 45)) * MINUTE
            lines.append((choose((1, 1, 2)), time - behind))
            time += choose((1, 0, 5, rule.inactivity // MINUTE, rule.inactivity // MINUTE + 1)) * MINUTE
        if lines:
            writings.append(Writing(log, tuple(lines), clock + choose((10, 0, 70, -5)) * MINUTE))
    return Round(tuple(writings), clock + choose((10, 10, 70, -10)) * MINUTE, choose((False,) * 6 + (True,)))


def make_world(count: int, choose: Choose) -> World:
    """Servers that start, stop and come back, over hours."""
    rule, clock, rounds = make_rule(choose), 0, []
    for _ in range(count):
        rounds.append(make_round(clock, rule, choose))
        clock += choose((15, 30, 60, 200)) * MINUTE
    rounds.append(Round((), clock, is_flush=True))
    return World(rule, choose((True, False)), tuple(rounds))


@st.composite
def worlds(draw: Callable[[Any], Any]) -> World:
    return make_world(draw(st.integers(1, 6)), chooser_of(draw))


class Told:
    """What the simulator said so far, as a lake has it."""

    def __init__(self) -> None:
        self.visits: dict[Any, dict[str, Any]] = {}
        self.visit_of: dict[str, Any] = {}
        self.late: dict[str, tuple[str, int]] = {}

    def hear(self, batch: Any) -> None:
        self.visits |= {visit["visit_id"]: visit for visit in batch.ended}
        self.visit_of |= {event["event_id"]: event["visit_id"] for event in batch.tagged}
        self.late |= {event["event_id"]: (event["late_reason"], event["late_by"]) for event in batch.late}


def visitor_ids() -> dict[int, str]:
    numbers = (1, 2)
    clients = pl.Series([f"192.0.2.{number}" for number in numbers]), pl.Series([AGENTS[0]] * len(numbers))
    return dict(zip(numbers, derive_visitors(*clients), strict=True))


def write(shop: Shop, writing: Writing) -> list[Event]:
    """Append to a log; the events as the simulator has them."""
    path = shop.folder / "logs" / writing.log
    begin, visitors, events = int(START.timestamp()) * 1_000_000, visitor_ids(), []
    shop.now = to_time(begin + writing.modified)
    for visitor, time in writing.lines:
        position = path.stat().st_size if path.exists() else 0
        # Two logs that begin with the same line would be one.
        shop.log(line(to_time(begin + time), visitor, f"/{writing.log}"), name=writing.log)
        events.append(
            {
                "visitor_id": visitors[visitor],
                "event_time": begin + time,
                "source": writing.log,
                "part_id": writing.log,
                "position_in_source": position,
                "event_id": f"{writing.log}-{position}",
                "event_type": "page",
                "url": f"/{writing.log}",
            }
        )
    return events


def run_both(world: World, folder: Path) -> Told:
    """The pipeline and the simulator live through `world`, and say the same after each batch; what they said."""
    rule, begin = world.rule, int(START.timestamp()) * 1_000_000
    shop = Shop(folder)
    limits = VisitRule(
        inactivity=timedelta(microseconds=rule.inactivity),
        max_duration=timedelta(microseconds=rule.max_duration),
        max_out_of_orderness=timedelta(microseconds=rule.B),
        idle_after=timedelta(microseconds=rule.idle_after),
    )
    patterns = LOGS if world.is_declared else ("*.log",)
    shop.settle(sources=(shop.log_source(*patterns),), visit=limits, max_ahead=FOREVER)
    stream, told, row = Stream(rule), Told(), 0
    for number, each in enumerate(world.rounds):
        now = begin + each.now
        arrivals = []
        for writing in each.writings:
            arrival_time = min(now, begin + writing.modified)
            arrivals += [event | {"arrival_time": arrival_time} for event in write(shop, writing)]
        arrivals = [event | {"row": row + place} for place, event in enumerate(arrivals)]
        row += len(arrivals)
        if world.is_declared and number == 0:
            stream.declare(list(LOGS), now)
        said = stream.batch(arrivals, now, is_flush=each.is_flush)
        told.hear(said)
        shop.now = to_time(now)
        facts = shop.run(is_flush=each.is_flush).batch
        assert (facts.W and microseconds(facts.W)) == (None if said.W == BEGINNING_OF_TIME else said.W)
        counts = (facts.event_count, facts.late_count, facts.visit_count, facts.carried_out_count)
        assert counts == (len(arrivals), len(said.late), len(said.ended), stream.carried_count)
    assert_sound(shop)
    compare(shop, told)
    return told


def microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def compare(shop: Shop, told: Told) -> None:
    """The lake has just the visits and the late events that the simulator told of."""
    names = {name_source(shop.folder / "logs" / log): log for log in LOGS}
    places = pl.format("{}-{}", pl.col("source").replace(names), "position_in_source").alias("place")
    events = [frame.with_columns(places) for frame in [shop.read("events")] if frame.height]
    firsts: dict[str, Any] = {}
    for frame in events:
        for event in frame.with_columns(pl.col("event_time").to_physical()).iter_rows(named=True):
            mine = {**event, "event_id": event["place"]}
            assert told.visit_of[event["place"]] == firsts.setdefault(event["visit_id"], name_of([mine]))
    assert sum(frame.height for frame in events) == len(told.visit_of)
    assert {visit["visit_id"]: visit for visit in found_visits(shop, firsts)} == {
        name: {key: visit[key] for key in COMPARED} for name, visit in told.visits.items()
    }
    late = shop.read("late")
    rows = late.with_columns(places, pl.col("late_by").to_physical()).iter_rows(named=True) if late.height else ()
    assert {row["place"]: (row["late_reason"], row["late_by"]) for row in rows} == told.late


COMPARED = (
    *("visit_id", "visitor_id", "start_time", "end_time", "event_count", "page_count", "end_reason"),
    *("continues_visit_id", "landing_url", "exit_url"),
)


def found_visits(shop: Shop, firsts: dict[str, Any]) -> list[dict[str, Any]]:
    visits = shop.read("visits")
    if not visits.height:
        return []
    rows = visits.select(COMPARED).with_columns(pl.col(pl.Datetime).to_physical()).to_dicts()
    return [
        row
        | {
            "visit_id": firsts[row["visit_id"]],
            "continues_visit_id": row["continues_visit_id"] and firsts[row["continues_visit_id"]],
        }
        for row in rows
    ]


# An example takes a second, so that a failing one is told as it was found.
@settings(some(0.05), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(worlds())
def test_a_pipeline_says_what_the_simulator_says(world: World) -> None:
    with TemporaryDirectory() as folder:
        run_both(world, Path(folder))


def test_a_pipeline_says_what_the_simulator_says_of_worlds_with_every_reason_to_be_late(tmp_path: Path) -> None:
    reasons = set()
    for seed in (0, 1, 3, 6, 9, 13):
        told = run_both(make_world(7, random.Random(seed).choice), tmp_path / str(seed))
        reasons |= {reason for reason, _ in told.late.values()}
    assert reasons == {"late", "after_flush", "after_idle", "new_partition"}


@pytest.mark.soak
def test_a_pipeline_says_what_the_simulator_says_of_hundreds_of_worlds() -> None:
    for seed in range(8, 400):
        with TemporaryDirectory() as folder:
            run_both(make_world(10, random.Random(seed).choice), Path(folder))
