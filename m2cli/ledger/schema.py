"""The ledger's tables, version by version: each migration is a step from the version before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m2cli.errors import UnreadableSourceError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

# Times are ISO 8601 in UTC, so that a person can read them with `sqlite3`; they sort as text.
MIGRATIONS = (
    """
    CREATE TABLE pipeline (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        name TEXT NOT NULL,
        made_time TEXT NOT NULL
    );

    CREATE TABLE batch (
        number INTEGER PRIMARY KEY,
        batch_id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,                  -- run, rebuild, compact, expire
        state TEXT NOT NULL CHECK (state IN ('planned', 'committed', 'published', 'dropped')),
        plan_time TEXT NOT NULL,
        end_time TEXT,
        plan TEXT NOT NULL,                  -- JSON: the exact input, written before any work
        facts TEXT NOT NULL DEFAULT '{}'     -- JSON: what it came to
    );
    CREATE INDEX batch_by_state ON batch (state) WHERE state IN ('planned', 'committed');

    CREATE TABLE part (                      -- a physical log, by its content, and how far it has been read
        part_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,                  -- the id without the suffix of a namesake
        source TEXT NOT NULL,
        position INTEGER NOT NULL,           -- bytes of its text
        line_count INTEGER NOT NULL,
        is_excluded INTEGER NOT NULL DEFAULT 0,
        batch_number INTEGER NOT NULL REFERENCES batch,
        path TEXT NOT NULL                   -- where it was last read
    ) WITHOUT ROWID;
    CREATE INDEX part_by_name ON part (name);

    CREATE TABLE mark (                      -- what was read of a part, as digests, so that it is known again
        part_id TEXT NOT NULL REFERENCES part,
        start INTEGER NOT NULL,
        end INTEGER NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (part_id, start, end)
    ) WITHOUT ROWID;

    CREATE TABLE file (                      -- the files of the sources, as the last plan saw them
        source_name TEXT NOT NULL,
        path TEXT NOT NULL,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        size INTEGER NOT NULL,
        modified INTEGER NOT NULL,           -- nanoseconds since 1970
        part_id TEXT,
        text_size INTEGER,
        PRIMARY KEY (source_name, path)
    ) WITHOUT ROWID;

    CREATE TABLE partition (
        source TEXT PRIMARY KEY,
        watermark TEXT,
        latest_event_time TEXT,
        last_input_time TEXT NOT NULL,
        is_active INTEGER NOT NULL,
        joined_as TEXT NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE progress (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        W TEXT,
        latest_event_time TEXT,
        flushed_to TEXT,
        next_visit_number INTEGER NOT NULL
    );

    CREATE TABLE carried (                   -- files of carried state
        path TEXT PRIMARY KEY,
        kind TEXT NOT NULL,                  -- pending, open_visits, ends, segment
        sequence INTEGER NOT NULL,           -- segments are gathered in this order
        row_count INTEGER NOT NULL,
        alive_count INTEGER NOT NULL         -- rows of visits that are still open
    ) WITHOUT ROWID;

    CREATE TABLE lake_file (
        path TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        start_date TEXT,
        batch_number INTEGER NOT NULL REFERENCES batch,
        facts TEXT NOT NULL,                 -- JSON: all that the lake says of it
        replaced_by INTEGER REFERENCES batch,
        replaced_time TEXT,
        keep_until TEXT                      -- readers by an older snapshot may need it for so long
    ) WITHOUT ROWID;
    CREATE INDEX lake_file_by_batch ON lake_file (batch_number);
    CREATE INDEX lake_file_by_date ON lake_file (kind, start_date) WHERE replaced_by IS NULL;
    CREATE INDEX lake_file_replaced ON lake_file (replaced_by) WHERE replaced_by IS NOT NULL;
    CREATE INDEX lake_file_kept ON lake_file (keep_until) WHERE keep_until IS NOT NULL;

    CREATE TABLE total (                     -- sums of the whole numbers in the facts of all committed batches
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE step (                      -- what a batch that is done in steps reads in those after the first
        batch_number INTEGER NOT NULL REFERENCES batch,
        number INTEGER NOT NULL,             -- from 1; the plan of step 0 is the batch's
        plan TEXT NOT NULL,                  -- JSON, written before any work of the step
        PRIMARY KEY (batch_number, number)
    ) WITHOUT ROWID;
    """,
)
SCHEMA_VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the ledger to this m2's version, one step a transaction; it is left as it was if a step fails.

    Raises `UnreadableSourceError` for a ledger of a newer m2.
    """
    version = read_version(connection, path)
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {statements} PRAGMA user_version = {number}; COMMIT;")


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """The ledger's version. Raises `UnreadableSourceError` for one of a newer m2."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        reason = f"the ledger is of version {version}, this m2 knows up to {SCHEMA_VERSION}"
        raise UnreadableSourceError(path, reason, "use the newer m2 that wrote it")
    return version
