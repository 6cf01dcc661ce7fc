"""What lies where in a lake, visit by visit: the rules of DESIGN 5.5 as plain loops, and visits to write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA, VISIT_SCHEMA

START = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)

Row = dict[str, Any]


class Whole(NamedTuple):
    """Whole visits and their rows, as a run has them when it writes."""

    events: pl.DataFrame
    visits: pl.DataFrame


def make_whole(visits: list[tuple[int, int]]) -> Whole:
    """Visits of (start in hours after `START`, number of events, a minute apart), put in order of start."""
    event_rows: list[Row] = []
    visit_rows: list[Row] = []
    for number, (hours, count) in enumerate(sorted(visits)):
        start, visit_id = START + timedelta(hours=hours), f"visit-{number}"
        times = [start + timedelta(minutes=minute) for minute in range(count)]
        for step, time in enumerate(times):
            event = {
                "event_id": f"{number}-{step}",
                "event_time": time,
                "event_type": "page",
                "url": f"/{step}",
            }
            event_rows.append(event | {"visitor_id": f"visitor-{number % 3}", "visit_id": visit_id})
        visit = {"visit_id": visit_id, "visitor_id": f"visitor-{number % 3}", "end_reason": "inactivity"}
        visit_rows.append(visit | {"start_time": start, "end_time": times[-1], "event_count": count})
    names = ("event_id", "event_time", "event_type", "url", "visitor_id", "visit_id")
    visit_names = ("visit_id", "visitor_id", "start_time", "end_time", "event_count", "end_reason")
    return Whole(
        pl.DataFrame(event_rows, schema={name: LAKE_EVENT_SCHEMA[name] for name in names}),
        pl.DataFrame(visit_rows, schema={name: VISIT_SCHEMA[name] for name in visit_names}),
    )


def part_by_date(whole: Whole) -> dict[str, list[str]]:
    """The ids of the events of each date folder, in order: those of visits that start on that UTC date."""
    dates = {visit["visit_id"]: visit["start_time"].date().isoformat() for visit in whole.visits.to_dicts()}
    folders: dict[str, list[str]] = {}
    for event in whole.events.to_dicts():
        folders.setdefault(dates[event["visit_id"]], []).append(event["event_id"])
    return folders


def compact(wholes: list[Whole], max_rows: int) -> list[list[tuple[str, str]]]:
    """The (`visit_id`, `event_id`) of each file that compaction makes of files with `wholes`, all of one date.

    Visits by start and id, and a new file where the next start's visits are too many for the one before.
    """
    starts: dict[datetime, list[tuple[str, list[str]]]] = {}
    for whole in wholes:
        for visit in whole.visits.to_dicts():
            ids = [event["event_id"] for event in whole.events.to_dicts() if event["visit_id"] == visit["visit_id"]]
            starts.setdefault(visit["start_time"], []).append((visit["visit_id"], ids))
    files: list[list[tuple[str, str]]] = []
    for _, visits in sorted(starts.items()):
        rows = [(visit_id, event_id) for visit_id, ids in sorted(visits) for event_id in ids]
        if files and len(files[-1]) + len(rows) <= max_rows:
            files[-1] += rows
        else:
            files.append(rows)
    return files
