"""A pipeline from topics to topics and a lake: what it makes of messages, and of what happens to topics."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from m2cli.avro.cipher import AesGcm, read_keys
from m2cli.avro.encode import Encoder
from m2cli.avro.folder import DirectoryStore
from m2cli.avro.own import event_schema
from m2cli.avro.schema import parse_schema
from m2cli.commands.run import list_warnings
from m2cli.errors import ExitCode, UsageError
from m2cli.kafka import (
    BrokerAwayError,
    FencedError,
    NoTopicError,
    OffsetsLostError,
    TopicPartition,
    TopicReplacedError,
    open_client,
    open_sink,
)
from m2cli.ledger import open_ledger
from m2cli.pipeline.rule import AnonymizeRule
from m2cli.privacy.ring import make_salt
from m2cli.runs.batch.topics import OtherLedgerError
from m2cli.runs.check import check_pipeline
from m2cli.runs.follow import FollowRule, follow_pipeline
from m2cli.runs.rebuild.rule import RebuildRule
from m2cli.runs.rebuild.work import rebuild_dates
from m2cli.runs.status import read_status
from m2cli.runs.topics import TopicRule, ingest_topic
from tests.kafka.cluster import Admin
from tests.topics.market import MINUTE, START, Market, assert_said_once, decode, make_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kafka.broker import Broker

M2 = str(Path(sys.executable).with_name("m2"))


@pytest.fixture
def market(kafka_broker: Broker, tmp_path: Path) -> Market:
    return Market.open(tmp_path, kafka_broker.address)


@pytest.fixture
def admin(kafka_broker: Broker) -> Iterator[Admin]:
    admin = Admin(kafka_broker.address)
    yield admin
    admin.close()


def list_tagged(market: Market) -> list[tuple[Any, ...]]:
    return sorted(market.read_tagged().select("visit_id", "event_id", "event_time").rows(), key=str)


def list_lake(market: Market, table: str = "events") -> list[tuple[Any, ...]]:
    columns = {
        "events": ("visit_id", "event_id", "event_time", "source", "amount", "country"),
        "visits": ("visit_id", "start_time", "end_time", "event_count", "end_reason", "continues_visit_id", "revenue"),
        "late": ("event_id", "event_time", "late_reason", "late_by"),
        "duplicates": ("event_id", "event_time"),
    }
    return sorted(market.read(table).select(columns[table]).rows(), key=str)


def follow(market: Market, *, most_messages: int = 40) -> None:
    """Follow until nothing new has come for a second."""
    last = time.monotonic()

    def at(step: str) -> None:
        nonlocal last
        if step == "step committed":
            last = time.monotonic()

    def pause(_seconds: float) -> bool:
        time.sleep(0.02)
        return time.monotonic() > last + 1

    rule = FollowRule(step_every=timedelta(seconds=0.02), most_messages=most_messages)
    follow_pipeline(market.rule, rule, now=lambda: datetime.now(UTC), pause=pause, at=at)


def test_followed_and_run_in_batches_the_lake_and_the_topics_are_the_same(kafka_broker: Broker, tmp_path: Path) -> None:
    at_once, in_batches, followed = (Market.open(tmp_path / name, kafka_broker.address) for name in "abc")
    for number in range(6):
        for market in (at_once, in_batches, followed):
            market.send(make_events(number))
        in_batches.run()
    at_once.run()
    follow(followed)
    for market in (at_once, in_batches, followed):
        market.run(is_flush=True)
        assert_said_once(market)
    assert len(followed.list_batches()) > 1
    assert all(batch.facts["is_sent"] for batch in followed.list_batches())
    for table in ("events", "visits", "late", "duplicates"):
        # Offsets are those of aborted messages as well, and sources are called after the topics.
        rows = [list_lake(market, table) for market in (at_once, in_batches, followed)]
        markets = (at_once, in_batches, followed)
        bare = [[str(row).replace(each.place.name, "m") for row in of] for of, each in zip(rows, markets, strict=True)]
        assert bare[0] == bare[1] == bare[2], table
        assert bare[0]


def test_what_is_ingested_and_sessionized_is_what_the_pipeline_makes_where_nothing_was_late(
    market: Market, tmp_path: Path
) -> None:
    for number in range(5):
        market.send(make_events(number, late=False))
    market.run()
    market.run(is_flush=True)
    server = ("--bootstrap-server", market.place.address)
    ingested = subprocess.run(
        [M2, "ingest", "kafka", market.measurements, *server, "-o", str(tmp_path / "events")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ingested.returncode, ingested.stdout) == (0, ""), ingested.stderr
    limits = ("--inactivity", "10m", "--max-duration", "1h")
    subprocess.run(
        [M2, "sessionize", str(tmp_path / "events" / "events"), "-o", str(tmp_path / "at_once"), *limits],
        check=True,
        capture_output=True,
    )
    found = pl.read_parquet(tmp_path / "at_once" / "events" / "**" / "*.parquet")
    assert sorted(found.select("visit_id", "event_id").rows()) == sorted(
        market.read("events").select("visit_id", "event_id").rows()
    )


def test_the_headers_say_how_far_the_lake_and_the_stream_have_come(market: Market) -> None:
    for number in range(3):
        market.send(make_events(number, late=False))
        market.run()
    ends = market.read_ends()
    batches = [batch for batch in market.list_batches() if batch.facts["visit_count"]]
    assert {headers["batch"] for headers in ends["headers"]} == {batch.batch_id for batch in batches}
    W = {batch.batch_id: batch.facts["W"] for batch in market.list_batches()}
    before = dict(zip([*W], ["", *W.values()], strict=False))
    for headers, end_time in ends.select("headers", "end_time").iter_rows():
        assert datetime.fromisoformat(headers["W"]) == datetime.fromisoformat(W[headers["batch"]]) > end_time
        boundary = headers["snapshot_W"]
        assert (boundary and datetime.fromisoformat(boundary)) == (
            before[headers["batch"]] and datetime.fromisoformat(before[headers["batch"]])
        )


def test_what_is_no_event_is_kept_and_counted(market: Market) -> None:
    good = Encoder(event_schema()).encode(make_events(0, 3, late=False))
    values = [
        None,
        b"",
        b"hello",
        b"\xc3\x01" + bytes(8),
        good[0],
        good[1][:-3],
        json.dumps({"event_time": START.isoformat(), "visitor_id": "json", "event_id": "j1"}).encode(),
        b'{"event_time": "never"}',
    ]
    market.send_values(values)
    facts = market.run(now=START).batch
    assert (facts.read_count, facts.event_count, facts.reject_count, facts.ignored_count) == (8, 2, 5, 1)
    rejects = market.read("rejects")
    assert rejects.select("source", "position_in_source").is_unique().all()
    assert "unknown_schema" in rejects["reason"].to_list()


SALE = parse_schema(
    json.dumps(
        {
            "type": "record",
            "name": "shop.Sale",
            "fields": [
                {"name": "event_id", "type": "string"},
                {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                {"name": "visitor_id", "type": "string"},
                {"name": "colour", "type": ["null", "string"]},
            ],
        }
    )
)


def test_a_schema_that_is_added_is_known_to_a_follower_from_then_on(market: Market, tmp_path: Path) -> None:
    toml = market.write_toml(lake_every="1h")
    toml.write_text(toml.read_text().replace("[kafka]", '[kafka]\nschemas = "schemas"'))

    def send_and_wait(number: int) -> list[str]:
        """Sales and then others, until one of these is tagged: then all before it have been read."""
        sales = make_events(number, 20, late=False).unique("event_id", maintain_order=True)
        sales = sales.with_columns(colour=pl.lit("red"))
        others = make_events(number + 1, late=False)
        market.send(sales, SALE)
        market.send(others)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            tagged = market.read_tagged()
            if tagged.height and set(tagged["event_id"]) & set(others["event_id"]):
                break
            time.sleep(0.1)
        return sorted(sales["event_id"])

    with subprocess.Popen([M2, "run", str(toml), "--follow"], stderr=subprocess.PIPE, text=True) as process:
        try:
            before = send_and_wait(0)
            DirectoryStore(tmp_path / "schemas").add(SALE)
            after = send_and_wait(2)
            assert set(after) & set(market.read_tagged()["event_id"])
        finally:
            process.terminate()
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 0, said
    market.run(is_flush=True)
    assert market.read("rejects")["reason"].to_list() == ["unknown_schema"] * len(before)
    events = set(market.read("events")["event_id"])
    assert (set(after) <= events, set(before) & events) == (True, set())


def test_messages_of_an_unknown_schema_are_taken_in_once_it_is_known(market: Market, tmp_path: Path) -> None:
    market.settings["schemas"] = str(tmp_path / "schemas")
    rows = make_events(0, 20, late=False).with_columns(colour=pl.lit("red"))
    market.send(make_events(0, 20, late=False).with_columns(event_id=pl.col("event_id") + "-known"))
    market.send(rows.unique("event_id"), SALE)
    facts = market.run().batch
    assert dict(facts.reject_reasons) == {"unknown_schema": 20}
    assert any("20 messages could not be read" in text for text in list_warnings(facts, Path("market.toml")))
    market.send(make_events(5, late=False))
    market.run(is_flush=True)
    rule = RebuildRule(first_date=START.date(), last_date=START.date(), with_rejects=True)
    unchanged = rebuild_dates(market.rule, rule, now=lambda: datetime.now(UTC))
    assert not unchanged.has_changes
    DirectoryStore(tmp_path / "schemas").add(SALE)
    rebuilt = rebuild_dates(market.rule, rule, now=lambda: datetime.now(UTC))
    assert rebuilt.merged_count == 20
    events = market.read("events").filter(pl.col("event_id").is_in(rows["event_id"].implode()))
    assert events.height == 20
    assert market.read("rejects").height == 0


def test_what_comes_encrypted_goes_out_encrypted(market: Market, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    key = folder / "2026.key"
    key.write_text(bytes(range(32)).hex())
    key.chmod(0o600)
    market.settings |= {"keys": folder, "seal_with": "2026"}
    cipher = AesGcm(read_keys(folder), "2026")
    events = make_events(0, late=False)
    market.send_values(Encoder(event_schema(), cipher).encode(events).to_list())
    assert market.run(now=START + 20 * MINUTE).batch.reject_count == 0
    market.run(is_flush=True)
    sealed = market.read_topic(market.tagged)
    assert not sealed["value"].bin.contains(b"visitor").any()
    opened = cipher.open(sealed["value"])
    assert opened.messages.bin.starts_with(b"\xc3\x01").all()
    assert opened.messages.len() == market.read("events").height


def test_pseudonymous_topics_say_what_the_pseudonymous_lake_does(market: Market, tmp_path: Path) -> None:
    make_salt(tmp_path / "salts", START.year)
    if datetime.now(UTC).year != START.year:
        make_salt(tmp_path / "salts", datetime.now(UTC).year)
    name = market.place.name
    with open_client(market.kafka) as client:
        for topic in (f"{name}-pe", f"{name}-pv"):
            client.create_topic(topic, partition_count=2)
    topics = market.rule.topics
    assert topics
    market.settings |= {
        "topics": replace(topics, pseudonymous_events=f"{name}-pe", pseudonymous_ends=f"{name}-pv"),
        "anonymize": AnonymizeRule(lake=tmp_path / "anonymous", salts=tmp_path / "salts"),
    }
    for number in range(2):
        market.send(make_events(number, late=False))
        market.run()
    market.run(is_flush=True)
    events, ends = (market.read_topic(f"{name}-{kind}") for kind in ("pe", "pv"))
    for frame in (events, ends):
        for column in ("key", "value"):
            assert not frame[column].bin.contains(b"v1-0").any()
    said = decode(events)
    assert Counter(said["visitor_id"].value_counts()["count"]) == Counter(
        market.read_tagged()["visitor_id"].value_counts()["count"]
    )
    assert said["user_agent"].null_count() == said["source"].null_count() == said.height
    twin = pl.read_parquet(tmp_path / "anonymous" / "events" / "**" / "*.parquet")
    columns = ["visit_id", "event_id", "event_time", "cause_id"]
    assert sorted(said.select(columns).rows(), key=str) == sorted(twin.select(columns).rows(), key=str)
    visits = pl.read_parquet(tmp_path / "anonymous" / "visits" / "**" / "*.parquet")
    assert sorted(decode(ends)["visit_id"]) == sorted(visits["visit_id"])


def find_faults(market: Market) -> list[str]:
    """What `m2 check` finds not to be as it should be."""
    facts = check_pipeline(market.rule, now=datetime.now(UTC))
    assert facts.exit_code == (ExitCode.DATA if facts.faults else ExitCode.OK)
    return [finding.text for finding in facts.faults]


def test_messages_that_retention_took_are_told_of_and_passed_over_when_asked(market: Market, admin: Admin) -> None:
    market.send(make_events(0))
    market.run()
    market.send(make_events(1))
    with open_client(market.kafka) as client:
        facts = client.describe_topic(market.measurements)
        assert facts
    admin.delete_messages(market.measurements, facts.partitions[0].end_offset)
    market.send(make_events(2))
    before = [batch.batch_id for batch in market.list_batches()]
    with pytest.raises(OffsetsLostError, match=r"[\d,]+ offsets are gone, .*--accept-gap"):
        market.run()
    assert [batch.batch_id for batch in market.list_batches()] == before
    assert [text for text in find_faults(market) if re.search(r"[\d,]+ offsets are gone, .*--accept-gap", text)]
    gapped = market.run(accepts_gap=True).batch
    assert len(gapped.warnings) == 1
    assert "are gone" in gapped.warnings[0]
    assert gapped.event_count
    market.run(is_flush=True)
    assert_said_once(market)


def test_a_topic_that_was_made_anew_is_told_of(market: Market, admin: Admin) -> None:
    market.send(make_events(0))
    market.run()
    admin.delete_topic(market.measurements)
    with open_client(market.kafka) as client:
        assert client.create_topic(market.measurements, partition_count=3)
    market.send(make_events(1))
    with pytest.raises(TopicReplacedError, match="was deleted and made anew"):
        market.run()
    assert [text for text in find_faults(market) if "was deleted and made anew" in text]
    assert market.run(accepts_gap=True).batch.event_count
    market.run(is_flush=True)
    assert_said_once(market)


def test_a_partition_that_is_added_is_read_from_its_beginning(market: Market, admin: Admin) -> None:
    market.settings["sources"] = (replace(market.rule.sources[0], start="latest"),)
    market.send(make_events(0))
    assert market.run().batch.event_count == 0
    admin.add_partitions(market.measurements, 5)
    sent = make_events(1)
    market.send(sent)
    facts = market.run().batch
    assert facts.event_count == sent.height
    assert len(read_status(market.rule).partitions) == 5


def test_without_a_broker_nothing_changes(market: Market) -> None:
    market.send(make_events(0))
    market.run()
    before = [batch.batch_id for batch in market.list_batches()]
    away = Market(market.place._replace(address="127.0.0.1:1", timeout=1.0))
    with pytest.raises(BrokerAwayError, match=r"cannot .* at Kafka `127.0.0.1:1`"):
        away.run()
    assert [batch.batch_id for batch in market.list_batches()] == before
    told = subprocess.run(
        [M2, "run", str(away.write_toml()), "--set", "kafka.timeout=1s"], capture_output=True, text=True, check=False
    )
    assert told.returncode == ExitCode.UNREACHABLE
    assert "Traceback" not in told.stderr
    status = read_status(away.rule)
    assert status.topics[0].behind_count is None
    assert any("127.0.0.1:1" in text for text in status.warnings)
    assert check_pipeline(away.rule, now=datetime.now(UTC)).exit_code == ExitCode.UNREACHABLE


def test_a_topic_that_is_not_there_is_said(market: Market) -> None:
    market.settings["sources"] = (replace(market.rule.sources[0], topic="nowhere"),)
    with pytest.raises(NoTopicError, match="there is no topic `nowhere`"):
        market.run()


def test_who_was_shut_out_ends_with_nothing_committed(market: Market) -> None:
    market.send(make_events(0))
    topics = market.rule.topics
    assert topics

    def intrude(step: str) -> None:
        if step == "added up":
            with open_sink(market.kafka, topics.group):
                pass

    with pytest.raises(FencedError, match="was shut out"):
        market.run(at=intrude)
    assert market.read_tagged().is_empty()
    market.run()
    market.run(is_flush=True)
    assert_said_once(market)


def test_topics_that_know_more_than_the_ledger_stop_it(market: Market, tmp_path: Path) -> None:
    market.send(make_events(0))
    market.run()
    assert not find_faults(market)
    market.settings["lake"] = tmp_path / "other"
    with pytest.raises(OtherLedgerError, match="which has 0, did not run it: it was restored from a backup"):
        market.run()
    assert [text for text in find_faults(market) if "was restored from a backup" in text]
    market.settings |= {"name": "other", "lake": tmp_path / "third"}
    with pytest.raises(OtherLedgerError, match=f"belongs to the pipeline `{market.place.name}`, not to `other`"):
        market.run()


def test_input_is_taken_up_to_a_moment_and_no_further(market: Market) -> None:
    for number in range(3):
        market.send(make_events(number, late=False))
    until = START + 15 * MINUTE
    facts = market.run(until=until).batch
    assert facts.last_event_time < until
    assert 0 < facts.event_count < 130
    market.run()
    market.run(is_flush=True)
    assert_said_once(market)


def test_the_cluster_is_told_how_far_the_pipeline_has_come(market: Market) -> None:
    market.send(make_events(0))
    market.run()
    topics = market.rule.topics
    assert topics
    with open_client(market.kafka) as client:
        facts = client.describe_topic(market.measurements)
        assert facts
        places = [TopicPartition(market.measurements, each.partition) for each in facts.partitions]
        committed = client.read_commit(topics.group, places)
    assert {place.partition: found.offset for place, found in committed.items()} == {
        each.partition: each.end_offset for each in facts.partitions
    }
    with open_ledger(market.rule.lake / "_m2" / "ledger.sqlite") as ledger:
        number = ledger.find_last_number()
    assert json.loads(committed[places[0]].metadata) == {"pipeline": market.place.name, "batch": number, "step": 0}


def test_sigterm_ends_a_followed_pipeline_with_all_committed(market: Market) -> None:
    market.send(make_events(0))
    with subprocess.Popen(
        [M2, "run", str(market.write_toml(lake_every="1h")), "--follow"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while market.read_topic(market.tagged).is_empty() and time.monotonic() < deadline:
                time.sleep(0.1)
            market.send(make_events(1))
            while (status := read_status(market.rule)).topics[0].behind_count and time.monotonic() < deadline:
                time.sleep(0.1)
            assert (status.is_running, status.batch_count, status.topics[0].behind_count) == (True, 0, 0)
            assert [batch.step_count > 1 for batch in status.unfinished] == [True]
        finally:
            process.terminate()
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 0, said
    assert f"{market.place.name}-000001" in said
    assert [batch.state for batch in market.list_batches()] == ["published"]
    market.run(is_flush=True)
    assert_said_once(market)


def test_who_looks_after_the_lake_has_a_turn_between_the_batches_of_a_follower(market: Market) -> None:
    toml = market.write_toml(lake_every="1s")
    with subprocess.Popen([M2, "run", str(toml), "--follow"], stderr=subprocess.PIPE, text=True) as process:
        try:
            for number in range(6):
                market.send(make_events(number))
                time.sleep(0.5)
            told = subprocess.run([M2, "check", str(toml)], capture_output=True, text=True, check=False, timeout=60)
            assert told.returncode == 0, told.stderr
            market.send(make_events(7))
        finally:
            process.terminate()
        assert process.wait(timeout=30) == 0
    market.run(is_flush=True)
    assert_said_once(market)


def test_only_topics_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "logs.toml"
    path.write_text('[pipeline]\nname = "l"\nlake = "l"\n[[source]]\ntype = "access_log"\npaths = "a.log"\n')
    told = subprocess.run([M2, "run", str(path), "--follow"], capture_output=True, text=True, check=False)
    assert told.returncode == ExitCode.USAGE
    assert "is no topic, and only topics are followed" in told.stderr


def test_a_look_at_an_empty_topic_says_so(market: Market) -> None:
    command = [M2, "ingest", "kafka", market.measurements, "--bootstrap-server", market.place.address, "--peek", "3"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")
    assert "there is no message" in told.stderr


@pytest.mark.parametrize(
    ("begin", "end"),
    [("latest", "earliest"), (7, 3), (datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))],
)
def test_a_range_that_ends_before_it_begins_is_refused(
    market: Market, tmp_path: Path, begin: str | int | datetime, end: str | int | datetime
) -> None:
    rule = TopicRule(kafka=market.kafka, topic=market.measurements, begin=begin, end=end)
    with pytest.raises(UsageError, match=r"is after .*; exchange the two"):
        ingest_topic(tmp_path / "events", rule)
