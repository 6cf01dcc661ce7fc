"""Writing transactions with kafka-python.

Of 3.0.12 is known: `commit_transaction` succeeds although messages of the transaction were lost, so every future is
looked at before; `commit_transaction`, `abort_transaction` and `send_offsets_to_transaction` wait for ever, so they
have a watchdog; there is no limit to what waits to be sent, so there is one here.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.kafka.errors import BrokerAwayError, MessageTooLargeError, NoTopicError
from m2cli.kafka.partitioning import assign_partition
from m2cli.kafka.pieces import count_bytes, uncollected
from m2cli.kafka.python_client import PythonClient
from m2cli.kafka.python_settings import describe_python_error, make_python_settings
from m2cli.kafka.sending import BaseSink
from m2cli.kafka.watchdog import call_within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from m2cli.kafka.client import TopicPartition
    from m2cli.kafka.rule import KafkaRule

# One batch of a partition is on its way at a time, so a batch is as much as a round trip brings.
_BATCH_BYTES = 512 << 10
_LINGER = 5  # milliseconds
_MOST_BYTES = 64 << 20  # not yet sent, before this waits for the broker
_CHUNK = 10_000  # messages between two looks at how much is not yet sent
_MOST_MESSAGE = 100 << 20  # what a topic takes is its own affair: its broker says so


class PythonSink(BaseSink):
    """A `Sink` by kafka-python."""

    def __init__(self, rule: KafkaRule, transactional_id: str) -> None:
        super().__init__(rule, transactional_id)
        self._futures: deque[Any] = deque()
        self._waiting_bytes = 0
        settings, timeout = make_python_settings(rule), int(rule.timeout.total_seconds() * 1000)
        from kafka import KafkaProducer
        from kafka.errors import KafkaError

        self._producer: Any = None
        try:
            self._producer = call_within(
                rule.patience,
                KafkaProducer,
                transactional_id=transactional_id,
                # The broker gives up the transaction of an m2 that is gone; this one gives up before.
                transaction_timeout_ms=4 * timeout,
                delivery_timeout_ms=2 * timeout,
                max_block_ms=timeout,
                compression_type="lz4",
                batch_size=_BATCH_BYTES,
                linger_ms=_LINGER,
                max_request_size=_MOST_MESSAGE,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                **settings,
            )
            call_within(rule.patience, self._producer.init_transactions)
        except (KafkaError, OSError) as error:
            self._close()
            doing = f"write with the transactional id `{transactional_id}`"
            raise BrokerAwayError(rule.bootstrap_servers, doing, describe_python_error(error)) from error
        self._is_open = True

    def _begin(self) -> None:
        self._producer.begin_transaction()

    def _send(self, topic: str, messages: pl.DataFrame, headers: list[tuple[str, bytes]]) -> None:
        partition_count = self._count_partitions(topic)
        for chunk in messages.iter_slices(_CHUNK):
            self._send_chunk(topic, chunk, partition_count, headers)
            self._waiting_bytes += count_bytes(chunk)
            if self._waiting_bytes > _MOST_BYTES:
                self._flush()

    def _send_chunk(
        self, topic: str, messages: pl.DataFrame, partition_count: int, headers: list[tuple[str, bytes]]
    ) -> None:
        # Those without a key go round; Kafka's own clients change over with every batch, to the same end.
        anywhere = pl.int_range(messages.height, eager=True) % partition_count
        partitions = assign_partition(messages["key"], partition_count).fill_null(anywhere.cast(pl.Int32))
        send, keep = self._producer.send, self._futures.append
        times = find_times(messages)
        with uncollected():
            for key, value, partition, time in zip(messages["key"], messages["value"], partitions, times, strict=True):
                keep(send(topic, value, key, headers, partition, time))

    def _count_partitions(self, topic: str) -> int:
        from kafka.errors import KafkaTimeoutError

        try:
            return len(self._producer.partitions_for(topic))
        except KafkaTimeoutError:
            # Of a topic that is not there it says the same as of a broker that is not there.
            with suppress(BrokerAwayError), PythonClient(self.rule) as client:
                if client.describe_topic(topic) is None:
                    raise NoTopicError(topic) from None
            raise

    def _flush(self) -> None:
        from kafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

        self._producer.flush(timeout=2 * self.rule.timeout.total_seconds())
        futures, self._futures, self._waiting_bytes = self._futures, deque(), 0
        failed = next((each for each in futures if not each.is_done or each.exception is not None), None)
        if failed is None:
            return
        if isinstance(failed.exception, MessageSizeTooLargeError | RecordListTooLargeError):
            raise MessageTooLargeError("of the sink", describe_python_error(failed.exception))
        raise failed.exception or TimeoutError("a message was not acknowledged in time")

    def _send_offsets(self, group: str, offsets: Mapping[TopicPartition, int], metadata: str) -> None:
        from kafka import TopicPartition as Theirs
        from kafka.structs import OffsetAndMetadata

        wanted = {Theirs(*key): OffsetAndMetadata(offset, metadata, -1) for key, offset in offsets.items()}
        if wanted:
            call_within(self.rule.timeout, self._producer.send_offsets_to_transaction, wanted, group)

    def _commit(self) -> None:
        call_within(self.rule.timeout, self._producer.commit_transaction)

    def _abort(self) -> None:
        self._futures.clear()
        self._waiting_bytes = 0
        call_within(self.rule.timeout, self._producer.abort_transaction)

    def _close(self) -> None:
        self._futures.clear()
        if self._producer is not None:
            with suppress(Exception):
                call_within(self.rule.slack, self._producer.close, 0)

    def _is_fenced(self, error: BaseException) -> bool:
        from kafka import errors

        fenced = (
            errors.ProducerFencedError,
            errors.InvalidProducerEpochError,
            errors.TransactionCoordinatorFencedError,
        )
        return any(isinstance(each, fenced) for each in (error, error.__cause__))

    def _describe(self, error: BaseException) -> str:
        return describe_python_error(error)


def find_times(messages: pl.DataFrame) -> pl.Series:
    """The time of each message in milliseconds since 1970; null where the moment of sending will do."""
    if "arrival_time" in messages.columns:
        return messages["arrival_time"].dt.epoch("ms")
    return pl.repeat(None, messages.height, dtype=pl.Int64, eager=True)
