"""What a pipeline of topics costs: messages in, tagged events and ends of visit out, in m2's CPU time; and how soon.

The broker is apart, and its time is not counted. Beside each figure stands the limit that m2 promises.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import polars as pl

from m2cli.kafka import open_client
from m2cli.runs.sample import make_sample, read_sample
from m2cli.runs.topics import SendRule, send_events
from m2cli.sample.rule import SampleRule
from tests.bench.spent import spend
from tests.kafka.broker import Broker
from tests.topics.market import Market

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT_COUNT = 1_000_000
LIMITS = {"librdkafka": 60_000, "kafka-python": 14_000}
LIVE_RATE = 10_000
LIVE_SECONDS = 40
B = 5  # seconds of out-of-orderness, as pipelines/kafka.toml has it
_M2 = str(Path(sys.executable).with_name("m2"))


def bench_topics(folder: Path, cache: Path) -> None:
    """The throughput of a batch by both libraries, and the latency of a followed pipeline, printed."""
    sample = cache / f"topic-{EVENT_COUNT}"
    if not sample.exists():
        make_sample(sample, SampleRule(events=EVENT_COUNT))
    with Broker(folder / "kafka").used() as broker:
        print(f"\n{EVENT_COUNT:,} events of a shop's day: a topic in; visits, tagged events and ends of visit out")
        first = _open(folder / "first", broker, "librdkafka")
        rule = SendRule(kafka=first.kafka, topic=first.measurements)
        send_events(read_sample(sample), rule, pause=time.sleep)
        for library, limit in LIMITS.items():
            _bench_batch(_open(folder / library, broker, library), first.measurements, limit)
        _bench_latency(_open(folder / "live", broker, "librdkafka"), sample)


def _open(folder: Path, broker: Broker, library: str) -> Market:
    folder.mkdir()
    return Market.open(folder, broker.address, library=library)


def _bench_batch(market: Market, topic: str, limit: int) -> None:
    toml = market.write_toml(memory="4GiB")
    toml.write_text(toml.read_text().replace(market.measurements, topic))
    spent = spend(_M2, "run", str(toml))
    rate = EVENT_COUNT / spent.cpu
    print(
        f"  {market.place.library:<14} {spent.cpu:7.2f} s CPU {spent.wall:7.2f} s {spent.peak / 2**20:7,.0f} MiB"
        f"  {rate:8,.0f} events a CPU second; limit {limit:,}, {'kept' if rate >= limit else 'NOT KEPT'}"
    )


def _bench_latency(market: Market, sample: Path) -> None:
    """From the arrival of a message to its tagged event being readable, as events come live."""
    toml = market.write_toml(lake_every="1h")
    toml.write_text(toml.read_text().replace('max_out_of_orderness = "2m"', f'max_out_of_orderness = "{B}s"'))
    watch = _Watch(market)
    with subprocess.Popen([_M2, "run", str(toml), "--follow"], stderr=subprocess.DEVNULL) as process:
        time.sleep(3)
        watch.begin(process.pid)
        rule = SendRule(kafka=market.kafka, topic=market.measurements, rate=LIVE_RATE / 5)
        send_events(_make_live(sample), rule, pause=lambda _seconds: None)
        time.sleep(B + 4)
        watch.end()
        process.terminate()
    _print_latency(market, watch)


def _make_live(sample: Path) -> Iterator[pl.DataFrame]:
    """The sample's events as if they happened now, five frames a second."""
    rows = pl.concat(read_sample(sample)).head(LIVE_RATE * LIVE_SECONDS).drop("arrival_time", strict=False)
    start = time.monotonic()
    for number, frame in enumerate(rows.iter_slices(LIVE_RATE // 5)):
        time.sleep(max(0.0, start + number / 5 - time.monotonic()))
        now = pl.lit(datetime.now(UTC)) - pl.duration(microseconds=100 * pl.int_range(pl.len()).reverse())
        yield frame.with_columns(event_time=now.cast(pl.Datetime("us", "UTC")))


class _Watch:
    """When which tagged events could be read, and what the process wrote meanwhile."""

    def __init__(self, market: Market) -> None:
        self._market, self._over = market, Event()
        self.seen: list[tuple[datetime, int, int]] = []
        """When so much of a partition could be read."""
        self.written: list[tuple[float, int]] = []

    def begin(self, pid: int) -> None:
        self._pid = pid
        self._thread = Thread(target=self._look)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        with open_client(self._market.kafka) as client:
            while not self._over.wait(0.1):
                facts = client.describe_topic(self._market.tagged)
                now = datetime.now(UTC)
                self.seen += [(now, each.partition, each.end_offset) for each in facts.partitions] if facts else []
                io = Path(f"/proc/{self._pid}/io").read_text()
                count = next(int(line.split()[1]) for line in io.splitlines() if line.startswith("write_bytes"))
                self.written.append((time.monotonic(), count))


def _print_latency(market: Market, watch: _Watch) -> None:
    from m2cli.avro.decode import Decoder
    from m2cli.avro.stores import EmbeddedStore

    decoder = Decoder(EmbeddedStore())
    found = {}
    for name, topic in (("sent", market.measurements), ("tagged", market.tagged)):
        messages = market.read_topic(topic)
        events = decoder.decode(messages.with_columns(source=pl.col("partition").cast(pl.String))).events
        found[name] = events.select("event_id", "source", "position_in_source", "arrival_time").unique("event_id")
    seen = pl.DataFrame(watch.seen, schema=["time", "partition", "end"], orient="row").select(
        pl.col("time").dt.cast_time_unit("us"), source=pl.col("partition").cast(pl.String), end="end"
    )
    tagged = found["tagged"].sort("source", "position_in_source").with_columns(pl.col("position_in_source") + 1)
    readable = tagged.join_asof(
        seen.sort("end"),
        left_on="position_in_source",
        right_on="end",
        by="source",
        strategy="forward",
        check_sortedness=False,
    ).join(found["sent"], on="event_id", suffix="_sent")
    delays = readable.select((pl.col("time") - pl.col("arrival_time_sent")).dt.total_milliseconds() / 1000)
    delay = delays.to_series().drop_nulls()
    limit = B + 2
    print(
        f"  followed at {LIVE_RATE:,} events/s: {len(delay):,} of {found['sent'].height:,} readable; from arrival: "
        f"median {delay.median():.2f} s, 95 % {delay.quantile(0.95):.2f} s, most {delay.max():.2f} s; "
        f"limit {limit} s, {'kept' if (delay.median() or 99) <= limit else 'NOT KEPT'}"
    )
    rates = [
        (later[1] - before[1]) / (later[0] - before[0])
        for before, later in zip(watch.written[::20], watch.written[20::20], strict=False)
    ]
    half = len(rates) // 2
    early, late = statistics.median(rates[1:half]), statistics.median(rates[half:])
    print(f"  written by it: {early / 1024:,.0f} KiB/s in the first half, {late / 1024:,.0f} KiB/s in the second")
