"""Reading topics with librdkafka (the package confluent-kafka)."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import polars as pl

from m2cli.kafka.client import CommittedOffset, PartitionFacts, Piece, TopicFacts, TopicPartition
from m2cli.kafka.errors import BrokerAwayError, NoTopicError
from m2cli.kafka.pieces import Pace, build_headers, build_messages, cut_to_range, cut_to_size, uncollected
from m2cli.kafka.rdkafka_settings import Complaints, make_rdkafka_settings
from m2cli.kafka.reading import BaseClient
from m2cli.kafka.watchdog import call_within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from m2cli.kafka.client import PieceRule, Range
    from m2cli.kafka.rule import KafkaRule

_POLL = 0.02  # seconds: it waits so long for a full list, even when there is something
_FETCH_BYTES = 8 << 20  # of a partition at a time, as they lie on disk
# Milliseconds to wait for room, or for messages to come: all that is wanted is there, and the next range waits behind.
_SOON = 20
_AHEAD_KIBI = 32 << 10  # what is fetched ahead, of a partition, is in memory
_HALF_ID = (1 << 64) - 1


class RdkafkaClient(BaseClient):
    """A `Client` by librdkafka; it reads with one connection to each broker, and asks with another."""

    def __init__(self, rule: KafkaRule) -> None:
        super().__init__(rule)
        self._complaints = Complaints()
        self._settings = make_rdkafka_settings(rule, self._complaints)
        self._consumer: Any = None
        self._admin: Any = None
        with self._explained("begin to read"):
            from confluent_kafka.admin import AdminClient

            self._admin = AdminClient(self._settings)
            self._admin.list_topics("__consumer_offsets", timeout=rule.timeout.total_seconds())

    def describe_topic(self, topic: str) -> TopicFacts | None:
        """See `Client`."""
        from confluent_kafka import KafkaError, KafkaException, TopicCollection
        from confluent_kafka.admin import OffsetSpec

        with self._explained(f"describe topic `{topic}`"):
            try:
                found = self._answer(self._admin.describe_topics(TopicCollection([topic]), **self._limit))[topic]
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    return None
                raise
            numbers = sorted(each.id for each in found.partitions)
            first = self._list_offsets(topic, dict.fromkeys(numbers, OffsetSpec.earliest()))
            end = self._list_offsets(topic, dict.fromkeys(numbers, OffsetSpec.latest()))
        facts = (PartitionFacts(number, first[number], end[number]) for number in numbers)
        return TopicFacts(topic, _to_text(found.topic_id), tuple(facts))

    def find_offsets(self, topic: str, time: datetime) -> dict[int, int]:
        """See `Client`."""
        from confluent_kafka.admin import OffsetSpec

        facts = self.describe_topic(topic)
        if facts is None:
            raise NoTopicError(topic)
        milliseconds = -((datetime(1970, 1, 1, tzinfo=UTC) - time) // timedelta(milliseconds=1))
        with self._explained(f"find offsets of topic `{topic}`"):
            wanted = {each.partition: OffsetSpec.for_timestamp(milliseconds) for each in facts.partitions}
            found = self._list_offsets(topic, wanted)
        ends = {each.partition: each.end_offset for each in facts.partitions}
        return {partition: ends[partition] if offset < 0 else offset for partition, offset in found.items()}

    def read_commit(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, CommittedOffset]:
        """See `Client`."""
        from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
        from confluent_kafka import TopicPartition as Theirs

        if not partitions:
            return {}
        deadline = time.monotonic() + self.rule.timeout.total_seconds()
        asked = [ConsumerGroupTopicPartitions(group, [Theirs(*each) for each in partitions])]
        with self._explained(f"read what group `{group}` has committed"):
            while True:
                answer = self._admin.list_consumer_group_offsets(asked, require_stable=True, **self._limit)
                found = self._answer(answer)[group].topic_partitions
                failed = next((each.error for each in found if each.error is not None), None)
                if failed is None:
                    break
                if failed.code() != KafkaError.UNSTABLE_OFFSET_COMMIT or time.monotonic() > deadline:
                    raise KafkaException(failed)
                time.sleep(_POLL)
        return {
            TopicPartition(each.topic, each.partition): CommittedOffset(each.offset, each.metadata or "")
            for each in found
            if each.offset >= 0
        }

    def create_topic(
        self, topic: str, *, partition_count: int = 1, replication: int = -1, settings: Mapping[str, str] | None = None
    ) -> bool:
        """See `Client`."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import NewTopic

        wanted = NewTopic(topic, partition_count, replication, config=dict(settings or {}))
        with self._explained(f"make topic `{topic}`"):
            try:
                self._answer(self._admin.create_topics([wanted], **self._limit))
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    return False
                raise
        return True

    def close(self) -> None:
        """See `Client`."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            call_within(self.rule.slack, consumer.close)

    def _read(self, topic: str, ranges: Mapping[int, Range], pieces: PieceRule) -> Iterator[Piece]:
        from confluent_kafka import TopicPartition as Theirs

        consumer, pace = self._open_consumer(), Pace(pieces)
        try:
            with self._explained(f"read topic `{topic}`"):
                consumer.assign([Theirs(topic, partition, wanted.start) for partition, wanted in ranges.items()])
            for messages in self._consume(topic, ranges, pace, has_headers=pieces.has_headers):
                pace.learn(messages)
                for (partition,), of_partition in messages.group_by("partition", maintain_order=True):
                    inside = cut_to_range(of_partition.drop("partition"), ranges[int(partition)])
                    for piece in cut_to_size(inside, pieces):
                        yield Piece(int(partition), piece)
        finally:
            consumer.unassign()

    def _consume(
        self, topic: str, ranges: Mapping[int, Range], pace: Pace, *, has_headers: bool
    ) -> Iterator[pl.DataFrame]:
        """Messages, with their `partition`, until every range was seen to its end."""
        from confluent_kafka import TopicPartition as Theirs

        consumer = self._consumer
        ends = {partition: wanted.end for partition, wanted in ranges.items()}
        moved_time = time.monotonic()
        while ends:
            with uncollected():
                with self._explained(f"read topic `{topic}`"):
                    found = consumer.consume(pace.count, _POLL)
                wrong = [each for each in found if each.error() is not None]
                well = [each for each in found if each.error() is None] if wrong else found
                messages = _build(well, has_headers=has_headers)
                has_moved = bool(found)
                del found, well  # as much as the columns again, and these are worked on now
            done = {key for key, at in _find_positions(messages) if key in ends and at >= ends[key]}
            if wrong:
                done |= self._read_errors(topic, ranges, wrong)
            if messages.height:
                yield messages
            if done := done & ends.keys():
                ends = {key: end for key, end in ends.items() if key not in done}
                # Not paused: it would be so still when it is read again, and resuming takes up to a second.
                consumer.incremental_unassign([Theirs(topic, partition) for partition in done])
            if has_moved:
                moved_time = time.monotonic()
            elif time.monotonic() - moved_time > self.rule.timeout.total_seconds():
                self._explain_loss(topic, ranges)
                reason = self._complaints.last or "no more messages came"
                raise BrokerAwayError(self.rule.bootstrap_servers, f"read topic `{topic}`", reason)

    def _read_errors(self, topic: str, ranges: Mapping[int, Range], found: Sequence[Any]) -> set[int]:
        """The partitions that are read to their present end, if the range ends there: only markers were left."""
        from confluent_kafka import KafkaError, KafkaException

        done = set()
        for each in found:
            if each.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                done |= {each.partition()} if each.offset() >= ranges[each.partition()].end else set()
            elif each.error().code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.UNKNOWN_TOPIC_OR_PART):  # noqa: SLF001
                with self._explained(f"read topic `{topic}`"):
                    self._explain_loss(topic, ranges)
                    raise KafkaException(each.error())
        return done

    def _list_offsets(self, topic: str, wanted: Mapping[int, Any]) -> dict[int, int]:
        from confluent_kafka import IsolationLevel, KafkaError, KafkaException
        from confluent_kafka import TopicPartition as Theirs

        asked = {Theirs(topic, partition): spec for partition, spec in wanted.items()}
        level, deadline = IsolationLevel.READ_COMMITTED, time.monotonic() + self.rule.timeout.total_seconds()
        while True:
            try:
                found = self._answer(self._admin.list_offsets(asked, isolation_level=level, **self._limit))
            except KafkaException as error:
                # A partition that has just been made or has moved has a leader in a moment.
                moving = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
                if error.args[0].code() not in moving or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL)
            else:
                return {key.partition: result.offset for key, result in found.items()}

    def _open_consumer(self) -> Any:
        if self._consumer is None:
            from confluent_kafka import Consumer

            settings = {
                "group.id": "m2",  # it has to have a name; nothing is ever asked of the group
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "max.partition.fetch.bytes": _FETCH_BYTES,
                "queued.max.messages.kbytes": _AHEAD_KIBI,
                "fetch.queue.backoff.ms": _SOON,
                "fetch.wait.max.ms": _SOON,
                "check.crcs": True,
            }
            self._consumer = Consumer(self._settings | settings)
        return self._consumer

    @property
    def _limit(self) -> dict[str, float]:
        return {"request_timeout": self.rule.timeout.total_seconds()}

    def _answer(self, futures: Mapping[Any, Any]) -> dict[Any, Any]:
        limit = self.rule.patience.total_seconds()
        return {key: future.result(limit) for key, future in futures.items()}

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what the library raises into what m2 raises."""
        from confluent_kafka import KafkaException

        try:
            yield
        except (KafkaException, OSError) as error:
            if self._admin is not None:
                self._admin.poll(0)  # which hears what it complains of
            raise BrokerAwayError(self.rule.bootstrap_servers, doing, self._complaints.explain(error)) from error


def _to_text(topic_id: Any) -> str:
    """A topic's id as it is written elsewhere; librdkafka gives its halves as signed numbers."""
    high, low = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
    return str(UUID(int=(high & _HALF_ID) << 64 | low & _HALF_ID))


def _find_positions(messages: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """The partitions of `messages`, and of each the offset after its last one."""
    return messages.group_by("partition").agg(pl.col("position_in_source").max() + 1).iter_rows()


def _build(found: Sequence[Any], *, has_headers: bool) -> pl.DataFrame:
    from confluent_kafka import Message

    messages = build_messages(
        list(map(Message.key, found)),
        list(map(Message.value, found)),
        list(map(Message.offset, found)),
        [time for _, time in map(Message.timestamp, found)],
    ).with_columns(partition=pl.Series(list(map(Message.partition, found)), dtype=pl.Int32))
    return messages.with_columns(build_headers(list(map(Message.headers, found)))) if has_headers else messages
