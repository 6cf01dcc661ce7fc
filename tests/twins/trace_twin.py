"""Causes, event by event: the rules of `m2cli.stages.trace` as plain loops."""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]


def find_cause(events: list[Event], effect: int) -> int | None:
    """The row of the cause of the event in row `effect`."""
    event = events[effect]
    if event["cause_id"] is None:
        return None
    if event["cause_id"] == event["event_id"]:
        return effect
    named = [row for row, other in enumerate(events) if other["event_id"] == event["cause_id"]]
    own = [row for row in named if _is_same_visitor(events[row], event)]
    for rows in (own, named):
        before = [row for row in rows if events[row]["event_time"] <= event["event_time"]]
        if before:
            latest = max(events[row]["event_time"] for row in before)
            return next(row for row in before if events[row]["event_time"] == latest)
        after = [row for row in rows if events[row]["event_time"] > event["event_time"]]
        if after:
            earliest = min(events[row]["event_time"] for row in after)
            return next(row for row in after if events[row]["event_time"] == earliest)
    return None


def _is_same_visitor(one: Event, other: Event) -> bool:
    return one["visitor_id"] is not None and one["visitor_id"] == other["visitor_id"]


def walk(events: list[Event], start: int) -> tuple[list[int], str]:
    """The rows from `start` up, and how the path ends."""
    path = [start]
    while True:
        cause = find_cause(events, path[-1])
        if cause is None:
            return path, "root" if events[path[-1]]["cause_id"] is None else "orphan"
        if cause in path:
            return path, "cycle"
        path.append(cause)


def find_competitors(events: list[Event], chosen: int) -> list[int]:
    """The rows of the other shows with the same cause."""
    cause_id, cause = events[chosen]["cause_id"], find_cause(events, chosen)
    return [
        row
        for row, other in enumerate(events)
        if cause_id is not None
        and row != chosen
        and other["event_type"] == "show"
        and other["cause_id"] == cause_id
        and find_cause(events, row) == cause
    ]
