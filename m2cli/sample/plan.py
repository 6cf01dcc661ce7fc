"""The plan of a sample: every journey, its script, its visitor and its start, before any event is made."""

from __future__ import annotations

from datetime import UTC, datetime, time
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

import polars as pl

from m2cli.errors import UsageError
from m2cli.sample.draws import below, draw, high, low, make_key
from m2cli.sample.library import ROBOTS, TRAP_VARIANTS, VISITS
from m2cli.sample.people import ROBOT_BLOCK_LEAST, ROBOT_KINDS
from m2cli.sample.scenes import HOUR, MINUTE, SECOND
from m2cli.sample.traps import EARLY, MIDNIGHT, TRAPS, Trap, count_journeys

if TYPE_CHECKING:
    from m2cli.sample.library import Library
    from m2cli.sample.rule import SampleRule

DAY = 24 * HOUR
ROBOT_PERCENT = 4  # of the journeys; as each is long, about one event in eight
REGULAR_PERCENT = 30  # of the journeys, made by a tenth of the visitors

_APART = 31 * MINUTE  # between two journeys of a visitor, at least: more than the inactivity
_MOST_VISITORS = 8_000_000  # the smallest share of a block of addresses

# How busy the hours of a day are: quiet nights, a lunch break, the evening's peak.
_RHYTHM = (9, 5, 3, 2, 2, 4, 9, 18, 28, 36, 42, 46, 52, 48, 44, 43, 45, 50, 58, 72, 84, 80, 54, 24)
_STEPS = 2**12


def plan_journeys(library: Library, rule: SampleRule) -> pl.DataFrame:
    """Every journey, in order of its start; together they have exactly `rule.events` events.

    Columns: `script`, `visitor`, `is_robot`, `start` (µs since 1970), `length` (events), `first_event`
    (the number of its first), `begin` (row of its first scene), `home` (partition), `is_watched`.
    Journeys of one visitor are more than `inactivity` apart, whatever is drawn later.

    Raises `UsageError` where there are fewer events than the traps need, or too many for so few days.
    """
    traps = _plan_traps(library, rule)
    left = rule.events - int(traps["length"].sum())
    if left < 0:
        raise UsageError(f"`events` is {rule.events}; the traps alone are {rule.events - left}: ask for more")
    everyday = _plan_everyday(library, rule, left)
    people = everyday.filter(~pl.col("is_robot"))["visitor"].max()
    first_free = int(people) + 1 if isinstance(people, int) else 0
    if first_free + traps.height > _MOST_VISITORS:
        raise UsageError(f"`events` is {rule.events}: too many visitors for {rule.days} days; ask for more days")
    traps = traps.with_columns(visitor=pl.col("visitor") + first_free)
    scripts = library.scripts.select("begin", "is_watched", script=pl.int_range(pl.len(), dtype=pl.Int64))
    home = high(draw(pl.col("visitor") * 2 + pl.col("is_robot").cast(pl.Int64), make_key(rule.seed, "home")))
    return (
        pl.concat([everyday, traps.select(everyday.columns)])
        .sort("start", maintain_order=True)
        .join(scripts, on="script", how="left", maintain_order="left")
        .with_columns(
            first_event=pl.col("length").cum_sum() - pl.col("length"),
            home=below(home, rule.sources).cast(pl.UInt8),
        )
    )


def _plan_traps(library: Library, rule: SampleRule) -> pl.DataFrame:
    """The journeys with a trap in them, each of a visitor of its own, numbered from 0."""
    traps = [trap for trap in TRAPS if trap.name in library.traps]
    plans = [_plan_trap(trap, n, rule) for n, trap in enumerate(traps)]
    lengths = library.scripts.select("length", "is_robot", script=pl.int_range(pl.len(), dtype=pl.Int64))
    return (
        pl.concat(plans)
        .join(lengths, on="script", how="left", maintain_order="left")
        .with_columns(visitor=pl.int_range(pl.len(), dtype=pl.Int64))
    )


