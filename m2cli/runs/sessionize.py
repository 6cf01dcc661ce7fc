"""One bounded run from input to lake: read, redact, name the visitors, enrich, cut into visits, write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli import visits as kernel
from m2cli.errors import NotConservedError, UsageError
from m2cli.events import EVENT_SCHEMA
from m2cli.files.find import printable
from m2cli.lake.stage import StagedLake, stage_lake
from m2cli.lake.swap import hold_new_sibling
from m2cli.lake.write import explain_unwritable
from m2cli.runs.intake import IntakeRule, Reading, Tally, open_input
from m2cli.runs.orphans import OrphanCount
from m2cli.runs.progress import Step, Tell, tell_nobody
from m2cli.runs.shards import Shard, Spill, budget_events, default_memory, size_in_memory
from m2cli.settings import format_size
from m2cli.stages.causes import CauseRule, derive_causes, derive_log_causes
from m2cli.stages.enrich import EnrichRule, enrich
from m2cli.stages.first_hits import join_first_hits, merge_sessions, split_first_hits
from m2cli.stages.visitors import DEFAULT, VisitorRule, assign_visitors
from m2cli.visits import VisitRule, VisitState, Watermark, assign_visits, count_reused_ids, gather
from m2cli.visits.watermarks import later_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from m2cli.settings import RejectLimit


ENRICHED = ("country", "is_robot", "browser", "device")
LEAST_MEMORY = 256 << 20
_NEEDED = {name: EVENT_SCHEMA[name] for name in ("event_id", "event_time")}
# Three blocks of a log are in work at a time, and each takes eight times its text.
_BLOCKS = 128
# Rejects are few in each piece of input, and a file each would be many: so many bytes of them are held.
_MOST_REJECTED = 16 << 20


@dataclass(frozen=True, kw_only=True)
class SessionizeRule:
    """Everything that decides what `m2 sessionize` makes of its input."""

    intake: IntakeRule = field(default_factory=IntakeRule)
    visitor: VisitorRule = field(default_factory=VisitorRule)
    enrichment: EnrichRule = field(default_factory=EnrichRule)
    visit: VisitRule = field(default_factory=VisitRule)
    causes: CauseRule = field(default_factory=CauseRule)
    joins_first_hits: bool = False
    """Whether events without a session cookie go to the session that the same address and user agent begin next."""
    max_rejects: RejectLimit | None = None
    replace: bool = False
    memory: int = field(default_factory=default_memory)
    """How many bytes the process may take: what does not fit is kept in scratch files beside the lake, by visitor."""

    def __post_init__(self) -> None:
        if self.memory < LEAST_MEMORY:
            least = format_size(LEAST_MEMORY)
            raise UsageError(f"`memory` is {format_size(self.memory)}; it has to be at least {least}")
        if self.joins_first_hits and self.visitor.by != DEFAULT:
            raise UsageError(f"by `{self.visitor.by}` no event is without a name; join first hits by `{DEFAULT}` only")


@dataclass(frozen=True, kw_only=True)
class SessionizeFacts:
    """What a run came to; the tally's events are `event_count` and `duplicate_count`."""

    tally: Tally
    passed_over: tuple[str, ...]
    """Logs that hold nothing else than another that was read, and event files that were named before."""
    event_count: int
    duplicate_count: int
    id_reused_count: int
    visit_count: int
    visitor_count: int
    first_hit_count: int
    """Events that had no session cookie yet, and were given to the session that followed."""
    robot_event_count: int
    effect_count: int
    """Events that name a cause."""
    orphan_count: int
    """Of these, events whose cause is not in the data."""
    first_event_time: datetime | None
    last_event_time: datetime | None


class _Taken(NamedTuple):
    spill: Spill
    tally: Tally
    last_event_time: datetime | None
    passed_over: tuple[str, ...]
    is_all_logs: bool
    first_hit_count: int


