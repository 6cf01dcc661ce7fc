"""Visits checked in SQL by DuckDB, which shares nothing with the kernel: the limits, every event once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import duckdb

from m2cli.errors import UnreadableSourceError
from m2cli.lake.views import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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
    """Visits that last longer than `max_duration`."""
    torn_count: int
    """Visits that begin before the visitor's visit before them has ended, or that have events of two visitors."""
    missing_count: int
    """Events that were given and are nowhere, or as many too many if below zero."""
    is_once: bool
    """Whether those that are somewhere are those that were given, each once."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        faults = (self.gap_count, self.cut_count, self.long_count, self.torn_count, self.missing_count)
        return self.is_once and not any(faults)


# Texts are compared by DuckDB's 64-bit hash: of 20 million visitors the odds of two with one hash are 10^-5, and those
# two would have to be there in the same half hour. A visit's rows are walked in the order in which they stand; only
# where they prove to stand in another, or apart, are they sorted, which takes four times as long.
_VISITS = """
    CREATE OR REPLACE TEMP TABLE visit AS
    SELECT visit, min(visitor) AS visitor, max(visitor) AS other_visitor, min(t) AS start, max(t) AS last,
        count(*) AS event_count,
        count(*) FILTER (visit = visit_before AND t - t_before > {inactivity}) AS gap_count,
        count(*) FILTER (visit IS DISTINCT FROM visit_before) AS run_count,
        count(*) FILTER (visit = visit_before AND t < t_before) AS back_count
    FROM (
        SELECT *, lag(t) OVER ({order}) AS t_before, lag(visit) OVER ({order}) AS visit_before
        FROM (SELECT hash(visit_id) AS visit, hash(visitor_id) AS visitor, epoch_us(event_time) AS t FROM {events})
    )
    GROUP BY visit
"""
_ARE_IN_ORDER = "SELECT coalesce(sum(back_count), 0) = 0 AND coalesce(sum(run_count), 0) = count(*) FROM visit"
# A visit may begin after a short silence only where the one before has lasted: from its own first event to the first
# event of the next it is more than `max_duration`.
_WALK = """
    SELECT coalesce(sum(event_count), 0)::BIGINT, count(*), coalesce(sum(gap_count), 0)::BIGINT,
        count(*) FILTER (start - last_before BETWEEN 0 AND {inactivity} AND start - start_before <= {max_duration}),
        count(*) FILTER (last - start > {max_duration}),
        count(*) FILTER (start < last_before OR visitor <> other_visitor)
    FROM (
        SELECT *, lag(start) OVER walk AS start_before, lag(last) OVER walk AS last_before
        FROM visit WINDOW walk AS (PARTITION BY visitor ORDER BY start, last)
    )
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
            walk = _walk(connection, _read(events), limits) if events else (0,) * 6
            sums = [
                connection.sql(_COUNT.format(files=_read(files))).fetchall()[0] if files else (0, 0)
                for files in (given, [*events, *set_aside])
            ]
    except duckdb.Error as error:
        raise UnreadableSourceError(scratch, str(error).splitlines()[0]) from error
    event_count, visit_count, gap_count, cut_count, long_count, torn_count = walk
    return Proof(
        event_count=event_count,
        visit_count=visit_count,
        gap_count=gap_count,
        cut_count=cut_count,
        long_count=long_count,
        torn_count=torn_count,
        missing_count=sums[0][0] - sums[1][0],
        is_once=sums[0] == sums[1],
    )


def _walk(connection: duckdb.DuckDBPyConnection, events: str, limits: Mapping[str, int]) -> tuple[int, ...]:
    connection.execute(_VISITS.format(events=events, order="", **limits))
    if not connection.sql(_ARE_IN_ORDER).fetchall()[0][0]:
        connection.execute(_VISITS.format(events=events, order="PARTITION BY visit ORDER BY t", **limits))
    row: tuple[int, ...] = connection.sql(_WALK.format(**limits)).fetchall()[0]
    return row


def _read(paths: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(map(quote, paths))}], union_by_name=true, hive_partitioning=false)"


def _microseconds(duration: timedelta) -> int:
    return (duration.days * 86_400 + duration.seconds) * 1_000_000 + duration.microseconds
