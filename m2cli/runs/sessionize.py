"""One bounded run from input to lake: read, redact, name the visitors, enrich, cut into visits, write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli import visits as kernel
from m2cli.errors import NotConservedError, UsageError
from m2cli.events import EVENT_SCHEMA, REJECT_SCHEMA
from m2cli.files.find import printable
from m2cli.lake.stage import StagedLake, stage_lake
from m2cli.runs.intake import IntakeRule, Tally, open_input
from m2cli.runs.progress import Step, Tell, tell_nobody
from m2cli.stages.causes import CauseRule, derive_causes
from m2cli.stages.distinct import replace_rows
from m2cli.stages.enrich import EnrichRule, enrich
from m2cli.stages.visitors import VisitorRule, assign_visitors
from m2cli.visits import VisitRule, count_reused_ids

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from m2cli.settings import RejectLimit


ENRICHED = ("country", "is_robot", "browser", "device")
_NEEDED = {name: EVENT_SCHEMA[name] for name in ("event_id", "event_time")}


@dataclass(frozen=True, kw_only=True)
class SessionizeRule:
    """Everything that decides what `m2 sessionize` makes of its input."""

    intake: IntakeRule = field(default_factory=IntakeRule)
    visitor: VisitorRule = field(default_factory=VisitorRule)
    enrichment: EnrichRule = field(default_factory=EnrichRule)
    visit: VisitRule = field(default_factory=VisitRule)
    causes: CauseRule = field(default_factory=CauseRule)
    max_rejects: RejectLimit | None = None
    replace: bool = False


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
    robot_event_count: int
    effect_count: int
    """Events that name a cause."""
    orphan_count: int
    """Of these, events whose cause is not in the data."""
    first_event_time: datetime | None
    last_event_time: datetime | None


class _Taken(NamedTuple):
    events: pl.DataFrame
    rejects: pl.DataFrame
    tally: Tally
    passed_over: tuple[str, ...]
    is_all_logs: bool


def sessionize(
    inputs: Sequence[str], lake: Path, rule: SessionizeRule, *, now: datetime, tell: Tell = tell_nobody
) -> SessionizeFacts:
    """Make a lake of whole visits at `lake` from all of `inputs`; it appears when it is whole, or not at all.

    The run is bounded: it sorts everything, so that no event is late, and closes every visit at the end of its
    input. Raises `UsageError` where `lake` cannot be made there, `UnreachableError` for what cannot be read or
    written, `TooManyRejectsError` above `max_rejects`.
    """
    with stage_lake(lake, replace=rule.replace) as staged:
        taken = _take_in(inputs, lake, rule, now, tell)
        taken.tally.check(rule.max_rejects)
        staged.write_rejects(taken.rejects)
        facts = _write_visits(staged, taken, rule, tell)
        staged.commit()
    return facts


def _take_in(inputs: Sequence[str], lake: Path, rule: SessionizeRule, now: datetime, tell: Tell) -> _Taken:
    tally = Tally()
    events, rejects = [pl.DataFrame(schema=_NEEDED)], [pl.DataFrame(schema=REJECT_SCHEMA)]
    reading = open_input(inputs, rule.intake, now=now, tell=tell)
    _refuse_own_input(reading.paths, lake)
    for piece in reading.pieces:
        tally.add(piece)
        events.append(piece.events)
        rejects.append(piece.rejects)
    named = assign_visitors(pl.concat(events, how="diagonal"), rule.visitor)
    tally.reject(named.rejects)
    return _Taken(
        events=named.events,
        rejects=pl.concat([*rejects, named.rejects], how="diagonal"),
        tally=tally,
        passed_over=reading.passed_over,
        is_all_logs=reading.is_all_logs,
    )


def _refuse_own_input(paths: Sequence[Path], lake: Path) -> None:
    """What is read cannot be what is replaced: the new lake would lack what was not read of the old."""
    own = next((path for path in paths if path.is_relative_to(lake.resolve())), None)
    if own:
        raise UsageError(f"`{printable(own)}` is part of `{lake}`, which is to be replaced; make another lake of it")


def _write_visits(staged: StagedLake, taken: _Taken, rule: SessionizeRule, tell: Tell) -> SessionizeFacts:
    total = taken.events.height
    tell(Step("visits", 0, total, "events"))
    made = kernel.sessionize(taken.events, rule.visit)
    orphans = count_orphans(made.events)  # of the causes that came in; one that m2 derives is always there
    made = _describe(made, rule, is_all_logs=taken.is_all_logs)
    tell(Step("visits", total, total, "events"))
    tell(Step("writing", 0, total, "events"))
    staged.write_events(made.events, made.visits)
    staged.write_visits(made.visits)
    staged.write_duplicates(made.duplicates)
    tell(Step("writing", total, total, "events"))
    return _count(taken, made, orphans)


def _describe(made: kernel.Sessionized, rule: SessionizeRule, *, is_all_logs: bool) -> kernel.Sessionized:
    """Country, robot, browser and device, of visits those of the first event (DESIGN 4.10), and causes from referrers.

    After the visits are cut, where equal values stand together: that halves the cost. The two have nothing to do
    with each other and keep one core busy each.
    """
    derive = derive_causes if is_all_logs else _derive_causes
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


def _derive_causes(events: pl.DataFrame, rule: CauseRule) -> pl.DataFrame:
    """Causes of the pages that come from logs; all others say themselves what caused them (DESIGN 6.4)."""
    is_from_log = come_from_logs(events)
    if not is_from_log.any():
        return events
    if is_from_log.all():
        return derive_causes(events, rule)
    derived = derive_causes(events.filter(is_from_log), rule)
    columns = events.with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("cause_id", "reason") if name not in events.columns
    )
    return columns.with_columns(
        replace_rows(columns[name], is_from_log, derived[name])
        for name in ("cause_id", "reason")
        if name in derived.columns
    )


def come_from_logs(events: pl.DataFrame) -> pl.Series:
    """Which of `events` are lines of an access log, also if they were ingested before: those with a log's ids."""
    if not {"event_id", "part_id", "position_in_source"} <= set(events.columns):
        return pl.repeat(value=False, n=events.height, eager=True)
    id_of_log = pl.concat_str("part_id", pl.lit("-"), "position_in_source")  # DESIGN 3.2
    return events.select((pl.col("event_id") == id_of_log).fill_null(value=False)).to_series()


