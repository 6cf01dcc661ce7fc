"""Why a visit begins and ends where it does, and what the watermarks did meanwhile: small cases, told in full."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from m2cli.commands.explain import _describe
from m2cli.lake.scan import scan_lake
from m2cli.runs.explain import UnknownVisitError, explain_visit
from m2cli.runs.watermarks import read_lags
from tests.pipelines_runs.shop import MINUTE, START, Shop

if TYPE_CHECKING:
    from pathlib import Path


def event(minute: float, visitor: str = "v") -> dict[str, object]:
    return {"event_id": f"{visitor}{minute}", "event_time": START + minute * MINUTE, "visitor_id": visitor}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A visitor who pauses for 40 minutes, then stays for more than two hours; and one who came 25 minutes late."""
    shop = Shop(tmp_path)
    shop.settle(sources=(shop.events_source(),))
    minutes = [0, 10, 50, *range(70, 190, 20), 185]
    for number, some in enumerate((minutes[:2], minutes[2:], [])):
        late = [event(10.5)] if number == 2 else []
        pushing = [event(max(some), "other")] if some else []
        shop.now = START + (max(some, default=500) + 1) * MINUTE
        shop.drop_events(f"{number}", [event(minute) for minute in some] + pushing + late)
        shop.now += 2 * MINUTE
        shop.run()
    shop.run(is_flush=True)
    return shop


def list_visit_ids(shop: Shop) -> list[str]:
    visits = scan_lake(shop.lake).visits.collect().sort("start_time", "visit_id")
    return [row["visit_id"] for row in visits.iter_rows(named=True) if row["visitor_id"] == "v"]


def test_a_silence_ends_a_visit_and_a_late_event_misses_it(shop: Shop) -> None:
    first, second, _ = list_visit_ids(shop)
    found = explain_visit(first, shop.lake)
    assert (found.before, found.limit, found.end_reason) == (None, "inactivity", "inactivity")
    assert found.after
    assert (found.after.visit_id, found.after.silence) == (second, 40 * MINUTE)
    assert found.limit_time == START + 40 * MINUTE
    assert found.closed
    assert found.closed.batch_id == "shop-000002"
    assert found.closed.W
    assert found.limit_time < found.closed.W
    [missed] = found.missed
    assert (missed.event_id, missed.late_reason) == ("v10.5", "late")
    assert missed.late_by == (185 - 5 - 10.5) * MINUTE
    lines = dict(list(_describe(found))[:6])
    assert lines["begins"] == "2026-11-22 12:00:00: the visitor's first event in the lake"
    assert lines["ends"] == f"2026-11-22 12:10:00: 40m of silence, then {second}"
    assert lines["limit"] == "inactivity, 30m after its last event: until 2026-11-22 12:40:00"
    assert lines["late"] == "1 event of the visitor came too late for it"


def test_a_visit_that_lasted_too_long_is_continued_by_the_next(shop: Shop) -> None:
    _, second, third = list_visit_ids(shop)
    found, after = explain_visit(second, shop.lake), explain_visit(third, shop.lake)
    assert (found.limit, found.limit_time) == ("max_duration", START + 170 * MINUTE)
    assert after.continues_visit_id == second
    assert after.before
    assert after.before.visit_id == second
    lines, next_lines = dict(_describe(found)), dict(_describe(after))
    assert lines["ends"].endswith(f"then {third}, more than 2h after the start of this one")
    assert f"more than 2h after the start of {second}, which it continues after 15m of silence" in next_lines["begins"]
    assert next_lines["closed"].startswith("by shop-00000")
    assert next_lines["late"] == "nothing of the visitor came too late for it"


def test_of_no_visit_there_is_nothing_to_explain(shop: Shop) -> None:
    with pytest.raises(UnknownVisitError, match="no visit `nope` in the lake"):
        explain_visit("nope", shop.lake)


def test_with_the_bound_that_is_enough_nothing_is_late(shop: Shop) -> None:
    found = read_lags(shop.rule, None)
    [partition] = found.partitions
    assert (partition.late_count, partition.most_late_by) == (1, 169.5 * MINUTE)
    assert partition.enough == 174.5 * MINUTE
    assert found.late_reasons == {"late": 1}
    assert found.left_with[0] == (5 * MINUTE, 1)
    assert found.left_with[-1] == (partition.enough, 0)
    again = Shop(shop.folder / "again")
    again.settle(sources=(again.events_source(),))
    for bound, late_count in ((partition.enough, 0), (partition.enough - timedelta(microseconds=1), 1)):
        again.settle(
            visit=type(shop.rule.visit)(
                inactivity=shop.rule.visit.inactivity,
                max_duration=shop.rule.visit.max_duration,
                max_out_of_orderness=bound,
            ),
            lake=again.folder / f"lake{late_count}",
        )
        again.now = START
        for path in sorted((shop.folder / "events").iterdir()):
            again.now = START + 600 * MINUTE
            copied = again.folder / "events" / path.name
            copied.write_bytes(path.read_bytes())
            again.touch(copied)
            again.now += 2 * MINUTE
            again.run()
        assert again.count("late") == late_count
        for path in (again.folder / "events").iterdir():
            path.unlink()


def test_of_a_day_without_batches_there_are_no_lags(shop: Shop) -> None:
    found = read_lags(shop.rule, (START - timedelta(days=30)).date())
    assert (found.partitions, found.left_with) == ((), ())
    day = read_lags(shop.rule, START.date())
    assert day.partitions[0].batch_count == 3
    assert day.partitions[0].most_lag
    assert day.partitions[0].most_lag > 5 * MINUTE
