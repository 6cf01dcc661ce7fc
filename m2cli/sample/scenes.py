"""A script: the events of one journey in their order and what caused each, without times or a visitor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from m2cli.events import PAGE, PURCHASE, SEEN, SHOW

NONE, UNKNOWN = -1, -2
"""Causes that are no scene of the script: none, and one that is not in the data."""

MILLISECOND, SECOND, MINUTE, HOUR = 1_000, 1_000_000, 60_000_000, 3_600_000_000

Span = tuple[int, int]
"""From the one, up to the other, in microseconds."""

# How long an event is under way. All but the last are within B (5 minutes), so that they cannot be late:
# whatever arrived before has a `min(event_time, arrival_time)` of at most this arrival.
PROMPT, SLOW, AHEAD, LATE = "prompt", "slow", "ahead", "late"
DELAYS: dict[str, Span] = {
    PROMPT: (40 * MILLISECOND, 600 * MILLISECOND),
    SLOW: (SECOND, 290 * SECOND),
    AHEAD: (-120 * SECOND, -SECOND),  # a clock that is ahead: m2 takes up to 10 minutes of it
    LATE: (2 * HOUR, 5 * HOUR),
}


class Scene(NamedTuple):
    """One event of a script."""

    event_type: str
    gap: Span = (0, 0)
    """The time since the scene before it."""
    cause: int = NONE
    kind: str = "home"
    """Of the thing it is about, in the catalogue's words; which one, the journey and `slot` decide."""
    slot: int = 0
    referrer: tuple[str, int] | None = None
    hook: str | None = None
    reason: str | None = None
    position: int | None = None
    quantity: int | None = None
    currency: str | None = None
    method: str | None = None
    status: int | None = None
    is_known: bool = False
    """Whether the customer is logged in."""
    delay: str = PROMPT
    shift: int = 0
    """How many partitions beside the visitor's own it arrives."""
    same_as: int = NONE
    """The scene whose id it has: a copy where its time is the same too, else a reused id."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """What one visitor does in one go: a visit, or, where `is_watched`, whatever the rules make of it.

    A script that is not watched is one visit whatever is drawn: no silence beyond the limit, far shorter
    than the maximum duration, nothing late, no copies, nothing tied at its start.
    """

    scenes: tuple[Scene, ...]
    is_watched: bool = False
    is_robot: bool = False
    trap: str | None = None

    @property
    def longest(self) -> int:
        """Microseconds from the first event to the last, at most."""
        return sum(scene.gap[1] for scene in self.scenes)

    def find_root(self, n: int) -> int:
        """The scene at the root of the causes of `n`; NONE where they end in an unknown or a ring."""
        seen: set[int] = set()
        while n not in seen:
            seen.add(n)
            cause = self.scenes[n].cause
            if cause == NONE:
                return n
            if cause == UNKNOWN:
                return NONE
            n = cause
        return NONE


class Draft:
    """A script being written. Of a log, only what a server logs; the time of what is left out remains."""

    def __init__(self, *, is_log: bool) -> None:
        self.scenes: list[Scene] = []
        self.is_known = False
        self._is_log = is_log
        self._owed: Span = (0, 0)
        self._silence: int | None = None

    def add(self, scene: Scene) -> int:
        """Append `scene`; the number by which others name it as their cause, NONE if it is left out."""
        gap = (self._owed[0] + scene.gap[0], self._owed[1] + scene.gap[1])
        if self._is_log and scene.method is None:
            self._owed = gap if self.scenes else (0, 0)
            return NONE
        if self._silence is not None:
            gap = (self._silence, self._silence)
        self._owed, self._silence = (0, 0), None
        gap = gap if self.scenes else (0, 0)  # a script begins with its first event
        self.scenes.append(scene._replace(gap=gap, is_known=self.is_known or scene.is_known))
        return len(self.scenes) - 1

    def wait(self, gap: Span) -> None:
        """Let so much time pass before the next event."""
        self._owed = (self._owed[0] + gap[0], self._owed[1] + gap[1])

    def fall_silent(self, length: int) -> None:
        """Let exactly `length` µs lie between the event before and the next, whatever else was said."""
        self._silence = length

    def enter(self, reason: str, kind: str, slot: int) -> int:
        """The visitor was sent here: by a search, a campaign, a link."""
        return self.add(Scene(event_type="enter", kind=kind, slot=slot, reason=reason))

    def page(self, kind: str, slot: int, cause: int = NONE, **more: object) -> int:
        """A page shown."""
        fields: dict[str, object] = {
            "gap": (300 * MILLISECOND, 2 * SECOND),
            "method": "GET",
            "status": 200,
        } | more
        return self.add(Scene(event_type=PAGE, kind=kind, slot=slot, cause=cause, **fields))  # type: ignore[arg-type]

    def show(self, page: int, kind: str, slot: int, position: int, reason: str) -> int:
        """Something on that page; a block shares a microsecond, 1 to 4 ms after the page's."""
        gap = (MILLISECOND, 4 * MILLISECOND) if position == 1 else (0, 0)
        return self.add(
            Scene(event_type=SHOW, gap=gap, cause=page, kind=kind, slot=slot, position=position, reason=reason)
        )

    def see(self, show: int, kind: str, slot: int, position: int) -> int:
        """The browser saw what was shown."""
        gap = (150 * MILLISECOND, 1_500 * MILLISECOND)
        return self.add(Scene(event_type=SEEN, gap=gap, cause=show, kind=kind, slot=slot, position=position))

    def click(self, show: int, kind: str, slot: int, hook: str) -> int:
        """One of its hooks was clicked."""
        gap = (SECOND, 20 * SECOND)
        return self.add(Scene(event_type="click", gap=gap, cause=show, kind=kind, slot=slot, hook=hook))

    def put_in_cart(self, click: int, slot: int, quantity: int) -> int:
        """What the click on `add_to_cart` did."""
        gap = (30 * MILLISECOND, 200 * MILLISECOND)
        return self.add(
            Scene(event_type="add_to_cart", gap=gap, cause=click, kind="product", slot=slot, quantity=quantity)
        )

    def buy(self, cart: int, slot: int, quantity: int, currency: str) -> int:
        """One order line, caused by what was put in the cart."""
        return self.add(
            Scene(
                event_type=PURCHASE,
                cause=cart,
                kind="product",
                slot=slot,
                quantity=quantity,
                currency=currency,
            )
        )

    def ask(self, kind: str, slot: int, cause: int, **more: object) -> int:
        """A request that is no page."""
        fields: dict[str, object] = {
            "gap": (20 * MILLISECOND, 400 * MILLISECOND),
            "method": "GET",
            "status": 200,
        } | more
        return self.add(Scene(event_type="request", cause=cause, kind=kind, slot=slot, **fields))  # type: ignore[arg-type]
