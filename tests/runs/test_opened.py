"""What is open in a pipeline, asked in SQL: just what a flush would write, of one moment, whatever runs meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.events import LAKE_EVENT_SCHEMA, TIME, VISIT_SCHEMA
from m2cli.lake import stage_lake
from m2cli.runs import opened, query
from m2cli.runs.query import query_lake, query_pipeline
from tests.pipelines_runs.shop import MINUTE, START, Shop, line, walk

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.pipeline import PipelineRule

OPEN_EVENTS = "SELECT visit_id, event_id FROM open_events"
EVENTS = "SELECT visit_id, event_id FROM events"
OPEN_VISITS = "SELECT * EXCLUDE (open_until) FROM open_visits ORDER BY visit_id"
LAST_VISITS = "SELECT * EXCLUDE (end_reason) FROM visits WHERE visit_id IN ({ids}) ORDER BY visit_id"


def ask(sql: str, pipeline: PipelineRule) -> pl.DataFrame:
    with query_pipeline(sql, pipeline) as frames:
        return pl.concat(frames)


def make_shop(folder: Path) -> Shop:
    """A shop some of whose visits have ended and some are open, of which events are tagged in two batches or pending.

    Of nine visitors of each half hour, three go on in the next.
    """
    shop = Shop(folder)
    for batch in range(3):
        start = shop.now
        shop.pass_time(30)
        visitors = [6 * batch + number % 9 for number in range(120)]
        shop.log(*(line(start + number * MINUTE / 4, who, f"/{batch}/{who}") for number, who in enumerate(visitors)))
        shop.pass_time(1)
        shop.run()
    return shop


@pytest.fixture(scope="module")
def quiet_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop that no test changes."""
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


def test_what_is_open_is_just_what_a_flush_writes(shop: Shop) -> None:
    events, visits, before = ask(OPEN_EVENTS, shop.rule), ask(OPEN_VISITS, shop.rule), ask(EVENTS, shop.rule)
    assert visits.height > 5
    shop.run(is_flush=True)
    after = ask(EVENTS, shop.rule)
    assert sorted(events.rows()) == sorted(set(after.rows()) - set(before.rows()))
    ids = ", ".join(f"'{visit_id}'" for visit_id in visits["visit_id"])
    assert visits.equals(ask(LAST_VISITS.format(ids=ids), shop.rule))


def test_every_event_is_in_one_of_the_views(quiet_shop: Shop) -> None:
    counts = [
        ask(f"SELECT count(*) FROM {view}", quiet_shop.rule).item()
        for view in ("events", "open_events", "late", "duplicates")
    ]
    assert all(counts[:2])
    assert sum(counts) == sum(batch.facts["event_count"] for batch in quiet_shop.batches())


def test_a_visit_is_open_until_one_of_its_limits_is_over(tmp_path: Path) -> None:
    shop = Shop(tmp_path, START + 3 * timedelta(hours=1))
    short, long_ = [0], range(0, 120, 20)
    times = sorted([(minutes, 1) for minutes in short] + [(minutes, 2) for minutes in long_])
    shop.log(*(line(START + minutes * MINUTE, visitor, f"/{visitor}") for minutes, visitor in times))
    shop.log(line(START + 5 * MINUTE, 3), name="access.log.holds.everything.open")
    shop.run()
    found = ask("SELECT landing_url, event_count, open_until FROM open_visits ORDER BY ALL", shop.rule)
    assert found.rows() == [
        ("/", 1, START + 35 * MINUTE),
        ("/1", 1, START + 30 * MINUTE),
        ("/2", 6, START + 120 * MINUTE),
    ]


