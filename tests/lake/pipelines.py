"""Batches of a pipeline's lake, as a run writes, shows and publishes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.lake import LakeFile, hide_files, open_batch, publish, show_files
from tests.twins.lake_twin import START, Whole, make_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from m2cli.lake.swap import At

PIPELINE = "shop"


def batch_id_of(number: int) -> str:
    return f"{PIPELINE}-{number:06d}"


def make_batch(number: int, visits: list[tuple[int, int]]) -> Whole:
    """Whole visits whose ids no other batch has."""
    whole = make_whole(visits)
    return Whole(
        whole.events.with_columns(pl.col("visit_id", "event_id").str.replace("^", f"{number}-")),
        whole.visits.with_columns(pl.col("visit_id").str.replace("^", f"{number}-")),
    )


def write_batch(lake: Path, number: int, whole: Whole, at: At = lambda _step: None) -> tuple[LakeFile, ...]:
    """All up to where a run commits to its ledger."""
    with open_batch(lake, batch_id_of(number), at=at) as batch:
        batch.write_events(whole.events, whole.visits)
        at("events written")
        batch.write_visits(whole.visits)
        at("visits written")
        return batch.finish()


def publish_batch(
    lake: Path,
    number: int,
    added: Sequence[LakeFile],
    removed: Sequence[LakeFile] = (),
    at: At = lambda _step: None,
) -> None:
    """All that follows on the commit; may be done again."""
    hide_files(lake, removed, at=at)
    show_files(lake, added, at=at)
    publish(lake, batch_id=batch_id_of(number), W=START, pipeline=PIPELINE, added=added, removed=removed, at=at)


def take_in(lake: Path, number: int, whole: Whole) -> tuple[LakeFile, ...]:
    """A whole batch."""
    files = write_batch(lake, number, whole)
    publish_batch(lake, number, files)
    return files


def list_all(lake: Path) -> set[str]:
    """All files below `lake`, by their places."""
    return {str(path.relative_to(lake)) for path in lake.rglob("*") if path.is_file()}
