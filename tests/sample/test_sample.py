"""What a sample holds, and how it is written."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from m2cli.errors import UnwritableSinkError, UsageError
from m2cli.events import EVENT_SCHEMA
from m2cli.runs import sample as run
from m2cli.runs.sample import SampleFacts, make_sample
from m2cli.sample import play
from m2cli.sample.rule import SampleRule
from tests.twins.sample_twin import visitor_of

if TYPE_CHECKING:
    from pathlib import Path

RULE = SampleRule(events=10_000, days=2)
CAUSES = {  # DESIGN 3.3: what may be the cause of what
    "enter": {None},
    "page": {None, "enter", "click", "page", "add_to_cart"},
    "request": {None, "page", "click"},
    "show": {"page"},
    "seen": {"show"},
    "click": {"show"},
    "add_to_cart": {"click"},
    "purchase": {"add_to_cart"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleFacts]:
    directory = tmp_path_factory.mktemp("sample") / "shop"
    return directory, make_sample(directory, RULE)


@pytest.fixture(scope="module")
def events(made: tuple[Path, SampleFacts]) -> pl.DataFrame:
    return pl.read_parquet(made[0] / "events")


@pytest.fixture(scope="module")
def by_visitor(events: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    visitors: dict[str, list[dict[str, Any]]] = {}
    for event in events.sort("event_time").iter_rows(named=True):
        visitors.setdefault(visitor_of(event), []).append(event)
    return visitors


def test_events_are_of_the_schema_in_order_of_arrival(events: pl.DataFrame) -> None:
    assert dict(events.schema) == {name: EVENT_SCHEMA[name] for name in EVENT_SCHEMA if name in events.columns}
    assert set(EVENT_SCHEMA) - set(events.columns) == {"attributes"}
    assert events.height == 10_000
    assert events["arrival_time"].is_sorted()


def test_positions_count_the_events_of_each_partition(events: pl.DataFrame) -> None:
    for rows in events.partition_by("source"):
        assert rows["position_in_source"].to_list() == list(range(rows.height))
    assert set(events["source"]) == {"web-0", "web-1", "web-2", "web-3"}


def test_causes_are_of_the_types_that_lead_to_the_event(events: pl.DataFrame) -> None:
    types = dict(events.select("event_id", "event_type").iter_rows())
    found: dict[str, set[str | None]] = {}
    for event_type, cause in events.select("event_type", "cause_id").iter_rows():
        if cause is None or cause in types:
            found.setdefault(event_type, set()).add(types.get(cause))
    assert found == CAUSES


def test_a_cause_is_not_after_its_effect_and_of_the_same_visitor(events: pl.DataFrame) -> None:
    causes = events.select(cause_id="event_id", cause_time="event_time", cause_ip="ip").unique("cause_id")
    pairs = events.join(causes, on="cause_id")
    backwards = pairs.filter(pl.col("cause_time") > pl.col("event_time"))
    assert backwards.height == 2  # the two rings of causes
    assert (pairs["ip"] == pairs["cause_ip"]).all()


def test_purchases_have_money_to_the_ten_thousandth_and_nothing_else_has(events: pl.DataFrame) -> None:
    bought = events.filter(pl.col("event_type") == "purchase")
    for name in ("amount", "currency", "quantity"):
        assert bought[name].null_count() == 0
    assert events.filter(pl.col("amount").is_not_null()).height == bought.height
    assert set(bought["currency"]) == {"EUR", "GBP"}
    assert bought.filter(pl.col("currency") == "GBP")["amount"].cast(pl.String).str.ends_with("00").not_().any()
    assert (bought["amount"] > 0).all()


def test_customers_are_known_from_some_event_of_the_visit_on(
    by_visitor: dict[str, list[dict[str, Any]]],
) -> None:
    later = 0
    for events in by_visitor.values():
        assert len({event["customer_id"] for event in events} - {None}) <= 1
        known = [event["customer_id"] is not None for event in events]
        later += any(known) and not known[0]
    assert later > 10


def test_robots_are_heavy_and_neither_see_nor_click(events: pl.DataFrame) -> None:
    robots = events.filter(pl.col("session_id").is_null())
    assert 0.05 < robots.height / events.height < 0.25
    assert set(robots["event_type"]) == {"page", "request", "show"}


def gaps_of(events: list[dict[str, Any]]) -> list[int]:
    return [round((b["event_time"] - a["event_time"]).total_seconds() * 1e6) for a, b in pairwise(events)]


@pytest.mark.parametrize(
    ("trap", "gap"), [("exactly_inactivity", 1_800_000_000), ("just_over_inactivity", 1_800_000_001)]
)
def test_silences_at_the_limit_are_as_many_as_the_facts_say(
    made: tuple[Path, SampleFacts], by_visitor: dict[str, list[dict[str, Any]]], trap: str, gap: int
) -> None:
    assert sum(gaps_of(events).count(gap) for events in by_visitor.values()) == made[1].traps[trap] == 2


@pytest.mark.parametrize(("trap", "over"), [("exactly_max_duration", 0), ("just_over_max_duration", 1)])
def test_events_at_the_maximum_duration_are_as_many_as_the_facts_say(
    made: tuple[Path, SampleFacts], by_visitor: dict[str, list[dict[str, Any]]], trap: str, over: int
) -> None:
    exactly = 12 * 3_600_000_000 + over
    found = sum(sum(gaps_of(events)[:30]) == exactly for events in by_visitor.values() if len(events) > 30)
    assert found == made[1].traps[trap] == 2


def test_chains_are_longer_than_a_day(by_visitor: dict[str, list[dict[str, Any]]]) -> None:
    long = [
        events
        for events in by_visitor.values()
        if max(gaps_of(events), default=0) <= 1_800_000_000
        and (events[-1]["event_time"] - events[0]["event_time"]).total_seconds() > 24 * 3_600
    ]
    assert len(long) == 2


def test_copies_reused_ids_and_orphans_are_as_many_as_the_facts_say(
    made: tuple[Path, SampleFacts], events: pl.DataFrame
) -> None:
    counts, traps = made[1].counts, made[1].traps
    assert events.height - events.select("event_id", "event_time").n_unique() == counts["all/duplicates"] > 10
    times = events.group_by("event_id").agg(pl.col("event_time").n_unique())["event_time"]
    assert (times - 1).sum() == counts["all/ids_reused"] == traps["id_reused"] == 2
    known = events["event_id"].implode()
    orphans = events.filter(pl.col("cause_id").is_not_null() & ~pl.col("cause_id").is_in(known))
    assert orphans.height == counts["all/orphans"] == traps["orphan"] == 2


def test_some_arrive_before_they_happen_some_late_some_elsewhere(
    made: tuple[Path, SampleFacts], events: pl.DataFrame
) -> None:
    ahead = events.filter(pl.col("arrival_time") < pl.col("event_time"))
    assert ahead.height >= 4
    assert (ahead["event_time"] - ahead["arrival_time"]).max().total_seconds() < 600  # type: ignore[union-attr]
    sources = events.drop_nulls("session_id").group_by("session_id").agg(pl.col("source").n_unique())
    traps = made[1].traps
    most = traps["moving"] + traps["copied_elsewhere"] + traps["copied_in_time"]
    assert traps["moving"] <= (sources["source"] > 1).sum() <= most
    assert made[1].counts["late"] > 20
    assert made[1].counts["out_of_order"] > 100


def test_every_midnight_is_crossed(made: tuple[Path, SampleFacts]) -> None:
    visits = pl.read_parquet(made[0] / "truth" / "all" / "visits.parquet")
    start, end = pl.col("start_time").dt.date(), pl.col("end_time").dt.date()
    assert visits.filter(start != end).select(start).to_series().n_unique() >= RULE.days


def test_the_same_rule_gives_the_same_bytes_and_another_seed_other_events(
    made: tuple[Path, SampleFacts], tmp_path: Path
) -> None:
    make_sample(tmp_path / "again", RULE)
    files = list(made[0].rglob("*.parquet"))
    assert len(files) == 5
    for path in files:
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(made[0])).read_bytes()
    make_sample(tmp_path / "other", SampleRule(events=10_000, seed=11, days=2))
    ids = pl.read_parquet(made[0] / "events")["event_id"]
    assert not ids.is_in(pl.read_parquet(tmp_path / "other" / "events")["event_id"].implode()).any()


def test_the_size_of_a_slice_changes_nothing_but_the_files(
    made: tuple[Path, SampleFacts], events: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play, "SLICE", 1_000)
    told: list[int] = []
    facts = make_sample(tmp_path / "sliced", RULE, told.append)
    assert len(facts.files) == len(told) > 5
    assert told == sorted(told)
    assert told[-1] == RULE.events
    assert facts.counts == made[1].counts
    assert pl.read_parquet(list(facts.files)).equals(events)
    for name in ("all", "on_time"):
        for file, key in (
            ("visits", ["start_time", "visitor_id"]),
            ("events", ["source", "position_in_source"]),
        ):
            path = f"truth/{name}/{file}.parquet"
            sliced, whole = (pl.read_parquet(folder / path).sort(key) for folder in (tmp_path / "sliced", made[0]))
            assert sliced.equals(whole)


def test_a_log_in_slices_is_the_same_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = SampleRule(events=3_000, format="access-log", malformed=5)
    make_sample(tmp_path / "whole", rule)
    logs = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "logs").iterdir()}
    assert sum(log.count(b"\n") for log in logs.values()) == 3_005
    monkeypatch.setattr(play, "SLICE", 400)
    make_sample(tmp_path / "sliced", SampleRule(events=3_000, format="access-log"))
    for name, log in logs.items():
        if name != "web-0.access.log":  # where the odd lines are
            assert (tmp_path / "sliced" / "logs" / name).read_bytes() == log


def test_a_folder_that_is_not_empty_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        make_sample(tmp_path, RULE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableSinkError):
        make_sample(tmp_path / "file", RULE)


def test_a_run_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "as_events", fail)
    with pytest.raises(UnwritableSinkError, match="No space left"):
        make_sample(tmp_path / "shop", RULE)
    assert list((tmp_path / "shop").iterdir()) == []
