"""How a pipeline stands, as its ledger and its sources say it; only read, and whatever is under way."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from m2cli.errors import M2Error
from m2cli.files.listing import list_followed
from m2cli.kafka import KnownOffsets, name_partition
from m2cli.lake.layout import OWN_FOLDER
from m2cli.ledger import Progress, find_holder
from m2cli.logs.listing import list_logs
from m2cli.pipeline import AccessLogSource, KafkaSource
from m2cli.runs.batch.broker import Broker
from m2cli.runs.batch.facts import BatchFacts
from m2cli.runs.batch.plan import Plan
from m2cli.runs.batch.site import LEDGER, RUN_LOCK, refuse_foreign
from m2cli.runs.opened import open_pipelines_ledger

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from m2cli.ledger import LedgerBatch, LedgerReader, RowOfFile, RowOfPart
    from m2cli.pipeline import FileSource, PipelineRule

# Sums over all batches, by what `BatchFacts` calls them.
TOTALS = (
    "read_count",
    "event_count",
    "reject_count",
    "ignored_count",
    "closed_event_count",
    "late_count",
    "duplicate_count",
    "excluded_count",
    "visit_count",
    "redacted_count",
)


class PartitionStatus(NamedTuple):
    """A partition as the last batch was planned with it and left it."""

    source: str
    watermark: datetime | None
    latest_event_time: datetime | None
    last_input_time: datetime
    is_active: bool
    holds_back: bool
    """Whether W waits for it: of those that are active its watermark is the smallest."""


class SourceStatus(NamedTuple):
    """What of a source has been read, and what is there; sizes in bytes."""

    name: str
    file_count: int
    part_count: int
    read_bytes: int
    behind_bytes: int
    """What is there and was not read, by the files' sizes alone: compressed files count as they lie on disk, and a
    copy of what was read counts until the next batch has looked into it."""


class TopicStatus(NamedTuple):
    """What of a topic has been read, and what is there, in offsets; of those that transactions left no message is.

    What a pipeline that is followed has read since its last batch counts as read.
    """

    name: str
    partition_count: int
    read_count: int
    behind_count: int | None
    """None where the cluster cannot be asked."""


class BatchStatus(NamedTuple):
    """A batch that was committed."""

    batch_id: str
    kind: str
    end_time: datetime | None
    facts: BatchFacts


class Unfinished(NamedTuple):
    """A batch that is planned, or committed and not yet shown; a run is at work on it, or was killed."""

    batch_id: str
    kind: str
    state: str
    plan_time: datetime
    step_count: int
    """How many steps of it were planned; of one that is not followed 1."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a pipeline stands. Before its first batch `batches` are empty, and all counts 0."""

    pipeline: str
    lake: Path
    is_running: bool
    """Whether a run holds the pipeline's lock now."""
    W: datetime | None
    flushed_to: datetime | None
    open_visit_count: int
    open_event_count: int
    open_until: datetime | None
    """When the last of the open visits would end if nothing more came."""
    batch_count: int
    totals: dict[str, int]
    partitions: tuple[PartitionStatus, ...]
    sources: tuple[SourceStatus, ...]
    """Of logs and event files."""
    topics: tuple[TopicStatus, ...]
    batches: tuple[BatchStatus, ...]
    """The last ones, the oldest first."""
    unfinished: tuple[Unfinished, ...]
    warnings: tuple[str, ...]
    """Of the last batch, and of what cannot be looked at now."""


class _Known(NamedTuple):
    """What the ledger says, of one moment."""

    progress: Progress
    batches: list[LedgerBatch]
    last_run: list[LedgerBatch]
    batch_count: int
    totals: dict[str, int]
    unfinished: list[tuple[LedgerBatch, list[Plan]]]
    """With the plans of their steps."""
    files: list[RowOfFile]
    parts: list[RowOfPart]

    def find_positions(self, topic: str) -> dict[str, KnownOffsets]:
        """By partition how far `topic` has been read, and planned to be."""
        kept = {part.part_id: KnownOffsets(part.name, part.position) for part in self.parts if part.path == topic}
        plans = [plan for batch, plans in self.unfinished if batch.state == "planned" for plan in plans]
        offsets = (each for plan in plans for each in plan.offsets if each.topic == topic)
        planned = {each.source: KnownOffsets(each.topic_id, each.end) for each in offsets}
        return kept | planned


def read_status(pipeline: PipelineRule, *, batch_count: int = 10) -> Status:
    """How `pipeline` stands, with its last `batch_count` batches.

    Raises `UsageError` if its lake is another pipeline's or no pipeline's, `UnreadableSourceError` for a ledger that
    cannot be read.
    """
    own = pipeline.lake / OWN_FOLDER
    known = None
    if (own / LEDGER).exists():
        with open_pipelines_ledger(pipeline) as ledger, ledger.at_one_moment():
            known = _ask(ledger, batch_count)
    else:
        refuse_foreign(pipeline.lake)
    sources = [_look(source, known) for source in pipeline.file_sources]
    with closing(Broker(pipeline)) as broker:
        topics = [_look_at_topic(source, known, broker) for source in pipeline.topic_sources]
    return _put_together(pipeline, known, sources, topics, is_running=find_holder(own / RUN_LOCK) is not None)


