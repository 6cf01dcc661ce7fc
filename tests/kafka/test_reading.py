"""Exact ranges of a real broker, by both clients: data messages and nothing else, and always to an end."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.kafka import (
    MESSAGE_SCHEMA,
    NoTopicError,
    OffsetsLostError,
    PartitionFacts,
    PieceRule,
    Range,
    TopicReplacedError,
    open_client,
    open_sink,
)
from tests.kafka.cluster import (
    describe_settled,
    make_messages,
    number_messages,
    read_all,
    read_offsets,
    read_values,
    write_plainly,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.kafka import Client, KafkaRule
    from tests.kafka.broker import Broker
    from tests.kafka.cluster import Admin

    MakeTopic = Callable[..., str]


def _ends(client: Client, topic: str) -> list[tuple[int, int]]:
    return [(each.first_offset, each.end_offset) for each in describe_settled(client, topic)]


def test_a_topic_that_is_not_there_is_none_and_is_not_made(client: Client) -> None:
    assert client.describe_topic("no-such-topic") is None
    assert client.describe_topic("no-such-topic") is None


def test_a_new_topic_has_an_id_and_empty_partitions(client: Client, make_topic: MakeTopic) -> None:
    topic, other = make_topic(3), make_topic()
    facts, other_facts = client.describe_topic(topic), client.describe_topic(other)
    assert facts is not None
    assert other_facts is not None
    assert facts.partitions == tuple(PartitionFacts(number, 0, 0) for number in range(3))
    assert facts.topic_id != other_facts.topic_id
    assert len(facts.topic_id) == 36


def test_a_topic_that_is_there_is_not_made_again(client: Client, make_topic: MakeTopic) -> None:
    assert not client.create_topic(make_topic())


def test_both_libraries_say_the_same_of_a_topic(kafka_broker: Broker, rule: KafkaRule, make_topic: MakeTopic) -> None:
    topic = make_topic()
    write_plainly(kafka_broker.address, topic, [(b"k", b"v")] * 5)
    with (
        open_client(replace(rule, library="kafka-python")) as one,
        open_client(replace(rule, library="librdkafka")) as other,
    ):
        assert one.describe_topic(topic) == other.describe_topic(topic)
        (first,), (second,) = read_all(one, topic), read_all(other, topic)
    assert first.messages.equals(second.messages)


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_every_kind_of_message_and_no_other_column(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic, codec: str | None
) -> None:
    topic, moment = make_topic(), datetime(2026, 11, 21, 12, 30, 0, 123_000, tzinfo=UTC)
    pairs = [(b"key", b"value"), (None, b"no key"), (b"empty", b""), (b"tombstone", None), (b"", b"\x00\xff")]
    write_plainly(kafka_broker.address, topic, pairs, times=[moment] * 5, compression_type=codec)
    (piece,) = read_all(client, topic)
    expected = make_messages(*pairs).with_columns(
        position_in_source=pl.int_range(5), arrival_time=pl.lit(moment, MESSAGE_SCHEMA["arrival_time"])
    )
    assert piece.messages.schema == MESSAGE_SCHEMA
    assert piece.messages.equals(expected)


def test_headers_come_when_they_are_asked_for(client: Client, kafka_broker: Broker, make_topic: MakeTopic) -> None:
    topic = make_topic()
    write_plainly(kafka_broker.address, topic, [(b"k", b"with")], headers=[("batch", b"shop-7"), ("W", b"")])
    write_plainly(kafka_broker.address, topic, [(b"k", b"without")])
    pieces = read_all(client, topic, pieces=PieceRule(has_headers=True))
    assert [row for each in pieces for row in each.messages["headers"].to_list()] == [
        [{"key": "batch", "value": b"shop-7"}, {"key": "W", "value": b""}],
        [],
    ]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param(Range(0, 10), list(range(10)), id="all of it"),
        pytest.param(Range(3, 7), [3, 4, 5, 6], id="from the middle of a batch to the middle of it"),
        pytest.param(Range(9, 10), [9], id="the last"),
        pytest.param(Range(4, 4), [], id="none"),
        pytest.param(Range(10, 10), [], id="none at the end"),
    ],
)
def test_a_range_is_from_its_start_to_before_its_end(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic, wanted: Range, found: list[int]
) -> None:
    topic = make_topic()
    write_plainly(kafka_broker.address, topic, [(b"k", b"%d" % number) for number in range(10)])
    for _ in range(2):
        assert read_offsets(client, topic, wanted) == found


def test_partitions_are_read_together_each_to_its_own_end(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    topic = make_topic(4)
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink.send(topic, number_messages(range(2_000)))
        sink.commit("group", {}, "")
    describe_settled(client, topic)
    wanted = {0: Range(0, 300), 1: Range(100, 101), 2: Range(50, 50), 3: Range(7, 400)}
    found: dict[int, list[int]] = {}
    for piece in client.read_ranges(topic, wanted, pieces=PieceRule(most_count=64)):
        assert 0 < piece.messages.height <= 64
        found.setdefault(piece.partition, []).extend(piece.messages["position_in_source"])
    assert found == {key: list(range(*each)) for key, each in wanted.items() if each.start < each.end}


def test_pieces_have_a_bounded_size_and_one_message_may_be_larger(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic
) -> None:
    topic = make_topic(max_message_bytes="30000000")
    sizes = [10, 100, 20_000_000, 10, 5_000, 5_000, 10]
    pairs = [(b"k", b"x" * size) for size in sizes]
    write_plainly(kafka_broker.address, topic, pairs, max_request_size=30_000_000)
    pieces = read_all(client, topic, pieces=PieceRule(most_bytes=6_000))
    assert [len(value) for each in pieces for value in each.messages["value"]] == sizes
    assert max(each.messages.height for each in pieces) < len(sizes)


def test_aborted_transactions_and_markers_are_passed_over(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    with open_sink(rule, transactional_id) as sink:
        for number in range(6):
            sink.begin()
            sink.send(topic, number_messages(range(number * 10, number * 10 + 10)))
            sink.flush()
            sink.commit("group", {}, "") if number % 2 == 0 else sink.abort()
    values = [b"value-%d" % number for number in (*range(10), *range(20, 30), *range(40, 50))]
    assert read_values(client, topic) == values
    assert _ends(client, topic)[0][1] > 33  # the markers have offsets of their own, the last one at the end


def test_a_range_of_nothing_but_markers_and_aborted_messages_ends(
    client: Client, rule: KafkaRule, transactional_id: str, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink.send(topic, number_messages(range(10)))
        sink.commit("group", {}, "")
        sink.begin()
        sink.send(topic, number_messages(range(10)))
        sink.flush()
        sink.abort()
    end = _ends(client, topic)[0][1]
    start = time.monotonic()
    for wanted in (Range(10, end), Range(10, 11), Range(10, 15), Range(end - 1, end)):
        assert read_offsets(client, topic, wanted) == []
    assert read_offsets(client, topic, Range(8, end)) == [8, 9]
    assert time.monotonic() - start < 10


def test_what_an_open_transaction_has_written_is_behind_the_end(
    client: Client, rule: KafkaRule, transactional_id: str, kafka_broker: Broker, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    write_plainly(kafka_broker.address, topic, [(b"k", b"before")])
    with open_sink(rule, transactional_id) as sink:
        sink.begin()
        sink.send(topic, number_messages([1]))
        sink.flush()
        write_plainly(kafka_broker.address, topic, [(b"k", b"after")])
        facts = client.describe_topic(topic)
        assert facts is not None
        assert facts.partitions == (PartitionFacts(0, 0, 1),)
        assert read_offsets(client, topic, Range(0, 1)) == [0]
        sink.commit("group", {}, "")
    assert read_values(client, topic) == [b"before", b"value-1", b"after"]


def test_what_compaction_took_is_passed_over(client: Client, kafka_broker: Broker, make_topic: MakeTopic) -> None:
    topic = make_topic(cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01")
    pairs = [(b"%d" % (number % 3), b"value-%d" % number) for number in range(30)]
    write_plainly(kafka_broker.address, topic, pairs)
    deadline = time.monotonic() + 30
    while len(read_offsets(client, topic, Range(0, 30))) == 30:  # the cleaner comes by every so often
        assert time.monotonic() < deadline
        time.sleep(0.3)
        write_plainly(kafka_broker.address, topic, [(b"new segment", b"")])
    assert read_offsets(client, topic, Range(0, 30)) == [27, 28, 29]
    assert read_offsets(client, topic, Range(0, 20)) == []
    assert read_offsets(client, topic, Range(5, 29)) == [27, 28]


def test_what_retention_took_is_an_error_that_counts_it(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic, admin: Admin
) -> None:
    topic = make_topic()
    write_plainly(kafka_broker.address, topic, [(b"k", b"%d" % number) for number in range(10)])
    admin.delete_messages(topic, 6)
    assert _ends(client, topic) == [(6, 10)]
    with pytest.raises(OffsetsLostError, match="begins at offset 6, and 4 was to be read: 2 offsets") as lost:
        read_offsets(client, topic, Range(4, 10))
    assert (lost.value.lost_count, lost.value.first_offset) == (2, 6)
    assert read_offsets(client, topic, Range(6, 10)) == [6, 7, 8, 9]


def test_what_retention_takes_while_it_is_read_is_an_error(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic, admin: Admin
) -> None:
    topic = make_topic()
    value = b"x" * 1_000_000
    for _ in range(4):
        write_plainly(kafka_broker.address, topic, [(b"k", value)] * 12, max_request_size=2_000_000)
    reading = client.read_ranges(topic, {0: Range(0, 48)}, pieces=PieceRule(most_count=1))
    assert next(reading).messages["position_in_source"].to_list() == [0]
    admin.delete_messages(topic, 47)
    with pytest.raises(OffsetsLostError, match="begins at offset 47"):
        list(reading)


def test_an_end_that_is_not_there_is_an_error_within_the_timeout(rule: KafkaRule, make_topic: MakeTopic) -> None:
    topic = make_topic()
    with (
        open_client(replace(rule, timeout=timedelta(seconds=1))) as client,
        pytest.raises(OffsetsLostError, match="ends at offset 0, and 5 was to be read"),
    ):
        read_offsets(client, topic, Range(0, 5))


def test_a_topic_or_partition_that_is_not_there_is_an_error(client: Client, make_topic: MakeTopic) -> None:
    with pytest.raises(NoTopicError, match="no topic `no-such-topic`"):
        read_offsets(client, "no-such-topic", Range(0, 1))
    with pytest.raises(NoTopicError, match="no topic `no-such-topic`"):
        client.find_offsets("no-such-topic", datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(NoTopicError, match="no partition 7"):
        read_offsets(client, make_topic(), Range(0, 1), partition=7)


def test_a_topic_that_was_made_anew_has_another_id(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic, admin: Admin
) -> None:
    topic = make_topic()
    write_plainly(kafka_broker.address, topic, [(b"k", b"old")] * 3)
    before = client.describe_topic(topic)
    assert before is not None
    assert len(list(client.read_ranges(topic, {0: Range(0, 3)}, topic_id=before.topic_id))) == 1
    admin.delete_topic(topic)
    while client.describe_topic(topic) is not None:
        time.sleep(0.05)
    assert client.create_topic(topic)
    write_plainly(kafka_broker.address, topic, [(b"k", b"new")] * 5)
    with pytest.raises(TopicReplacedError, match="deleted and made anew"):
        list(client.read_ranges(topic, {0: Range(0, 3)}, topic_id=before.topic_id))
    assert read_values(client, topic) == [b"new"] * 5


def test_partitions_that_were_added_are_found_and_read(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic, admin: Admin
) -> None:
    topic = make_topic()
    write_plainly(kafka_broker.address, topic, [(b"k", b"one")])
    assert read_values(client, topic) == [b"one"]
    admin.add_partitions(topic, 3)
    deadline = time.monotonic() + 10
    while len(_ends(client, topic)) < 3:
        assert time.monotonic() < deadline
    assert _ends(client, topic) == [(0, 1), (0, 0), (0, 0)]
    assert set(client.find_offsets(topic, datetime(2026, 1, 1, tzinfo=UTC))) == {0, 1, 2}


@pytest.mark.parametrize(
    ("after", "offset"),
    [
        pytest.param(timedelta(days=-1), 0, id="before all of them"),
        pytest.param(timedelta(0), 0, id="the time of the first"),
        pytest.param(timedelta(microseconds=1), 1, id="a moment after the first"),
        pytest.param(timedelta(seconds=4), 4, id="the time of one"),
        pytest.param(timedelta(seconds=9, microseconds=999), 10, id="after the last: the end"),
    ],
)
def test_offsets_are_found_by_time(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic, after: timedelta, offset: int
) -> None:
    topic, begin = make_topic(2), datetime(2026, 11, 20, 7, tzinfo=UTC)
    times = [begin + timedelta(seconds=number) for number in range(10)]
    write_plainly(kafka_broker.address, topic, [(b"k", b"v")] * 10, times=times)
    assert client.find_offsets(topic, begin + after) == {0: offset, 1: 0}


def test_who_stops_reading_early_can_read_something_else(
    client: Client, kafka_broker: Broker, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    write_plainly(kafka_broker.address, topic, [(b"k", b"%d" % number) for number in range(100)])
    reading = client.read_ranges(topic, {0: Range(0, 100)}, pieces=PieceRule(most_count=10))
    next(reading)
    reading.close()
    assert read_offsets(client, topic, Range(50, 53)) == [50, 51, 52]
