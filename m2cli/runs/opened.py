"""What a pipeline has not written yet: its open visits and their events, of one moment, for who looks on (DESIGN 4.9).

Nothing here is held or waited for: a run may commit meanwhile, and remove what is being read; then it is read anew.
"""

from __future__ import annotations

from math import ceil, log2
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.lake.layout import OWN_FOLDER
from m2cli.lake.snapshot import Snapshot
from m2cli.lake.views import OPEN_EVENTS, OPEN_VISITS
from m2cli.lake.write import explain_unwritable, m2_version
from m2cli.ledger import open_ledger
from m2cli.runs.batch.carry import Carried
from m2cli.runs.batch.site import LEDGER, to_lake_files
from m2cli.runs.shards import budget_events
from m2cli.visits import Watermark, assign_visits, gather

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from m2cli.ledger import LedgerReader, Progress
    from m2cli.pipeline import PipelineRule
    from m2cli.visits import VisitRule

# Carried files of a commit stay until the next but one begins, so that a second try finds its own.
_TRIES = 5
# Bytes in memory for each byte of a carried file, as events are gathered: they are there twice.
_UNPACKED = 12


class Opened(NamedTuple):
    """The lake and what is open besides it, of one moment; `paths` are the files of the views of what is open."""

    snapshot: Snapshot
    paths: dict[str, list[Path]]


def open_pipelines_ledger(pipeline: PipelineRule) -> LedgerReader:
    """The ledger of `pipeline`, to be read only.

    Raises `UnreadableSourceError` where it has none, `UsageError` if its lake is another pipeline's.
    """
    ledger = open_ledger(pipeline.lake / OWN_FOLDER / LEDGER)
    if ledger.pipeline != pipeline.name:
        owner = ledger.pipeline
        ledger.close()
        raise UsageError(
            f"the lake `{pipeline.lake}` is written by the pipeline `{owner}`, not by `{pipeline.name}`; "
            "name the lake of this one in `lake`"
        )
    return ledger


def write_opened(pipeline: PipelineRule, views: Collection[str], folder: Path) -> Opened:
    """Write what is open in `pipeline` as Parquet files in `folder`, for those of the views that are named.

    `open_events` has every event that is in no file of the lake yet (LAKE_EVENT_SCHEMA), with the visit that it is in
    so far; `open_visits` a row for each of these visits (VISIT_SCHEMA without `end_reason`, and `open_until`). Raises
    what `open_pipelines_ledger` raises, `UnwritableSinkError` for a folder that takes no more.
    """
    with open_pipelines_ledger(pipeline) as ledger:
        for _ in range(_TRIES):
            with ledger.at_one_moment():
                progress = ledger.read_progress()
                files = to_lake_files(ledger.list_lake_files())
                last = ledger.list_batches(1)
            try:
                paths = _write(pipeline, progress, views, folder)
            except FileNotFoundError as error:
                gone = error
                continue
            snapshot = Snapshot(
                m2_version=m2_version(),
                batch_id=last[0].batch_id if last else "none",
                W=progress.W.time,
                pipeline=pipeline.name,
                files=tuple(files),
                is_linked=True,
            )
            return Opened(snapshot, paths)
        hint = f"`m2 check {pipeline.path}` says what else is not as it should be"
        raise UnreadableSourceError(pipeline.lake, f"a file of carried state is gone ({gone})", hint)


def _write(pipeline: PipelineRule, progress: Progress, views: Collection[str], folder: Path) -> dict[str, list[Path]]:
    carried = Carried(pipeline.lake, progress)
    size = _UNPACKED * sum((pipeline.lake / file.path).stat().st_size for file in progress.carried)
    shard_count = 1 << max(0, ceil(log2(max(size, 1) / budget_events(pipeline.memory))))
    paths: dict[str, list[Path]] = {view: [] for view in views}
    for number in range(shard_count):
        frames = _cut(carried, progress.W, pipeline.visit, (number, shard_count), views)
        for view, frame in frames.items():
            path = folder / f"{view}-{number}.parquet"
            with explain_unwritable(folder):
                frame.write_parquet(path, compression="lz4")
            paths[view].append(path)
    return paths


def _cut(
    carried: Carried, W: Watermark, rule: VisitRule, shard: tuple[int, int], views: Collection[str]
) -> dict[str, pl.DataFrame]:
    """The visits of one shard as they would be if the input ended here, and their events."""
    state = carried.load(*shard)
    cut = assign_visits(state.pending.clear(), state, Watermark.end_of_input(W.latest_event_time), rule)
    frames = {}
    if OPEN_VISITS.name in views:
        silent, longest = pl.col("end_time") + rule.inactivity, pl.col("start_time") + rule.max_duration
        rows = cut.ended.with_columns(open_until=pl.min_horizontal(silent, longest))
        frames[OPEN_VISITS.name] = rows.select(*OPEN_VISITS.schema)
    if OPEN_EVENTS.name in views:
        before = cut.ended["visit_number"].filter(cut.ended["visit_number"] < state.next_visit_number)
        frames[OPEN_EVENTS.name] = gather([*carried.find(before), cut.tagged], cut.ended).whole
    return frames
