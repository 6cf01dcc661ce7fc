"""What the room of Kafka raises on purpose, and what a person can do about it."""

from __future__ import annotations

from m2cli.errors import ExitCode, M2Error, UnreachableError, UsageError

_ACCEPT = "`m2 run PIPELINE --accept-gap` goes on with what is there"


class BrokerAwayError(UnreachableError):
    """The cluster does not answer, does not let m2 in, or has no leader for what was asked."""

    def __init__(self, servers: tuple[str, ...], doing: str, reason: str) -> None:
        self.servers, self.doing, self.reason = servers, doing, reason
        named = ", ".join(servers)
        super().__init__(f"cannot {doing} at Kafka `{named}`: {reason}; nothing was changed, and it may be tried again")


class NoTopicError(UnreachableError):
    """A topic, or a partition of it, that is not there."""

    def __init__(self, topic: str, partition: int | None = None) -> None:
        self.topic, self.partition = topic, partition
        what = f"topic `{topic}`" if partition is None else f"partition {partition} of topic `{topic}`"
        super().__init__(f"there is no {what}; make it, or name another one")


class TopicReplacedError(M2Error):
    """A topic that was deleted and made anew: its offsets mean other messages than they did."""

    def __init__(self, topic: str, wanted_id: str, topic_id: str) -> None:
        self.topic, self.wanted_id, self.topic_id = topic, wanted_id, topic_id
        self.said = (
            f"topic `{topic}` was deleted and made anew: it has the id `{topic_id}`, and what is known of it "
            f"belongs to `{wanted_id}`; what had not been read is lost"
        )
        super().__init__(f"{self.said}, and {_ACCEPT}")


class OffsetsLostError(M2Error):
    """Messages that are no longer in the topic (retention has overtaken them), or no longer at its end."""

    def __init__(self, topic: str, partition: int, wanted: int, first_offset: int, end_offset: int) -> None:
        self.topic, self.partition, self.wanted = topic, partition, wanted
        self.first_offset, self.end_offset = first_offset, end_offset
        where = f"partition {partition} of topic `{topic}`"
        if wanted < first_offset:
            said = f"{where} begins at offset {first_offset}, and {wanted} was to be read: {self.lost_count:,} offsets"
            self.said = f"{said} are gone, most likely by the topic's retention"
        else:
            said = f"{where} ends at offset {end_offset}, and {wanted} was to be read"
            self.said = f"{said}; the cluster has lost messages, or the topic was made anew"
        super().__init__(f"{self.said}; {_ACCEPT}")

    @property
    def lost_count(self) -> int:
        """How many offsets are gone; the messages there were at most as many."""
        return max(self.first_offset - self.wanted, 0)


class MessageTooLargeError(M2Error):
    """A message that is larger than the topic takes."""

    def __init__(self, topic: str, reason: str) -> None:
        self.topic, self.reason = topic, reason
        super().__init__(
            f"topic `{topic}` does not take a message: {reason}; raise its `max.message.bytes`; nothing was committed"
        )


class FencedError(M2Error):
    """Another m2 has opened a sink with the same transactional id: this one may not go on."""

    exit_code = ExitCode.LOCKED

    def __init__(self, transactional_id: str) -> None:
        self.transactional_id = transactional_id
        super().__init__(
            f"another run writes with the transactional id `{transactional_id}`, and this one was shut out; "
            "nothing of its last transaction counts but what the other one has found committed"
        )


class SendFailedError(UnreachableError):
    """A transaction that cannot be finished and was not committed: close the sink, open a new one."""

    def __init__(self, transactional_id: str, doing: str, reason: str) -> None:
        self.transactional_id, self.doing, self.reason = transactional_id, doing, reason
        super().__init__(
            f"cannot {doing} in a transaction of `{transactional_id}`: {reason}; it was not committed, and its "
            "messages will be sent again"
        )


class CommitUnknownError(UnreachableError):
    """A commit that may or may not have happened: open a new sink, and ask `read_commit` which it is."""

    def __init__(self, transactional_id: str, reason: str) -> None:
        self.transactional_id, self.reason = transactional_id, reason
        super().__init__(
            f"it is not known whether the transaction of `{transactional_id}` was committed: {reason}; "
            "the next run finds out"
        )


class NoLibraryError(UsageError):
    """A client library that was asked for and is not installed, or not with what it needs."""

    def __init__(self, library: str, missing: str, install: str) -> None:
        self.library, self.missing = library, missing
        super().__init__(f"the Kafka library `{library}` needs the package `{missing}`; `pip install '{install}'`")
