"""One pipeline's ledger: a plan is written before any work, and everything that a batch changes in one transaction."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from m2cli.errors import UnreadableSourceError, UnwritableSinkError, UsageError
from m2cli.ledger.rows import CarriedFile, Changes, LedgerBatch, Progress, RowOfFile, RowOfPart
from m2cli.ledger.schema import migrate, read_version
from m2cli.visits import Watermark, no_partitions
from m2cli.visits.watermarks import PARTITION_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_LOCKED_FOR = 30.0  # seconds that a reader's short transaction may take
_TIMES = ("watermark", "latest_event_time", "last_input_time")


class Ledger:
    """The ledger at `path`; see `create_ledger` and `open_ledger`. Close it, or use it in a `with`."""

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

    # What stands in it

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

    def list_batches(self, count: int = -1, *, kinds: Iterable[str] = ()) -> list[LedgerBatch]:
        """The last `count` batches that were committed, or all, the oldest first."""
        names = list(kinds)
        of_kinds = f"AND kind IN ({', '.join('?' * len(names))})" if names else ""
        where = f"WHERE state IN ('committed', 'published') {of_kinds} ORDER BY number DESC LIMIT ?"
        return self._batches(where, *names, count)[::-1]

    def count_batches(self) -> int:
        """How many batches have been committed."""
        return int(self._ask("SELECT count(*) FROM batch WHERE state IN ('committed', 'published')")[0][0])

    def sum_facts(self, names: Sequence[str]) -> dict[str, int]:
        """The sums, over all committed batches, of the whole numbers that their facts have under `names`."""
        sums = ", ".join("coalesce(sum(json_extract(facts, '$.' || ?)), 0)" for _ in names)
        found = self._ask(f"SELECT {sums} FROM batch WHERE state IN ('committed', 'published')", *names)  # noqa: S608  # names are bound
        return dict(zip(names, found[0], strict=True))

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
        watermark = Watermark(time=_to_time(W), latest_event_time=_to_time(latest), flushed_to=_to_time(flushed_to))
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

    def list_replaced(self, *, by: int | None = None, before: datetime | None = None) -> list[dict[str, Any]]:
        """What the lake said of the files that batch `by` has replaced, or that were replaced before a time."""
        if by is not None:
            found = self._ask("SELECT facts FROM lake_file WHERE replaced_by = ? ORDER BY path", by)
        else:
            query = "SELECT facts FROM lake_file WHERE replaced_by IS NOT NULL AND replaced_time < ? ORDER BY path"
            found = self._ask(query, _to_text(before))
        return [json.loads(facts) for (facts,) in found]

    # What changes it

    def plan(self, kind: str, plan_time: datetime, content: Mapping[str, Any]) -> LedgerBatch:
        """Write the plan of the next batch. Raises `UnwritableSinkError` if the disk does not take it."""
        with self._transaction():
            number = 1 + (self._ask("SELECT max(number) FROM batch")[0][0] or 0)
            batch_id = f"{self.pipeline}-{number:06d}"
            self._connection.execute(
                "INSERT INTO batch (number, batch_id, kind, state, plan_time, plan) VALUES (?, ?, ?, 'planned', ?, ?)",
                (number, batch_id, kind, _to_text(plan_time), json.dumps(content)),
            )
        return self.find_batch(number)

    def drop(self, batch: LedgerBatch, reason: str, now: datetime) -> None:
        """Give up a batch that is planned and whose input is no longer there; nothing of it was committed."""
        with self._transaction():
            self._connection.execute(
                "UPDATE batch SET state = 'dropped', end_time = ?, facts = ? WHERE number = ? AND state = 'planned'",
                (_to_text(now), json.dumps({"dropped_because": reason}), batch.number),
            )

    def commit(self, batch: LedgerBatch, changes: Changes, now: datetime) -> None:
        """Everything that `batch` changes, at once. Raises `UnwritableSinkError` if the disk does not take it."""
        with self._transaction():
            self._connection.execute(
                "UPDATE batch SET state = 'committed', end_time = ?, facts = ? WHERE number = ?",
                (_to_text(now), json.dumps(dict(changes.facts)), batch.number),
            )
            if changes.progress:
                self._put_progress(changes.progress)
            self._put_parts(changes.parts, batch)
            if changes.files is not None:
                self._put_files(changes.files)
            self._put_lake_files(changes, batch, now)

    def mark_published(self, batch: LedgerBatch) -> None:
        """Note that the lake shows what `batch` committed; if this is lost, the lake is shown once more."""
        with self._transaction():
            self._connection.execute("UPDATE batch SET state = 'published' WHERE number = ?", (batch.number,))

    def forget_replaced(self, paths: Iterable[str]) -> None:
        """Forget files of the lake that were replaced and are gone."""
        with self._transaction():
            self._connection.executemany(
                "DELETE FROM lake_file WHERE path = ? AND replaced_by IS NOT NULL", [(path,) for path in paths]
            )

    def _put_progress(self, progress: Progress) -> None:
        W = progress.W
        times = (_to_text(W.time), _to_text(W.latest_event_time), _to_text(W.flushed_to))
        self._connection.execute(
            "INSERT OR REPLACE INTO progress VALUES (1, ?, ?, ?, ?)", (*times, progress.next_visit_number)
        )
        self._connection.execute("DELETE FROM partition")
        places = ", ".join("?" * len(PARTITION_SCHEMA))
        self._connection.executemany(
            f"INSERT INTO partition VALUES ({places})",  # noqa: S608  # question marks
            [tuple(row.values()) for row in from_partitions(progress.partitions)],
        )
        self._connection.execute("DELETE FROM carried")
        self._connection.executemany("INSERT INTO carried VALUES (?, ?, ?, ?, ?)", progress.carried)

    def _put_parts(self, parts: Iterable[RowOfPart], batch: LedgerBatch) -> None:
        for part in parts:
            self._connection.execute(
                "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*part[:5], part.is_excluded, batch.number, part.path),
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?)", [(part.part_id, *mark) for mark in part.marks]
            )

    def _put_files(self, files: Sequence[RowOfFile]) -> None:
        known = set(self.read_files())
        gone = {row[:2] for row in known} - {row[:2] for row in files}
        self._connection.executemany("DELETE FROM file WHERE source_name = ? AND path = ?", gone)
        self._connection.executemany(
            "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [row for row in files if row not in known]
        )

    def _put_lake_files(self, changes: Changes, batch: LedgerBatch, now: datetime) -> None:
        self._connection.executemany(
            "INSERT INTO lake_file (path, kind, start_date, batch_number, facts) VALUES (?, ?, ?, ?, ?)",
            [
                (file["path"], file["kind"], file.get("start_date"), batch.number, json.dumps(dict(file)))
                for file in changes.added
            ],
        )
        self._connection.executemany(
            "UPDATE lake_file SET replaced_by = ?, replaced_time = ? WHERE path = ?",
            [(batch.number, _to_text(now), path) for path in changes.replaced],
        )

    # How it is asked

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
                end_time=_to_time(end_time),
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

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # on a full disk SQLite has rolled back already
                    self._connection.rollback()
                raise
        except sqlite3.OperationalError as error:
            raise UnwritableSinkError(self.path, str(error)) from error
        except sqlite3.IntegrityError:  # a bug of m2, no matter of the disk
            raise
        except sqlite3.DatabaseError as error:
            raise _damaged(self.path, error) from error


def create_ledger(path: Path, pipeline: str, now: datetime) -> Ledger:
    """The ledger of `pipeline` at `path`, made if it is not there, brought to this version if it is.

    Raises `UsageError` if it is another pipeline's, `UnreadableSourceError` for one that is damaged or of a newer m2,
    `UnwritableSinkError` where it cannot be written.
    """
    with _connecting(path, "mode=rwc") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = OFF")
        migrate(connection, path)
        connection.execute("INSERT OR IGNORE INTO pipeline VALUES (1, ?, ?)", (pipeline, _to_text(now)))
    ledger = Ledger(path, connection)
    if ledger.pipeline != pipeline:
        owner = ledger.pipeline
        ledger.close()
        raise UsageError(
            f"the lake `{path.parent.parent}` is written by the pipeline `{owner}`, not by `{pipeline}`; "
            "a lake has one pipeline"
        )
    return ledger


def open_ledger(path: Path) -> Ledger:
    """The ledger at `path`, to be read only. Raises `UnreadableSourceError` where there is none that can be read."""
    if not path.exists():
        raise UnreadableSourceError(path, "there is no ledger", "`m2 run PIPELINE` makes it with its first batch")
    # Who may not write beside it cannot share SQLite's log; then nobody is writing, or the folder would have one.
    for mode in ("mode=ro", "immutable=1"):
        try:
            with _connecting(path, mode) as connection:
                read_version(connection, path)
        except UnwritableSinkError as error:
            failure = error
        else:
            return Ledger(path, connection)
    raise UnreadableSourceError(path, failure.reason) from failure


@contextmanager
def _connecting(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A connection that outlives the block, unless the block fails; what SQLite says then in the words of m2."""
    address = f"{path.absolute().as_uri()}?{mode}"
    try:
        connection = sqlite3.connect(address, uri=True, timeout=_LOCKED_FOR, isolation_level=None)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise UnwritableSinkError(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: sqlite3.DatabaseError) -> UnreadableSourceError:
    return UnreadableSourceError(path, f"the ledger is damaged: {error}", "put a backup of it in its place")


