"""What a person may say about event files: which column means what, and the zone of times without one."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

import polars as pl

from m2cli.errors import UnknownNameError, UsageError
from m2cli.events import LAKE_EVENT_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

# A visit is what m2 finds out; one that the input brings is left out (it goes nowhere).
INPUT_COLUMNS = {name: dtype for name, dtype in LAKE_EVENT_SCHEMA.items() if name != "visit_id"}


@dataclass(frozen=True, kw_only=True)
class FileRule:
    """How event files are read.

    `mapping`: event column -> input column, for inputs that name their columns otherwise. An input column
    that has an event column's own name keeps that meaning too, unless another one is mapped to it.
    `time_zone`: of times that name none. An hour that occurs twice is its first; one that is skipped is no
    time.
    `block_bytes`: how much text is read at a time; `parquet_block_bytes`: of Parquet files, as they lie on
    disk, and `parquet_memory` as they are in memory, by what their first rows take there.

    Raises `UnknownNameError` for a column or a zone that there is none of, `UsageError` for a size below 1.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    time_zone: str = "UTC"
    block_bytes: int = 64 << 20
    parquet_block_bytes: int = 256 << 20
    parquet_memory: int = 4 << 30

    def __post_init__(self) -> None:
        for name in self.mapping:
            if name not in INPUT_COLUMNS:
                raise UnknownNameError("event column", name, INPUT_COLUMNS)
        if not is_time_zone(self.time_zone):
            near = get_close_matches(self.time_zone, zoneinfo.available_timezones(), n=1)
            hint = f"did you mean `{near[0]}`?" if near else "write it as `Europe/Amsterdam`"
            raise UsageError(f"unknown time zone `{self.time_zone}`; {hint}")
        if min(self.block_bytes, self.parquet_block_bytes, self.parquet_memory) < 1:
            raise UsageError("a block has at least 1 byte")


def is_time_zone(name: str) -> bool:
    """Whether Polars, which brings its own table of zones, knows `name`."""
    try:
        pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(name)
    except (pl.exceptions.PolarsError, ValueError):
        return False
    return True
