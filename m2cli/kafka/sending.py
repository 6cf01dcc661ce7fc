"""What both sinks do alike: a transaction is begun, filled, committed once, and nothing is ever retried."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

from m2cli.errors import M2Error
from m2cli.kafka.errors import CommitUnknownError, FencedError, SendFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    import polars as pl

    from m2cli.kafka.client import TopicPartition
    from m2cli.kafka.rule import KafkaRule


class BaseSink(ABC):
    """A `Sink` but for what its library does; after any error it is closed.

    One rule covers the defects that transactions of both libraries have: whatever goes wrong, this producer is done
    with, and the next one with its id asks what was committed.
    """

    def __init__(self, rule: KafkaRule, transactional_id: str) -> None:
        self.rule, self.transactional_id = rule, transactional_id
        self._is_open = False
        self._has_begun = False

    def begin(self) -> None:
        """See `Sink`."""
        self._expect(begun=False)
        with self._guarded("begin"):
            self._begin()
        self._has_begun = True

    def send(self, topic: str, messages: pl.DataFrame, *, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """See `Sink`."""
        self._expect(begun=True)
        with self._guarded(f"send to topic `{topic}`"):
            self._send(topic, messages, list(headers))

    def flush(self) -> None:
        """See `Sink`."""
        self._expect(begun=True)
        with self._guarded("bring all messages to the broker"):
            self._flush()

    def commit(self, group: str, offsets: Mapping[TopicPartition, int], metadata: str) -> None:
        """See `Sink`."""
        self.flush()
        with self._guarded("send offsets"):
            self._send_offsets(group, offsets, metadata)
        # From here on nobody but the broker knows whether it is committed, unless it says so.
        with self._guarded("commit", is_commit=True):
            self._commit()
        self._has_begun = False

    def abort(self) -> None:
        """See `Sink`."""
        self._expect(begun=True)
        with self._guarded("abort"):
            self._abort()
        self._has_begun = False

    def close(self) -> None:
        """See `Sink`."""
        if self._is_open:
            self._is_open = False
            self._close()

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _send(self, topic: str, messages: pl.DataFrame, headers: list[tuple[str, bytes]]) -> None: ...

    @abstractmethod
    def _flush(self) -> None:
        """Wait until every message has arrived; raise if one has not."""

    @abstractmethod
    def _send_offsets(self, group: str, offsets: Mapping[TopicPartition, int], metadata: str) -> None: ...

    @abstractmethod
    def _commit(self) -> None: ...

    @abstractmethod
    def _abort(self) -> None: ...

    @abstractmethod
    def _close(self) -> None:
        """Let go of the producer within a moment, whatever the broker does, and send nothing more."""

    @abstractmethod
    def _is_fenced(self, error: BaseException) -> bool: ...

    @abstractmethod
    def _describe(self, error: BaseException) -> str: ...

    def _expect(self, *, begun: bool) -> None:
        if not self._is_open or self._has_begun is not begun:
            state = "closed" if not self._is_open else "in a transaction" if self._has_begun else "in no transaction"
            raise RuntimeError(f"the sink of `{self.transactional_id}` is {state}")

    @contextmanager
    def _guarded(self, doing: str, *, is_commit: bool = False) -> Iterator[None]:
        """Close the sink if anything goes wrong, and say what that means for the transaction."""
        try:
            yield
        except BaseException as error:
            is_foreign = isinstance(error, Exception) and not isinstance(error, M2Error)
            is_fenced = is_foreign and self._is_fenced(error)
            self.close()
            if not is_foreign:
                raise
            if is_fenced:
                raise FencedError(self.transactional_id) from error
            if is_commit:
                raise CommitUnknownError(self.transactional_id, self._describe(error)) from error
            raise SendFailedError(self.transactional_id, doing, self._describe(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
