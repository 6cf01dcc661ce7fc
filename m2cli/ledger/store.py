"""One pipeline's ledger: a plan is written before any work, and everything that a batch changes in one transaction."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from m2cli.errors import UnreadableSourceError, UnwritableSinkError, UsageError
from m2cli.ledger.reader import BATCH_COUNT, OLD_PARTS, OLD_PLANS, LedgerReader
from m2cli.ledger.schema import migrate, read_version
from m2cli.ledger.values import from_partitions, to_text
from m2cli.visits.watermarks import PARTITION_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from m2cli.ledger.rows import Changes, LedgerBatch, Progress, RowOfFile, RowOfPart

_LOCKED_FOR = 30.0  # seconds that a reader's short transaction may take


class Ledger(LedgerReader):
    """The ledger of a pipeline whose lake is held, to be written; see `create_ledger`."""

    def plan(self, kind: str, plan_time: datetime, content: Mapping[str, Any]) -> LedgerBatch:
        """Write the plan of the next batch. Raises `UnwritableSinkError` if the disk does not take it."""
        with self._transaction():
            number = 1 + self.find_last_number()
            batch_id = f"{self.pipeline}-{number:06d}"
            self._connection.execute(
                "INSERT INTO batch (number, batch_id, kind, state, plan_time, plan) VALUES (?, ?, ?, 'planned', ?, ?)",
                (number, batch_id, kind, to_text(plan_time), json.dumps(content)),
            )
        return self.find_batch(number)

    def plan_step(self, batch: LedgerBatch, number: int, content: Mapping[str, Any]) -> None:
        """Write the plan of a further step of `batch`, which is planned; `number` counts from 1."""
        with self._transaction():
            self._connection.execute("INSERT INTO step VALUES (?, ?, ?)", (batch.number, number, json.dumps(content)))

    def relax(self) -> None:
        """Commit without waiting for the disk: for who begins again if the power fails, as a replay does."""
        self._connection.execute("PRAGMA synchronous = OFF")

    def drop(self, batch: LedgerBatch, reason: str, now: datetime) -> None:
        """Give up a batch that is planned and whose input is no longer there; nothing of it was committed."""
        with self._transaction():
            self._connection.execute(
                "UPDATE batch SET state = 'dropped', end_time = ?, facts = ? WHERE number = ? AND state = 'planned'",
                (to_text(now), json.dumps({"dropped_because": reason}), batch.number),
            )
            self._forget_steps(batch)

    def commit(self, batch: LedgerBatch, changes: Changes, now: datetime) -> None:
        """Everything that `batch` changes, at once. Raises `UnwritableSinkError` if the disk does not take it."""
        with self._transaction():
            self._connection.execute(
                "UPDATE batch SET state = 'committed', end_time = ?, facts = ? WHERE number = ?",
                (to_text(now), json.dumps(dict(changes.facts)), batch.number),
            )
            if changes.progress:
                self._put_progress(changes.progress)
            self._put_parts(changes.parts, batch)
            if changes.files is not None:
                self._put_files(changes.files)
            self._put_lake_files(changes, batch, now)
            self._put_totals(changes.facts)
            self._forget_steps(batch)
            if changes.forget_before:
                self._forget(to_text(changes.forget_before))
        if changes.forget_before:  # nor does SQLite's log hold it any longer
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

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

    def _forget_steps(self, batch: LedgerBatch) -> None:
        # There is one a second, and nobody asks for them once all that they lead to is committed.
        self._connection.execute("DELETE FROM step WHERE batch_number = ?", (batch.number,))

    def _put_progress(self, progress: Progress) -> None:
        W = progress.W
        times = (to_text(W.time), to_text(W.latest_event_time), to_text(W.flushed_to))
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
            "UPDATE lake_file SET replaced_by = ?, replaced_time = ?, keep_until = ? WHERE path = ?",
            [(batch.number, to_text(now), to_text(now + changes.grace), path) for path in changes.replaced],
        )

    def _put_totals(self, facts: Mapping[str, Any]) -> None:
        # Kept, not summed when they are asked for: after years there are hundreds of thousands of batches.
        counts = {name: value for name, value in facts.items() if type(value) is int}
        self._connection.executemany(
            "INSERT INTO total VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            [*counts.items(), (BATCH_COUNT, 1)],
        )

    def _forget(self, before: str | None) -> None:
        """Of batches planned before then keep the counts alone, and of parts those that are still there."""
        old = self._ask(f"SELECT number, facts FROM batch WHERE {OLD_PLANS}", before)  # noqa: S608  # of our own
        told = ("late_parts", "warnings", "passed_over", "dropped_because", "anonymous_files", "anonymous_replaced")
        kept = [
            (json.dumps({name: value for name, value in json.loads(facts).items() if name not in told}), number)
            for number, facts in old
        ]
        self._connection.executemany("UPDATE batch SET plan = '{}', facts = ? WHERE number = ?", kept)
        self._connection.execute(f"DELETE FROM part WHERE {OLD_PARTS}", (before,))  # noqa: S608  # of our own
        self._connection.execute("DELETE FROM mark WHERE part_id NOT IN (SELECT part_id FROM part)")

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
    if not path.exists():
        _make(path, pipeline, now)
    with _connecting(path, "mode=rw") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is not left in free pages
        _fill(connection, path, pipeline, now)
    ledger = Ledger(path, connection)
    if ledger.pipeline != pipeline:
        owner = ledger.pipeline
        ledger.close()
        raise UsageError(
            f"the lake `{path.parent.parent}` is written by the pipeline `{owner}`, not by `{pipeline}`; "
            "a lake has one pipeline"
        )
    return ledger


def _make(path: Path, pipeline: str, now: datetime) -> None:
    """An empty ledger, made aside: whoever looks on finds a whole one or none."""
    making = path.with_name(f"{path.name}.unfinished")
    for remains in (making, making.with_name(f"{making.name}-journal")):
        remains.unlink(missing_ok=True)
    with _connecting(making, "mode=rwc") as connection:
        _fill(connection, making, pipeline, now)
        connection.close()
    making.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _fill(connection: sqlite3.Connection, path: Path, pipeline: str, now: datetime) -> None:
    migrate(connection, path)
    connection.execute("INSERT OR IGNORE INTO pipeline VALUES (1, ?, ?)", (pipeline, to_text(now)))


def open_ledger(path: Path) -> LedgerReader:
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
            return LedgerReader(path, connection)
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
