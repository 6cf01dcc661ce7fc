"""Reading topics with kafka-python."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from m2cli.kafka.client import CommittedOffset, PartitionFacts, Piece, TopicFacts, TopicPartition
from m2cli.kafka.errors import BrokerAwayError, NoTopicError
from m2cli.kafka.pieces import Pace, build_headers, build_messages, cut_to_range, cut_to_size, uncollected
from m2cli.kafka.python_settings import describe_python_error, make_python_settings
from m2cli.kafka.reading import BaseClient
from m2cli.kafka.watchdog import call_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl

    from m2cli.kafka.client import PieceRule, Range
    from m2cli.kafka.rule import KafkaRule

T = TypeVar("T")

_EARLIEST, _LATEST = -2, -1  # what stands for them in Kafka's protocol, where else there is a time
_POLL = 200  # milliseconds that a poll waits for messages
_SOON = 20  # milliseconds to wait for messages to come: all that is wanted is there
_FETCH_BYTES = 8 << 20  # of a partition at a time, as they lie on disk: what is fetched ahead is in memory
_FETCH_MOST_BYTES = 16 << 20


class PythonClient(BaseClient):
    """A `Client` by kafka-python; it reads with one connection to each broker, and asks with another."""

    def __init__(self, rule: KafkaRule) -> None:
        super().__init__(rule)
        self._settings = make_python_settings(rule)
        self._consumer: Any = None
        self._admin: Any = None
        with self._explained("begin to read"):
            from kafka import KafkaAdminClient

            self._admin = self._within(KafkaAdminClient, **self._settings)

    def describe_topic(self, topic: str) -> TopicFacts | None:
        """See `Client`."""
        with self._explained(f"describe topic `{topic}`"):
            found = self._describe(topic)
            if found is None:
                return None
            numbers = sorted(partition["partition_index"] for partition in found["partitions"])
            first = self._list_offsets(topic, numbers, _EARLIEST)
            end = self._list_offsets(topic, numbers, _LATEST)
        facts = (PartitionFacts(number, first[number], end[number]) for number in numbers)
        return TopicFacts(topic, str(found["topic_id"]), tuple(facts))

    def find_offsets(self, topic: str, time: datetime) -> dict[int, int]:
        """See `Client`."""
        facts = self.describe_topic(topic)
        if facts is None:
            raise NoTopicError(topic)
        milliseconds = -((datetime(1970, 1, 1, tzinfo=UTC) - time) // timedelta(milliseconds=1))
        with self._explained(f"find offsets of topic `{topic}`"):
            found = self._list_offsets(topic, [each.partition for each in facts.partitions], milliseconds)
        ends = {each.partition: each.end_offset for each in facts.partitions}
        return {partition: ends[partition] if offset < 0 else offset for partition, offset in found.items()}

    def read_commit(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, CommittedOffset]:
        """See `Client`."""
        with self._explained(f"read what group `{group}` has committed"):
            from kafka import KafkaConsumer

            consumer = self._within(
                KafkaConsumer,
                group_id=group,
                isolation_level="read_committed",  # it waits for what is being committed
                enable_auto_commit=False,
                metrics_enabled=False,
                **self._settings,
            )
            try:
                timeout = self._milliseconds()
                found = {
                    each: consumer.committed(_topic_partition(*each), metadata=True, timeout_ms=timeout)
                    for each in partitions
                }
            finally:
                self._let_go(consumer)
        return {each: CommittedOffset(got.offset, got.metadata) for each, got in found.items() if got is not None}

    def create_topic(
        self, topic: str, *, partition_count: int = 1, replication: int = -1, settings: Mapping[str, str] | None = None
    ) -> bool:
        """See `Client`."""
        from kafka.errors import TopicAlreadyExistsError

        wanted = {
            "num_partitions": partition_count,
            "replication_factor": replication,
            "configs": dict(settings or {}),
        }
        with self._explained(f"make topic `{topic}`"):
            try:
                self._within(self._admin.create_topics, {topic: wanted}, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                return False
        return True

    def close(self) -> None:
        """See `Client`."""
        for each in (self._consumer, self._admin):
            if each is not None:
                self._let_go(each)

    def _read(self, topic: str, ranges: Mapping[int, Range], pieces: PieceRule) -> Iterator[Piece]:
        with self._explained(f"read topic `{topic}`"):
            consumer, pace = self._open_consumer(), Pace(pieces)
        try:
            with self._explained(f"read topic `{topic}`"):
                consumer.assign([_topic_partition(topic, partition) for partition in ranges])
                for partition, wanted in ranges.items():
                    consumer.seek(_topic_partition(topic, partition), wanted.start)
            for polled in self._poll(topic, ranges, pace):
                for key, found in polled.items():
                    messages = _build(found, has_headers=pieces.has_headers)
                    pace.learn(messages)
                    inside = cut_to_range(messages, ranges[key.partition])
                    for piece in cut_to_size(inside, pieces):
                        yield Piece(key.partition, piece)
        finally:
            with suppress(Exception):
                consumer.unsubscribe()

    def _poll(self, topic: str, ranges: Mapping[int, Range], pace: Pace) -> Iterator[dict[Any, list[Any]]]:
        """What the library gives, until it stands at or behind the end of every range."""
        from kafka.errors import OffsetOutOfRangeError

        consumer, open_ends = self._consumer, {_topic_partition(topic, key): each.end for key, each in ranges.items()}
        positions = {key: ranges[key.partition].start for key in open_ends}
        moved_time = time.monotonic()
        while open_ends:
            with self._explained(f"read topic `{topic}`"):
                try:
                    with uncollected():
                        polled = consumer.poll(timeout_ms=_POLL, max_records=pace.count)
                except OffsetOutOfRangeError as error:
                    self._explain_loss(topic, ranges)
                    raise BrokerAwayError(self.rule.bootstrap_servers, "read", describe_python_error(error)) from error
            if polled:
                yield polled
            # Markers and aborted messages move the position as well, and are never seen.
            with self._explained(f"read topic `{topic}`"):
                found = {key: consumer.position(key, timeout_ms=self._milliseconds()) for key in open_ends}
            if any(found[key] != positions[key] for key in open_ends):
                moved_time = time.monotonic()
            elif time.monotonic() - moved_time > self.rule.timeout.total_seconds():
                self._explain_loss(topic, ranges)
                raise BrokerAwayError(self.rule.bootstrap_servers, f"read topic `{topic}`", "no more messages came")
            positions = found
            left = {key: end for key, end in open_ends.items() if positions[key] < end}
            if len(left) < len(open_ends) and left:
                # Not `pause`: what is parked there is not given back while the last records read are of another
                # partition (kafka-python 3.0.12, `Fetcher.fetched_records`), and reading stands still for good.
                consumer.assign(list(left))
            open_ends = left

    def _describe(self, topic: str) -> dict[str, Any] | None:
        from kafka import errors

        (found,) = self._within(self._admin.describe_topics, [topic])
        kind = errors.for_code(found["error_code"])
        if kind is errors.UnknownTopicOrPartitionError:
            return None
        if kind is not errors.NoError:
            raise kind(topic)
        return dict(found)

    def _list_offsets(self, topic: str, partitions: Sequence[int], wanted: int) -> dict[int, int]:
        """By partition the offset of `wanted`: a time in milliseconds, or what Kafka has for the first and the end.

        It is asked of a connection that does not remember which partitions there were.
        """
        from kafka.protocol.consumer import IsolationLevel

        asked = {_topic_partition(topic, each): wanted for each in partitions}
        found = self._within(
            self._admin.list_partition_offsets, asked, IsolationLevel.READ_COMMITTED, self._milliseconds()
        )
        return {key.partition: each.offset for key, each in found.items()}

    def _open_consumer(self) -> Any:
        if self._consumer is None:
            from kafka import KafkaConsumer

            self._consumer = self._within(
                KafkaConsumer,
                group_id=None,
                isolation_level="read_committed",
                auto_offset_reset="none",
                enable_auto_commit=False,
                metrics_enabled=False,
                allow_auto_create_topics=False,
                max_partition_fetch_bytes=_FETCH_BYTES,
                fetch_max_wait_ms=_SOON,
                fetch_max_bytes=_FETCH_MOST_BYTES,
                **self._settings,
            )
        return self._consumer

    def _milliseconds(self) -> int:
        return int(self.rule.timeout.total_seconds() * 1000)

    def _within(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return call_within(self.rule.patience, call, *args, **kwargs)

    def _let_go(self, client: Any) -> None:
        """Close an object of kafka-python, which takes a moment at most, whatever the broker does."""
        with suppress(Exception):
            call_within(self.rule.slack, client.close)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what the library raises into what m2 raises."""
        from kafka.errors import KafkaError

        try:
            yield
        except (KafkaError, OSError) as error:
            raise BrokerAwayError(self.rule.bootstrap_servers, doing, describe_python_error(error)) from error


def _topic_partition(topic: str, partition: int) -> Any:
    from kafka import TopicPartition as Theirs

    return Theirs(topic, partition)


def _build(found: Sequence[Any], *, has_headers: bool) -> pl.DataFrame:
    messages = build_messages(
        [each.key for each in found],
        [each.value for each in found],
        [each.offset for each in found],
        [each.timestamp for each in found],
    )
    return messages.with_columns(build_headers([each.headers for each in found])) if has_headers else messages
