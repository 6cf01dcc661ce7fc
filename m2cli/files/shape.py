"""Rows of any columns made into events: columns found and typed, and the rows that do not fit put aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import REJECT_SCHEMA, TIME, Intake
from m2cli.files.attributes import gather_attributes
from m2cli.files.blocks import WRONG
from m2cli.files.rule import INPUT_COLUMNS, FileRule
from m2cli.files.values import Fault, convert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from m2cli.files.blocks import Block
    from m2cli.files.find import EventFile

DEFAULT_TYPE = "event"


class Typed(NamedTuple):
    """Rows in the event's types, their `places`, and what cannot be an event (`wrong`: index, reason)."""

    events: pl.DataFrame
    places: pl.Series
    wrong: pl.DataFrame


class _Named(NamedTuple):
    """A fault of a column, in words that can be counted."""

    mask: pl.Series
    reason: str


def shape_events(block: Block, file: EventFile, rule: FileRule, arrival_time: datetime) -> Intake:
    """The events and rejects of `block`; see `read_event_files` for what each column becomes.

    Of a column that has its type already only the count of nulls is looked at, and what is the same for all
    rows is a scalar, so a Parquet file that fits costs little more than reading it.
    """
    chosen = choose_columns(block.rows.columns, rule.mapping)
    events, index, wrong = type_rows(block.rows, block.index, chosen, rule)
    wrong = pl.concat([block.wrong, wrong]).sort("index") if wrong.height else block.wrong
    events = fill_absent(events, _defaults(file, index, chosen, arrival_time))
    return Intake(
        events=events.select(name for name in INPUT_COLUMNS if name in events.columns),
        rejects=_rejects(wrong, block, file, arrival_time),
        read_count=block.read_count,
        ignored_count=block.ignored_count,
    )


def type_rows(rows: pl.DataFrame, index: pl.Series, chosen: Mapping[str, str], rule: FileRule) -> Typed:
    """`rows` with the columns that were `chosen` (event column -> input column), and all others as attributes."""
    columns, faults = _typed(rows, chosen, rule)
    events = pl.DataFrame([column.alias(name) for name, column in columns.items()])
    if not faults:
        return Typed(events, index, pl.DataFrame(schema=WRONG))
    reason = pl.coalesce(*(pl.when(fault.mask).then(pl.lit(fault.reason)) for fault in faults))
    reasons = index.to_frame("index").with_columns(reason=reason)
    is_well = reasons["reason"].is_null()
    return Typed(events.filter(is_well), index.filter(is_well), reasons.filter(~is_well))


def choose_columns(columns: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Event column -> input column: the mapped one where it is there, else the one of the same name."""
    chosen = {}
    for name in INPUT_COLUMNS:
        if mapping.get(name) in columns:
            chosen[name] = mapping[name]
        elif name in columns:
            chosen[name] = name
    return chosen


def _typed(rows: pl.DataFrame, chosen: Mapping[str, str], rule: FileRule) -> tuple[dict[str, pl.Series], list[_Named]]:
    columns: dict[str, pl.Series] = {}
    faults: list[_Named] = []
    for name, dtype in INPUT_COLUMNS.items():
        if name in chosen and name != "attributes":
            columns[name], found = convert(rows[chosen[name]], dtype, rule)
            faults += _name_faults(name, found)
    if "event_time" not in columns:
        columns["event_time"] = pl.Series([None], dtype=TIME).new_from_index(0, rows.height)
    if columns["event_time"].null_count():  # those that are no time are told of first
        faults.append(_Named(columns["event_time"].is_null(), "event_time is missing"))
        faults.sort(key=lambda fault: not fault.reason.startswith("event_time "))
    others = [rows[name] for name in rows.columns if name not in chosen.values() and name != "visit_id"]
    own = rows[chosen["attributes"]] if "attributes" in chosen else None
    attributes = gather_attributes(own, others)
    if attributes is not None:
        columns["attributes"] = attributes.values
        faults += _name_faults("attributes", attributes.faults)
    return columns, faults


def _name_faults(name: str, faults: Sequence[Fault]) -> list[_Named]:
    return [_Named(fault.mask, f"{name} {fault.reason}") for fault in faults]


def _defaults(
    file: EventFile, index: pl.Series, chosen: Mapping[str, str], arrival_time: datetime
) -> dict[str, pl.Expr]:
    defaults = {
        "event_type": pl.lit(DEFAULT_TYPE),
        "source": pl.lit(file.source),
        "position_in_source": pl.lit(index),
        "arrival_time": pl.lit(arrival_time, TIME),
    }
    # One source in several files, no place in it: the file is its part, else two events would share a place.
    has_source = "source" in chosen
    if (has_source and not {"part_id", "position_in_source"} & set(chosen)) or (file.part_id and not has_source):
        defaults["part_id"] = pl.lit(file.part_id or file.source)
    return defaults


def fill_absent(events: pl.DataFrame, defaults: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """What the input does not say: a literal where the column is absent, filled in where rows lack it."""
    present = {name: events[name] for name in defaults if name in events.columns}
    return events.with_columns(
        *(pl.col(name).fill_null(defaults[name]) for name, column in present.items() if column.null_count()),
        **{name: default for name, default in defaults.items() if name not in present},
    )


def _rejects(wrong: pl.DataFrame, block: Block, file: EventFile, arrival_time: datetime) -> pl.DataFrame:
    if not wrong.height:
        return pl.DataFrame(schema=REJECT_SCHEMA)
    return (
        block.describe(wrong["index"])
        .with_columns(
            wrong["reason"],
            source=pl.lit(file.source),
            part_id=pl.lit(file.part_id, pl.String),
            file=pl.lit(file.name),
            arrival_time=pl.lit(arrival_time, TIME),
        )
        .select(list(REJECT_SCHEMA))
        .cast(REJECT_SCHEMA)  # type: ignore[arg-type]  # the schema holds classes and instances of dtypes
    )
