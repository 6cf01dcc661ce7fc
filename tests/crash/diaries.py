"""Diaries: what happens in a shop, moment after moment, each time the same; a run of the pipeline follows on each."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.pipelines_runs.shop import MINUTE, START, Shop, line, walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Diary(NamedTuple):
    """What happens, and after which of it the run flushes."""

    moments: tuple[Callable[[Shop], None], ...]
    flushes: frozenset[int] = frozenset()
    has_logs: bool = True
    has_events: bool = True

    def open(self, folder: Path, number: int) -> Shop:
        """The shop as its clock has it at a moment; the first one is number 0."""
        shop = Shop(folder, START + (number + 1) * STEP)
        logs, events = shop.rule.sources
        shop.settle(sources=(logs,) * self.has_logs + (events,) * self.has_events)
        return shop


STEP = 30 * MINUTE
COUNT = 40


def _grow(seed: int) -> Callable[[Shop], None]:
    """The log goes on where it was."""

    def happen(shop: Shop) -> None:
        shop.log(*walk(shop.now - 12 * MINUTE, COUNT, seed))

    return happen


def _rename(shop: Shop) -> None:
    shop.log(*walk(shop.now - 25 * MINUTE, 10, 70))
    shop.rename_log("access.log", "access.log.1")
    shop.log(*walk(shop.now - 12 * MINUTE, COUNT, 71))


def _pack(shop: Shop) -> None:
    shop.pack_log("access.log.1", "access.log.2.gz")
    shop.log(*walk(shop.now - 12 * MINUTE, 10, 72))


def _copy_and_truncate(shop: Shop) -> None:
    shop.log(*walk(shop.now - 25 * MINUTE, 10, 73))
    shop.copy_and_truncate_log("access.log", "access.log.1")
    shop.log(*walk(shop.now - 12 * MINUTE, 10, 74))


def _nothing(_shop: Shop) -> None:
    pass


def make_events(shop: Shop, seed: int, count: int = COUNT) -> list[dict[str, Any]]:
    """Rows of an event file: some twice, some late, some without a time."""
    rows = []
    for number in range(count):
        time = shop.now + timedelta(seconds=15 * number) - 20 * MINUTE - (number % 11 == 3) * 90 * MINUTE
        row = {"event_id": f"{seed}-{number}", "event_time": time.isoformat(), "visitor_id": f"v{number % 7}"}
        rows.append(row | {"event_type": "page", "url": f"/{seed}/{number}", "country": "NL"})
        if number % 10 == 9:
            rows.append(rows[-1])
        if number % 13 == 5:
            rows.append({"event_id": "none", "event_time": "never", "visitor_id": "v1"})
    return rows


def _events(seed: int, *, of_source: str | None = None) -> Callable[[Shop], None]:
    """A new event file, ten minutes old when it is found."""

    def happen(shop: Shop) -> None:
        found, shop.now = shop.now, shop.now - 10 * MINUTE
        rows = make_events(shop, seed)
        shop.drop_events(f"{seed:03}", [row | ({"source": of_source} if of_source else {}) for row in rows])
        shop.now = found

    return happen


def _both(*happenings: Callable[[Shop], None]) -> Callable[[Shop], None]:
    def happen(shop: Shop) -> None:
        for each in happenings:
            each(shop)

    return happen


def _late_log(shop: Shop) -> None:
    """Another server's log of long ago."""
    shop.log(
        *(line(START - 300 * MINUTE + number * MINUTE, 40, f"/late/{number}") for number in range(12)),
        name="access.log.other",
    )


LOGS = Diary(
    (_grow(1), _grow(2), _rename, _grow(3), _pack, _grow(4), _copy_and_truncate, _nothing, _late_log, _grow(5)),
    frozenset({9}),
)
EVENTS = Diary(
    (
        _events(1),
        _events(2),
        _nothing,
        _both(_events(3), _events(4, of_source="app")),
        _grow(6),
        _events(5),
        _events(6),
        _nothing,
    ),
    frozenset({5}),
)
GROWING = Diary((_grow(1), _grow(2), _grow(3)), frozenset({2}), has_events=False)
ARRIVING = Diary((_events(1), _events(2), _events(3)), frozenset({2}), has_logs=False)
DIARIES = {"logs": LOGS, "events": EVENTS, "growing": GROWING, "arriving": ARRIVING}
