"""What tests do to a cluster and m2 does not: delete, compact, write outside of transactions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import polars as pl
from kafka import KafkaAdminClient, KafkaProducer
from kafka import TopicPartition as Theirs
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from m2cli.kafka import Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from m2cli.kafka import Client, PartitionFacts, Piece

SCHEMA = {"key": pl.Binary, "value": pl.Binary}


def make_messages(*pairs: tuple[bytes | None, bytes | None]) -> pl.DataFrame:
    """Messages of a key and a value each."""
    return pl.DataFrame(pairs, schema=SCHEMA, orient="row")


def number_messages(numbers: Iterable[int]) -> pl.DataFrame:
    """A message for each number, its key and its value."""
    return make_messages(*((b"%d" % number, b"value-%d" % number) for number in numbers))


def read_all(client: Client, topic: str, **options: Any) -> list[Piece]:
    """All of a topic in which no transaction is open."""
    ranges = {each.partition: Range(each.first_offset, each.end_offset) for each in describe_settled(client, topic)}
    return list(client.read_ranges(topic, ranges, **options))


def describe_settled(client: Client, topic: str) -> tuple[PartitionFacts, ...]:
    """The partitions of a topic in which no transaction is open.

    A commit returns when it is certain; its markers come a moment later, and until then its messages are not there.
    """
    deadline = time.monotonic() + 30
    admin = KafkaAdminClient(bootstrap_servers=list(client.rule.bootstrap_servers))
    try:
        while time.monotonic() < deadline:
            facts = client.describe_topic(topic)
            assert facts is not None
            latest = {Theirs(topic, each.partition): -1 for each in facts.partitions}
            found = admin.list_partition_offsets(latest)
            if [each.end_offset for each in facts.partitions] == [found[key].offset for key in latest]:
                return facts.partitions
    finally:
        admin.close()
    raise TimeoutError(f"a transaction is open in {topic}")


def read_values(client: Client, topic: str) -> list[bytes | None]:
    """The values of all that can be read of a topic, by partition and offset."""
    pieces = [each.messages.with_columns(partition=each.partition) for each in read_all(client, topic)]
    if not pieces:
        return []
    return pl.concat(pieces).sort("partition", "position_in_source")["value"].to_list()


def read_offsets(client: Client, topic: str, wanted: Range, partition: int = 0) -> list[int]:
    """The offsets of the messages in a range."""
    pieces = client.read_ranges(topic, {partition: wanted})
    return [offset for piece in pieces for offset in piece.messages["position_in_source"]]


def write_plainly(
    address: str,
    topic: str,
    pairs: Sequence[tuple[bytes | None, bytes | None]],
    *,
    times: Sequence[datetime] | None = None,
    headers: list[tuple[str, bytes]] | None = None,
    **settings: Any,
) -> None:
    """Write to partition 0, in no transaction."""
    producer = KafkaProducer(bootstrap_servers=address, **settings)
    try:
        futures = [
            producer.send(
                topic,
                key=key,
                value=value,
                partition=0,
                headers=headers,
                timestamp_ms=int(times[number].timestamp() * 1000) if times else None,
            )
            for number, (key, value) in enumerate(pairs)
        ]
        producer.flush(timeout=30)
        for future in futures:
            future.get(timeout=0)
    finally:
        producer.close()


class Admin:
    """The cluster's owner."""

    def __init__(self, address: str) -> None:
        self._theirs = KafkaAdminClient(bootstrap_servers=address)

    def delete_topic(self, topic: str) -> None:
        self._theirs.delete_topics([topic])

    def delete_messages(self, topic: str, before: int) -> None:
        """Of partition 0, as retention does."""
        self._theirs.delete_records({Theirs(topic, 0): before})

    def add_partitions(self, topic: str, partition_count: int) -> None:
        self._theirs.create_partitions({topic: partition_count})

    def set_password(self, user: str, mechanism: str, password: str) -> None:
        """Of a user of SCRAM; the broker knows it a moment later."""
        kind = ScramMechanism[mechanism.replace("-", "_")]
        self._theirs.alter_user_scram_credentials([UserScramCredentialUpsertion(user, kind, password)])

    def close(self) -> None:
        self._theirs.close()