def _plan_trap(trap: Trap, place: int, rule: SampleRule) -> pl.DataFrame:
    n = pl.int_range(count_journeys(trap.name, rule), dtype=pl.Int64)
    drawn = draw(n, make_key(rule.seed, trap.name))
    midnight = _epoch(rule) + n % rule.days * DAY
    starts = {
        EARLY: midnight + below(high(drawn), 2 * HOUR),
        MIDNIGHT: midnight + DAY - MINUTE + below(high(drawn), 30 * SECOND),
    }
    start = starts.get(trap.when, _by_rhythm(drawn, rule))
    script = VISITS + ROBOTS + place * TRAP_VARIANTS + n % TRAP_VARIANTS
    return pl.select(script=script, start=start // rule.tick * rule.tick)


def _plan_everyday(library: Library, rule: SampleRule, events: int) -> pl.DataFrame:
    """Journeys without a trap, the last cut short so that they have `events` events together."""
    mean = library.scripts["length"].head(VISITS).mean()
    most = int(events / mean * 1.02) + 50 if isinstance(mean, float) else 0
    n = pl.int_range(most, dtype=pl.Int64)
    which = draw(n, make_key(rule.seed, "script"))
    script = (
        pl.when(high(which) % 100 < ROBOT_PERCENT)
        .then(VISITS + below(low(which), ROBOTS))
        .otherwise(below(low(which), VISITS))
    )
    scripts = library.scripts.select("length", "longest", "is_robot", script=pl.int_range(pl.len(), dtype=pl.Int64))
    before = pl.col("length").cum_sum() - pl.col("length")
    journeys = (
        pl.select(script=script, number=n)
        .join(scripts, on="script", how="left", maintain_order="left")
        .filter(before < events)
        .with_columns(length=pl.min_horizontal("length", events - before))
        .with_columns(start=_by_rhythm(draw(pl.col("number"), make_key(rule.seed, "start")), rule))
        .with_columns(start=pl.col("start") // rule.tick * rule.tick, visitor=_draw_visitor(rule))
    )
    return _keep_apart(journeys, rule).select("script", "visitor", "is_robot", "start", "length")


def _draw_visitor(rule: SampleRule) -> pl.Expr:
    """A visitor for each journey: most come once or twice, regulars often; robots are numbered apart."""
    drawn = draw(pl.col("number"), make_key(rule.seed, "visitor"))
    people = ((~pl.col("is_robot")).sum() * 3 // (4 + rule.days)).clip(10, _MOST_VISITORS * 3 // 4)
    robots = (pl.col("is_robot").sum() // 4).clip(ROBOT_KINDS, ROBOT_BLOCK_LEAST * ROBOT_KINDS // 2)
    known = pl.when(high(drawn) % 100 < REGULAR_PERCENT).then(people // 10).otherwise(people)
    return below(low(drawn), pl.when("is_robot").then(robots).otherwise(known).cast(pl.Int64))


def _keep_apart(journeys: pl.DataFrame, rule: SampleRule) -> pl.DataFrame:
    """Put off what begins before the visitor's last journey, at its longest, and a silence are over.

    With `taken` the time that the visitor's earlier journeys take, a start is at least the earlier start
    minus what was taken before it, plus what is taken now: a running maximum. What would have to wait
    beyond the last day goes to a new visitor instead.
    """
    needs = (pl.col("longest") // rule.tick + 1) * rule.tick + _APART
    taken = (needs.cum_sum() - needs).over("is_robot", "visitor")
    put_off = (pl.col("start") - pl.col("taken")).cum_max().over("is_robot", "visitor") + pl.col("taken")
    apart = (
        journeys.sort("is_robot", "visitor", "start", "number")
        .with_columns(taken=taken)
        .with_columns(put_off=put_off)
        .with_columns(is_beyond=pl.col("put_off") >= _epoch(rule) + rule.days * DAY)
    )
    fresh = (pl.col("visitor").max() + pl.col("is_beyond").cast(pl.Int64).cum_sum()).over("is_robot")
    return apart.with_columns(
        visitor=pl.when("is_beyond").then(fresh).otherwise("visitor"),
        start=pl.when("is_beyond").then("start").otherwise("put_off"),
    )


def _epoch(rule: SampleRule) -> int:
    """The first day's midnight in µs since 1970."""
    return int(datetime.combine(rule.start_date, time(), UTC).timestamp()) * SECOND


@cache
def _quantiles() -> tuple[int, ...]:
    """Where in the day, in µs, `_STEPS` equal shares of what happens in it end."""
    ends, hour, quantiles = [0, *accumulate(_RHYTHM)], 0, []
    for step in range(_STEPS + 1):
        share = step * ends[-1]
        while hour < 23 and share > ends[hour + 1] * _STEPS:
            hour += 1
        quantiles.append(hour * HOUR + (share - ends[hour] * _STEPS) * HOUR // (_RHYTHM[hour] * _STEPS))
    return tuple(quantiles)


def _by_rhythm(drawn: pl.Expr, rule: SampleRule) -> pl.Expr:
    """A time on one of the days, more often when the shop is busy."""
    table = pl.lit(pl.Series(_quantiles()))
    step, rest = high(drawn) // 2**20, high(drawn) % 2**20
    within = table.gather(step) + (table.gather(step + 1) - table.gather(step)) * rest // 2**20
    return _epoch(rule) + below(low(drawn), rule.days) * DAY + within