def _ask(ledger: LedgerReader, batch_count: int) -> _Known:
    return _Known(
        progress=ledger.read_progress(),
        batches=ledger.list_batches(batch_count),
        last_run=ledger.list_batches(1, kinds=["run"]),
        batch_count=ledger.count_batches(),
        totals=ledger.sum_facts(TOTALS),
        unfinished=[
            (batch, [Plan.from_json(plan) for plan in ledger.list_plans(batch)]) for batch in ledger.list_unfinished()
        ],
        files=ledger.read_files(),
        parts=ledger.list_parts(),
    )


def _put_together(
    pipeline: PipelineRule,
    known: _Known | None,
    sources: Sequence[tuple[SourceStatus, tuple[str, ...]]],
    topics: Sequence[tuple[TopicStatus, tuple[str, ...]]],
    **now: Any,
) -> Status:
    batches = tuple(
        BatchStatus(batch.batch_id, batch.kind, batch.end_time, BatchFacts.from_json(batch.facts))
        for batch in (known.batches if known else ())
    )
    last_run = BatchFacts.from_json(known.last_run[0].facts) if known and known.last_run else BatchFacts()
    of_last_batch = batches[-1].facts.warnings if batches else ()
    unseen = (text for _, warnings in (*sources, *topics) for text in warnings)
    return Status(
        pipeline=pipeline.name,
        lake=pipeline.lake,
        W=known.progress.W.time if known else None,
        flushed_to=known.progress.W.flushed_to if known else None,
        open_visit_count=last_run.open_visit_count,
        open_event_count=last_run.carried_out_count,
        open_until=last_run.open_until,
        batch_count=known.batch_count if known else 0,
        totals=known.totals if known else dict.fromkeys(TOTALS, 0),
        partitions=_list_partitions(known.progress) if known else (),
        sources=tuple(status for status, _ in sources),
        topics=tuple(status for status, _ in topics),
        batches=batches,
        unfinished=tuple(
            Unfinished(batch.batch_id, batch.kind, batch.state, batch.plan_time, len(plans))
            for batch, plans in (known.unfinished if known else ())
        ),
        warnings=tuple(dict.fromkeys([*of_last_batch, *unseen])),
        **now,
    )


def _list_partitions(progress: Progress) -> tuple[PartitionStatus, ...]:
    rows = list(progress.partitions.iter_rows(named=True))
    active = [row["watermark"] for row in rows if row["is_active"]]
    # Before anything is read of a partition, its watermark is before all others.
    smallest = None if None in active else min(active, default=None)
    return tuple(
        PartitionStatus(
            row["source"],
            row["watermark"],
            row["latest_event_time"],
            row["last_input_time"],
            row["is_active"],
            row["is_active"] and row["watermark"] == smallest,
        )
        for row in rows
    )


def _look_at_topic(source: KafkaSource, known: _Known | None, broker: Broker) -> tuple[TopicStatus, tuple[str, ...]]:
    """How far a topic has been read, and what there is of it."""
    positions = known.find_positions(source.topic) if known else {}
    read_count = sum(each.position for each in positions.values())
    try:
        facts = broker.describe(source.topic)
    except M2Error as error:
        return TopicStatus(source.name, len(positions), read_count, None), (str(error),)
    behind_count = 0
    for partition in facts.partitions:
        before = positions.get(name_partition(source.topic, partition.partition))
        position = before.position if before and before.topic_id == facts.topic_id else partition.first_offset
        behind_count += max(partition.end_offset - max(position, partition.first_offset), 0)
    return TopicStatus(source.name, len(facts.partitions), read_count, behind_count), ()


def _look(source: FileSource, known: _Known | None) -> tuple[SourceStatus, tuple[str, ...]]:
    """What there is of `source`, and what could not be looked at."""
    rows = [row for row in (known.files if known else ()) if row.source_name == source.name]
    is_log = isinstance(source, AccessLogSource)
    listing = list_logs(source.paths, {row.path for row in rows}) if is_log else list_followed(source.paths)
    parts = {part.part_id: part for part in (known.parts if known else ()) if _is_of(part, source, rows)}
    status = SourceStatus(
        name=source.name,
        file_count=len(listing.files),
        part_count=len(parts),
        read_bytes=sum(part.position for part in parts.values()),
        behind_bytes=_count_behind([(file.path, file.status) for file in listing.files], rows, parts),
    )
    return status, listing.warnings


def _is_of(part: RowOfPart, source: FileSource, rows: Sequence[RowOfFile]) -> bool:
    """Whether `part` was read from `source`: by the file that holds it, or by where it was when it was read."""
    if part.source == source.name or part.part_id in {row.part_id for row in rows}:
        return True
    is_log = isinstance(source, AccessLogSource)
    return is_log and any(fnmatchcase(part.path, pattern) for pattern in source.paths)


def _count_behind(
    found: Iterable[tuple[str, os.stat_result]], rows: Sequence[RowOfFile], parts: dict[str, RowOfPart]
) -> int:
    by_path = {(row.path, row.inode): row for row in rows}
    by_inode = {row.inode: row for row in rows}
    behind: defaultdict[str, int] = defaultdict(int)
    for path, status in found:
        row = by_path.get((path, status.st_ino)) or by_inode.get(status.st_ino)
        part = parts.get(row.part_id or "") if row else None
        if row and part:
            grown = status.st_size - row.size
            seen = status.st_size if row.text_size is None else row.text_size + grown
            size = 0 if part.is_excluded else seen - part.position
            behind[part.part_id] = max(behind[part.part_id], size)
        elif not row or row.text_size is None or row.size != status.st_size:
            behind[path] = status.st_size
    return sum(behind.values())
