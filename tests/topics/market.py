"""A market: a shop whose measurements come as messages; a pipeline reads them, and writes topics and a lake."""

from __future__ import annotations

import os
import random
import signal
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from m2cli.avro.encode import Encoder
from m2cli.avro.own import event_schema
from m2cli.avro.stores import EmbeddedStore
from m2cli.kafka import KafkaRule, PieceRule, Range, open_client, open_sink
from m2cli.lake import read_snapshot
from m2cli.ledger import open_ledger
from m2cli.pipeline import KafkaSource, PipelineRule, TopicsRule
from m2cli.process import run_and_exit
from m2cli.runs.follow import FollowRule, follow_pipeline
from m2cli.runs.run import run_pipeline
from m2cli.visits import VisitRule
from tests.forks import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from m2cli.avro.schema import AvroSchema
    from m2cli.runs.run import RunFacts

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
VISIT = VisitRule(
    inactivity=10 * MINUTE,
    max_duration=60 * MINUTE,
    max_out_of_orderness=2 * MINUTE,
    idle_after=timedelta(days=1),
)
PARTITIONS = 3


class Place(NamedTuple):
    """All that a process has to know of a market."""

    folder: Path
    address: str
    name: str
    library: str = "kafka-python"
    timeout: float = 20.0


@dataclass
class Market:
    """A market at `place`; its topics are its own."""

    place: Place
    visit: VisitRule = VISIT
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, address: str, *, library: str = "kafka-python", timeout: float = 20.0) -> Market:
        """A new market, with its topics."""
        market = cls(Place(folder, address, f"m{uuid.uuid4().hex[:10]}", library, timeout))
        with open_client(market.kafka) as client:
            for topic in (market.measurements, market.tagged, market.ends):
                assert client.create_topic(topic, partition_count=PARTITIONS)
        return market

    @property
    def kafka(self) -> KafkaRule:
        return KafkaRule(
            bootstrap_servers=(self.place.address,),
            library=self.place.library,
            timeout=timedelta(seconds=self.place.timeout),
        )

    @property
    def measurements(self) -> str:
        return f"{self.place.name}-in"

    @property
    def tagged(self) -> str:
        return f"{self.place.name}-tagged"

    @property
    def ends(self) -> str:
        return f"{self.place.name}-ends"

    @property
    def rule(self) -> PipelineRule:
        rule = PipelineRule(
            path=self.place.folder / "market.toml",
            name=self.place.name,
            lake=self.place.folder / "lake",
            sources=(KafkaSource(name="web", topic=self.measurements),),
            visit=self.visit,
            lake_every=timedelta(seconds=2),
            kafka=self.kafka,
            topics=TopicsRule(group=f"{self.place.name}-group", tagged_events=self.tagged, ends_of_visit=self.ends),
        )
        return replace(rule, **self.settings)

    def write_toml(self, **pipeline: str) -> Path:
        """The pipeline's file, as a person would have written it."""
        path = self.place.folder / "market.toml"
        own = "".join(f'{key} = "{value}"\n' for key, value in pipeline.items())
        path.write_text(
            f'[pipeline]\nname = "{self.place.name}"\nlake = "lake"\n{own}'
            f'[kafka]\nbootstrap_servers = ["{self.place.address}"]\nlibrary = "{self.place.library}"\n'
            f'[[source]]\ntype = "kafka"\ntopic = "{self.measurements}"\nname = "web"\n'
            f'[topics]\ngroup = "{self.place.name}-group"\n'
            f'tagged_events = "{self.tagged}"\nends_of_visit = "{self.ends}"\n'
            '[visit]\ninactivity = "10m"\nmax_duration = "1h"\nmax_out_of_orderness = "2m"\nidle_after = "1d"\n'
        )
        return path

    # What comes in

    def send(self, events: pl.DataFrame, schema: AvroSchema | None = None) -> None:
        """Send events as messages, in their order; an aborted transaction goes before them."""
        messages = to_messages(events, schema or event_schema())
        with open_sink(self.kafka, f"{self.place.name}-shop") as sink:
            sink.begin()
            sink.send(self.measurements, messages.head(5))
            sink.abort()
            sink.begin()
            sink.send(self.measurements, messages)
            sink.commit(f"{self.place.name}-shop", {}, "")

    def send_values(self, values: Sequence[bytes | None]) -> None:
        """Send messages as they are."""
        with open_sink(self.kafka, f"{self.place.name}-shop") as sink:
            sink.begin()
            keys = [str(number).encode() for number in range(len(values))]
            frame = pl.DataFrame({"key": keys, "value": list(values)}, schema={"key": pl.Binary, "value": pl.Binary})
            sink.send(self.measurements, frame)
            sink.commit(f"{self.place.name}-shop", {}, "")

    # What is made of it

    def run(self, now: datetime | None = None, **options: Any) -> RunFacts:
        return run_pipeline(self.rule, now=lambda: now or datetime.now(UTC), **options)

    def read_topic(self, topic: str) -> pl.DataFrame:
        """All committed messages, with their headers and offsets."""
        with open_client(self.kafka) as client:
            facts = client.describe_topic(topic)
            assert facts
            ranges = {
                each.partition: Range(each.first_offset, each.end_offset)
                for each in facts.partitions
                if each.first_offset < each.end_offset
            }
            pieces = [
                piece.messages.with_columns(partition=pl.lit(piece.partition))
                for piece in client.read_ranges(topic, ranges, pieces=PieceRule(has_headers=True))
            ]
        return pl.concat(pieces).sort("partition", "position_in_source") if pieces else pl.DataFrame()

    def read_tagged(self) -> pl.DataFrame:
        """The tagged events in the topic, as another program would read them: by fastavro."""
        return decode(self.read_topic(self.tagged))

    def read_ends(self) -> pl.DataFrame:
        return decode(self.read_topic(self.ends))

    def read(self, table: str) -> pl.DataFrame:
        """All rows of a table of the lake, by the snapshot."""
        paths = read_snapshot(self.rule.lake).paths(self.rule.lake, table)
        frames = [pl.read_parquet(path, glob=False, hive_partitioning=False) for path in paths]
        return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()

    def list_batches(self) -> list[Any]:
        with open_ledger(self.rule.lake / "_m2" / "ledger.sqlite") as ledger:
            return ledger.list_batches()


