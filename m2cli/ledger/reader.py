"""What stands in a pipeline's ledger: batches, progress, parts, files; for who writes it and who looks on."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from m2cli.errors import UnreadableSourceError
from m2cli.ledger.rows import CarriedFile, LedgerBatch, Progress, RowOfFile, RowOfPart
from m2cli.ledger.values import to_partitions, to_text, to_time
from m2cli.visits import Watermark, no_partitions
from m2cli.visits.watermarks import PARTITION_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


BATCH_COUNT = "batch_count"  # among the totals
# Plans from before a time that nothing looks at any more.
OLD_PLANS = (
    "plan_time < ? AND plan <> '{}' AND number < "
    "(SELECT max(number) FROM batch WHERE kind = 'run' AND state = 'published')"
)
# Parts that were last read by a batch planned before a time, and whose files are gone.
OLD_PARTS = (
    "batch_number IN (SELECT number FROM batch WHERE plan_time < ?) "
    "AND part_id NOT IN (SELECT part_id FROM file WHERE part_id IS NOT NULL)"
)


class LedgerReader:
    """What stands in the ledger at `path`; see `open_ledger`. Close it, or use it in a `with`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; the last to do so folds the log of SQLite into it."""
        self._connection.close()

    @property
    def pipeline(self) -> str:
        """The name of the pipeline."""
        return str(self._ask("SELECT name FROM pipeline")[0][0])

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """Whatever is asked within the block is as of one commit, whoever commits meanwhile."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def list_unfinished(self) -> list[LedgerBatch]:
        """The batches that are planned, or committed and perhaps not yet shown, the oldest first."""
        return self._batches("WHERE state IN ('planned', 'committed') ORDER BY number")

    def list_dropped(self) -> list[LedgerBatch]:
        """The batches of runs that were given up since the last one that was committed, the oldest first."""
        last = "SELECT max(number) FROM batch WHERE kind = 'run' AND state IN ('committed', 'published')"
        return self._batches(
            f"WHERE kind = 'run' AND state = 'dropped' AND number > coalesce(({last}), 0) ORDER BY number"
        )

    def find_batch(self, number: int) -> LedgerBatch:
        """The batch of that number."""
        return self._batches("WHERE number = ?", number)[0]

    def list_plans(self, batch: LedgerBatch) -> list[Mapping[str, Any]]:
        """The plans of all steps of a batch that is planned, in order; of most batches there is one."""
        further = self._ask("SELECT plan FROM step WHERE batch_number = ? ORDER BY number", batch.number)
        return [batch.plan, *(json.loads(plan) for (plan,) in further)]

    def list_batches(self, count: int = -1, *, kinds: Iterable[str] = ()) -> list[LedgerBatch]:
        """The last `count` batches that were committed, or all, the oldest first."""
        names = list(kinds)
        of_kinds = f"AND kind IN ({', '.join('?' * len(names))})" if names else ""
        where = f"WHERE state IN ('committed', 'published') {of_kinds} ORDER BY number DESC LIMIT ?"
        return self._batches(where, *names, count)[::-1]

    def find_last_number(self) -> int:
        """The number of the last batch that was planned, whatever became of it; 0 before the first."""
        return int(self._ask("SELECT coalesce(max(number), 0) FROM batch")[0][0])

    def has_run(self, number: int) -> bool:
        """Whether the batch of that number is a run's, planned or committed."""
        query = "SELECT 1 FROM batch WHERE number = ? AND kind = 'run' AND state != 'dropped'"
        return bool(self._ask(query, number))

    def count_batches(self) -> int:
        """How many batches have been committed."""
        return self.sum_facts([BATCH_COUNT])[BATCH_COUNT]

    def sum_facts(self, names: Sequence[str]) -> dict[str, int]:
        """The sums, over all committed batches, of the whole numbers that their facts have under `names`."""
        totals = dict(self._ask("SELECT name, value FROM total"))
        return {name: totals.get(name, 0) for name in names}

    def recount_facts(self, names: Sequence[str]) -> dict[str, int]:
        """As `sum_facts`, from the batches themselves: the longer the pipeline has lived, the longer it takes."""
        counted = dict.fromkeys(names, 0)
        for batch in self.list_batches():
            for name in names:
                counted[name] += 1 if name == BATCH_COUNT else int(batch.facts.get(name, 0))
        return counted

    def read_progress(self) -> Progress:
        """W, the partitions and the carried state as the last commit left them."""
        rows = self._ask("SELECT W, latest_event_time, flushed_to, next_visit_number FROM progress")
        partitions = self._ask(f"SELECT {', '.join(PARTITION_SCHEMA)} FROM partition ORDER BY source")  # noqa: S608  # the schema's own names
        carried = self._ask(
            "SELECT path, kind, sequence, row_count, alive_count FROM carried ORDER BY kind, sequence, path"
        )
        files = tuple(CarriedFile(*row) for row in carried)
        if not rows:
            return Progress(Watermark(), no_partitions(), files, 0)
        W, latest, flushed_to, number = rows[0]
        watermark = Watermark(time=to_time(W), latest_event_time=to_time(latest), flushed_to=to_time(flushed_to))
        return Progress(watermark, to_partitions(partitions), files, number)

    def read_files(self) -> list[RowOfFile]:
        """The files of the sources as the last plan saw them."""
        return [RowOfFile(*row) for row in self._ask("SELECT * FROM file")]

    def find_parts(self, *, names: Iterable[str] = (), part_ids: Iterable[str] = ()) -> list[RowOfPart]:
        """The parts that have one of these ids, or ids that begin with one of these names, with their marks."""
        found: dict[str, tuple[Any, ...]] = {}
        for column, values in (("name", names), ("part_id", part_ids)):
            for value in values:
                columns = "part_id, name, source, position, line_count, is_excluded, path"
                for row in self._ask(f"SELECT {columns} FROM part WHERE {column} = ?", value):  # noqa: S608  # names of our own
                    found[row[0]] = row
        return [self._part(row) for row in found.values()]

    def has_parts(self, source: str) -> bool:
        """Whether anything has ever been taken of this source."""
        return bool(self._ask("SELECT 1 FROM part WHERE source = ? LIMIT 1", source))

    def has_older(self, before: datetime) -> bool:
        """Whether there are plans from before that time, or parts that were last read then and are gone."""
        where = (f"batch WHERE {OLD_PLANS}", f"part WHERE {OLD_PARTS}")
        return any(self._ask(f"SELECT 1 FROM {each} LIMIT 1", to_text(before)) for each in where)  # noqa: S608  # of our own

    def list_parts(self) -> list[RowOfPart]:
        """All parts, without their marks."""
        columns = "part_id, name, source, position, line_count, is_excluded, path"
        rows = self._ask(f"SELECT {columns} FROM part ORDER BY source, part_id")  # noqa: S608  # names of our own
        return [_to_part(row, ()) for row in rows]

    def _part(self, row: tuple[Any, ...]) -> RowOfPart:
        marks = self._ask("SELECT start, end, digest FROM mark WHERE part_id = ? ORDER BY start, end", row[0])
        return _to_part(row, tuple(marks))

    def list_lake_files(
        self, *, batch: int | None = None, kind: str | None = None, dates: tuple[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """What the lake said of its files that nothing has replaced: all, or of one batch, one kind, some dates."""
        where, values = ["replaced_by IS NULL"], list[object]()
        for condition, value in (("batch_number = ?", batch), ("kind = ?", kind)):
            if value is not None:
                where.append(condition)
                values.append(value)
        if dates is not None:
            where.append("start_date BETWEEN ? AND ?")
            values += dates
        query = f"SELECT facts FROM lake_file WHERE {' AND '.join(where)} ORDER BY batch_number, path"  # noqa: S608  # values are bound
        return [json.loads(facts) for (facts,) in self._ask(query, *values)]

    def list_replaced(self, *, by: int | None = None, over_at: datetime | None = None) -> list[dict[str, Any]]:
        """What the lake said of the files that batch `by` has replaced, or whose grace is over at a time."""
        if by is not None:
            found = self._ask("SELECT facts FROM lake_file WHERE replaced_by = ? ORDER BY path", by)
        else:
            found = self._ask("SELECT facts FROM lake_file WHERE keep_until < ? ORDER BY path", to_text(over_at))
        return [json.loads(facts) for (facts,) in found]

    def _batches(self, where: str, *values: object) -> list[LedgerBatch]:
        columns = "number, batch_id, kind, state, plan_time, end_time, plan, facts"
        rows = self._ask(f"SELECT {columns} FROM batch {where}", *values)  # noqa: S608  # values are bound
        return [
            LedgerBatch(
                number=number,
                batch_id=batch_id,
                kind=kind,
                state=state,
                plan_time=datetime.fromisoformat(plan_time),
                end_time=to_time(end_time),
                plan=json.loads(plan),
                facts=json.loads(facts),
            )
            for number, batch_id, kind, state, plan_time, end_time, plan, facts in rows
        ]

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise UnreadableSourceError(self.path, str(error)) from error


def _to_part(row: tuple[Any, ...], marks: tuple[tuple[int, int, str], ...]) -> RowOfPart:
    part_id, name, source, position, line_count, is_excluded, path = row
    return RowOfPart(part_id, name, source, position, line_count, bool(is_excluded), path, marks)
