"""Writing transactions with librdkafka (the package confluent-kafka)."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from m2cli.kafka.errors import BrokerAwayError, FencedError, MessageTooLargeError, NoTopicError
from m2cli.kafka.pieces import uncollected
from m2cli.kafka.python_sink import find_times
from m2cli.kafka.rdkafka_settings import Complaints, make_rdkafka_settings
from m2cli.kafka.sending import BaseSink
from m2cli.kafka.watchdog import call_within

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from m2cli.kafka.client import TopicPartition
    from m2cli.kafka.rule import KafkaRule

_BATCH_BYTES = 512 << 10  # below what any topic takes by default
_LINGER = 5  # milliseconds
_MOST_KIBI = 64 << 10  # not yet sent, before this waits for the broker
_MOST_COUNT = 500_000
_MOST_MESSAGE = 100 << 20  # what a topic takes is its own affair: its broker says so
_CHUNK = 10_000  # messages between two looks at what has failed
_FULL = 0.05  # seconds to wait when there is no room


class RdkafkaSink(BaseSink):
    """A `Sink` by librdkafka, which chooses the partitions itself, as Java's client does."""

    def __init__(self, rule: KafkaRule, transactional_id: str) -> None:
        super().__init__(rule, transactional_id)
        self._complaints = Complaints()
        self._failed: list[Any] = []
        self._topics: set[str] = set()
        self._groups: dict[str, Any] = {}
        timeout = int(rule.timeout.total_seconds() * 1000)
        settings = make_rdkafka_settings(rule, self._complaints) | {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 4 * timeout,
            "message.timeout.ms": 2 * timeout,
            "compression.type": "lz4",
            "batch.size": _BATCH_BYTES,
            "linger.ms": _LINGER,
            "message.max.bytes": _MOST_MESSAGE,
            "queue.buffering.max.kbytes": _MOST_KIBI,
            "queue.buffering.max.messages": _MOST_COUNT,
            "partitioner": "murmur2_random",
            # Whoever asks for every message's fate is told of each in Python; those that failed are few.
            "delivery.report.only.error": True,
            "on_delivery": self._note_delivery,
        }
        from confluent_kafka import KafkaException, Producer

        self._producer: Any = None
        try:
            self._producer = Producer(settings)
            self._producer.init_transactions(rule.timeout.total_seconds())
        except (KafkaException, OSError) as error:
            self._close()
            if self._is_fenced(error):
                raise FencedError(transactional_id) from error
            doing = f"write with the transactional id `{transactional_id}`"
            raise BrokerAwayError(rule.bootstrap_servers, doing, self._describe(error)) from error
        self._is_open = True

    def _begin(self) -> None:
        self._producer.begin_transaction()

    def _send(self, topic: str, messages: pl.DataFrame, headers: list[tuple[str, bytes]]) -> None:
        self._expect_topic(topic)
        produce, extra = self._producer.produce, {"headers": headers} if headers else {}
        for chunk in messages.iter_slices(_CHUNK):
            # 0 is the moment of sending.
            times = find_times(chunk).fill_null(0)
            with uncollected():
                for key, value, time_of in zip(chunk["key"], chunk["value"], times, strict=True):
                    try:
                        produce(topic, value, key, timestamp=time_of, **extra)
                    except BufferError:
                        self._wait_for_room()
                        produce(topic, value, key, timestamp=time_of, **extra)
            self._producer.poll(0)
            self._raise_failed()

    def _expect_topic(self, topic: str) -> None:
        if topic not in self._topics:
            self._topics = set(self._producer.list_topics(timeout=self.rule.timeout.total_seconds()).topics)
        if topic not in self._topics:
            raise NoTopicError(topic)

    def _wait_for_room(self) -> None:
        """Until half of what waits is sent; what cannot be sent fails in its time, which makes room as well."""
        deadline = time.monotonic() + 3 * self.rule.timeout.total_seconds()
        before = len(self._producer)
        while len(self._producer) > before // 2:
            self._producer.poll(_FULL)
            self._raise_failed()
            if time.monotonic() > deadline:
                raise TimeoutError("the broker takes no more messages")

    def _flush(self) -> None:
        left = self._producer.flush(2 * self.rule.timeout.total_seconds())
        self._raise_failed()
        if left:
            raise TimeoutError(f"{left} messages were not acknowledged in time")

    def _raise_failed(self) -> None:
        from confluent_kafka import KafkaError, KafkaException

        if not self._failed:
            return
        error, topic = self._failed[0]
        if error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE):
            raise MessageTooLargeError(topic, error.str())
        raise KafkaException(error)

    def _note_delivery(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed.append((error, message.topic()))

    def _send_offsets(self, group: str, offsets: Mapping[TopicPartition, int], metadata: str) -> None:
        from confluent_kafka import TopicPartition as Theirs

        wanted = [Theirs(*key, offset, metadata) for key, offset in offsets.items()]
        if wanted:
            group_metadata, limit = self._find_group(group), self.rule.timeout.total_seconds()
            call_within(self.rule.patience, self._producer.send_offsets_to_transaction, wanted, group_metadata, limit)

    def _find_group(self, group: str) -> Any:
        """What only a consumer can say: that the group has no members."""
        if group not in self._groups:
            from confluent_kafka import Consumer

            settings = make_rdkafka_settings(self.rule, self._complaints) | {"group.id": group}
            consumer = Consumer(settings)
            self._groups[group] = consumer.consumer_group_metadata()
            consumer.close()
        return self._groups[group]

    def _commit(self) -> None:
        call_within(self.rule.patience, self._producer.commit_transaction, self.rule.timeout.total_seconds())

    def _abort(self) -> None:
        limit = self.rule.timeout.total_seconds()
        self._producer.purge()
        self._producer.flush(limit)
        call_within(self.rule.patience, self._producer.abort_transaction, limit)
        self._failed.clear()

    def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(Exception):
                producer.purge()
                call_within(self.rule.slack, producer.close)

    def _is_fenced(self, error: BaseException) -> bool:
        from confluent_kafka import KafkaError, KafkaException

        fenced = (
            KafkaError._FENCED,  # noqa: SLF001  # its public name
            KafkaError.PRODUCER_FENCED,
            KafkaError.INVALID_PRODUCER_EPOCH,
            KafkaError.TRANSACTION_COORDINATOR_FENCED,
        )
        if isinstance(error, SystemError) and self._producer is not None:
            # What was fatal is raised while another call returns, and is lost on the way; any call says it again.
            try:
                self._producer.begin_transaction()
            except KafkaException as again:
                error = again
        return isinstance(error, KafkaException) and error.args[0].code() in fenced

    def _describe(self, error: BaseException) -> str:
        return self._complaints.explain(error)
