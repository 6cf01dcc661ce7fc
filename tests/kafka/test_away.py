"""A broker that is not there, goes away or says nothing: an error within the timeout, by both clients, and no harm."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import ExitCode, M2Error, UnreachableError
from m2cli.kafka import (
    LIBRARIES,
    BrokerAwayError,
    CommitUnknownError,
    KafkaRule,
    PieceRule,
    Range,
    SendFailedError,
    TopicPartition,
    open_client,
    open_sink,
)
from tests.kafka.cluster import number_messages, read_all, read_values, write_plainly

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.kafka import Client, Sink
    from tests.kafka.broker import Broker

GROUP, TOPIC = "group", "out"
PLACE = TopicPartition(TOPIC, 0)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("open_it", [open_client, lambda rule: open_sink(rule, "m2")], ids=["client", "sink"])
def test_a_broker_that_is_not_there_is_unreachable_within_the_timeout(
    library: str, open_it: Callable[[KafkaRule], Client | Sink]
) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can come here
        taken.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{taken.getsockname()[1]}"
        rule = KafkaRule(bootstrap_servers=(server,), library=library, timeout=timedelta(seconds=1))
        start = time.monotonic()
        with pytest.raises(BrokerAwayError, match=f"Kafka `{server}`: ") as away:
            open_it(rule)
    assert away.value.exit_code is ExitCode.UNREACHABLE
    assert time.monotonic() - start < 10


def test_a_reader_outlives_a_broker_that_comes_back_and_not_one_that_does_not(
    own_rule: KafkaRule, own_broker: Broker
) -> None:
    patient = replace(own_rule, timeout=timedelta(seconds=60))
    with open_client(patient) as client:
        assert client.create_topic(TOPIC)
        for _ in range(3):
            write_plainly(own_broker.address, TOPIC, [(b"k", b"x" * 900_000)] * 20)
        reading = client.read_ranges(TOPIC, {0: Range(0, 60)}, pieces=PieceRule(most_count=1))
        offsets = [next(reading).messages["position_in_source"][0]]
        own_broker.kill()
        own_broker.start()
        offsets += [piece.messages["position_in_source"][0] for piece in reading]
        assert offsets == list(range(60))
    with open_client(own_rule) as client:
        reading = client.read_ranges(TOPIC, {0: Range(0, 60)}, pieces=PieceRule(most_count=1))
        next(reading)
        own_broker.kill()
        start = time.monotonic()
        with pytest.raises(BrokerAwayError):
            list(reading)
        for ask in (
            lambda: client.describe_topic(TOPIC),
            lambda: read_all(client, TOPIC),
            lambda: client.read_commit(GROUP, [PLACE]),
            lambda: client.create_topic("another"),
        ):
            with pytest.raises(BrokerAwayError):
                ask()
        assert time.monotonic() - start < 60


def _settle(rule: KafkaRule, transactional_id: str) -> tuple[str | None, list[bytes | None]]:
    """What a run that comes after finds: the metadata that was committed, and what readers see."""
    patient = replace(rule, timeout=timedelta(seconds=30))
    with open_sink(patient, transactional_id), open_client(patient) as client:
        committed = client.read_commit(GROUP, [PLACE]).get(PLACE)
        return committed.metadata if committed else None, read_values(client, TOPIC)


@pytest.fixture
def prepared(own_rule: KafkaRule) -> KafkaRule:
    """A broker with the topic, into which the first transaction was committed."""
    with open_client(replace(own_rule, timeout=timedelta(seconds=30))) as client:
        assert client.create_topic(TOPIC)
    with open_sink(replace(own_rule, timeout=timedelta(seconds=30)), "m2") as sink:
        sink.begin()
        sink.send(TOPIC, number_messages([1]))
        sink.commit(GROUP, {PLACE: 1}, "1")
    return own_rule


def test_messages_that_did_not_arrive_in_time_fail_the_transaction(prepared: KafkaRule, own_broker: Broker) -> None:
    """Defects A and E: kafka-python says that such a transaction is committed, and the messages are missing."""
    rule = replace(prepared, timeout=timedelta(seconds=1))
    with open_sink(rule, "m2") as sink:
        sink.begin()
        sink.send(TOPIC, number_messages([2]))
        sink.flush()
        with own_broker.halted():
            start = time.monotonic()
            with pytest.raises(SendFailedError) as failed:  # noqa: PT012
                sink.send(TOPIC, number_messages([3]))
                sink.commit(GROUP, {PLACE: 2}, "2")
            assert time.monotonic() - start < 15
        assert failed.value.exit_code is ExitCode.UNREACHABLE
    assert _settle(rule, "m2") == ("1", [b"value-1"])


@pytest.mark.parametrize("at", ["offsets", "commit", "abort"])
def test_a_broker_that_says_nothing_ends_every_call_in_time(prepared: KafkaRule, own_broker: Broker, at: str) -> None:
    """Defects C and D: kafka-python would wait for ever, or call the outcome an error."""
    expected: type[UnreachableError] = CommitUnknownError if at == "commit" else SendFailedError
    with open_sink(prepared, "m2") as sink:
        sink.begin()
        sink.send(TOPIC, number_messages([2]))
        sink.flush()
        if at == "commit":
            sink._send_offsets(GROUP, {PLACE: 2}, "2")
            sink._flush, sink._send_offsets = (lambda: None), (lambda *_: None)
        with own_broker.halted():
            start = time.monotonic()
            with pytest.raises(expected):
                sink.abort() if at == "abort" else sink.commit(GROUP, {PLACE: 2}, "2")
            assert time.monotonic() - start < 20
    found = _settle(prepared, "m2")
    # The request may have been in the broker's ears already: then it is committed, and all of it.
    assert found in (
        [("1", [b"value-1"]), ("2", [b"value-1", b"value-2"])] if at == "commit" else [("1", [b"value-1"])]
    )


def test_a_broker_that_is_killed_in_a_transaction_leaves_all_or_nothing(
    prepared: KafkaRule, own_broker: Broker
) -> None:
    with open_sink(prepared, "m2") as sink:
        sink.begin()
        sink.send(TOPIC, number_messages([2]))
        sink.flush()
        own_broker.kill()
        with pytest.raises(M2Error) as failed:
            sink.commit(GROUP, {PLACE: 2}, "2")
        assert isinstance(failed.value, SendFailedError)
        own_broker.start()
    assert _settle(prepared, "m2") == ("1", [b"value-1"])


_LEFT_HANGING = """
import sys, datetime, polars as pl
from m2cli.kafka import KafkaRule, SendFailedError, open_sink
rule = KafkaRule(bootstrap_servers=(sys.argv[1],), library=sys.argv[2], timeout=datetime.timedelta(seconds=1))
sink = open_sink(rule, "m2")
sink.begin()
print("halt", flush=True)
input()
try:
    sink.send("out", pl.DataFrame({"key": [b"k"], "value": [b"v"]}))
    sink.commit("group", {}, "")
except SendFailedError as error:
    print("failed", flush=True)
"""


def test_a_process_whose_broker_says_nothing_ends(prepared: KafkaRule, own_broker: Broker) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _LEFT_HANGING, own_broker.address, prepared.library]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "halt\n"
        with own_broker.halted():
            told, _ = process.communicate("\n", timeout=30)
        assert (told, process.returncode) == ("failed\n", 0)
