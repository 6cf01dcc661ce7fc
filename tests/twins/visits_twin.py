"""The rules of DESIGN 4 event by event: plain ints, dicts and loops, and the whole history kept.

Events are dicts with the columns of `m2cli.events`, but times are ints (microseconds). The twin knows no
pending events, no rows of open visits and no remembered ends: after every batch it cuts all that was ever on
time anew, and checks that nothing it said before has changed (DESIGN 4.9). That is what makes it slow, and
its agreement with the kernel a proof.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

Event = dict[str, Any]
BEGINNING_OF_TIME = -(10**30)
COUNTED_TYPES = ("page", "show", "click", "purchase")
NO_CURRENCY = "XXX"  # ISO 4217: no currency involved
OF_THE_FIRST_EVENT = ("country", "is_robot", "browser", "device")


@dataclass(frozen=True, kw_only=True)
class TwinRule:
    """The limits of DESIGN 4.2 to 4.6, in microseconds."""

    inactivity: int
    max_duration: int
    B: int = 0
    idle_after: int = 3_600_000_000


def order_of(event: Event) -> tuple[Any, ...]:
    """What a visitor's events are ordered by (DESIGN 4.1); what is not known comes first."""
    keys = (event["event_time"], event.get("source"), event.get("part_id"), event.get("position_in_source"))
    return tuple((key is not None, key) for key in keys)


def drop_duplicates(events: list[Event]) -> tuple[list[Event], list[Event]]:
    """Of one visitor's events in order: the kept ones, the duplicates (DESIGN 4.8)."""
    kept, duplicates, seen = [], [], set()
    for event in events:
        key = (event.get("event_id"), event["event_time"])
        if key[0] is not None and key in seen:
            duplicates.append(event)
        else:
            seen.add(key)
            kept.append(event)
    return kept, duplicates


def cut(events: list[Event], rule: TwinRule) -> list[list[Event]]:
    """One visitor's events in order, cut into visits (DESIGN 4.2, 4.3)."""
    visits: list[list[Event]] = []
    for event in events:
        time = event["event_time"]
        if (
            not visits
            or time - visits[-1][-1]["event_time"] > rule.inactivity
            or time - visits[-1][0]["event_time"] > rule.max_duration
        ):
            visits.append([])
        visits[-1].append(event)
    return visits


def name_of(visit: list[Event]) -> tuple[Any, ...]:
    """What the visit id is a digest of (DESIGN 4.9)."""
    return (visit[0]["visitor_id"], visit[0]["event_time"], visit[0].get("event_id"))


def moment_of(visit: list[Event], rule: TwinRule) -> int:
    """The last moment at which the visit could have had another event."""
    return min(visit[-1]["event_time"] + rule.inactivity, visit[0]["event_time"] + rule.max_duration)


def revenue_of(visit: list[Event]) -> tuple[Decimal | None, str | None, dict[str, Decimal] | None]:
    """`revenue`, `currency` and `revenue_by_currency` of a visit (DESIGN 4.10)."""
    sums: dict[str, Decimal] = {}
    for event in visit:
        if event.get("event_type") == "purchase" and event.get("amount") is not None:
            currency = event.get("currency") or NO_CURRENCY
            sums[currency] = sums.get(currency, Decimal(0)) + event["amount"]
    if not sums:
        return None, None, None
    if len(sums) == 1:
        ((currency, revenue),) = sums.items()
        return revenue, None if currency == NO_CURRENCY else currency, None
    return None, None, sums


def end_of_visit(
    visit: list[Event], continued: list[Event] | None, latest: int, at_end: str, rule: TwinRule
) -> dict[str, Any]:
    """The end of visit (DESIGN 4.10); ids of visits are what they are a digest of."""
    start, last = visit[0]["event_time"], visit[-1]["event_time"]
    if latest <= moment_of(visit, rule):
        end_reason = at_end
    elif start + rule.max_duration < last + rule.inactivity:
        end_reason = "max_duration"
    else:
        end_reason = "inactivity"
    pages = [event for event in visit if event.get("event_type") == "page"]
    revenue, currency, by_currency = revenue_of(visit)
    return {
        "visit_id": name_of(visit),
        "visitor_id": visit[0]["visitor_id"],
        "start_time": start,
        "end_time": last,
        "event_count": len(visit),
        **{f"{kind}_count": sum(event.get("event_type") == kind for event in visit) for kind in COUNTED_TYPES},
        "end_reason": end_reason,
        "continues_visit_id": None if continued is None else name_of(continued),
        "landing_url": pages[0].get("url") if pages else None,
        "exit_url": pages[-1].get("url") if pages else None,
        **{column: visit[0].get(column) for column in OF_THE_FIRST_EVENT},
        "revenue": revenue,
        "currency": currency,
        "revenue_by_currency": by_currency,
    }


def link_of(before: list[Event], visit: list[Event], rule: TwinRule) -> list[Event] | None:
    """The visit before, if this one continues it (DESIGN 4.3)."""
    return before if visit[0]["event_time"] - before[-1]["event_time"] <= rule.inactivity else None


def sessionize(events: list[Event], rule: TwinRule) -> tuple[list[Event], list[dict[str, Any]], list[Event]]:
    """A bounded run: sort everything, cut, close everything: tagged events, visits, duplicates."""
    latest = max((event["event_time"] for event in events), default=BEGINNING_OF_TIME)
    tagged, ended, all_duplicates = [], [], []
    for visitor in sorted({event["visitor_id"] for event in events}):
        mine = sorted((event for event in events if event["visitor_id"] == visitor), key=order_of)
        kept, duplicates = drop_duplicates(mine)
        all_duplicates += duplicates
        before: list[Event] | None = None
        for visit in cut(kept, rule):
            continued = link_of(before, visit, rule) if before else None
            tagged += [event | {"visit_id": name_of(visit)} for event in visit]
            ended.append(end_of_visit(visit, continued, latest, "end_of_input", rule))
            before = visit
    return tagged, ended, all_duplicates


