"""Topics outside of any pipeline: their messages as events, a look at some of them, and a sample sent to one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.avro.decode import Decoder
from m2cli.avro.encode import Encoder
from m2cli.avro.own import event_schema
from m2cli.avro.stores import EmbeddedStore, open_store
from m2cli.clock import elapsed_since, stopwatch
from m2cli.errors import UsageError
from m2cli.events import EVENT_SCHEMA, LAKE_EVENT_SCHEMA
from m2cli.kafka import NoTopicError, PieceRule, Range, name_partition, open_client, open_sink
from m2cli.runs.ingest import write_pieces
from m2cli.runs.progress import Step, Tell, tell_nobody
from m2cli.stages.redaction import RedactionRule, redact_intake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from m2cli.events import Intake
    from m2cli.kafka import Client, KafkaRule, TopicFacts
    from m2cli.runs.intake import Tally
    from m2cli.settings import RejectLimit

EARLIEST, LATEST = "earliest", "latest"


@dataclass(frozen=True, kw_only=True)
class TopicRule:
    """What of a topic is read, and how.

    `begin` and `end`: `earliest`, `latest`, an offset, which then is that of every partition, or a time at which
    messages arrived; the first is taken, the second is not. `schemas`: a folder or the URL of a registry, None for
    m2's own alone.
    """

    kafka: KafkaRule
    topic: str
    begin: str | int | datetime = EARLIEST
    end: str | int | datetime = LATEST
    schemas: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    max_rejects: RejectLimit | None = None
    redaction: RedactionRule = field(default_factory=RedactionRule)


class Peeked(NamedTuple):
    """The first messages of a topic: those that are events, and those that are none."""

    events: pl.DataFrame
    rejects: pl.DataFrame


def ingest_topic(output: Path | IO[bytes], rule: TopicRule, *, tell: Tell = tell_nobody) -> Tally:
    """Write the events of a topic to `output`, as `ingest_logs` does with those of logs; return the counts.

    Partition by partition, each in the order of its offsets. Raises what `ingest_logs` raises, `UsageError` for a range
    that ends before it begins, `NoTopicError`, `BrokerAwayError`, `OffsetsLostError`.
    """
    with closing(open_client(rule.kafka)) as client:
        return write_pieces(_read(client, rule, tell), output, rule.max_rejects)


def peek_topic(rule: TopicRule, count: int) -> Peeked:
    """The first `count` messages of each partition that `rule` names, decoded. Raises what `ingest_topic` raises."""
    with closing(open_client(rule.kafka)) as client:
        ranges = {number: Range(each.start, each.end) for number, each in _find_ranges(client, rule).items()}
        decode = _make_decoder(rule)
        pieces = []
        for number, each in ranges.items():
            left = count
            for piece in client.read_ranges(rule.topic, {number: each}, pieces=PieceRule(most_count=count)):
                pieces.append(decode(number, piece.messages.head(left)))
                left -= piece.messages.height
                if left <= 0:
                    break
    nothing = [pl.DataFrame(schema={name: EVENT_SCHEMA[name] for name in ("event_time", "source")})]
    return Peeked(
        pl.concat([*nothing, *(piece.events for piece in pieces)], how="diagonal"),
        pl.concat([piece.rejects for piece in pieces]) if pieces else pl.DataFrame(),
    )


@dataclass(frozen=True, kw_only=True)
class SendRule:
    """Where a sample is sent, and how fast: `rate` in events a second, None for as fast as it goes."""

    kafka: KafkaRule
    topic: str
    rate: float | None = None
    partition_count: int = 4


def send_events(
    frames: Iterator[pl.DataFrame], rule: SendRule, *, pause: Callable[[float], object], tell: Tell = tell_nobody
) -> int:
    """Send events as Avro messages (`m2.Event`), keyed by visitor; the topic is made if it is not there.

    Each frame of up to `rate` events is a transaction. `pause` waits so many seconds. Returns how many were sent.
    """
    encoder = Encoder(event_schema())
    with closing(open_client(rule.kafka)) as client:
        client.create_topic(rule.topic, partition_count=rule.partition_count)
    start, done = stopwatch(), 0
    with open_sink(rule.kafka, f"m2-sample-{rule.topic}") as sink:
        for frame in frames:
            for piece in _slice(frame, rule.rate):
                sink.begin()
                sink.send(rule.topic, _to_messages(piece, encoder))
                sink.commit(f"m2-sample-{rule.topic}", {}, "")
                done += piece.height
                if rule.rate is not None:
                    pause(max(0.0, done / rule.rate - elapsed_since(start)))
                tell(Step("sending", done, None, "events"))
    return done


def _slice(frame: pl.DataFrame, rate: float | None) -> Iterator[pl.DataFrame]:
    yield from frame.iter_slices(max(1, int(rate)) if rate is not None else 50_000)


def _to_messages(events: pl.DataFrame, encoder: Encoder) -> pl.DataFrame:
    names = [name for name in ("visitor_id", "session_id", "ip") if name in events.columns]
    key = events.select(pl.coalesce(names)).to_series() if names else pl.Series([None], dtype=pl.String)
    kept = events.select(name for name in events.columns if name in LAKE_EVENT_SCHEMA)
    return pl.DataFrame({"key": key.cast(pl.Binary), "value": encoder.encode(kept)})


def _read(client: Client, rule: TopicRule, tell: Tell) -> Iterator[Intake]:
    ranges = _find_ranges(client, rule)
    decode = _make_decoder(rule)
    total = sum(each.end - each.start for each in ranges.values())
    done = 0
    for number, each in ranges.items():
        for piece in client.read_ranges(rule.topic, {number: each}):
            yield decode(number, piece.messages)
            done += piece.messages.height
            tell(Step("reading", done, total, "messages"))


def _make_decoder(rule: TopicRule) -> Callable[[int, pl.DataFrame], Intake]:
    decoder = Decoder(open_store(rule.schemas) if rule.schemas else EmbeddedStore(), mapping=rule.mapping)

    def decode(partition: int, messages: pl.DataFrame) -> Intake:
        piece: Intake = decoder.decode(messages.with_columns(source=pl.lit(name_partition(rule.topic, partition))))
        return redact_intake(piece, rule.redaction)

    return decode


def _find_ranges(client: Client, rule: TopicRule) -> dict[int, Range]:
    facts = client.describe_topic(rule.topic)
    if facts is None:
        raise NoTopicError(rule.topic)
    start, end = (_find_offsets(client, facts, place) for place in (rule.begin, rule.end))
    ranges = {
        each.partition: Range(max(start[each.partition], each.first_offset), min(end[each.partition], each.end_offset))
        for each in facts.partitions
    }
    is_backwards = (rule.begin, rule.end) == (LATEST, EARLIEST)
    if not is_backwards and isinstance(rule.begin, type(rule.end)) and not isinstance(rule.begin, str):
        is_backwards = rule.begin > rule.end  # type: ignore[operator]  # of one type
    if is_backwards:
        raise UsageError(f"`--from {rule.begin}` is after `--to {rule.end}`; exchange the two")
    return {number: each for number, each in ranges.items() if each.start < each.end}


def _find_offsets(client: Client, facts: TopicFacts, place: str | int | datetime) -> dict[int, int]:
    if isinstance(place, datetime):
        found = client.find_offsets(facts.topic, place)
        return {each.partition: found.get(each.partition, each.end_offset) for each in facts.partitions}
    if isinstance(place, int):
        return dict.fromkeys((each.partition for each in facts.partitions), place)
    return {each.partition: each.first_offset if place == EARLIEST else each.end_offset for each in facts.partitions}
