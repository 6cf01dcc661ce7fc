"""What a batch writes to topics: tagged events and ends of visit, in one transaction, exactly once (DESIGN 5.1).

A transaction commits, with the messages, how far the pipeline has come: the batch and its step stand in the metadata
that the group commits. It commits before the ledger does, so that whoever does the batch again asks first: if the
group has it, everything is done again but the sending.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.avro.encode import Encoder
from m2cli.avro.own import end_of_visit_schema, tagged_event_schema
from m2cli.errors import ExitCode, M2Error
from m2cli.kafka import TopicPartition
from m2cli.privacy.pseudonyms import pseudonymize, pseudonymize_visits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from typing import Self

    from m2cli.kafka import CommittedOffset, PlannedOffsets, Sink
    from m2cli.ledger import LedgerBatch, LedgerReader
    from m2cli.pipeline import TopicsRule
    from m2cli.pipeline.rule import AnonymizeRule
    from m2cli.runs.batch.broker import Broker
    from m2cli.visits import Assigned

SENT = "is_sent"  # in the facts of a batch: whether the group has it


class Sent(NamedTuple):
    """The last step of a batch whose messages are in the topics."""

    pipeline: str
    batch: int
    step: int

    def to_text(self) -> str:
        """The metadata that says so."""
        return json.dumps(self._asdict(), separators=(",", ":"))

    @property
    def place(self) -> tuple[int, int]:
        """Where it is in the order of all steps."""
        return self.batch, self.step


NOTHING = Sent("", 0, 0)


class OtherLedgerError(M2Error):
    """Topics that have what the ledger does not know, or that another pipeline writes."""

    exit_code = ExitCode.DATA


class Topics:
    """Writes the topics of a pipeline, one transaction a step; a step that the group has is not sent again."""

    def __init__(
        self,
        broker: Broker,
        rule: TopicsRule,
        anonymize: AnonymizeRule | None,
        ledger: LedgerReader,
        *,
        accepts_gap: bool = False,
    ) -> None:
        """Shut out whoever wrote as this group before, and find out how far it came; before the next batch is planned.

        Raises `BrokerAwayError`, and `OtherLedgerError` where the topics are not what the ledger led to.
        """
        self._rule, self._anonymize, self._ledger = rule, anonymize, ledger
        schemas = (tagged_event_schema(), end_of_visit_schema())
        self._encoders = [
            (topic, Encoder(schema, broker.sealing))
            for topic, schema in zip(rule.all_topics, (*schemas, *schemas), strict=True)
        ]
        for topic in rule.names:
            broker.describe(topic)
        for named, encoder in self._encoders:
            if named:
                broker.keep_schema(encoder.schema)
        self._sink: Sink = broker.open_sink(rule.group)
        self.sent = find_sent(broker, rule, ledger, accepts_gap=accepts_gap)
        self._batch: LedgerBatch | None = None
        self._step, self._is_open = 0, False
        self._boundary: datetime | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._sink.close()

    def has(self, batch: LedgerBatch, step: int = 0) -> bool:
        """Whether the messages of a step are in the topics."""
        return (batch.number, step) <= self.sent.place

    def of(self, batch: LedgerBatch) -> Self:
        """This outlet, for the steps of `batch`."""
        self._batch = batch
        return self

    def begin(self, step: int) -> None:
        """Begin the transaction of a step, unless the group has it."""
        if self._batch is None:
            raise ValueError("of which batch?")
        self._step = step
        self._is_open = not self.has(self._batch, step)
        if self._is_open:
            self._boundary = self._ledger.read_progress().W.time
            self._sink.begin()

    def send(self, assigned: Assigned, W: datetime | None) -> None:
        """Send tagged events and ends of visit, and their pseudonymous twins; those of a visitor in their order.

        The headers of ends of visit: `batch`, `W`, and `snapshot_W`: every visit that ended before it is in the lake
        already. Tagged events, which are many, have none: what is the same in all costs as much as a tenth of the rest.
        """
        if not self._is_open or self._batch is None:
            return
        batch_id = self._batch.batch_id.encode()
        of_ends = [("batch", batch_id), ("W", _to_text(W)), ("snapshot_W", _to_text(self._boundary))]
        frames = [assigned.tagged, assigned.ended, *self._make_twins(assigned)]
        for (topic, encoder), frame, headers in zip(self._encoders, frames, ([], of_ends) * 2, strict=False):
            if topic and frame.height:
                messages = pl.DataFrame(
                    {
                        "key": frame["visitor_id"].cast(pl.Binary),
                        "value": encoder.encode(frame.drop("visit_number", strict=False)),
                    }
                )
                self._sink.send(topic, messages, headers=headers)

    def _make_twins(self, assigned: Assigned) -> Iterator[pl.DataFrame]:
        """The same under pseudonyms, by the salt of the year in which each visit started (DESIGN 6.2)."""
        if self._anonymize is None or not self._rule.has_twins:
            return
        privacy, salts = self._anonymize.privacy, self._anonymize.source
        starts = pl.concat(
            [visits.select("visit_number", "start_time") for visits in (assigned.ended, assigned.state.open_visits)]
        )
        started = assigned.tagged.join(starts, on="visit_number", how="left", maintain_order="left")
        yield pseudonymize(started, privacy, salts) if started.height else started
        yield pseudonymize_visits(assigned.ended, privacy, salts) if assigned.ended.height else assigned.ended

    def commit(self, offsets: Iterable[PlannedOffsets]) -> None:
        """Commit the transaction of the step, unless the group has it."""
        if not self._is_open or self._batch is None:
            return
        sent = Sent(self._ledger.pipeline, self._batch.number, self._step)
        ends = {each.place: each.end for each in offsets}
        self._sink.commit(self._rule.group, ends | {_find_marker(self._rule): self._batch.number}, sent.to_text())
        self.sent, self._is_open = sent, False


def find_sent(broker: Broker, rule: TopicsRule, ledger: LedgerReader, *, accepts_gap: bool = False) -> Sent:
    """The last step whose messages are in the topics; nobody is shut out by asking.

    Raises `OtherLedgerError` where the topics are not what `ledger` led to, `BrokerAwayError`.
    """
    marker = _find_marker(rule)
    found = broker.client.read_commit(rule.group, [marker]).get(marker)
    sent = _read(found) if found else NOTHING
    name = ledger.pipeline
    if found and sent.pipeline != name:
        owner = f"the pipeline `{sent.pipeline}`" if sent.pipeline else "something else"
        hint = "write another `group` below [topics]"
        raise OtherLedgerError(f"the group `{rule.group}` belongs to {owner}, not to `{name}`; {hint}")
    if found and not ledger.has_run(sent.batch):
        last = ledger.find_last_number()
        raise OtherLedgerError(
            f"the group `{rule.group}` has sent batch {sent.batch}, and the ledger, which has {last}, "
            "did not run it: it was restored from a backup or made anew; restore the newest, or begin with another "
            "`group` and other topics below [topics]"
        )
    if not found and not accepts_gap and _is_in_doubt(ledger):
        raise OtherLedgerError(
            f"the group `{rule.group}` has no committed offsets any more (Kafka forgets them after "
            "`offsets.retention.minutes`), and a batch is unfinished: whether it was sent cannot be known; look "
            "for its id in the headers of the last ends of visit; `m2 run PIPELINE --accept-gap` sends it, perhaps "
            "again"
        )
    return sent


def _find_marker(rule: TopicsRule) -> TopicPartition:
    """The partition that stands for the pipeline; it may read no topic at all."""
    return TopicPartition(rule.names[0], 0)


def _is_in_doubt(ledger: LedgerReader) -> bool:
    """Whether a batch was planned before and may have been sent, and others were sent before it."""
    has_planned = any(batch.state == "planned" for batch in ledger.list_unfinished())
    return has_planned and any(batch.facts.get(SENT) for batch in ledger.list_batches(1, kinds=["run"]))


def _read(committed: CommittedOffset) -> Sent:
    try:
        return Sent(**json.loads(committed.metadata))
    except (ValueError, TypeError):
        return NOTHING


def _to_text(time: datetime | None) -> bytes:
    return time.isoformat(timespec="microseconds").encode() if time else b""
