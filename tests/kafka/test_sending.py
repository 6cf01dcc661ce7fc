"""Transactions on a real broker, by both clients: at once or not at all, and never by two."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest
from kafka.partitioner.default import murmur2

from m2cli.errors import ExitCode
from m2cli.kafka import (
    CommittedOffset,
    FencedError,
    MessageTooLargeError,
    NoTopicError,
    PieceRule,
    TopicPartition,
    open_client,
    open_sink,
)
from tests.kafka.cluster import make_messages, number_messages, read_all, read_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.kafka import Client, KafkaRule, Sink

    MakeTopic = Callable[..., str]


def test_a_transaction_brings_messages_offsets_and_metadata_at_once(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    source, topic, other, group = make_topic(2), make_topic(), make_topic(), f"group-{transactional_id}"
    both = [TopicPartition(source, 0), TopicPartition(source, 1)]
    pairs = [(b"key", b"value"), (None, b"no key"), (b"empty", b""), (b"tombstone", None)]
    with open_sink(rule, transactional_id) as sink:
        for batch in (1, 2):
            sink.begin()
            sink.send(topic, make_messages(*pairs), headers=[("batch", b"shop-%d" % batch)])
            sink.send(other, number_messages([batch]))
            sink.flush()
            facts = client.describe_topic(topic)
            assert facts is not None
            assert facts.partitions[0].end_offset <= 5 * (batch - 1)  # four messages and a marker
            sink.commit(group, {both[0]: 10 * batch, both[1]: 20 * batch}, f'{{"batch": {batch}}}')
    assert read_values(client, other) == [b"value-1", b"value-2"]
    found = pl.concat(each.messages for each in read_all(client, topic, pieces=PieceRule(has_headers=True)))
    assert found.select("key", "value").equals(make_messages(*pairs, *pairs))
    assert found["headers"].list.first().struct.field("value").to_list() == [b"shop-1"] * 4 + [b"shop-2"] * 4
    assert client.read_commit(group, both) == {
        both[0]: CommittedOffset(20, '{"batch": 2}'),
        both[1]: CommittedOffset(40, '{"batch": 2}'),
    }


def test_a_group_that_has_committed_nothing_has_nothing(client: Client, make_topic: MakeTopic) -> None:
    topic = make_topic()
    assert client.read_commit("group-of-nobody", [TopicPartition(topic, 0)]) == {}
    assert client.read_commit("group-of-nobody", []) == {}


def test_what_was_aborted_or_left_is_not_there_and_neither_are_its_offsets(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    topic, group = make_topic(), f"group-{transactional_id}"
    place = TopicPartition(topic, 0)
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink.send(topic, number_messages([1]))
        sink.commit(group, {place: 1}, "1")
        sink.begin()
        sink.send(topic, number_messages([2]))
        sink.flush()
        sink._send_offsets(group, {place: 2}, "2")
        sink.abort()
        sink.begin()
        sink.send(topic, number_messages([3]))
        sink.flush()
        sink._send_offsets(group, {place: 3}, "3")
    with open_sink(rule, transactional_id) as sink:  # which ends what the last one left
        assert client.read_commit(group, [place]) == {place: CommittedOffset(1, "1")}
        sink.begin()
        sink.send(topic, number_messages([4]))
        sink.commit(group, {place: 4}, "4")
    assert read_values(client, topic) == [b"value-1", b"value-4"]
    assert client.read_commit(group, [place]) == {place: CommittedOffset(4, "4")}


@pytest.mark.parametrize("at", ["begin", "send", "flushed", "commit"])
def test_a_second_sink_shuts_the_first_one_out(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic, at: str
) -> None:
    topic, group = make_topic(), f"group-{transactional_id}"
    with open_sink(rule, transactional_id) as first:

        def fence_at(point: str) -> None:
            if at == point:
                with open_sink(rule, transactional_id) as second:
                    second.begin()
                    second.send(topic, number_messages([2]))
                    second.commit(group, {TopicPartition(topic, 0): 2}, "second")

        with pytest.raises(FencedError, match=f"another run writes .* `{transactional_id}`") as fenced:  # noqa: PT012
            fence_at("begin")
            first.begin()
            fence_at("send")
            first.send(topic, number_messages([1]))
            fence_at("flushed")
            first.flush()
            fence_at("commit")
            first.commit(group, {TopicPartition(topic, 0): 1}, "first")
        assert fenced.value.exit_code is ExitCode.LOCKED
        with pytest.raises(RuntimeError, match="is closed"):
            first.begin()
    assert read_values(client, topic) == [b"value-2"]
    assert client.read_commit(group, [TopicPartition(topic, 0)])[TopicPartition(topic, 0)].metadata == "second"


def test_messages_go_to_the_partition_that_java_would_choose_in_their_order(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    topic = make_topic(5)
    messages = make_messages(*((b"visitor-%d" % (number % 300), b"%d" % number) for number in range(3_000)))
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink.send(topic, messages)
        sink.commit("group", {}, "")
    count = 0
    last: dict[bytes, int] = {}
    for piece in read_all(client, topic):
        for key, value in piece.messages.select("key", "value").iter_rows():
            assert (murmur2(key) & 0x7FFFFFFF) % 5 == piece.partition
            assert last.get(key, -1) < int(value)
            last[key], count = int(value), count + 1
    assert count == 3_000


def test_messages_without_a_key_go_to_any_partition(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    topic = make_topic(2)
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink.send(topic, make_messages(*((None, b"%d" % number) for number in range(200))))
        sink.commit("group", {}, "")
    heights = {piece.partition: piece.messages.height for piece in read_all(client, topic)}
    assert set(heights) <= {0, 1}
    assert sum(heights.values()) == 200


def test_messages_have_the_time_that_they_are_given(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    topic, moment = make_topic(), datetime(2026, 11, 21, 7, 8, 9, 123_000, tzinfo=UTC)
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink.send(topic, number_messages([1]).with_columns(arrival_time=pl.lit(moment)))
        sink.commit("group", {}, "")
    (piece,) = read_all(client, topic)
    assert piece.messages["arrival_time"].to_list() == [moment]


def test_a_large_message_goes_where_the_topic_takes_it_and_is_an_error_elsewhere(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    roomy, narrow, value = make_topic(max_message_bytes="9000000"), make_topic(), os.urandom(3_000_000)
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink.send(roomy, make_messages((b"k", value)))
        sink.commit("group", {}, "")
    assert read_values(client, roomy) == [value]
    with open_sink(rule, transactional_id) as sink, pytest.raises(MessageTooLargeError, match=r"max\.message\.bytes"):  # noqa: PT012
        sink.begin()
        sink.send(narrow, make_messages((b"k", value)))
        sink.commit("group", {}, "")
    assert read_values(client, narrow) == []


def _send_one(sink: Sink, topic: str) -> None:
    sink.begin()
    sink.send(topic, number_messages([1]))


def test_a_topic_that_is_not_there_is_an_error_and_is_not_made(
    client: Client, rule: KafkaRule, transactional_id: str
) -> None:
    topic = f"no-topic-{transactional_id}"
    with (
        open_sink(replace(rule, timeout=timedelta(seconds=2)), transactional_id) as sink,
        pytest.raises(NoTopicError, match=f"no topic `{topic}`"),
    ):
        _send_one(sink, topic)
    assert client.describe_topic(topic) is None


def test_a_sink_that_is_used_in_the_wrong_order_says_so(rule: KafkaRule, transactional_id: str) -> None:
    with open_sink(rule, transactional_id) as sink:
        for call in (lambda: sink.send("t", number_messages([1])), lambda: sink.commit("g", {}, ""), sink.abort):
            with pytest.raises(RuntimeError, match="in no transaction"):
                call()
        sink.begin()
        with pytest.raises(RuntimeError, match="in a transaction"):
            sink.begin()


def test_the_commit_that_is_waited_for_is_seen(rule: KafkaRule, transactional_id: str, make_topic: MakeTopic) -> None:
    """Offsets that an open transaction has sent are unstable: they are waited for, not passed over."""
    place, group = TopicPartition(make_topic(), 0), f"group-{transactional_id}"
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink._send_offsets(group, {place: 7}, "7")
        timer = threading.Timer(0.5, sink.commit, (group, {place: 7}, "7"))
        timer.start()
        with open_client(rule) as other:
            assert other.read_commit(group, [place]) == {place: CommittedOffset(7, "7")}
        timer.join()
