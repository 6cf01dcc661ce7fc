"""Visits checked in SQL by DuckDB, which shares nothing with the kernel: the limits, every event once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import duckdb

from m2cli.errors import UnreadableSourceError
from m2cli.lake.views import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta
    from pathlib import Path


class Proof(NamedTuple):
    """How many faults of each kind there are; none of any if all is well."""

    event_count: int
    """Events in visits."""
    visit_count: int
    gap_count: int
    """Silences above `inactivity` inside a visit."""
    cut_count: int
    """Silences at or below it between two visits of a visitor that `max_duration` did not cut."""
    long_count: int
    """Events more than `max_duration` after the first of their visit."""
    torn_count: int
    """Visits between whose events another visit of the visitor begins."""
    missing_count: int
    """Events that were given and are nowhere, or as many too many if below zero."""
    is_once: bool
    """Whether those that are somewhere are those that were given, each once."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        faults = (self.gap_count, self.cut_count, self.long_count, self.torn_count, self.missing_count)
        return self.is_once and not any(faults)


# One walk along each visitor's events. A visit may begin after a short silence only where the one before has lasted:
# from its own first event to the first event of the next it is more than `max_duration`.
_WALK = """
    WITH event AS (
        SELECT visitor_id, visit_id, epoch_us(event_time) AS t FROM {events}
    ), visit AS (
        SELECT visit_id, min(t) AS start FROM event GROUP BY visit_id
    ), walked AS (
        SELECT event.visit_id, t, start,
            lag(t) OVER walk AS t_before, lag(event.visit_id) OVER walk AS visit_before,
            lag(start) OVER walk AS start_before
        FROM event JOIN visit USING (visit_id)
        WINDOW walk AS (PARTITION BY visitor_id ORDER BY t, start)
    )
    SELECT count(*) AS event_count,
        count(*) FILTER (visit_id = visit_before AND t - t_before > {inactivity}) AS gap_count,
        count(*) FILTER (
            visit_id <> visit_before AND t - t_before <= {inactivity} AND t - start_before <= {max_duration}
        ) AS cut_count,
        count(*) FILTER (t - start > {max_duration}) AS long_count,
        count(*) FILTER (visit_before IS DISTINCT FROM visit_id) AS begin_count
    FROM walked
"""
_COUNT = """
    SELECT count(*), coalesce(sum(digest), 0) FROM (
        SELECT hash(source, part_id, position_in_source)::HUGEINT AS digest FROM {files}
    )
"""


def prove_visits(  # noqa: PLR0913  # what is checked against what, by keyword
    events: Sequence[Path],
    set_aside: Sequence[Path],
    given: Sequence[Path],
    *,
    inactivity: timedelta,
    max_duration: timedelta,
    memory: int,
    scratch: Path,
) -> Proof:
    """What is wrong with `events`, files of visits, by two limits; beyond `memory` bytes, by way of `scratch`.

    `given` are files of all events that went in, `set_aside` those that came out and are in no visit. Raises
    `UnreadableSourceError` where a file cannot be read.
    """
    limits = {
        name: _microseconds(limit) for name, limit in (("inactivity", inactivity), ("max_duration", max_duration))
    }
    try:
        with duckdb.connect(
            config={"memory_limit": f"{memory >> 20}MiB", "temp_directory": str(scratch)}
        ) as connection:
            walk = connection.sql(_WALK.format(events=_read(events), **limits)).fetchall()[0] if events else (0,) * 5
            visits = f"SELECT count(DISTINCT visit_id) FROM {_read(events)}"  # noqa: S608  # quoted paths
            visit_count = connection.sql(visits).fetchall()[0][0] if events else 0
            sums = [
                connection.sql(_COUNT.format(files=_read(files))).fetchall()[0] if files else (0, 0)
                for files in (given, [*events, *set_aside])
            ]
    except duckdb.Error as error:
        raise UnreadableSourceError(scratch, str(error).splitlines()[0]) from error
    event_count, gap_count, cut_count, long_count, begin_count = walk
    return Proof(
        event_count=event_count,
        visit_count=visit_count,
        gap_count=gap_count,
        cut_count=cut_count,
        long_count=long_count,
        torn_count=begin_count - visit_count,
        missing_count=sums[0][0] - sums[1][0],
        is_once=sums[0] == sums[1],
    )


def _read(paths: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(map(quote, paths))}], union_by_name=true, hive_partitioning=false)"


def _microseconds(duration: timedelta) -> int:
    return (duration.days * 86_400 + duration.seconds) * 1_000_000 + duration.microseconds