def to_messages(events: pl.DataFrame, schema: AvroSchema) -> pl.DataFrame:
    return pl.DataFrame({"key": events["visitor_id"].cast(pl.Binary), "value": Encoder(schema).encode(events)})


def decode(messages: pl.DataFrame) -> pl.DataFrame:
    """Messages of m2's own schemas, read by fastavro, with the key and the place of each."""
    import io

    import fastavro

    store, rows = EmbeddedStore(), []
    for message in messages.iter_rows(named=True):
        value = message["value"]
        schema = store.find(value[2:10])
        assert value[:2] == b"\xc3\x01"
        assert schema
        body = io.BytesIO(value[10:])
        row = fastavro.schemaless_reader(body, schema.definition)
        assert body.read() == b""
        headers = {header["key"]: header["value"].decode() for header in message["headers"]}
        place = {"key": message["key"].decode(), "partition": message["partition"]}
        rows.append({name: row[name] for name in row if name != "attributes"} | place | {"headers": headers})
    return pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame()


def make_events(number: int, count: int = 60, *, late: bool = True) -> pl.DataFrame:
    """The `number`th slice of ten minutes of a dozen visitors: out of order, some twice, now and then one late."""
    dice = random.Random(number)
    rows = []
    for nth in range(count):
        visitor = dice.randrange(12)
        time = START + number * 10 * MINUTE + timedelta(seconds=nth * 600 / count - dice.choice((0, 0, 30, 90)))
        if late and dice.random() < 0.02:
            time -= 40 * MINUTE
        event = dice.choice(("page", "page", "show", "click", "purchase"))
        rows.append(
            {
                "event_id": f"{number}-{nth}",
                "event_time": time,
                "event_type": event,
                "visitor_id": f"v{visitor}-{number // (2 + visitor % 4)}",
                "url": f"/{nth}" if event == "page" else None,
                "cause_id": f"{number}-{nth - 1}" if event == "click" else None,
                "amount": "9.9900" if event == "purchase" else None,
                "currency": "EUR" if event == "purchase" else None,
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
                "attributes": {"n": str(nth)},
            }
        )
        if dice.random() < 0.03:
            rows.append(rows[-1])
    schema = {"attributes": pl.Map(pl.String, pl.String), "event_time": pl.Datetime("us", "UTC")}
    return pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None)


