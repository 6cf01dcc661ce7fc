"""A broker that is not there, goes away or says nothing: an error within the timeout, by both clients, and no harm."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

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
from tests.kafka.cluster import number_messages, read_values, write_plainly

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.kafka import Client, Sink
    from tests.kafka.broker import Broker


class Prepared(NamedTuple):
    """A topic into which one transaction was committed, and who committed it."""

    rule: KafkaRule
    topic: str
    transactional_id: str

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, 0)

    @property
    def group(self) -> str:
        return self.transactional_id

    @property
    def patient(self) -> KafkaRule:
        return replace(self.rule, timeout=timedelta(seconds=30))

    def open_sink(self) -> Sink:
        return open_sink(self.rule, self.transactional_id)

    def settle(self) -> tuple[str, list[bytes | None]]:
        """What a run that comes after finds: the metadata that was committed, and what readers see."""
        with open_sink(self.patient, self.transactional_id), open_client(self.patient) as client:
            return client.read_commit(self.group, [self.place])[self.place].metadata, read_values(client, self.topic)


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
    own_rule: KafkaRule, own_broker: Broker, transactional_id: str
) -> None:
    topic = f"in-{transactional_id}"
    patient = replace(own_rule, timeout=timedelta(seconds=60))
    with open_client(patient) as client:
        assert client.create_topic(topic)
        for _ in range(3):
            write_plainly(own_broker.address, topic, [(b"k", b"x" * 900_000)] * 20)
        reading = client.read_ranges(topic, {0: Range(0, 60)}, pieces=PieceRule(most_count=1))
        offsets = [next(reading).messages["position_in_source"][0]]
        own_broker.kill()
        own_broker.start()
        offsets += [piece.messages["position_in_source"][0] for piece in reading]
        assert offsets == list(range(60))
    hasty = replace(own_rule, timeout=timedelta(seconds=1))
    with open_client(hasty) as client, open_client(hasty) as beginner:
        reading = client.read_ranges(topic, {0: Range(0, 60)}, pieces=PieceRule(most_count=1))
        next(reading)
        own_broker.kill()
        start = time.monotonic()
        with pytest.raises(BrokerAwayError):
            list(reading)
        for ask in (
            lambda: client.describe_topic(topic),
            lambda: list(client.read_ranges(topic, {0: Range(0, 60)})),
            lambda: client.read_commit("group", [TopicPartition(topic, 0)]),
            lambda: client.create_topic("another"),
            lambda: list(beginner._read(topic, {0: Range(0, 60)}, PieceRule())),
        ):
            with pytest.raises(BrokerAwayError):
                ask()
        assert time.monotonic() - start < 60


@pytest.fixture
def prepared(own_rule: KafkaRule, transactional_id: str) -> Prepared:
    """A topic of the test's own."""
    prepared = Prepared(own_rule, f"out-{transactional_id}", transactional_id)
    with open_client(prepared.patient) as client:
        assert client.create_topic(prepared.topic)
    with open_sink(prepared.patient, transactional_id) as sink:
        sink.begin()
        sink.send(prepared.topic, number_messages([1]))
        sink.commit(prepared.group, {prepared.place: 1}, "1")
    return prepared


def test_messages_that_did_not_arrive_in_time_fail_the_transaction(prepared: Prepared, own_broker: Broker) -> None:
    """Defects A and E: kafka-python says that such a transaction is committed, and the messages are missing."""
    with open_sink(replace(prepared.rule, timeout=timedelta(seconds=1)), prepared.transactional_id) as sink:
        sink.begin()
        sink.send(prepared.topic, number_messages([2]))
        sink.flush()
        with own_broker.halted():
            start = time.monotonic()
            with pytest.raises(SendFailedError) as failed:  # noqa: PT012
                sink.send(prepared.topic, number_messages([3]))
                sink.commit(prepared.group, {prepared.place: 2}, "2")
            assert time.monotonic() - start < 15
        assert failed.value.exit_code is ExitCode.UNREACHABLE
    assert prepared.settle() == ("1", [b"value-1"])


@pytest.mark.parametrize("at", ["offsets", "commit", "abort"])
def test_a_broker_that_says_nothing_ends_every_call_in_time(prepared: Prepared, own_broker: Broker, at: str) -> None:
    """Defects C and D: kafka-python would wait for ever, or call the outcome an error."""
    expected: type[UnreachableError] = CommitUnknownError if at == "commit" else SendFailedError
    with prepared.open_sink() as sink:
        sink.begin()
        sink.send(prepared.topic, number_messages([2]))
        sink.flush()
        if at == "commit":
            sink._send_offsets(prepared.group, {prepared.place: 2}, "2")
            sink._flush, sink._send_offsets = (lambda: None), (lambda *_: None)
        with own_broker.halted():
            start = time.monotonic()
            with pytest.raises(expected):
                sink.abort() if at == "abort" else sink.commit(prepared.group, {prepared.place: 2}, "2")
            assert time.monotonic() - start < 20
    found = prepared.settle()
    # The request may have been in the broker's ears already: then it is committed, and all of it.
    assert found in (
        [("1", [b"value-1"]), ("2", [b"value-1", b"value-2"])] if at == "commit" else [("1", [b"value-1"])]
    )


def test_a_broker_that_is_killed_in_a_transaction_leaves_all_or_nothing(prepared: Prepared, own_broker: Broker) -> None:
    with prepared.open_sink() as sink:
        sink.begin()
        sink.send(prepared.topic, number_messages([2]))
        sink.flush()
        own_broker.kill()
        with pytest.raises(M2Error) as failed:
            sink.commit(prepared.group, {prepared.place: 2}, "2")
        assert isinstance(failed.value, SendFailedError)
        own_broker.start()
    assert prepared.settle() == ("1", [b"value-1"])


_LEFT_HANGING = """
import sys, datetime, polars as pl
from m2cli.kafka import KafkaRule, SendFailedError, open_sink
rule = KafkaRule(bootstrap_servers=(sys.argv[1],), library=sys.argv[2], timeout=datetime.timedelta(seconds=1))
sink = open_sink(rule, sys.argv[4])
sink.begin()
print("halt", flush=True)
input()
try:
    sink.send(sys.argv[3], pl.DataFrame({"key": [b"k"], "value": [b"v"]}))
    sink.commit("group", {}, "")
except SendFailedError as error:
    print("failed", flush=True)
"""


def test_a_process_whose_broker_says_nothing_ends(prepared: Prepared, own_broker: Broker) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _LEFT_HANGING, own_broker.address]
    command += [prepared.rule.library, prepared.topic, prepared.transactional_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "halt\n"
        with own_broker.halted():
            told, _ = process.communicate("\n", timeout=30)
        assert (told, process.returncode) == ("failed\n", 0)
