"""Values as the ledger has them: times as text that a person can read, partitions as rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.visits.watermarks import PARTITION_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_TIMES = ("watermark", "latest_event_time", "last_input_time")


def to_partitions(rows: Iterable[Sequence[Any]]) -> pl.DataFrame:
    """Partitions (PARTITION_SCHEMA) of rows with times as text."""
    columns = list(zip(*rows, strict=True)) or [()] * len(PARTITION_SCHEMA)
    return pl.DataFrame(
        [
            pl.Series(name, [_TO_VALUE.get(name, _as_it_is)(value) for value in values], dtype)
            for (name, dtype), values in zip(PARTITION_SCHEMA.items(), columns, strict=True)
        ]
    )


def from_partitions(partitions: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of partitions (PARTITION_SCHEMA), with times as text."""
    return [
        {name: to_text(value) if name in _TIMES else value for name, value in row.items()}
        for row in partitions.select(*PARTITION_SCHEMA).iter_rows(named=True)
    ]


def to_text(time: datetime | None) -> str | None:
    """`time` as the ledger has it; texts sort as times do."""
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")


def to_time(text: str | None) -> datetime | None:
    """The time that the ledger has."""
    return None if text is None else datetime.fromisoformat(text)


def _as_it_is(value: Any) -> Any:
    return value


_TO_VALUE: dict[str, Callable[[Any], Any]] = {**dict.fromkeys(_TIMES, to_time), "is_active": bool}
