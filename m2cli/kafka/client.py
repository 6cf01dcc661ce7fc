"""What m2 asks of a Kafka client, whichever library it is: exact ranges in, transactions out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from m2cli.kafka.rule import KafkaRule

MESSAGE_SCHEMA = pl.Schema(
    {
        "key": pl.Binary(),
        "value": pl.Binary(),
        "position_in_source": pl.Int64(),
        "arrival_time": pl.Datetime("us", "UTC"),
    }
)
HEADERS = pl.List(pl.Struct({"key": pl.String(), "value": pl.Binary()}))
"""The type of `headers`, the column that is there if it was asked for."""


class PartitionFacts(NamedTuple):
    """What of a partition can be read: from `first_offset` to before `end_offset`.

    `end_offset` is the last stable offset: no open transaction has written below it.
    """

    partition: int
    first_offset: int
    end_offset: int


class TopicFacts(NamedTuple):
    """A topic: the id that it has until it is deleted, and its partitions in order."""

    topic: str
    topic_id: str
    partitions: tuple[PartitionFacts, ...]


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class CommittedOffset(NamedTuple):
    """What a group has committed for a partition: the offset to go on from, and the text beside it."""

    offset: int
    metadata: str


class Piece(NamedTuple):
    """Messages of one partition, in the order of their offsets."""

    partition: int
    messages: pl.DataFrame


class Range(NamedTuple):
    """The offsets from `start` to before `end`."""

    start: int
    end: int


class PieceRule(NamedTuple):
    """How large a piece may be: at most so many messages, about so many bytes in keys and values.

    One message may be larger than all that. `has_headers`: whether they are wanted; they cost a loop.
    """

    most_bytes: int = 32 << 20
    most_count: int = 50_000
    has_headers: bool = False


PIECES = PieceRule()


class Client(Protocol):
    """Reads topics, outside of any group. A context manager; one thread uses it.

    Every method raises `BrokerAwayError` when the cluster does not answer within the rule's timeout, and
    `NoTopicError` for a topic or partition that is not there.
    """

    rule: KafkaRule

    def describe_topic(self, topic: str) -> TopicFacts | None:
        """What `topic` is and what of it can be read; None if there is no such topic. It is never made.

        What was committed a moment ago may not be there yet: the markers of a transaction follow its commit.
        """
        ...

    def find_offsets(self, topic: str, time: datetime) -> dict[int, int]:
        """By partition the offset of the first message at or after `time`, the end where there is none.

        What came before in a partition may have later times: Kafka's times need not grow with the offsets.
        """
        ...

    def read_ranges(
        self,
        topic: str,
        ranges: Mapping[int, Range],
        *,
        topic_id: str | None = None,
        pieces: PieceRule = PIECES,
    ) -> Iterator[Piece]:
        """All messages in `ranges`, by partition, each in the order of its offsets, and nothing else.

        Committed messages only; markers of transactions, aborted ones and what compaction took are passed over, and
        the ends are reached by position. The pieces of partitions come in any order.

        Columns: `key` and `value` (Binary; no value is a tombstone), `position_in_source` (the offset),
        `arrival_time` (Kafka's time of the message, null if it has none); `headers` (see `HEADERS`) if asked for.

        Raises `OffsetsLostError` where a range begins before what is there, or ends behind it, and
        `TopicReplacedError` if the topic has another id than `topic_id`, or is made anew meanwhile.
        """
        ...

    def read_commit(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, CommittedOffset]:
        """What `group` has committed, for those of `partitions` for which it has committed anything.

        It waits while a transaction that commits for the group is being finished. Ask after opening a `Sink` with the
        same transactional id: then no such transaction is open.
        """
        ...

    def create_topic(
        self, topic: str, *, partition_count: int = 1, replication: int = -1, settings: Mapping[str, str] | None = None
    ) -> bool:
        """Make `topic`; False if it is there already. `replication` -1 is the cluster's own default."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Sink(Protocol):
    """Writes transactions. A context manager; one thread uses it.

    Opened, it has shut out whoever wrote with its transactional id before, and the transaction that was left is
    committed or aborted for good.

    After any error the sink is closed and takes nothing more: open a new one with the same transactional id and decide
    by `Client.read_commit` what is to be done again. Nothing is retried here (see `docs/kafka.md`). All raise

    - `FencedError` when another sink with the same transactional id was opened since,
    - `SendFailedError` when the transaction was certainly not committed by this sink,
    - `CommitUnknownError` (of `commit` only) when it may have been,
    - `MessageTooLargeError` (of `send` and `commit`) for a message that the topic does not take,
    - `NoTopicError` (of `send`) for a topic that is not there.
    """

    def begin(self) -> None:
        """Begin a transaction."""
        ...

    def send(self, topic: str, messages: pl.DataFrame, *, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Send `messages`: `key` and `value` (Binary), and `arrival_time` if they are to have a time of their own.

        Messages with the same key go to the same partition, the one that Java's client would choose, in the order of
        the frame; those without go to any. All get the same `headers`. It returns when the library has them.
        """
        ...

    def flush(self) -> None:
        """Wait until every message that was sent has arrived; `commit` does so itself."""
        ...

    def commit(self, group: str, offsets: Mapping[TopicPartition, int], metadata: str) -> None:
        """Commit all that was sent since `begin`, and for `group` the `offsets`, each with `metadata`, at once.

        Returns only when every message has arrived and the transaction is committed.
        """
        ...

    def abort(self) -> None:
        """Give up what was sent since `begin`; `commit` may not have been called."""
        ...

    def close(self) -> None:
        """Let go of the connections; a transaction that is open is left for the next sink, or the broker, to abort."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