def test_in_many_shards_the_same_is_open(quiet_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [sorted(ask(sql, quiet_shop.rule).rows(), key=str) for sql in (OPEN_EVENTS, OPEN_VISITS)]
    monkeypatch.setattr(opened, "budget_events", lambda _memory: 60_000)
    loaded = []
    load = opened.Carried.load
    monkeypatch.setattr(opened.Carried, "load", lambda *args: loaded.append(args[1:]) or load(*args))
    assert [sorted(ask(sql, quiet_shop.rule).rows(), key=str) for sql in (OPEN_EVENTS, OPEN_VISITS)] == whole
    assert len(loaded) > 4


def test_the_views_have_their_whole_schema_even_where_nothing_is_open(shop: Shop) -> None:
    wanted = {name: dtype for name, dtype in VISIT_SCHEMA.items() if name != "end_reason"} | {"open_until": TIME}
    for _ in range(2):
        assert ask("FROM open_events", shop.rule).schema == LAKE_EVENT_SCHEMA
        assert ask("FROM open_visits", shop.rule).schema == wanted
        shop.run(is_flush=True)
    assert ask("FROM open_visits", shop.rule).height == 0


def test_who_asks_for_nothing_open_does_not_pay_for_it(quiet_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        pytest.fail("what is open was cut")

    monkeypatch.setattr(query, "write_opened", refuse)
    assert ask("SELECT count(*) > 0 FROM visits", quiet_shop.rule).item()


@pytest.mark.parametrize("name", ["Open_Events", '"open_events"'])
def test_a_view_may_be_named_as_sql_allows(quiet_shop: Shop, name: str) -> None:
    assert ask(f"SELECT count(*) > 0 FROM {name}", quiet_shop.rule).item()


def test_runs_that_sweep_what_is_being_read_only_make_it_be_read_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tries = opened._write, []

    def write_slowly(*args: Any) -> Any:
        tries.append(args)
        if len(tries) == 1:
            for seed in (10, 11):
                shop.log(*walk(shop.now, 30, seed))
                shop.pass_time(10)
                shop.run()
        return write(*args)

    monkeypatch.setattr(opened, "_write", write_slowly)
    both = ask(f"{EVENTS} UNION ALL {OPEN_EVENTS}", shop.rule)
    kept = sum(batch.facts["event_count"] - batch.facts["late_count"] for batch in shop.batches())
    assert (len(tries), both.height) == (2, kept - shop.count("duplicates"))


def test_carried_state_that_is_lost_is_said_with_what_to_do(shop: Shop) -> None:
    for path in (shop.lake / "_m2" / "carried").iterdir():
        path.unlink()
    with pytest.raises(UnreadableSourceError, match=r"carried state is gone .*; `m2 check "):
        ask(OPEN_EVENTS, shop.rule)


def test_all_views_are_of_the_moment_of_the_ledger_though_the_snapshot_is_behind(shop: Shop) -> None:
    before = ask(EVENTS, shop.rule).height

    def stop(step: str) -> None:
        if step == "committed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.run(is_flush=True, at=stop)
    assert ask(OPEN_EVENTS, shop.rule).height == 0
    assert ask(f"{EVENTS} WHERE 'open_events' <> ''", shop.rule).height > before == ask(EVENTS, shop.rule).height


@pytest.mark.parametrize("sql", [OPEN_EVENTS, EVENTS])
def test_a_pipeline_that_never_ran_says_so(tmp_path: Path, sql: str) -> None:
    with pytest.raises(UnreadableSourceError, match="there is no ledger; `m2 run PIPELINE` makes it"):
        ask(sql, Shop(tmp_path).rule)


@pytest.mark.parametrize("sql", [OPEN_EVENTS, EVENTS])
def test_a_lake_is_asked_for_by_its_own_pipeline(quiet_shop: Shop, sql: str) -> None:
    other = replace(quiet_shop.rule, name="bazaar")
    with pytest.raises(UsageError, match="is written by the pipeline `shop`, not by `bazaar`"):
        ask(sql, other)


def test_of_a_lake_alone_nothing_is_open_and_the_error_says_how_to_ask(quiet_shop: Shop, tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"`open_visits` is .* ask with `--pipeline PIPELINE`"),
        query_lake("FROM open_visits", quiet_shop.lake),
    ):
        pass
    with stage_lake(tmp_path / "at-once") as staged:
        staged.commit()
    with (
        pytest.raises(UsageError, match="this lake was made at once"),
        query_lake("FROM open_events", tmp_path / "at-once"),
    ):
        pass
