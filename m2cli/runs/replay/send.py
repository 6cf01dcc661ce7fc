"""A tape sent to a topic at the pace at which it came, or faster; whoever is killed goes on where the topic ends.

Each transaction commits, with its messages, how far the tape has been sent, in the metadata that the group commits for
the topic: so a message is there and counted, or neither.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.avro.encode import Encoder
from m2cli.avro.own import event_schema
from m2cli.clock import elapsed_since, stopwatch
from m2cli.errors import UsageError
from m2cli.events import TIME
from m2cli.files.tape import PlannedRows
from m2cli.kafka import TopicPartition, open_client, open_sink
from m2cli.pipeline.rule import check_topic
from m2cli.runs.progress import Step, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.files.tape import Tape
    from m2cli.kafka import KafkaRule, Sink
    from m2cli.runs.progress import Tell

_GROUP = "m2-replay-"
_MOST = 20_000  # events of a transaction
_LEAST_PAUSE, _MOST_PAUSE = 0.02, 0.25  # seconds between two transactions: the first is how fine the pace is


@dataclass(frozen=True, kw_only=True)
class PaceRule:
    """Where a tape is sent, and how fast: `speed` seconds of it in one, None for as fast as it goes.

    With `is_shifted` all event times are moved, by the same, so that the last is now when it is sent. `restarts` begins
    again whatever the topic has. Raises `UsageError` for a speed that is none, and for what is no topic's name.
    """

    kafka: KafkaRule
    topic: str
    speed: float | None = 1.0
    is_shifted: bool = False
    restarts: bool = False
    partition_count: int = 4

    def __post_init__(self) -> None:
        check_topic(self.topic)
        if self.speed is not None and not 0 < self.speed <= 1e9:
            raise UsageError(f"`--speed {self.speed:g}` is out of range; `60` sends an hour in a minute")


class Sent(NamedTuple):
    """What a group has sent: of which tape, how many of its events, and by how many µs their times were moved."""

    tape: str
    sent_count: int
    shift: int

    def to_text(self) -> str:
        """The metadata that says so."""
        return json.dumps(self._asdict(), separators=(",", ":"))


class SendFacts(NamedTuple):
    """What came of it."""

    sent_count: int
    before_count: int
    """Those that an earlier run had sent."""
    seconds: float


def send_tape(
    tape: Tape,
    rule: PaceRule,
    *,
    now: Callable[[], datetime],
    pause: Callable[[float], object],
    tell: Tell = tell_nobody,
) -> SendFacts:
    """Send `tape` as Avro messages (`m2.Event`), keyed by visitor, in its order; the topic is made if it is not there.

    So each partition of the tape keeps its order in each partition of the topic. What an earlier run has sent of the
    same tape is not sent again. `pause` waits so many seconds. Raises `UsageError` where the topic has a part of
    another tape, `BrokerAwayError` and `SendFailedError`.
    """
    group, marker = _GROUP + rule.topic, TopicPartition(rule.topic, 0)
    with closing(open_client(rule.kafka)) as client:
        client.create_topic(rule.topic, partition_count=rule.partition_count)
        with open_sink(rule.kafka, group) as sink:
            found = client.read_commit(group, [marker]).get(marker)
            sent = _begin(tape, rule, found.metadata if found else "", now())
            return _Sender(sink, tape, rule, group, marker).send(sent, pause, tell)


def name_tape(tape: Tape) -> str:
    """What a tape is called in the metadata: the same for the same events in the same order."""
    digest = pl.DataFrame({"time": list(tape.times), "end": list(tape.ends)}).write_csv()
    return f"{tape.row_count}-{_digest(digest + ','.join(tape.partitions))}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _begin(tape: Tape, rule: PaceRule, metadata: str, now: datetime) -> Sent:
    """Where to begin: where an earlier run of the same tape has ended, else at the beginning."""
    name = name_tape(tape)
    try:
        earlier = Sent(**json.loads(metadata)) if metadata else None
    except (ValueError, TypeError):
        earlier = None
    if earlier and not rule.restarts:
        if earlier.tape == name:
            return earlier
        size = int(earlier.tape.partition("-")[0])
        if earlier.sent_count < size:
            raise UsageError(
                f"the topic `{rule.topic}` has {earlier.sent_count:,} of the {size:,} events of another replay; go on "
                "with that one as it was called, or begin this one by `--restart`"
            )
    return Sent(name, 0, _find_shift(tape, rule, now))


def _find_shift(tape: Tape, rule: PaceRule, now: datetime) -> int:
    """µs by which times are moved so that the last event is sent when it happens: none is ever from the future."""
    if not rule.is_shifted:
        return 0
    lasts = (tape.times[-1] - tape.times[0]) / rule.speed if rule.speed else 0.0
    end = now + timedelta(seconds=lasts)
    return (end - datetime.fromtimestamp(tape.times[-1], UTC)) // timedelta(microseconds=1)


class _Sender:
    """Sends transaction after transaction, each when it is due."""

    def __init__(self, sink: Sink, tape: Tape, rule: PaceRule, group: str, marker: TopicPartition) -> None:
        self._sink, self._tape, self._rule = sink, tape, rule
        self._group, self._marker = group, marker
        self._encoder = Encoder(event_schema())

    def send(self, sent: Sent, pause: Callable[[float], object], tell: Tell) -> SendFacts:
        """Send what is left."""
        start, before = stopwatch(), sent.sent_count
        first = self._find_time(sent.sent_count)
        while sent.sent_count < self._tape.row_count:
            due = self._find_due(first, elapsed_since(start))
            end = min(due, sent.sent_count + _MOST)
            if end > sent.sent_count:
                sent = self._send(sent, end)
                at = datetime.fromtimestamp(self._find_time(end - 1), UTC)
                tell(Step("sending", sent.sent_count, self._tape.row_count, "events", f"{at:%Y-%m-%d %H:%M}"))
            if end == due < self._tape.row_count:
                left = (self._find_time(end) - first) / (self._rule.speed or 1) - elapsed_since(start)
                pause(min(max(left, _LEAST_PAUSE), _MOST_PAUSE))
        return SendFacts(sent.sent_count - before, before, elapsed_since(start))

    def _find_due(self, first: int, seconds: float) -> int:
        """How many events are due after so many seconds of sending, which began with the second up to `first`."""
        if self._rule.speed is None:
            return self._tape.row_count
        reached = first - 1 + seconds * self._rule.speed
        whole = self._tape.find_end(datetime.fromtimestamp(int(reached), UTC))
        # The events of a second are due one after the other, not all at its end.
        rest = self._tape.find_end(datetime.fromtimestamp(int(reached) + 1, UTC)) - whole
        return whole + int(rest * (reached - int(reached)))

    def _find_time(self, row: int) -> int:
        """The second up to which `row` can be read."""
        return self._tape.times[min(bisect_right(self._tape.ends, row), len(self._tape.times) - 1)]

    def _send(self, sent: Sent, end: int) -> Sent:
        self._sink.begin()
        for events in self._tape.read(PlannedRows(first=sent.sent_count, end=end)):
            moved = (pl.col("event_time").to_physical() + sent.shift).cast(TIME)
            rows = events.with_columns(event_time=moved)
            key = rows["visitor_id"].cast(pl.Binary)
            self._sink.send(self._rule.topic, pl.DataFrame({"key": key, "value": self._encoder.encode(rows)}))
        sent = sent._replace(sent_count=end)
        self._sink.commit(self._group, {self._marker: end}, sent.to_text())
        return sent
