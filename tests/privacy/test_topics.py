"""Pseudonymous topics: no message leads back; whatever is killed, they say what the pseudonymous lake does, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.kafka import open_client, open_sink
from m2cli.pipeline.rule import AnonymizeRule
from m2cli.privacy.ring import make_salt
from m2cli.privacy.rule import PrivacyRule
from m2cli.privacy.salts import FolderSalts
from m2cli.runs.anonymize.lake import anonymize_lake
from m2cli.runs.audit.lake import look_for_identifiers
from tests.privacy.lakes import rows
from tests.topics.market import START, Market, assert_said_once, decode, make_events
from tests.topics.test_kill import die_any_time, die_at_steps

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.runs.audit.scan import Found
    from tests.kafka.broker import Broker

COLUMNS = ["visit_id", "event_id", "event_time", "cause_id", "visitor_id"]


@pytest.fixture
def market(kafka_broker: Broker, tmp_path: Path) -> Market:
    """A market whose pipeline has a pseudonymous lake and pseudonymous topics."""
    market, salts = Market.open(tmp_path / "m", kafka_broker.address), tmp_path / "salts"
    (tmp_path / "m").mkdir()
    for year in {START.year, datetime.now(UTC).year}:
        make_salt(salts, year)
    name, topics = market.place.name, market.rule.topics
    assert topics
    with open_client(market.kafka) as client:
        for topic in (f"{name}-pe", f"{name}-pv"):
            client.create_topic(topic, partition_count=2)
    market.settings |= {
        "topics": replace(topics, pseudonymous_events=f"{name}-pe", pseudonymous_ends=f"{name}-pv"),
        "anonymize": AnonymizeRule(lake=tmp_path / "anonymous", salts=salts),
    }
    return market


def make_personal(number: int) -> pl.DataFrame:
    """Events with more that leads back to somebody."""
    who = pl.col("visitor_id")
    return make_events(number, late=False).with_columns(
        customer_id=who + "@customers.example",
        session_id="session-" + who,
        ip=pl.format("198.51.100.{}", pl.int_range(pl.len()) % 200),
        url="/search?q=" + who + "@customers.example",
        referrer="https://mail.example/" + who,
        entity_type=pl.lit("search term"),
        entity_id="about " + who,
    )


def look(market: Market, folder: Path) -> list[Found]:
    """What of the identified lake is in messages of the pseudonymous topics: in values, keys, headers, raw bytes."""
    topics = market.rule.topics
    assert topics
    texts: dict[str, pl.Series] = {}
    folder.mkdir(exist_ok=True)
    for topic in (topics.pseudonymous_events, topics.pseudonymous_ends):
        assert topic
        messages = market.read_topic(topic)
        assert messages.height > 10
        headers = messages["headers"].explode().struct.field("value")
        parts = [*messages["key"].drop_nulls(), *messages["value"].drop_nulls(), *headers.drop_nulls()]
        (folder / f"{topic}.messages").write_bytes(b"\0".join(parts))
        said = decode(messages).drop("headers")
        texts |= {f"{topic}.{name}": said[name] for name in said.columns if said[name].dtype == pl.String}
    return look_for_identifiers(market.rule.lake, texts, folder.iterdir()).found


def test_no_identifier_is_in_any_message_and_one_that_is_planted_is_found(market: Market, tmp_path: Path) -> None:
    for number in range(2):
        market.send(make_personal(number))
        market.run()
    market.run(is_flush=True)
    assert look(market, tmp_path / "messages") == []
    topics = market.rule.topics
    assert topics
    planted = market.read_topic(str(topics.pseudonymous_ends)).head(1)
    key = (market.read("events")["customer_id"][0]).encode()
    with open_sink(market.kafka, f"{market.place.name}-other") as sink:
        sink.begin()
        sink.send(str(topics.pseudonymous_ends), planted.select(key=pl.lit(key), value="value"))
        sink.commit(f"{market.place.name}-other", {}, "")
    found = look(market, tmp_path / "messages")
    assert {each.column for each in found} >= {"customer_id"}
    assert any("the bytes of" in each.where for each in found)
    assert any(".key" in each.where for each in found)


def assert_twins_said_once(market: Market, tmp_path: Path) -> None:
    """The pseudonymous topics and lake say the same, once, as what `m2 anonymize` makes of the identified lake."""
    market.run(is_flush=True)
    assert_said_once(market)
    events, ends = (decode(market.read_topic(f"{market.place.name}-{kind}")) for kind in ("pe", "pv"))
    lake = tmp_path / "anonymous"
    anonymize_lake(market.rule.lake, tmp_path / "at once", PrivacyRule(), FolderSalts(folder=tmp_path / "salts"))
    assert rows(lake) == rows(tmp_path / "at once")
    kept = pl.read_parquet(lake / "events" / "**" / "*.parquet")
    assert sorted(events.select(COLUMNS).rows(), key=str) == sorted(kept.select(COLUMNS).rows(), key=str)
    visits = pl.read_parquet(lake / "visits" / "**" / "*.parquet")
    assert sorted(ends["visit_id"]) == sorted(visits["visit_id"])


def test_killed_at_a_few_steps_a_followed_pipeline_says_all_once_in_both(market: Market, tmp_path: Path) -> None:
    assert die_at_steps(market, is_following=True, most=99, every=6) >= 3
    assert_twins_said_once(market, tmp_path)


@pytest.mark.soak
def test_killed_at_every_step_a_followed_pipeline_says_all_once_in_both(market: Market, tmp_path: Path) -> None:
    assert die_at_steps(market, is_following=True, most=99) > 15
    assert_twins_said_once(market, tmp_path)


@pytest.mark.soak
def test_killed_any_time_a_batch_is_said_once_in_both(market: Market, tmp_path: Path) -> None:
    assert die_any_time(market, 12, seed=3)
    assert_twins_said_once(market, tmp_path)
