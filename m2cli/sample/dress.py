"""Events get their words: ids, people, addresses, what they are about and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import EVENT_SCHEMA, TIME
from m2cli.sample.catalogue import amount_row
from m2cli.sample.draws import below, draw, hex_ids, high, make_key
from m2cli.sample.people import describe_visitors

if TYPE_CHECKING:
    from m2cli.sample.catalogue import Tables
    from m2cli.sample.library import Library
    from m2cli.sample.rule import SampleRule

PART_ID = "0"
_SLOTS = 1_024  # more than the things of any script


def dress_events(
    placed: pl.DataFrame, plan: pl.DataFrame, library: Library, tables: Tables, rule: SampleRule
) -> pl.DataFrame:
    """`placed` (of `Arrivals.take`) with the columns of an event, and those that the truth needs.

    The columns that are no event's: `journey`, `event`, `cause` (numbers), `time` (µs), `is_watched`,
    `start`, `root_id`, `is_late`, `is_out_of_order`.
    """
    scenes = library.scenes.drop("same_as", "row", "gap_from", "gap_range", "shift", "is_prompt")[placed["scene"]]
    rows = pl.concat([placed, scenes], how="horizontal").join(
        list_people(placed["journey"], plan, rule), on="journey", how="left", maintain_order="left"
    )
    has_link = pl.col("has_link")
    things = rows.with_columns(
        thing=pl.col("thing") + _which("slot", "size", rule),
        referrer_thing=pl.col("referrer_thing") + _which("referrer_slot", "referrer_size", rule),
        cause=pl.col("first_event") + pl.col("cause"),
        root=pl.col("first_event") + pl.col("root"),
    )
    key = make_key(rule.seed, "event")
    size = 1_500 + below(high(draw(pl.col("event"), make_key(rule.seed, "bytes"))), 60_000)
    return things.with_columns(
        event_id=draw(pl.col("event"), key),
        cause_id=draw(pl.col("cause"), key),
        root_id=draw(pl.col("root"), key),
        event_time=pl.col("time").cast(TIME),
        arrival_time=pl.col("arrival").cast(TIME),
        customer_id=pl.when("is_known").then("account"),
        url=pl.lit(tables.links).gather(pl.when(has_link).then("thing")),
        bytes=pl.when(has_link).then(pl.when(pl.col("status") == 304).then(0).otherwise(size)),
        referrer=pl.lit(tables.referrers).gather("referrer_thing"),
        entity_id=pl.lit(tables.names).gather(pl.when("has_name").then("thing")),
        amount=pl.lit(tables.amounts).gather(amount_row(pl.col("thing"), pl.col("quantity"), pl.col("currency"))),
        source=pl.format(name_source("{}"), "source"),
        part_id=pl.lit(PART_ID),
        position_in_source="place",
    ).with_columns(pl.col("event_id", "cause_id", "root_id").map_batches(hex_ids, return_dtype=pl.String))


def name_source(number: int | str) -> str:
    """web-0, web-1 ..."""
    return f"web-{number}"


def as_events(dressed: pl.DataFrame) -> pl.DataFrame:
    """What a file of events holds: the columns of DESIGN 3.1 that the sample fills."""
    return dressed.select(pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items() if name in dressed.columns)


def list_people(journeys: pl.Series, plan: pl.DataFrame, rule: SampleRule) -> pl.DataFrame:
    """One row for each of the journeys (rows of the plan): what the plan says of it, and who makes it."""
    numbers = journeys.unique().sort().alias("journey")
    about = plan.select("visitor", "is_robot", "start", "first_event", "is_watched")[numbers]
    return describe_visitors(about.insert_column(0, numbers), rule.seed, has_cookies=not rule.is_log)


def _which(slot: str, size: str, rule: SampleRule) -> pl.Expr:
    """Which of `size` things: the same for a journey and a slot; a few are far more popular."""
    half = high(draw(pl.col("journey").cast(pl.Int64) * _SLOTS + pl.col(slot), make_key(rule.seed, "thing")))
    return below((half // 2) * (half // 2) // 2**30, pl.col(size))
