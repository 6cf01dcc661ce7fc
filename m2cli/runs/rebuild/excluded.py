"""Which part of a pipeline's input a file is, that is to be taken out."""

from __future__ import annotations

from dataclasses import replace
from glob import escape
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import UsageError
from m2cli.pipeline import AccessLogSource, EventsSource
from m2cli.runs.batch.known import Known, PlanRule
from m2cli.runs.intake import holds_events

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from m2cli.ledger import RowOfPart
    from m2cli.runs.batch.known import Found
    from m2cli.runs.batch.site import Site


class Excluded(NamedTuple):
    """The parts that a file is, and what there is to say of how they were found."""

    parts: list[RowOfPart]
    warnings: tuple[str, ...] = ()


def find_excluded(site: Site, path: Path) -> Excluded:
    """The parts that are in the file at `path`, by its content; by its name if it is there no more, or by a part's id.

    Raises `UsageError` for what the pipeline has never taken, and for a name under which several logs were read.
    """
    parts = {part.part_id: part for part in site.ledger.list_parts()}
    if str(path) in parts:
        return Excluded([parts[str(path)]])
    if path.exists():
        seen = _look_into(site, path)
        part_ids = dict.fromkeys(file.part_id for file in seen.files if file.part_id in parts)
        found = Excluded([parts[part_id] for part_id in part_ids if part_id], seen.notes.warnings)
    else:
        found = Excluded([part for part in parts.values() if part.path == str(path.absolute())])
    if not found.parts:
        raise UsageError(f"the pipeline has taken nothing that is in `{path}`; `m2 status` lists what it follows")
    if len(found.parts) > 1:
        ids = ", ".join(f"`{part.part_id}`" for part in found.parts)
        raise UsageError(f"several logs were read as `{path}`, which is not there any more; name one by its id: {ids}")
    return found


def list_names(parts: Iterable[RowOfPart]) -> pl.Series:
    """What events of these parts have as `part_id`: that of a log, or an event file's path and content."""
    return pl.Series(
        [name for part in parts for name in (part.part_id, f"{part.path}#{part.part_id}")], dtype=pl.String
    )


def _look_into(site: Site, path: Path) -> Found:
    known, paths = Known(site.ledger), (escape(str(path.absolute())),)
    sources = site.pipeline.sources
    if holds_events(path):
        events = next((each for each in sources if isinstance(each, EventsSource)), None)
        source = EventsSource(name=str(path), paths=paths, mapping=events.mapping if events else {})
        return known.follow_events(source, site.now(), PlanRule(is_flush=True))
    logs = next((each for each in sources if isinstance(each, AccessLogSource)), None)
    log = replace(logs, name=str(path), paths=paths) if logs else AccessLogSource(name=str(path), paths=paths)
    return known.follow_logs([log], site.now(), PlanRule(is_flush=True))