def to_partitions(rows: Iterable[Sequence[Any]]) -> pl.DataFrame:
    """Partitions (PARTITION_SCHEMA) of rows with times as text."""
    columns = list(zip(*rows, strict=True)) or [()] * len(PARTITION_SCHEMA)
    return pl.DataFrame(
        [
            pl.Series(name, [_TO_VALUE.get(name, _as_it_is)(value) for value in values], dtype)
            for (name, dtype), values in zip(PARTITION_SCHEMA.items(), columns, strict=True)
        ]
    )


def from_partitions(partitions: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of partitions (PARTITION_SCHEMA), with times as text."""
    return [
        {name: _to_text(value) if name in _TIMES else value for name, value in row.items()}
        for row in partitions.select(*PARTITION_SCHEMA).iter_rows(named=True)
    ]


def _to_part(row: tuple[Any, ...], marks: tuple[tuple[int, int, str], ...]) -> RowOfPart:
    part_id, name, source, position, line_count, is_excluded, path = row
    return RowOfPart(part_id, name, source, position, line_count, bool(is_excluded), path, marks)


def _to_text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")


def _to_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _as_it_is(value: Any) -> Any:
    return value


_TO_VALUE: dict[str, Callable[[Any], Any]] = {**dict.fromkeys(_TIMES, _to_time), "is_active": bool}
