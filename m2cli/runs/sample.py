"""`m2 sample`: a shop's days, written slice by slice, with the truth about them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.errors import UnwritableSinkError, UsageError
from m2cli.sample.catalogue import make_tables
from m2cli.sample.dress import as_events, dress_events
from m2cli.sample.library import write_library
from m2cli.sample.lines import Logs
from m2cli.sample.plan import plan_journeys
from m2cli.sample.play import Arrivals, play_slices
from m2cli.sample.record import Record
from m2cli.sample.traps import count_journeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from m2cli.sample.library import Library
    from m2cli.sample.rule import SampleRule

EVENTS, LOGS, TRUTH = "events", "logs", "truth"
"""The folders of a sample."""


class SampleFacts(NamedTuple):
    """What was made."""

    event_count: int
    visitor_count: int
    counts: dict[str, int]
    """Late and out-of-order events; and of each truth, `all/...` and `on_time/...`: visits, continued visits,
    visits over midnight and new year; not for logs: orphans, events without root, duplicates, ids reused."""
    traps: dict[str, int]
    """How many journeys meet each edge of the rules, by the name of the trap."""
    files: tuple[Path, ...]
    """Events or logs, in order of their names."""


def make_sample(directory: Path, rule: SampleRule, tell: Callable[[int], None] | None = None) -> SampleFacts:
    """Write a sample to `directory`: `events/` or `logs/`, and `truth/`.

    `tell` is given the number of events written so far. The folder may exist, but must be empty; what a
    failed run has written is removed again.

    Raises `UsageError` where the rule does not work out or the folder is not empty, `UnwritableSinkError` where
    it cannot be written.
    """
    _refuse_taken(directory)
    library = write_library(rule)
    plan = plan_journeys(library, rule)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        counts, files = _write(directory, plan, library, rule, tell or _say_nothing)
    except BaseException as failure:
        for name in (EVENTS, LOGS, TRUTH):
            shutil.rmtree(directory / name, ignore_errors=True)
        if isinstance(failure, OSError):
            raise UnwritableSinkError(directory, failure.strerror or str(failure)) from failure
        raise
    visitors = plan.select("visitor", "is_robot").n_unique()
    traps = {name: count_journeys(name, rule) for name in library.traps}
    return SampleFacts(rule.events, visitors, counts, traps, files)


def read_sample(directory: Path) -> Iterator[pl.DataFrame]:
    """The events of the sample in `directory`, file by file, in the order in which they arrived."""
    for path in sorted((directory / EVENTS).iterdir()):
        yield pl.read_parquet(path)


def _refuse_taken(directory: Path) -> None:
    try:
        is_taken = directory.exists() and any(directory.iterdir())
    except OSError as failure:
        raise UnwritableSinkError(directory, failure.strerror or str(failure)) from failure
    if is_taken:
        raise UsageError(f"`{directory}` is not empty; name another folder")


def _write(
    directory: Path, plan: pl.DataFrame, library: Library, rule: SampleRule, tell: Callable[[int], None]
) -> tuple[dict[str, int], tuple[Path, ...]]:
    tables = make_tables()
    arrivals = Arrivals(rule.sources)
    record = Record(directory / TRUTH, plan, library, rule)
    sink = Logs(directory / LOGS, rule.malformed) if rule.is_log else _EventSink(directory, rule)
    counts = dict.fromkeys(("late", "out_of_order"), 0)
    written = 0
    for piece in play_slices(plan, library, rule):
        record.note_journeys(piece)
        placed = arrivals.take(piece.played, piece.until)
        dressed = sink.append(dress_events(placed, plan, library, tables, rule))
        record.note_events(dressed)
        for name in counts:
            counts[name] += int(dressed[f"is_{name}"].sum())
        written += dressed.height
        tell(written)
    return counts | record.close(arrivals.latest, arrivals.watermark), sink.paths


class _EventSink:
    """Files of events, in order of arrival."""

    def __init__(self, directory: Path, rule: SampleRule) -> None:
        self._directory, self._ending = directory / EVENTS, "ndjson" if rule.format == "ndjson" else "parquet"
        self._directory.mkdir()
        self.paths: tuple[Path, ...] = ()

    def append(self, dressed: pl.DataFrame) -> pl.DataFrame:
        path = self._directory / f"part-{len(self.paths):05}.{self._ending}"
        events = as_events(dressed)
        if self._ending == "ndjson":
            events.write_ndjson(path)
        else:
            events.write_parquet(path)
        self.paths = (*self.paths, path)
        return dressed


def _say_nothing(_written: int) -> None:
    pass
