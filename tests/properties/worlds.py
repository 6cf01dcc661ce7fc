"""Small inputs that meet every limit exactly, and what kernel and twin say of them in one form."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from m2cli.visits import gather, sessionize
from tests.batches import EPOCH, Batch, begin, run_batch, to_frame, to_rows, to_rule, to_time
from tests.twins.visits_twin import BEGINNING_OF_TIME, Event, Stream, TwinRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import polars as pl

    from tests.batches import Carried, Done
    from tests.twins.visits_twin import TwinBatch

    Choose = Callable[[tuple[Any, ...]], Any]

SOURCES = ("s", "t", "u")
ORIGINS = (0, 1_704_067_200_000_000, -1_000_000_000_000_000)  # 1970, 2024, 1938
VISITORS = ("a", "a", "a", "b", "c")
TYPES = ("page", "page", "show", "click", "purchase", "request", None)


# ------------------------------------------------------------------ what was said, in one form


@dataclass
class Said:
    """What a run of batches said, so that two can be compared: visit ids are what they are digests of."""

    visit_of: dict[int, Any] = field(default_factory=dict)
    """For each row, the visit that it was tagged with."""
    rows_of: dict[str, list[int]] = field(default_factory=dict)
    """For each visitor, the rows in the order in which they were tagged."""
    visits: dict[Any, dict[str, Any]] = field(default_factory=dict)
    duplicates: set[int] = field(default_factory=set)
    late: dict[int, tuple[str, int]] = field(default_factory=dict)

    def hear(self, tagged: Iterable[dict[str, Any]], ended: Iterable[dict[str, Any]]) -> None:
        for event in tagged:
            assert event["row"] not in self.visit_of, "an event was tagged twice"
            self.visit_of[event["row"]] = event["visit_id"]
            self.rows_of.setdefault(event["visitor_id"], []).append(event["row"])
        for visit in ended:
            assert visit["visit_id"] not in self.visits, "a visit ended twice"
            self.visits[visit["visit_id"]] = visit

    def set_aside(self, duplicates: Iterable[dict[str, Any]], late: Iterable[dict[str, Any]]) -> None:
        for event in duplicates:
            assert event["row"] not in self.duplicates, "a duplicate was set aside twice"
            self.duplicates.add(event["row"])
        for event in late:
            assert event["row"] not in self.late, "an event was late twice"
            self.late[event["row"]] = (event["late_reason"], event["late_by"])


def name_of_first(events: Iterable[dict[str, Any]], names: dict[str, Any]) -> list[dict[str, Any]]:
    """Tagged events whose visit ids are what they are digests of; `names` learns them from first events."""
    return [
        event
        | {
            "visit_id": names.setdefault(
                event["visit_id"], (event["visitor_id"], event["event_time"], event.get("event_id"))
            )
        }
        for event in events
    ]


def name_visits(visits: Iterable[dict[str, Any]], names: dict[str, Any]) -> list[dict[str, Any]]:
    """Ends of visits with `names` for the digests."""
    return [
        visit
        | {
            "visit_id": names[visit["visit_id"]],
            "continues_visit_id": visit["continues_visit_id"] and names[visit["continues_visit_id"]],
        }
        for visit in visits
    ]


def hear_bounded(events: list[Event], rule: TwinRule) -> tuple[Said, dict[str, Any]]:
    """What a bounded run of the kernel says, and its names for digests."""
    made = sessionize(to_frame(events, ("row", "visitor_id", "event_time")), to_rule(rule))
    said, names = Said(), {}
    tagged = name_of_first(to_rows(made.events), names)
    said.hear(tagged, name_visits(to_rows(made.visits), names))
    said.set_aside(to_rows(made.duplicates), ())
    return said, names


class Kernel:
    """The kernel, listening to itself: what it says, with names for its digests, and what it carries."""

    def __init__(self, rule: TwinRule, declared: Iterable[str] = (), now: int = 0) -> None:
        self.rule = to_rule(rule)
        self.carried: Carried = begin(tuple(declared), to_time(now))
        self.said = Said()
        self.names: dict[str, Any] = {}
        self.segments: list[pl.DataFrame] = []
        self.read_count = 0
        self.closed_count = 0

    @property
    def watermark(self) -> int:
        time = self.carried.W.time
        return BEGINNING_OF_TIME if time is None else (time - EPOCH) // timedelta(microseconds=1)

    def run(self, batch: Batch) -> Done:
        done = run_batch(batch, self.carried, self.rule)
        self.carried = done.carried
        self.read_count += sum(piece.height for piece in batch.slices)
        tagged = name_of_first((row for frame in done.tagged for row in to_rows(frame)), self.names)
        ended = [row for frame in done.ended for row in to_rows(frame.drop("visit_number"))]
        self.said.hear(tagged, name_visits(ended, self.names))
        late = (row for frame in done.late for row in to_rows(frame))
        self.said.set_aside((row for frame in done.duplicates for row in to_rows(frame)), late)
        for segment, ends in zip(done.tagged, done.ended, strict=True):
            self.gather(segment, ends)
        return done

    def gather(self, segment: pl.DataFrame, ended: pl.DataFrame) -> None:
        """Take the visits that have ended out of the segments, and check that they are whole (DESIGN 5.5)."""
        gathered = gather([*self.segments, segment], ended)
        self.segments = [gathered.rest]
        self.closed_count += gathered.whole.height
        assert "visit_number" not in gathered.whole.columns
        rows = iter(to_rows(gathered.whole))
        for visit in ended.iter_rows(named=True):
            events = [next(rows) for _ in range(visit["event_count"])]
            assert {event["visit_id"] for event in events} == {visit["visit_id"]}, "a visit is not whole"
            assert all(one["event_time"] <= next_["event_time"] for one, next_ in pairwise(events))
        assert not list(rows), "events of no visit were gathered"

    def check_conservation(self) -> None:
        """Every event is in exactly one place (DESIGN 5.3)."""
        state = self.carried.state
        open_count = state.open_visits["event_count"].sum()
        assert open_count == self.segments[0].height
        assert self.closed_count == sum(visit["event_count"] for visit in self.said.visits.values())
        aside = len(self.said.late) + len(self.said.duplicates)
        assert self.read_count == self.closed_count + aside + open_count + state.pending.height


def hear_twin(said: Said, batch: TwinBatch) -> None:
    said.hear(batch.tagged, batch.ended)
    said.set_aside(batch.duplicates, batch.late)


# ------------------------------------------------------------------ inputs


class Plan(NamedTuple):
    """One batch of a world: where its slices begin and end among the arrivals, and what its plan says."""

    bounds: tuple[int, ...]
    now: int
    is_flush: bool = False
    unread: frozenset[str] = frozenset()


class World(NamedTuple):
    """A rule, the partitions that are declared, and what arrives, in order."""

    rule: TwinRule
    declared: tuple[str, ...]
    arrivals: list[Event]

    def frame(self, first: int, end: int) -> pl.DataFrame:
        columns = self.arrivals[0] if self.arrivals else ("row", "visitor_id", "event_time", "source")
        return to_frame(self.arrivals[first:end], columns)

    def batch(self, plan: Plan) -> Batch:
        slices = [self.frame(first, end) for first, end in pairwise(plan.bounds)]
        return Batch(slices, to_time(plan.now), plan.is_flush, plan.unread)


def some(share: float) -> settings:
    """A share of the examples that the profile asks for, where each of them is dear."""
    return settings(max_examples=max(1, round(settings().max_examples * share)))


def make_event(row: int, clock: int, rule: TwinRule, choose: Choose, visitors: tuple[str, ...]) -> Event:
    """One event near `clock`, its every value one of few, so that ties, duplicates and limits meet."""
    time = clock - choose((0, 0, 0, 0, 1, rule.B, rule.B + 1, rule.inactivity, rule.B + rule.inactivity + 1))
    event_type = choose(TYPES)
    return {
        "row": row,
        "visitor_id": choose(visitors),
        "event_time": time,
        "event_id": choose((None, "x", "y", "z", f"e{row}", f"e{row}")),
        "source": choose(SOURCES),
        "part_id": choose((None, "p", "q")),
        "position_in_source": choose((row, row, -row, None)),
        "arrival_time": choose((None, time, time, time + 1, time - 1, time - rule.inactivity)),
        "event_type": event_type,
        "url": choose((None, f"/{row}", f"/{row}")),
        "amount": choose((None, Decimal("1.5000"), Decimal("2.2500"))),
        "currency": choose(("EUR", "EUR", "USD", None)),
        "country": choose((None, "NL", "BE")),
        "is_robot": choose((None, True, False)),
        "browser": choose((None, "Firefox")),
        "device": choose((None, "desktop")),
    }


def make_rule(choose: Choose) -> TwinRule:
    return TwinRule(
        inactivity=choose((3, 1, 10, 30)),
        max_duration=choose((12, 1, 2, 25, 60)),
        B=choose((0, 1, 4, 9)),
        idle_after=choose((10, 1)),
    )


def step_of(rule: TwinRule, choose: Choose) -> int:
    """How far time moves from one event to the next: by nothing, or by about one of the limits."""
    limit = choose((0, 0, 1, 2, rule.inactivity, rule.max_duration, rule.max_duration - rule.inactivity))
    return max(0, limit + choose((0, 0, 1, -1)))


def make_world(
    count: int,
    choose: Choose,
    *,
    declared: tuple[str, ...] | None = None,
    visitors: tuple[str, ...] = VISITORS,
) -> World:
    rule = make_rule(choose)
    if declared is None:
        declared = choose(((), SOURCES[:1], SOURCES))
    clock, arrivals = choose(ORIGINS), []
    for row in range(count):
        clock += step_of(rule, choose)
        arrivals.append(make_event(row, clock, rule, choose, visitors))
    return World(rule, declared, arrivals)


def make_plans(count: int, rule: TwinRule, choose: Choose, sizes: tuple[int, ...] = (2, 3, 5, 0, 100)) -> list[Plan]:
    """Batches over `count` arrivals, some empty, some of several slices, some later, some that flush."""
    plans, at, now = [], 0, 0
    while at < count:
        bounds = [at]
        for _ in range(choose((1, 1, 1, 2, 0))):
            bounds.append(min(bounds[-1] + choose(sizes), count))
        at = bounds[-1]
        now = max(0, now + choose((0, 1, rule.idle_after, rule.idle_after - 1, rule.idle_after + 1, -1)))
        unread = frozenset({SOURCES[at % 3]}) if choose((False, False, False, True)) else frozenset()
        plans.append(Plan(tuple(bounds), now, choose((False,) * 5 + (True,)), unread))
    plans.append(Plan((count, count), now, is_flush=True))
    return plans


def cut_plans(count: int, choose: Choose) -> list[Plan]:
    """Batches over `count` arrivals that differ in nothing but where they are cut."""
    bounds = [0]
    while bounds[-1] < count:
        bounds.append(min(count, bounds[-1] + choose((2, 3, 5, 0, 1))))
    return [Plan(pair, 0) for pair in pairwise(bounds)]


def shuffle_within_bound(world: World, choose: Choose) -> World:
    """The same events in another order of arrival, in which none is late; each has a position of its own.

    An event moves back by no more than B, so whatever arrives before it is no more than B ahead of it.
    """
    moved = [(event["event_time"] + choose((0, world.rule.B, world.rule.B // 2)), event) for event in world.arrivals]
    arrivals = [event | {"position_in_source": event["row"]} for _, event in sorted(moved, key=lambda each: each[0])]
    return world._replace(arrivals=arrivals)


def chooser_of(draw: Callable[[Any], Any]) -> Choose:
    """Choose with hypothesis, which shrinks towards the first of the choices."""
    return lambda choices: draw(st.sampled_from(choices))


@st.composite
def planned_worlds(draw: Callable[[Any], Any], *, most: int = 9) -> tuple[World, list[Plan]]:
    """Any input under any plans: partitions idle, new and declared, slices, flushes."""
    choose = chooser_of(draw)
    world = make_world(draw(st.integers(0, most)), choose)
    return world, make_plans(len(world.arrivals), world.rule, choose)


@st.composite
def cut_worlds(draw: Callable[[Any], Any], *, most: int = 9) -> tuple[World, list[Plan]]:
    """Any input, cut anywhere, under plans that change nothing: all partitions declared, no time passing."""
    choose = chooser_of(draw)
    world = make_world(draw(st.integers(0, most)), choose, declared=SOURCES)
    return world, cut_plans(len(world.arrivals), choose)


@st.composite
def punctual_worlds(draw: Callable[[Any], Any], *, most: int = 9) -> tuple[World, list[Plan], World]:
    """An input of which nothing is late, a cut of it, and the same input in another order of arrival."""
    choose = chooser_of(draw)
    world = make_world(draw(st.integers(0, most)), choose, declared=SOURCES)
    first, other = shuffle_within_bound(world, choose), shuffle_within_bound(world, choose)
    return first, cut_plans(len(world.arrivals), choose), other


def run_kernel(world: World, plans: Iterable[Plan]) -> Kernel:
    """The kernel after all plans; every event is accounted for after each of them."""
    kernel = Kernel(world.rule, world.declared)
    for plan in plans:
        kernel.run(world.batch(plan))
        kernel.check_conservation()
    return kernel


def assert_kernel_agrees(world: World, plans: Iterable[Plan]) -> None:
    """Kernel and twin say the same after each batch, and stand at the same W."""
    stream, heard, kernel = Stream(world.rule), Said(), Kernel(world.rule, world.declared)
    stream.declare(list(world.declared), 0)
    for plan in plans:
        arrivals = world.arrivals[plan.bounds[0] : plan.bounds[-1]]
        batch = stream.batch(arrivals, plan.now, is_flush=plan.is_flush, unread=plan.unread)
        hear_twin(heard, batch)
        kernel.run(world.batch(plan))
        kernel.check_conservation()
        assert kernel.watermark == batch.W
        assert kernel.said == heard