def assert_said_once(market: Market) -> None:
    """Lake and topics say the same, and each of it once; everything is closed."""
    events, visits, tagged, ends = (
        market.read("events"),
        market.read("visits"),
        market.read_tagged(),
        market.read_ends(),
    )
    kept = Counter(events.select("visit_id", "event_id", "event_time").iter_rows())
    assert Counter(tagged.select("visit_id", "event_id", "event_time").iter_rows()) == kept
    columns = ["visit_id", "visitor_id", "start_time", "end_time", "event_count", "page_count", "end_reason", "revenue"]
    assert sorted(ends.select(columns).rows(), key=str) == sorted(visits.select(columns).rows(), key=str)
    assert ends["visit_id"].n_unique() == ends.height
    assert (tagged["key"] == tagged["visitor_id"]).all()
    # In event-time order per visitor, and all of a visitor in one partition.
    assert (tagged["visitor_id"].n_unique()) == tagged.select("visitor_id", "partition").unique().height
    for _, of_visitor in tagged.group_by("visitor_id"):
        assert of_visitor["event_time"].is_sorted()


# Processes that are killed.


class Life(NamedTuple):
    """What a process does at a market, and the step at which it dies, the how maniest."""

    place: Place
    step: str | None = None
    nth: int = 0
    is_flush: bool = False
    is_following: bool = False
    seconds: float = 0.0
    """How long it follows at most."""
    step_count: int | None = None
    """After how many steps it ends, if it comes to that."""
    settings: dict[str, Any] | None = None
    """Of the pipeline, besides the market's own."""


def _begin(life: Life, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stderr = (life.place.folder / "said").open("a", encoding="utf-8", buffering=1)
    run_and_exit(lambda: _live(life, pipe))


def _live(life: Life, pipe: Connection) -> None:
    import time

    market, seen = Market(life.place, settings=life.settings or {}), Counter[str]()

    def at(step: str) -> None:
        pipe.send(step)
        seen[step] += 1
        if step == life.step and seen[step] > life.nth:
            os.kill(os.getpid(), signal.SIGKILL)

    if not life.is_following:
        market.run(is_flush=life.is_flush, at=at)
        return
    end = time.monotonic() + life.seconds

    def pause(seconds: float) -> bool:
        time.sleep(min(seconds, 0.05))
        return time.monotonic() > end or seen["step committed"] == life.step_count

    rule = FollowRule(step_every=timedelta(seconds=0.05), most_messages=40)
    follow_pipeline(market.rule, rule, now=lambda: datetime.now(UTC), pause=pause, at=at)


class Lived(NamedTuple):
    exit_code: int | None
    steps: list[str]

    @property
    def was_killed(self) -> bool:
        return self.exit_code == -signal.SIGKILL


def live(life: Life, *, kill_after: float | None = None, meanwhile: Callable[[], object] = lambda: None) -> Lived:
    """A process that lives `life`, killed so many seconds after its first step."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_begin, args=(life, theirs))
    process.start()
    theirs.close()
    steps: list[str] = []
    with ours:
        try:
            if kill_after is not None:
                steps.append(ours.recv())
                process.join(kill_after)
                process.kill()
            else:
                meanwhile()
            while True:
                steps.append(ours.recv())
        except EOFError:
            process.join()
    return Lived(process.exitcode, steps)


__all__ = ["Life", "Market", "assert_said_once", "live", "make_events"]