def sessionize(
    inputs: Sequence[str], lake: Path, rule: SessionizeRule, *, now: datetime, tell: Tell = tell_nobody
) -> SessionizeFacts:
    """Make a lake of whole visits at `lake` from all of `inputs`; it appears when it is whole, or not at all.

    The run is bounded: it sorts everything, so that no event is late, and closes every visit at the end of its
    input. Input that is larger than `memory` is parted by visitor, in scratch files beside the lake; what comes of it
    is the same, in more files. Raises `UsageError` where `lake` cannot be made there, `UnreachableError` for what
    cannot be read or written, `TooManyRejectsError` above `max_rejects`.
    """
    with stage_lake(lake, replace=rule.replace) as staged, ExitStack() as stack:
        reading = open_input(inputs, _bound(rule.intake, rule.memory), now=now, tell=tell)
        _refuse_own_input(reading.paths, lake)
        with explain_unwritable(lake):
            scratch = stack.enter_context(hold_new_sibling(lake.resolve()))
        spill = Spill(scratch, budget_events(rule.memory), named=lake)
        taken = _take_in(reading, rule, spill, staged)
        facts = _write_visits(staged, taken, rule, OrphanCount(scratch, named=lake), tell)
        staged.commit()
    return facts


def _bound(intake: IntakeRule, memory: int) -> IntakeRule:
    """`intake` by blocks that leave room for what is made of them."""
    return replace(intake, block_bytes=min(intake.block_bytes or memory, memory // _BLOCKS))


def _take_in(reading: Reading, rule: SessionizeRule, spill: Spill, staged: StagedLake) -> _Taken:
    tally, last = Tally(detected=list(reading.detected)), None
    rejects: list[pl.DataFrame] = []
    first_hits = _FirstHits(spill, rule) if rule.joins_first_hits else None
    spill.add(assign_visitors(pl.DataFrame(schema=_NEEDED), rule.visitor).events)
    for piece in reading.pieces:
        tally.add(piece)
        named = assign_visitors(piece.events, rule.visitor)
        tally.reject(named.rejects)
        last = later_of(last, named.events["event_time"].max())  # type: ignore[arg-type]  # a TIME column's max
        (first_hits or spill).add(named.events)
        rejects += [frame for frame in (piece.rejects, named.rejects) if frame.height]
        if sum(map(size_in_memory, rejects)) > _MOST_REJECTED:
            staged.write_rejects(pl.concat(rejects, how="diagonal"))
            rejects = []
    tally.check(rule.max_rejects)
    if rejects:
        staged.write_rejects(pl.concat(rejects, how="diagonal"))
    first_hit_count = first_hits.join() if first_hits else 0
    return _Taken(spill, tally, last, reading.passed_over, reading.is_all_logs, first_hit_count)


class _FirstHits:
    """Holds events without a session cookie back until it is known which session each of them led to."""

    def __init__(self, spill: Spill, rule: SessionizeRule) -> None:
        self._spill, self._reach = spill, rule.visit.inactivity
        self._held = spill.beside("first-hits")
        self._sessions: list[pl.DataFrame] = []

    def add(self, events: pl.DataFrame) -> None:
        """Take in `events`; those with a name of their own are passed on."""
        parted = split_first_hits(events)
        self._spill.add(parted.others)
        self._held.add(parted.without_cookie)
        self._sessions.append(parted.sessions)

    def join(self) -> int:
        """Pass on what was held, each event with its visitor; how many were given to a session."""
        sessions, count = merge_sessions(self._sessions), 0
        for shard in self._held.drain():
            joined = join_first_hits(shard.events, sessions, self._reach)
            self._spill.add(joined.events)
            count += joined.joined_count
        return count


def _refuse_own_input(paths: Sequence[Path], lake: Path) -> None:
    """What is read cannot be what is replaced: the new lake would lack what was not read of the old."""
    own = next((path for path in paths if path.is_relative_to(lake.resolve())), None)
    if own:
        raise UsageError(f"`{printable(own)}` is part of `{lake}`, which is to be replaced; make another lake of it")


def _write_visits(
    staged: StagedLake, taken: _Taken, rule: SessionizeRule, orphans: OrphanCount, tell: Tell
) -> SessionizeFacts:
    total, counts = taken.tally.event_count, _Counts()
    is_only = taken.spill.shard_count == 1
    tell(Step("visits", 0, total, "events"))
    # The latest event of all: why a visit ended does not depend on who else is in its shard.
    cut = partial(_cut, W=Watermark.end_of_input(taken.last_event_time), rule=rule.visit)
    # By `map`, which has let go of a shard when its visits are described and written.
    for made in map(cut, taken.spill.drain()):
        orphans.add(made.events, is_only=is_only)  # of the causes that came in; one that m2 derives is always there
        described = _describe(made, rule, is_all_logs=taken.is_all_logs)
        tell(Step("visits", counts.read_count + described.events.height, total, "events"))
        tell(Step("writing", counts.read_count, total, "events"))
        staged.write_events(described.events, described.visits)
        staged.write_visits(described.visits)
        staged.write_duplicates(described.duplicates)
        counts.add(described, is_all_logs=taken.is_all_logs)
        tell(Step("writing", counts.read_count, total, "events"))
        del made, described  # before the next shard is read
    return _conclude(taken, counts, orphans.count())


def _cut(shard: Shard, W: Watermark, rule: VisitRule) -> kernel.Sessionized:
    """`kernel.sessionize` of a shard, closed at W."""
    assigned = assign_visits(shard.events, VisitState.empty(), W, rule)
    whole = gather([assigned.tagged], assigned.ended).whole
    return kernel.Sessionized(whole, assigned.ended.drop("visit_number"), assigned.duplicates)


def _describe(made: kernel.Sessionized, rule: SessionizeRule, *, is_all_logs: bool) -> kernel.Sessionized:
    """Country, robot, browser and device, of visits those of the first event (DESIGN 4.10), and causes from referrers.

    After the visits are cut, where equal values stand together: that halves the cost. The two have nothing to do
    with each other and keep one core busy each.
    """
    derive = derive_causes if is_all_logs else derive_log_causes
    with ThreadPoolExecutor(1) as pool:
        enriching = pool.submit(enrich, made.events, rule.enrichment)
        caused = derive(made.events, rule.causes)
        enriched = enriching.result()
    count = made.visits["event_count"]
    first = count.cum_sum() - count
    added = [enriched[name] for name in ENRICHED if name in enriched.columns]
    return made._replace(
        events=caused.with_columns(added), visits=made.visits.with_columns(column.gather(first) for column in added)
    )


@dataclass
class _Counts:
    """What the shards so far came to; a visitor, and so a visit and its duplicates, is in one of them."""

    event_count: int = 0
    duplicate_count: int = 0
    id_reused_count: int = 0
    visit_count: int = 0
    visitor_count: int = 0
    robot_event_count: int = 0
    effect_count: int = 0
    first_event_time: datetime | None = None
    last_event_time: datetime | None = None

    @property
    def read_count(self) -> int:
        return self.event_count + self.duplicate_count

    def add(self, made: kernel.Sessionized, *, is_all_logs: bool) -> None:
        events, visits = made.events, made.visits
        self.event_count += events.height
        self.duplicate_count += made.duplicates.height
        self.id_reused_count += 0 if is_all_logs else count_reused_ids(events)  # lines have ids of their own
        self.visit_count += visits.height
        self.visitor_count += visits["visitor_id"].n_unique()
        self.robot_event_count += int(events["is_robot"].sum()) if "is_robot" in events.columns else 0
        self.effect_count += events["cause_id"].count() if "cause_id" in events.columns else 0
        first, last = visits["start_time"].min(), visits["end_time"].max()
        if visits.height:
            self.first_event_time = min(filter(None, (self.first_event_time, first)))  # type: ignore[type-var,assignment]  # its min
            self.last_event_time = later_of(self.last_event_time, last)  # type: ignore[arg-type]  # a TIME column's max


def _conclude(taken: _Taken, counts: _Counts, orphan_count: int) -> SessionizeFacts:
    if counts.read_count != taken.tally.event_count:
        raise NotConservedError(f"{taken.tally.event_count:,} events are not those in visits and the duplicates")
    return SessionizeFacts(
        tally=taken.tally,
        passed_over=taken.passed_over,
        first_hit_count=taken.first_hit_count,
        orphan_count=orphan_count,
        **asdict(counts),
    )
