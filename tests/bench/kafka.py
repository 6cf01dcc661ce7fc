"""What a Kafka client costs: messages read and written per second of the client's processor, the broker apart."""

from __future__ import annotations

import os
import random
import time
import uuid
from typing import TYPE_CHECKING

import polars as pl

from m2cli.kafka import LIBRARIES, KafkaRule, Range, TopicPartition, open_client, open_sink
from tests.kafka.broker import Broker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MESSAGE_COUNT = 200_000
PARTITION_COUNT = 2
ROUNDS = 3
# Messages a second of the processor that a pipeline may spend on both, with an event a message in and out.
FLOORS = {"kafka-python": 14_000, "librdkafka": 60_000}


def bench_kafka(folder: Path) -> None:
    """Both clients against one broker, printed."""
    chance = random.Random(7)
    bodies = [os.urandom(300) + b"%020d" % number * 9 for number in range(1_000)]
    messages = pl.DataFrame(
        {
            "key": [b"%016x" % chance.getrandbits(15) for _ in range(MESSAGE_COUNT)],
            "value": [bodies[number % 1_000] for number in range(MESSAGE_COUNT)],
        }
    )
    print(f"\n{MESSAGE_COUNT:,} messages of 480 bytes, lz4, {PARTITION_COUNT} partitions, Apache Kafka on this machine")
    with Broker(folder / "kafka").used() as broker:
        for library in LIBRARIES:
            _bench(KafkaRule(bootstrap_servers=(broker.address,), library=library), messages)


def _bench(rule: KafkaRule, messages: pl.DataFrame) -> None:
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    with open_client(rule) as client, open_sink(rule, topic) as sink:
        client.create_topic(topic, partition_count=PARTITION_COUNT)

        def write() -> None:
            sink.begin()
            sink.send(topic, messages, headers=[("batch", b"bench-000001")])
            sink.commit("bench", {TopicPartition(topic, 0): 1}, '{"batch": 1}')

        def read() -> None:
            facts = client.describe_topic(topic)
            assert facts is not None
            ranges = {each.partition: Range(each.first_offset, each.end_offset) for each in facts.partitions}
            count = sum(piece.messages.height for piece in client.read_ranges(topic, ranges))
            assert count == ROUNDS * MESSAGE_COUNT, count

        written = max(_measure(write, MESSAGE_COUNT) for _ in range(ROUNDS))
        time.sleep(1)  # until the markers are there
        have_read = max(_measure(read, ROUNDS * MESSAGE_COUNT) for _ in range(ROUNDS))
    both = 1 / (1 / written + 1 / have_read)
    print(f"  {rule.library:<14} write {written:>9,.0f}/s  read {have_read:>9,.0f}/s  both {both:>9,.0f}/s of CPU")
    share = FLOORS[rule.library] / both
    print(f"    floor of a whole pipeline {FLOORS[rule.library]:,}/s: reading and writing take {share:.0%} of it")


def _measure(call: Callable[[], None], message_count: int) -> float:
    """Messages a second of this process's processor time, its threads with it."""
    start = time.process_time()
    call()
    return message_count / (time.process_time() - start)
