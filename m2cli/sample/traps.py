"""The traps: journeys that meet the edges of the rules, a table of what is written, how often and when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from m2cli.events import SEEN, SHOW
from m2cli.sample.scenes import AHEAD, HOUR, LATE, MINUTE, NONE, SECOND, SLOW, UNKNOWN, Scene, Script
from m2cli.sample.walks import Walk, walk_about

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.sample.draws import Dice
    from m2cli.sample.rule import SampleRule

ANY_TIME, EARLY, MIDNIGHT = "any time", "early", "midnight"
"""When a journey begins: by the day's rhythm, in a day's first two hours, a minute before midnight."""


class Trap(NamedTuple):
    """One kind of trap: two journeys of it in every sample, and one more for every `one_in` events."""

    name: str
    write: Callable[[Walk], Script]
    one_in: int
    when: str = ANY_TIME
    is_in_logs: bool = True


def _walk(walk: Walk, least: int = 8) -> Walk:
    """Walk about for some length."""
    walk_about(walk)
    while len(walk.draft.scenes) < least:
        walk.dwell()
        walk.look_elsewhere()
    return walk


def _after_silence(over: int) -> Callable[[Walk], Script]:
    def write(walk: Walk) -> Script:
        _walk(walk)
        walk.draft.fall_silent(30 * MINUTE + over * (SECOND if walk.is_log else 1))
        walk.look_elsewhere()
        return walk.end(is_watched=True)

    return write


def _after_half_a_day(over: int) -> Callable[[Walk], Script]:
    def write(walk: Walk) -> Script:
        page = walk.draft.page("home", 0, reason="direct")
        for n in range(1, 31):  # every 24 minutes: 30 times that is 12 hours
            walk.draft.fall_silent(24 * MINUTE + (over * (SECOND if walk.is_log else 1) if n == 30 else 0))
            page = walk.draft.page("list", n, page, referrer=("list", n - 1))
        if over:
            walk.dwell()
            walk.look_elsewhere()
        return walk.end(is_watched=True)

    return write


def _hours(pages: int, longest: int, late: int = 0) -> Callable[[Walk], Script]:
    def write(walk: Walk) -> Script:
        page = walk.draft.page("home", 0, reason="direct")
        for n in range(1, pages):
            walk.draft.wait(((longest - 9) * MINUTE, longest * MINUTE))
            page = walk.draft.page("list", 4 * n, page, referrer=("list", 4 * n - 4))
            for position in (1, 2):
                walk.draft.show(page, "product", 4 * n + position, position, "bestseller")
        return _mark(walk.end(is_watched=True), walk.dice, late, LATE)

    return write


def _mark(script: Script, dice: Dice, count: int, delay: str) -> Script:
    """`script` with `count` of its scenes, or fewer, under way for another time."""
    marked = {dice.number(len(script.scenes)) for _ in range(count)}
    scenes = (scene._replace(delay=delay) if n in marked else scene for n, scene in enumerate(script.scenes))
    return replace(script, scenes=tuple(scenes))


def _marked(count: int, delay: str) -> Callable[[Walk], Script]:
    return lambda walk: _mark(_walk(walk).end(is_watched=True), walk.dice, count, delay)


def _write_late_bridge(walk: Walk) -> Script:
    """The one event in the middle of forty minutes is late: without it, there are two visits."""
    walk.arrive()
    for delay in (LATE, "prompt"):
        walk.draft.fall_silent(20 * MINUTE)
        walk.draft.page("list", 900, walk.page, delay=delay)
    return walk.end(is_watched=True)


def _write_late_start(walk: Walk) -> Script:
    script = _walk(walk).end(is_watched=True)
    scenes = (scene._replace(delay=LATE) if n < 2 else scene for n, scene in enumerate(script.scenes))
    return replace(script, scenes=tuple(scenes))


def _insert(scenes: list[Scene], scene: Scene, after: int) -> list[Scene]:
    """`scenes` with one more; who named a later one as cause still names it."""

    def moved(n: int) -> int:
        return n + 1 if n > after else n

    kept = [old._replace(cause=moved(old.cause), same_as=moved(old.same_as)) for old in scenes]
    return [*kept[: after + 1], scene, *kept[after + 1 :]]


def _copied(shift: int, original: str | None, copy: str) -> Callable[[Walk], Script]:
    """Three events sent twice: the copy arrives in that partition; delays of both."""

    def write(walk: Walk) -> Script:
        script = _walk(walk).end(is_watched=True)
        scenes = list(script.scenes)
        for _ in range(3):
            n = walk.dice.number(len(scenes))
            if scenes[n].same_as != NONE or any(scene.same_as == n for scene in scenes):
                continue
            scenes[n] = scenes[n]._replace(delay=original or scenes[n].delay)
            scenes = _insert(scenes, scenes[n]._replace(gap=(0, 0), same_as=n, delay=copy, shift=shift), n)
        return replace(script, scenes=tuple(scenes))

    return write


def _write_id_reused(walk: Walk) -> Script:
    """What causes nothing is sent again a second later under the same id: another event."""
    script = _walk(walk, 20).end(is_watched=True)
    scenes = list(script.scenes)
    causes = {scene.cause for scene in scenes}
    n = max(n for n, scene in enumerate(scenes) if scene.event_type in (SEEN, SHOW) and n not in causes)
    again = scenes[n]._replace(gap=(SECOND, SECOND), same_as=n)
    return replace(script, scenes=tuple(_insert(scenes, again, n)))


def _write_orphan(walk: Walk) -> Script:
    """The page that the visit went on to was caused by something that is not in the data."""
    _walk(walk)
    walk.dwell()
    walk.go("product", UNKNOWN)
    return walk.end(is_watched=True)


def _write_ring(walk: Walk) -> Script:
    """Two pages that name each other as their cause."""
    _walk(walk)
    first = walk.draft.page("list", 900)
    second = walk.draft.page("list", 901, first)
    walk.draft.scenes[first] = walk.draft.scenes[first]._replace(cause=second)
    return walk.end(is_watched=True)


def _write_tied_start(walk: Walk) -> Script:
    """The first three events in one microsecond, the first of them arriving last."""
    script = _walk(walk).end(is_watched=True)
    first, second, third, *rest = script.scenes
    tied = (first._replace(delay=SLOW), second._replace(gap=(0, 0)), third._replace(gap=(0, 0)))
    return replace(script, scenes=(*tied, *rest))


def _write_moving(walk: Walk) -> Script:
    """A visitor whose events come through another partition for the middle of the visit."""
    script = _walk(walk, 15).end(is_watched=True)
    scenes = (
        scene._replace(shift=1) if 5 <= n < len(script.scenes) - 5 else scene for n, scene in enumerate(script.scenes)
    )
    return replace(script, scenes=tuple(scenes))


def _write_two_currencies(walk: Walk) -> Script:
    walk.arrive("campaign")
    for _ in range(3):
        walk.dwell()
        walk.open_product()
        walk.fill_basket()
    walk.pay("EUR", "GBP")
    return walk.end()


def _write_recommended(walk: Walk) -> Script:
    """From a search or a campaign to a product, to the third of eight recommendations there, and bought."""
    walk.arrive(walk.dice.pick("search", "campaign"))
    walk.dwell()
    walk.open_product()
    walk.dwell()
    walk.open_product(3)
    walk.dwell()
    walk.fill_basket()
    walk.pay("EUR")
    return walk.end()


def _write_next_visit(walk: Walk) -> Script:
    """Into the basket, and half a day later, in another visit, bought: the causes reach across."""
    walk.arrive(walk.dice.pick("search", "campaign"))
    for _ in range(2):
        walk.dwell()
        walk.open_product(2)
        walk.fill_basket()
    walk.draft.wait((12 * HOUR, 16 * HOUR))
    walk.place = None
    walk.pay("EUR")
    return walk.end(is_watched=True)


def _write_over_midnight(walk: Walk) -> Script:
    walk.arrive()
    walk.draft.fall_silent(4 * MINUTE)
    walk.look_elsewhere()
    return walk.end()


TRAPS = (
    Trap("exactly_inactivity", _after_silence(0), 100_000),
    Trap("just_over_inactivity", _after_silence(1), 100_000),
    Trap("exactly_max_duration", _after_half_a_day(0), 500_000, EARLY),
    Trap("just_over_max_duration", _after_half_a_day(1), 500_000, EARLY),
    Trap("beyond_max_duration", _hours(40, 29), 500_000, EARLY),
    Trap("beyond_a_day", _hours(75, 29), 1_000_000, EARLY),
    Trap("late_beyond_max_duration", _hours(45, 25, late=12), 1_000_000, EARLY),
    Trap("over_midnight", _write_over_midnight, 20_000, MIDNIGHT),
    Trap("late", _marked(4, LATE), 4_000),
    Trap("late_bridge", _write_late_bridge, 50_000),
    Trap("late_start", _write_late_start, 50_000),
    Trap("ahead_of_arrival", _marked(4, AHEAD), 50_000, is_in_logs=False),
    Trap("out_of_order", _marked(6, SLOW), 50_000),
    Trap("copied", _copied(0, None, SLOW), 20_000, is_in_logs=False),
    Trap("copied_elsewhere", _copied(1, None, SLOW), 50_000, is_in_logs=False),
    Trap("copied_late", _copied(0, None, LATE), 50_000, is_in_logs=False),
    Trap("copied_in_time", _copied(1, LATE, "prompt"), 50_000, is_in_logs=False),
    Trap("id_reused", _write_id_reused, 50_000, is_in_logs=False),
    Trap("orphan", _write_orphan, 20_000, is_in_logs=False),
    Trap("ring_of_causes", _write_ring, 100_000, is_in_logs=False),
    Trap("tied_start", _write_tied_start, 50_000),
    Trap("moving", _write_moving, 50_000),
    Trap("two_currencies", _write_two_currencies, 50_000, is_in_logs=False),
    Trap("recommended", _write_recommended, 20_000),
    Trap("next_visit", _write_next_visit, 5_000),
)


def count_journeys(name: str, rule: SampleRule) -> int:
    """How many journeys of a sample have the trap of that name."""
    (one_in,) = (trap.one_in for trap in TRAPS if trap.name == name)
    return 2 + rule.events // one_in
