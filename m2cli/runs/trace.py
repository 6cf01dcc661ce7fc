"""Tracing in a lake: one event up to its root with what competed at each step, or all events of a type."""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from m2cli.errors import M2Error
from m2cli.runs.trace_reader import ROW, SHOWN, EventReader, Traced, gather_causes, gather_competitors
from m2cli.stages.trace import CYCLE, ORPHAN, ROOT, Paths, count_competitors, find_competitors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# Bounds the memory of `trace_events`: all events of these starts' visits are held, and each takes about 0.7
# kB.
_STARTS_AT_ONCE = 100_000
_STEPS_AT_ONCE = 500_000
# Types are an open set; `m2 query` lists them all.
_TYPES_NAMED = 12


class UnknownEventError(M2Error):
    """An event id that no event of the lake has."""

    def __init__(self, event_id: str, lake: Path) -> None:
        self.event_id, self.lake = event_id, lake
        super().__init__(f"no event `{event_id}` in the lake `{lake}`")


class UnknownTypeError(M2Error):
    """A type that no event of the lake has; the message offers the nearest."""

    def __init__(self, event_type: str, lake: Path, known: Sequence[str]) -> None:
        self.event_type, self.lake, self.known = event_type, lake, known
        near = get_close_matches(event_type, known, n=1)
        there = ", ".join(f"`{name}`" for name in known[:_TYPES_NAMED]) or "no types"
        hint = f"did you mean `{near[0]}`?" if near else f"there are {there}"
        super().__init__(f"no event of type `{event_type}` in the lake `{lake}`; {hint}")


class Trace(NamedTuple):
    """An event's way from its root, and what competed.

    `steps`: the events on the path, the root first, the event itself last. `competitors`: the shows with the
    same cause as a step's event, by `step` (a row of `steps`), position and time. Both have the columns
    `trace_reader.SHOWN`. `end`: `root`, `orphan` (the first step's cause, `missing_cause_id`, is not in the
    lake) or `cycle` (it is a step itself). `occurrences`: the times of all events with this id, more than one
    where the id was reused; `steps` traces the one asked for, else the first.
    """

    steps: pl.DataFrame
    competitors: pl.DataFrame
    end: str
    missing_cause_id: str | None
    occurrences: tuple[datetime, ...]


def trace_event(event_id: str, lake: Path, *, event_time: datetime | None = None) -> Trace:
    """The trace of the event `event_id` of `lake`; of the one at `event_time` where several have this id.

    Raises `UnknownEventError` if there is none, `UnreadableSourceError` where there is no lake.
    """
    reader = EventReader(lake)
    found = reader.locate(pl.col("event_id") == event_id).sort("event_time", ROW)
    asked = found if event_time is None else found.filter(pl.col("event_time") == event_time)
    if asked.is_empty():
        raise UnknownEventError(event_id, lake)
    start = asked.head(1)
    events, cause_row, paths = gather_competitors(reader, gather_causes(reader, start), start)
    rows = paths.steps["row"].reverse()
    steps = pl.DataFrame({"row": rows}).with_row_index("step")
    pairs = steps.join(find_competitors(events, cause_row, rows), on="row")
    competitors = pairs.select("step").hstack(events.select(SHOWN).gather(pairs["competitor"]))
    return Trace(
        steps=events.select(SHOWN).gather(rows),
        competitors=competitors.sort("step", "position", "event_time", nulls_last=True, maintain_order=True),
        end=paths.ends["end"][0],
        missing_cause_id=paths.ends["missing_cause_id"][0],
        occurrences=tuple(found["event_time"]),
    )


def trace_events(lake: Path, event_type: str = "purchase") -> Iterator[pl.DataFrame]:
    """The traces of all events of `event_type` in `lake`, in the lake's order, a frame of many at a time.

    Columns: `event_id`, `event_time`, `root_id` (null for orphans and cycles), `is_orphan`, `is_cycle`,
    `missing_cause_id`, and `chain`: a list of structs, the root first, with the columns `trace_reader.SHOWN`
    and `competitor_count`, the number of shows that had the same cause.

    Raises `UnknownTypeError` with the first frame if there is no such event, `UnreadableSourceError` for a lake
    that cannot be read.
    """
    reader = EventReader(lake)
    starts = reader.locate(pl.col("event_type") == event_type)
    if starts.is_empty():
        raise UnknownTypeError(event_type, lake, reader.list_types())
    for some in starts.iter_slices(_STARTS_AT_ONCE):
        traced = gather_competitors(reader, gather_causes(reader, some), some)
        for paths in _cut(traced.paths):
            yield _nest(traced, paths)


def _cut(paths: Paths) -> Iterator[Paths]:
    """`paths` a number of whole paths at a time: those of a robot's pages can be very long."""
    last_step = paths.ends["step_count"].cum_sum()
    first, done = 0, 0
    while first < paths.ends.height:
        after = max(first + 1, last_step.search_sorted(done + _STEPS_AT_ONCE, side="right"))
        ends = paths.ends.slice(first, after - first)
        yield Paths(paths.steps.slice(done, last_step[after - 1] - done), ends)
        first, done = after, last_step[after - 1]


def _nest(traced: Traced, paths: Paths) -> pl.DataFrame:
    told, (steps, ends) = traced.events.select(SHOWN), paths
    competitor_count = count_competitors(traced.events, traced.cause_row, steps["row"])
    chains = (
        steps.hstack(told.gather(steps["row"]))
        .select("trace", chain=pl.struct(*SHOWN, competitor_count=competitor_count))
        .group_by("trace", maintain_order=True)
        .agg(pl.col("chain").reverse())
    )
    root_id = told["event_id"].gather(ends["top"])
    starts = told.select("event_id", "event_time").gather(ends["row"])
    return starts.with_columns(
        root_id=pl.select(pl.when(ends["end"] == ROOT).then(root_id)).to_series(),
        is_orphan=ends["end"] == ORPHAN,
        is_cycle=ends["end"] == CYCLE,
        missing_cause_id=ends["missing_cause_id"],
        chain=chains["chain"],
    )


def trace_to_dict(trace: Trace) -> dict[str, Any]:
    """`trace` as what JSON can hold: times as ISO 8601 text in UTC, money as text; the root first."""
    by_step: dict[int, list[dict[str, Any]]] = {}
    for competitor in trace.competitors.iter_rows(named=True):
        by_step.setdefault(competitor.pop("step"), []).append(_to_json(competitor))
    chain = [
        _to_json(event) | {"competitors": by_step.get(step, [])}
        for step, event in enumerate(trace.steps.iter_rows(named=True))
    ]
    return {
        "event_id": chain[-1]["event_id"],
        "event_time": chain[-1]["event_time"],
        "root_id": chain[0]["event_id"] if trace.end == ROOT else None,
        "is_orphan": trace.end == ORPHAN,
        "is_cycle": trace.end == CYCLE,
        "missing_cause_id": trace.missing_cause_id,
        "occurrences": [format_time(time) for time in trace.occurrences],
        "chain": chain,
    }


def _to_json(event: dict[str, Any]) -> dict[str, Any]:
    money = None if event["amount"] is None else str(event["amount"])
    return event | {"event_time": format_time(event["event_time"]), "amount": money}


def format_time(time: datetime) -> str:
    """`time` as ISO 8601 in UTC, as fine as it needs, the same as in the results of `m2 query`.

    >>> format_time(datetime(2026, 3, 1, 12, 0, 0, 500_000, UTC))
    '2026-03-01T12:00:00.500Z'
    """
    fine = "microseconds" if time.microsecond % 1000 else "milliseconds" if time.microsecond else "seconds"
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=fine) + "Z"
