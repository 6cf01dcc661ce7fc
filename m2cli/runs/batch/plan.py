"""A batch's plan: its exact input, the active partitions and arrival times, decided before any work (DESIGN 5.1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from m2cli.files.follow import PlannedFile
from m2cli.files.tape import PlannedRows
from m2cli.kafka import PlannedOffsets
from m2cli.ledger.values import from_partitions, to_partitions
from m2cli.logs.follow import PlannedRange
from m2cli.settings import format_duration, parse_duration
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl


class PlannedInput(NamedTuple):
    """What a batch takes of one source: ranges of logs, whole event files, offsets of a topic, or rows of a tape."""

    source_name: str
    ranges: tuple[PlannedRange, ...] = ()
    files: tuple[PlannedFile, ...] = ()
    offsets: tuple[PlannedOffsets, ...] = ()
    rows: tuple[PlannedRows, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides a batch's result; a retry reads it back from the ledger and does the same again."""

    inputs: tuple[PlannedInput, ...]
    partitions: pl.DataFrame
    """Which count for W in this batch, and how far each had come (PARTITION_SCHEMA)."""
    visit: VisitRule
    max_ahead: timedelta
    is_flush: bool = False

    @property
    def has_input(self) -> bool:
        """Whether there is anything to read."""
        return any(each.ranges or each.files or each.offsets or each.rows for each in self.inputs)

    @property
    def offsets(self) -> tuple[PlannedOffsets, ...]:
        """All offsets that are taken, of whatever topic."""
        return tuple(offsets for each in self.inputs for offsets in each.offsets)

    def to_json(self) -> dict[str, Any]:
        """What the ledger keeps."""
        return {
            "inputs": [_input_to_json(each) for each in self.inputs],
            "partitions": from_partitions(self.partitions),
            "visit": {name: format_duration(value) for name, value in asdict(self.visit).items()},
            "max_ahead": format_duration(self.max_ahead),
            "is_flush": self.is_flush,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Plan:
        """The plan that the ledger kept."""
        return cls(
            inputs=tuple(_input_from_json(each) for each in kept["inputs"]),
            partitions=to_partitions([tuple(row.values()) for row in kept["partitions"]]),
            visit=VisitRule(**{name: parse_duration(text) for name, text in kept["visit"].items()}),
            max_ahead=parse_duration(kept["max_ahead"]),
            is_flush=kept["is_flush"],
        )


def _input_to_json(planned: PlannedInput) -> dict[str, Any]:
    return {
        "source_name": planned.source_name,
        "ranges": _to_json(planned.ranges),
        "files": _to_json(planned.files),
        "offsets": _to_json(planned.offsets),
        **({"rows": _to_json(planned.rows)} if planned.rows else {}),
    }


def _input_from_json(kept: Mapping[str, Any]) -> PlannedInput:
    return PlannedInput(
        kept["source_name"],
        tuple(PlannedRange(**_with_times(each)) for each in kept["ranges"]),
        tuple(PlannedFile(**_with_times(each)) for each in kept["files"]),
        tuple(PlannedOffsets(**each) for each in kept.get("offsets", ())),
        tuple(PlannedRows(**each) for each in kept.get("rows", ())),
    )


def _to_json(values: Sequence[Any]) -> list[dict[str, Any]]:
    rows = [{field.name: getattr(value, field.name) for field in fields(value)} for value in values]
    return [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]


def _with_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name.endswith("_time") and value is not None else value
        for name, value in row.items()
    }