def _count(taken: _Taken, made: kernel.Sessionized, orphans: Orphans) -> SessionizeFacts:
    events, visits = made.events, made.visits
    if events.height + made.duplicates.height != taken.tally.event_count:
        raise NotConservedError(f"{taken.tally.event_count:,} events are not those in visits and the duplicates")
    return SessionizeFacts(
        tally=taken.tally,
        passed_over=taken.passed_over,
        event_count=events.height,
        duplicate_count=made.duplicates.height,
        id_reused_count=0 if taken.is_all_logs else count_reused_ids(events),  # lines have ids of their own
        visit_count=visits.height,
        visitor_count=visits["visitor_id"].n_unique(),
        robot_event_count=int(events["is_robot"].sum()) if "is_robot" in events.columns else 0,
        effect_count=events["cause_id"].count() if "cause_id" in events.columns else 0,
        orphan_count=orphans.orphan_count,
        first_event_time=visits["start_time"].min(),  # type: ignore[arg-type]  # a TIME column's min is a datetime
        last_event_time=visits["end_time"].max(),  # type: ignore[arg-type]  # and so is its max
    )


class Orphans(NamedTuple):
    """How many events name a cause, and how many of these name one that is not in the data."""

    effect_count: int
    orphan_count: int


def count_orphans(events: pl.DataFrame) -> Orphans:
    """The effects and the orphans among `events`.

    Ids are compared by 64-bit digests, a fifth of the cost of comparing the texts; two different ids of ten
    million have one digest with odds of 1 in 180,000, and then one orphan goes uncounted.
    """
    if "cause_id" not in events.columns or "event_id" not in events.columns:
        return Orphans(0, 0)
    causes = events["cause_id"].drop_nulls()
    found = causes.hash().is_in(events["event_id"].drop_nulls().hash().implode())
    return Orphans(len(causes), len(causes) - int(found.sum()))
