"""A tape sent to a topic: every event once and in its partition's order, however often the sender is killed."""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.errors import UsageError
from m2cli.files.tape import Piece, Tape
from m2cli.kafka import KafkaRule, open_client
from m2cli.runs.replay.send import PaceRule, Sent, send_tape
from m2cli.runs.topics import TopicRule, ingest_topic
from tests.cli.command import M2, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kafka.broker import Broker

EVENTS = str(ROOT / "sample_data" / "events.parquet")
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class KilledError(BaseException):
    """Nothing that m2 catches."""


def name_topic() -> str:
    return f"replay-{uuid.uuid4().hex[:10]}"


def make_tape(folder: Path, count: int = 3_000, seconds: int = 300) -> Tape:
    begin = datetime(2026, 11, 20, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "event_id": [f"e{number}" for number in range(count)],
            "event_time": [begin + timedelta(seconds=seconds * number / count) for number in range(count)],
            "visitor_id": [f"v{number % 17}" for number in range(count)],
            "source": [f"s{number % 3}" for number in range(count)],
        },
        schema_overrides={"event_time": pl.Datetime("us", "UTC")},
    )
    rows.write_parquet(folder / "0.tape")
    times = range(int(begin.timestamp()) + 1, int(begin.timestamp()) + seconds + 1)
    ends = [count * (place + 1) // seconds for place in range(seconds)]
    return Tape(pieces=(Piece(folder / "0.tape", 0),), row_count=count, partitions=("s0",), times=times, ends=ends)


def read_topic(broker: Broker, topic: str, folder: Path) -> pl.DataFrame:
    """What a reader of committed messages finds, each partition in its order."""
    path = folder / f"{uuid.uuid4().hex}.parquet"
    ingest_topic(path, TopicRule(kafka=KafkaRule(bootstrap_servers=(broker.address,)), topic=topic))
    return pl.read_parquet(path)


def make_pace(broker: Broker, topic: str, **settings: object) -> PaceRule:
    return PaceRule(kafka=KafkaRule(bootstrap_servers=(broker.address,)), topic=topic, **settings)  # type: ignore[arg-type]


def test_whoever_is_killed_between_transactions_goes_on_without_loss_or_doubling(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    tape, topic = make_tape(tmp_path), name_topic()
    pauses = 0

    def die(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses % 4 == 0:
            raise KilledError
        time.sleep(0.02)

    killed = 0
    while True:
        try:
            facts = send_tape(tape, make_pace(kafka_broker, topic, speed=100), now=lambda: NOW, pause=die)
        except KilledError:
            killed += 1
            continue
        break
    assert killed >= 2
    assert facts.before_count + facts.sent_count == 3_000
    found = read_topic(kafka_broker, topic, tmp_path)
    assert sorted(found["event_id"]) == sorted(f"e{number}" for number in range(3_000))
    number = pl.col("event_id").str.slice(1).cast(pl.Int64)
    assert found.select((number.diff().over("source") > 0).all()).item()
    again = send_tape(tape, make_pace(kafka_broker, topic), now=lambda: NOW, pause=die)
    assert (again.sent_count, again.before_count) == (0, 3_000)


def test_the_process_is_killed_and_called_again(kafka_broker: Broker, tmp_path: Path) -> None:
    topic = name_topic()
    command = (M2, "replay", EVENTS, "--to-kafka", topic, "--bootstrap-server", kafka_broker.address, "--speed")
    process = subprocess.Popen((*command, "3600"), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    with closing(open_client(KafkaRule(bootstrap_servers=(kafka_broker.address,)))) as client:
        while time.monotonic() < deadline:
            facts = client.describe_topic(topic)
            if facts and sum(each.end_offset for each in facts.partitions) > 100:
                break
            time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = subprocess.run((*command, "0"), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"were there from an earlier run" in done.stderr
    found = read_topic(kafka_broker, topic, tmp_path)
    sent = pl.read_parquet(EVENTS)
    assert found.height == sent.height
    columns = ["event_id", "event_time", "url", "amount"]
    assert found.select(columns).sort(columns).equals(sent.select(columns).sort(columns))


def test_the_pace_is_that_of_the_tape_times_the_speed(kafka_broker: Broker, tmp_path: Path) -> None:
    tape = make_tape(tmp_path, 3_000, 60)
    facts = send_tape(tape, make_pace(kafka_broker, name_topic(), speed=20), now=lambda: NOW, pause=time.sleep)
    assert facts.sent_count == 3_000
    assert 2.8 < facts.seconds < 4.5  # a machine that does much else is late at the end, and never early


def test_with_a_shift_the_last_event_is_sent_when_it_happens(kafka_broker: Broker, tmp_path: Path) -> None:
    tape, topic = make_tape(tmp_path, 300, 60), name_topic()
    pace = make_pace(kafka_broker, topic, speed=60, is_shifted=True)
    send_tape(tape, pace, now=lambda: NOW, pause=time.sleep)
    times = read_topic(kafka_broker, topic, tmp_path)["event_time"].sort()
    assert times[-1] - times[0] == timedelta(seconds=59.8)
    assert abs(times[-1] - NOW) < timedelta(seconds=2)


def test_a_part_of_another_replay_is_not_taken_for_this_one(kafka_broker: Broker, tmp_path: Path) -> None:
    tape, topic = make_tape(tmp_path, 300, 60), name_topic()
    pauses = 0

    def die(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses > 1:  # at the first nothing is due
            raise KilledError
        time.sleep(0.2)

    with pytest.raises(KilledError):
        send_tape(tape, make_pace(kafka_broker, topic, speed=60), now=lambda: NOW, pause=die)
    (tmp_path / "other").mkdir()
    other = make_tape(tmp_path / "other", 301, 60)
    with pytest.raises(UsageError, match="of another replay"):
        send_tape(other, make_pace(kafka_broker, topic), now=lambda: NOW, pause=die)
    facts = send_tape(other, make_pace(kafka_broker, topic, speed=None, restarts=True), now=lambda: NOW, pause=die)
    assert facts.sent_count == 301


def test_what_was_sent_is_said_in_few_characters() -> None:
    assert Sent("3-a", 2, 0).to_text() == '{"tape":"3-a","sent_count":2,"shift":0}'
    with pytest.raises(UsageError, match="out of range"):
        PaceRule(kafka=KafkaRule(bootstrap_servers=("a:1",)), topic="t", speed=-1)
