"""What the ledger's tables hold, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from m2cli.visits import Watermark


@dataclass(frozen=True, kw_only=True)
class LedgerBatch:
    """A batch as the ledger has it."""

    number: int
    batch_id: str
    kind: str
    """run, rebuild, compact or expire."""
    state: str
    """planned, committed (but perhaps not yet shown), published, or dropped."""
    plan_time: datetime
    end_time: datetime | None
    plan: Mapping[str, Any]
    facts: Mapping[str, Any]


class RowOfPart(NamedTuple):
    """A part of a source, and how far it has been read; `marks` are (start, end, digest).

    Of a topic a partition is a part: `part_id` is what it is called, `name` the topic's id, `position` an offset.
    """

    part_id: str
    name: str
    source: str
    position: int
    line_count: int
    is_excluded: bool
    path: str
    marks: tuple[tuple[int, int, str], ...]


class RowOfFile(NamedTuple):
    """A file of a source as a plan last saw it; `source_name` is the pipeline's own name for that source."""

    source_name: str
    path: str
    device: int
    inode: int
    size: int
    modified: int
    part_id: str | None
    text_size: int | None


class CarriedFile(NamedTuple):
    """A file of carried state; `path` is relative to the lake."""

    path: str
    kind: str
    sequence: int
    row_count: int
    alive_count: int


class Progress(NamedTuple):
    """How far a pipeline has come."""

    W: Watermark
    partitions: pl.DataFrame
    carried: tuple[CarriedFile, ...]
    next_visit_number: int


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that one batch commits; what is None stays as it was."""

    progress: Progress | None = None
    parts: Sequence[RowOfPart] = ()
    """With new positions; their marks are added to those that are there."""
    files: Sequence[RowOfFile] | None = None
    """All files that are there."""
    added: Sequence[Mapping[str, Any]] = ()
    """Files of the lake: `path`, `kind`, `start_date` and whatever else the lake says of them."""
    replaced: Sequence[str] = ()
    """Paths of files of the lake that these replace."""
    grace: timedelta = timedelta(0)
    """How long the replaced ones stay for readers."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    forget_before: datetime | None = None
    """Plans before this time, and the parts that are gone since then, are forgotten."""
