"""The truth of a sample, read from its events one at a time, by DESIGN 3.3 and 4 alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

INACTIVITY = timedelta(minutes=30)
MAX_DURATION = timedelta(hours=12)
MAX_OUT_OF_ORDERNESS = timedelta(minutes=5)

Event = dict[str, Any]
Place = tuple[str, int]


@dataclass
class Visit:
    visitor: str
    start: datetime
    events: list[Event] = field(default_factory=list)
    continues: datetime | None = None

    @property
    def end(self) -> datetime:
        return self.events[-1]["event_time"]


@dataclass
class TwinTruth:
    visits: list[Visit]
    start_of: dict[Place, datetime]
    duplicates: set[Place]
    late: set[Place]
    root_of: dict[Place, str | None]
    orphans: set[Place]
    latest: datetime
    watermark: datetime

    def end_reason(self, visit: Visit, nothing_later: str) -> str:
        silent, full = visit.end + INACTIVITY, visit.start + MAX_DURATION
        if not self.latest > min(silent, full):
            return nothing_later
        return "max_duration" if full < silent else "inactivity"

    def is_closed(self, visit: Visit) -> bool:
        return min(visit.end + INACTIVITY, visit.start + MAX_DURATION) < self.watermark


def visitor_of(event: Event) -> str:
    return event.get("session_id") or f"{event['ip']} {event['user_agent']}"


def place_of(event: Event) -> Place:
    return event["source"], event["position_in_source"]


def find_truth(events: list[Event], *, on_time: bool) -> TwinTruth:
    """`events` in any order: `position_in_source` is the order of arrival in each source."""
    late, watermark = find_late(events)
    late_ones = late if on_time else set()
    kept, duplicates = _drop_copies([event for event in events if place_of(event) not in late_ones])
    visits = _cut(kept)
    start_of = {place_of(event): visit.start for visit in visits for event in visit.events}
    root_of, orphans = _find_roots(kept)
    latest = max(event["event_time"] for event in events)
    return TwinTruth(visits, start_of, duplicates, late, root_of, orphans, latest, watermark)


def find_late(events: list[Event]) -> tuple[set[Place], datetime]:
    late: set[Place] = set()
    watermarks: dict[str, datetime] = {}
    for event in sorted(events, key=place_of):
        source, time = event["source"], event["event_time"]
        if source in watermarks and time < watermarks[source]:
            late.add(place_of(event))
        here = min(time, event.get("arrival_time", time)) - MAX_OUT_OF_ORDERNESS
        watermarks[source] = max(watermarks.get(source, here), here)
    return late, min(watermarks.values())


def _order(event: Event) -> tuple[Any, ...]:
    return event["event_time"], event["source"], event["part_id"], event["position_in_source"]


def _drop_copies(events: list[Event]) -> tuple[list[Event], set[Place]]:
    met: set[tuple[Any, ...]] = set()
    kept, duplicates = [], set()
    for event in sorted(events, key=_order):
        key = (visitor_of(event), event.get("event_id"), event["event_time"])
        if event.get("event_id") is not None and key in met:
            duplicates.add(place_of(event))
        else:
            met.add(key)
            kept.append(event)
    return kept, duplicates


def _cut(kept: list[Event]) -> list[Visit]:
    visits: list[Visit] = []
    last: dict[str, Visit] = {}
    for event in kept:
        visitor, time = visitor_of(event), event["event_time"]
        visit = last.get(visitor)
        is_silent = visit is None or time - visit.end > INACTIVITY
        if visit is None or is_silent or time - visit.start > MAX_DURATION:
            continues = visit.start if visit is not None and not is_silent else None
            visit = last[visitor] = Visit(visitor, time, continues=continues)
            visits.append(visit)
        visit.events.append(event)
    return visits


def _find_roots(kept: list[Event]) -> tuple[dict[Place, str | None], set[Place]]:
    causes = {event["event_id"]: event["cause_id"] for event in kept if event.get("event_id")}
    roots: dict[Place, str | None] = {}
    orphans: set[Place] = set()
    for event in kept:
        at, seen = event.get("event_id"), set()
        if event.get("cause_id") is not None and event["cause_id"] not in causes:
            orphans.add(place_of(event))
        while at is not None and causes.get(at) is not None and at not in seen:
            seen.add(at)
            at = causes[at] if causes[at] in causes else None
        roots[place_of(event)] = None if at in seen else at
    return roots, orphans


def revenue_of(visit: Visit) -> tuple[Decimal | None, str | None]:
    sums: dict[str, Decimal] = {}
    for event in visit.events:
        if event.get("amount") is not None:
            sums[event["currency"]] = sums.get(event["currency"], Decimal(0)) + event["amount"]
    if len(sums) != 1:
        return None, None
    currency, revenue = sums.popitem()
    return revenue, currency
