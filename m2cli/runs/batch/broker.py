"""The Kafka cluster of a pipeline as its runs use it: topics looked at, read as events, written in transactions."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from m2cli.clock import elapsed_since, pause, stopwatch
from m2cli.kafka import BrokerAwayError, KafkaRule, KnownOffsets, NoTopicError, open_client, open_sink
from m2cli.kafka.follow import name_partition
from m2cli.runs.batch.outlet import Nowhere

# Seconds between two looks at a topic that is still too short.
_ASKED_EVERY = 0.2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from m2cli.avro.cipher import Cipher
    from m2cli.avro.decode import Decoder
    from m2cli.avro.interface import SchemaStore
    from m2cli.avro.schema import AvroSchema
    from m2cli.events import Intake
    from m2cli.kafka import Client, PlannedOffsets, Sink, TopicFacts
    from m2cli.ledger import LedgerBatch, LedgerReader
    from m2cli.pipeline import KafkaSource, PipelineRule
    from m2cli.runs.batch.outlet import Outlet
    from m2cli.runs.batch.topics import Topics


class Broker:
    """The cluster that a pipeline names; nobody connects before anything is asked, and `close` ends it."""

    def __init__(self, pipeline: PipelineRule, *, accepts_gap: bool = False) -> None:
        """`accepts_gap`: what Kafka no longer knows of is passed over."""
        self._pipeline, self._accepts_gap = pipeline, accepts_gap
        self._topics: Topics | None = None
        self._away: BrokerAwayError | None = None
        self._decoders: dict[str, Decoder] = {}

    @property
    def sealing(self) -> Cipher | None:
        """What messages are encrypted with; None where they are not to be."""
        return self.cipher if self._pipeline.seal_with else None

    @property
    def rule(self) -> KafkaRule:
        """How it is reached."""
        if self._pipeline.kafka is None:
            raise ValueError("the pipeline has nothing to do with Kafka")
        return self._pipeline.kafka

    @cached_property
    def client(self) -> Client:
        """Who reads. Raises `BrokerAwayError`, `NoLibraryError`; a cluster that is away is not waited for again."""
        if self._away:
            raise self._away
        try:
            return open_client(self.rule)
        except BrokerAwayError as error:
            self._away = error
            raise

    @cached_property
    def store(self) -> SchemaStore:
        """Where the schemas of messages are."""
        from m2cli.avro.stores import EmbeddedStore, open_store

        where = self._pipeline.schemas
        return open_store(where) if where else EmbeddedStore()

    @cached_property
    def cipher(self) -> Cipher | None:
        """What opens encrypted messages, and seals m2's own if the pipeline says so; None without keys.

        Raises what `read_keys` and `AesGcm` raise.
        """
        from m2cli.avro.cipher import AesGcm, read_keys

        rule = self._pipeline
        return AesGcm(read_keys(rule.keys), rule.seal_with) if rule.keys else None

    def keep_schema(self, schema: AvroSchema) -> None:
        """Put a schema that messages are written by where their readers look for it, if the pipeline says where."""
        from m2cli.avro.stores import open_place

        if self._pipeline.schemas:
            open_place(self._pipeline.schemas).add(schema)

    def open_sink(self, group: str) -> Sink:
        """Who writes, as `group` and no other."""
        return open_sink(self.rule, group)

    def describe(self, topic: str) -> TopicFacts:
        """What `topic` is. Raises `NoTopicError` where there is none."""
        facts = self.client.describe_topic(topic)
        if facts is None:
            raise NoTopicError(topic)
        return facts

    def wait_for(self, facts: TopicFacts, positions: Mapping[int, KnownOffsets]) -> TopicFacts:
        """What a topic is once it reaches as far as it was read; as it is if it does not within the timeout.

        A broker that comes back after a crash gives what it had step by step: for a moment its topics are too short.
        """
        start, patience = stopwatch(), self.rule.timeout.total_seconds()
        while _is_short(facts, positions) and elapsed_since(start) < patience:
            pause(_ASKED_EVERY)
            facts = self.describe(facts.topic)
        return facts

    def read(self, planned: Sequence[PlannedOffsets], source: KafkaSource) -> Iterator[Intake]:
        """The events and rejects in offsets of the topic of `source`, each partition in its own order.

        Raises `OffsetsLostError` and `TopicReplacedError` where they are no longer there.
        """
        ranges = {each.partition: each.range for each in planned if each.start < each.end}
        if not ranges:
            return
        ends = {each.partition: KnownOffsets(each.topic_id, each.end) for each in planned}
        self.wait_for(self.describe(source.topic), ends)
        for piece in self.client.read_ranges(source.topic, ranges, topic_id=planned[0].topic_id):
            name = pl.lit(name_partition(source.topic, piece.partition)).alias("source")
            yield self.decode(piece.messages.with_columns(name), source)

    def decode(self, messages: pl.DataFrame, source: KafkaSource) -> Intake:
        """Messages of the topic of `source`, with their partition as `source`, as events and rejects."""
        return self._find_decoder(source).decode(messages)

    def connect(self, ledger: LedgerReader) -> None:
        """Find out, before anything is planned, whether the topics are what the ledger led to.

        Raises what `Topics` raises.
        """
        self._open_topics(ledger)

    def find_outlet(self, ledger: LedgerReader, batch: LedgerBatch) -> Outlet:
        """Where the tagged events and ends of visit of `batch` go. Raises what `Topics` raises."""
        topics = self._open_topics(ledger)
        return topics.of(batch) if topics else Nowhere()

    def has_sent(self, ledger: LedgerReader, batch: LedgerBatch) -> bool:
        """Whether anything of `batch` is in the topics. Raises what `Topics` raises."""
        topics = self._open_topics(ledger)
        return topics is not None and topics.has(batch)

    def close(self) -> None:
        """Let go of the connections."""
        if self._topics:
            self._topics.close()
        if "client" in self.__dict__:
            self.client.close()

    def _open_topics(self, ledger: LedgerReader) -> Topics | None:
        if self._topics is None and self._pipeline.topics is not None:
            from m2cli.runs.batch.topics import Topics

            rule, anonymize = self._pipeline.topics, self._pipeline.anonymize
            self._topics = Topics(self, rule, anonymize, ledger, accepts_gap=self._accepts_gap)
        return self._topics

    def _find_decoder(self, source: KafkaSource) -> Decoder:
        from m2cli.avro.decode import Decoder

        if source.name not in self._decoders:
            self._decoders[source.name] = Decoder(self.store, source.mapping, self.cipher)
        return self._decoders[source.name]


def name_partitions(facts: TopicFacts) -> list[str]:
    """What the partitions of a topic are called as sources, from 0 on."""
    return [name_partition(facts.topic, each.partition) for each in facts.partitions]


def find_positions(ledger: LedgerReader, names: Sequence[str]) -> dict[int, KnownOffsets]:
    """How far the partitions called `names` have been read, as `ledger` has it; by their places there."""
    kept = {part.part_id: KnownOffsets(part.name, part.position) for part in ledger.find_parts(part_ids=names)}
    return {number: kept[name] for number, name in enumerate(names) if name in kept}


def _is_short(facts: TopicFacts, positions: Mapping[int, KnownOffsets]) -> bool:
    """Whether a partition ends before where it was read to."""
    ends = {each.partition: each.end_offset for each in facts.partitions}
    return any(
        known.topic_id == facts.topic_id and known.position > ends.get(partition, known.position)
        for partition, known in positions.items()
    )
