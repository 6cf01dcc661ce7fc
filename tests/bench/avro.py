"""Messages of Avro a CPU second: m2's decoder and encoder beside fastavro, the floor."""

from __future__ import annotations

import io
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import polars as pl

from m2cli.avro.columns import read_columns
from m2cli.avro.decode import Decoder
from m2cli.avro.encode import Encoder, event_schema
from m2cli.avro.stores import EmbeddedStore

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
SAMPLE = Path(__file__).parents[2] / "sample_data" / "events.parquet"
COPIES = 50  # of the sample's 6,000 events
FEW = 20_000  # are enough for what takes them one by one


def bench_avro(_folder: Path) -> None:
    """Rates of events of 23 fields, the sample's own."""
    events = pl.concat([pl.read_parquet(SAMPLE)] * COPIES)
    schema = event_schema()
    parsed: Any = fastavro.parse_schema(schema.definition)
    encoder, decoder = Encoder(schema), Decoder(EmbeddedStore())
    messages = encoder.encode(events)
    topic = pl.DataFrame(
        {
            "value": messages,
            "source": "measurements-0",
            "position_in_source": pl.int_range(len(messages), dtype=pl.Int64, eager=True),
            "arrival_time": events["event_time"],
        }
    )
    bodies = [message[10:] for message in messages.head(FEW).to_list()]
    rows = [fastavro.schemaless_reader(io.BytesIO(body), parsed, None) for body in bodies]
    size = messages.bin.size().mean()
    print(f"\nAvro, {events.height:,} events of {len(schema.type.fields)} fields, {size:.0f} bytes each, a CPU second")
    compare(
        {
            "floor: fastavro to dictionaries": (FEW, lambda: read_all(bodies, parsed)),
            "m2: columns alone": (events.height, lambda: read_in_pieces(schema.type, messages)),
            "m2: Decoder, whole": (events.height, lambda: decoder.decode(topic)),
        }
    )
    compare(
        {
            "floor: fastavro of dictionaries": (FEW, lambda: write_all(rows, parsed)),
            "m2: Encoder": (events.height, lambda: encoder.encode(events)),
        }
    )


def read_in_pieces(record: Any, messages: pl.Series) -> None:
    for start in range(0, len(messages), 1 << 14):
        read_columns(record, messages[start : start + (1 << 14)], 10)


def read_all(bodies: list[bytes], parsed: Any) -> None:
    for body in bodies:
        fastavro.schemaless_reader(io.BytesIO(body), parsed, None)


def write_all(rows: list[Any], parsed: Any) -> None:
    for row in rows:
        fastavro.schemaless_writer(io.BytesIO(), parsed, row)


def compare(ways: dict[str, tuple[int, Callable[[], object]]]) -> None:
    """Interleaved, the median of each, and its ratio to the first, the floor."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (count, work) in ways.items():
            start = time.process_time()
            work()
            rates[name].append(count / (time.process_time() - start))
    floor = statistics.median(next(iter(rates.values())))
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"  {name:<32} {median:>12,.0f} events/s ({max(values):,.0f} at best)  {median / floor:6.2f} x")


if __name__ == "__main__":
    bench_avro(Path())