@dataclass
class Partition:
    """One partition as DESIGN 4.4 to 4.6 sees it."""

    last_input: int
    watermark: int = BEGINNING_OF_TIME
    is_active: bool = True
    has_been_idle: bool = False


@dataclass
class TwinBatch:
    """What one batch said."""

    W: int
    tagged: list[Event] = field(default_factory=list)
    ended: list[dict[str, Any]] = field(default_factory=list)
    duplicates: list[Event] = field(default_factory=list)
    late: list[Event] = field(default_factory=list)


class Stream:
    """Batches of arrivals, one after the other (DESIGN 4.4 to 4.9)."""

    def __init__(self, rule: TwinRule) -> None:
        self.rule = rule
        self.partitions: dict[str | None, Partition] = {}
        self.W = BEGINNING_OF_TIME
        self.flushed_W = BEGINNING_OF_TIME
        self.latest = BEGINNING_OF_TIME
        self.on_time: dict[str, list[Event]] = {}
        self.said: dict[str, dict[Any, Any]] = {"tagged": {}, "ended": {}, "duplicates": {}}

    def declare(self, sources: list[str], now: int) -> None:
        """The partitions that a pipeline knows of before their first event."""
        for source in sources:
            self.partitions.setdefault(source, Partition(last_input=now))

    def plan(self, with_input: set[str | None], unread: set[str | None], now: int) -> None:
        """Decide which partitions are active (DESIGN 4.6)."""
        for source in with_input | unread:
            self.partitions.setdefault(source, Partition(last_input=now))
        for source in with_input:
            self.partitions[source].last_input = now
        for source, partition in self.partitions.items():
            partition.last_input = min(partition.last_input, now)  # a clock that was ahead counts no longer
            is_recent = partition.is_active and now - partition.last_input < self.rule.idle_after
            partition.is_active = source in with_input or source in unread or is_recent
            partition.has_been_idle |= not partition.is_active

    def batch(
        self, arrivals: list[Event], now: int, *, is_flush: bool = False, unread: Collection[str | None] = ()
    ) -> TwinBatch:
        """One batch: events with their `row` in order of arrival, planned at `now`."""
        self.plan({event.get("source") for event in arrivals}, set(unread), now)
        late = self.read(arrivals)
        active = [partition.watermark for partition in self.partitions.values() if partition.is_active]
        if active:
            self.W = max(self.W, min(active))
        if is_flush and (moments := self.moments_of_open_visits()):
            self.W = max(self.W, max(moments) + 1)
            self.flushed_W = self.W
        said = self.say()
        said.late = late
        return said

    def read(self, arrivals: list[Event]) -> list[Event]:
        """Late or not, in order of arrival (DESIGN 4.4, 4.5)."""
        late = []
        for event in arrivals:
            partition, time = self.partitions[event.get("source")], event["event_time"]
            if time < partition.watermark:
                reason = "late"
            elif time < self.flushed_W:
                reason = "after_flush"
            elif time < self.W:
                reason = "after_idle" if partition.has_been_idle else "new_partition"
            else:
                reason = None
            if reason:
                late_by = max(partition.watermark, self.W) - time
                late.append(event | {"late_reason": reason, "late_by": late_by})
            else:
                self.on_time.setdefault(event["visitor_id"], []).append(event)
            arrival = event.get("arrival_time")
            seen = time if arrival is None else min(time, arrival)
            partition.watermark = max(partition.watermark, seen - self.rule.B)
            self.latest = max(self.latest, time)
        return late

    def moments_of_open_visits(self) -> list[int]:
        """For each visit that W has not passed, its moment."""
        moments = [
            moment_of(visit, self.rule)
            for events in self.on_time.values()
            for visit in cut(drop_duplicates(sorted(events, key=order_of))[0], self.rule)
        ]
        return [moment for moment in moments if moment >= self.W]

    def say(self) -> TwinBatch:
        """All that is final by now and was not said before; what was said before must still be so."""
        said = TwinBatch(W=self.W)
        for events in self.on_time.values():
            kept, duplicates = drop_duplicates(sorted(events, key=order_of))
            said.duplicates += [e for e in duplicates if self.is_news("duplicates", e["row"], None)]
            before: list[Event] | None = None
            for visit in cut(kept, self.rule):
                name = name_of(visit)
                continued = link_of(before, visit, self.rule) if before else None
                for event in visit:
                    if event["event_time"] < self.W and self.is_news("tagged", event["row"], name):
                        said.tagged.append(event | {"visit_id": name})
                if moment_of(visit, self.rule) < self.W:
                    end = end_of_visit(visit, continued, self.latest, "flush", self.rule)
                    facts = {key: value for key, value in end.items() if key != "end_reason"}
                    if self.is_news("ended", name, facts):
                        said.ended.append(end)
                before = visit
        return said

    def is_news(self, kind: str, key: Any, what: Any) -> bool:
        """Whether it was not said before; said otherwise before would be a contradiction of DESIGN 4.9."""
        is_new = key not in self.said[kind]
        assert is_new or self.said[kind][key] == what, f"{kind} {key} was final as {self.said[kind][key]}, is {what}"
        self.said[kind][key] = what
        return is_new

    @property
    def carried_count(self) -> int:
        """Events on time, kept, whose visit is open."""
        read = sum(len(events) for events in self.on_time.values())
        in_closed = sum(facts["event_count"] for facts in self.said["ended"].values())
        return read - len(self.said["duplicates"]) - in_closed
