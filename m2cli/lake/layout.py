"""Where all that is in a lake lies, what its files are called, and which columns they have (DESIGN 5.5)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import LAKE_EVENT_SCHEMA, REJECT_SCHEMA, VISIT_SCHEMA

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

Schema = dict[str, pl.DataType | type[pl.DataType]]

# Written into every file; it grows when a column changes its meaning or type, not when one is added.
SCHEMA_VERSION = 1

# Parquet has no durations: readers other than Polars and Arrow see `late_by` as a number of microseconds.
LATE_SCHEMA: Schema = LAKE_EVENT_SCHEMA | {"late_reason": pl.String, "late_by": pl.Duration("us")}


class Table(NamedTuple):
    """One of the lake's folders of Parquet files."""

    name: str
    schema: Schema


# Events and visits lie by the UTC date of the visit's start. The others are flat: they are small, and a
# folder a date would make many files of few rows of them.
EVENTS = Table("events", LAKE_EVENT_SCHEMA)
VISITS = Table("visits", VISIT_SCHEMA)
LATE = Table("late", LATE_SCHEMA)
DUPLICATES = Table("duplicates", LAKE_EVENT_SCHEMA)
REJECTS = Table("rejects", REJECT_SCHEMA)
TABLES = (EVENTS, VISITS, LATE, DUPLICATES, REJECTS)
# For their owner alone, whatever the umask: raw lines, and what no visit has taken in. Who may read the events of a
# lake need not see these.
PRIVATE = (LATE, DUPLICATES, REJECTS)
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700

# Of m2 itself; no reader by glob needs it.
OWN_FOLDER = "_m2"
# All that a lake has at its top.
OWN_NAMES = frozenset({OWN_FOLDER, *(table.name for table in TABLES)})
SNAPSHOT = PurePosixPath(OWN_FOLDER, "snapshot")
# Of a pipeline's lake: each file lies here, and by a hard link in its table's folder while it is current.
FILES = PurePosixPath(OWN_FOLDER, "files")
# Of a pipeline's lake: what the snapshot lists, but for the latest.
MANIFESTS = PurePosixPath(OWN_FOLDER, "manifests")
_LEDGER_PREFIX = "ledger"

# What a file is called until it is whole and on the disk: no `*.parquet` glob matches (DESIGN 5.2).
UNFINISHED_SUFFIX = ".unfinished"

_KEPT_NAME = re.compile(
    rf"(?P<stem>[^./]+)\.(?P<table>{'|'.join(table.name for table in TABLES)})(\.(?P<date>\d{{4}}-\d\d-\d\d))?"
)


def place_file(table: Table, batch_id: str, number: int, start_date: date | None = None) -> PurePosixPath:
    """Where the `number`th file of a batch lies; of visits, the `start_date` they have in common.

    >>> place_file(REJECTS, "run-1", 0)
    PurePosixPath('rejects/run-1-00000.parquet')
    """
    folder = PurePosixPath(table.name) if start_date is None else PurePosixPath(table.name, f"date={start_date}")
    return folder / f"{batch_id}-{number:05d}.parquet"


def kept_name(path: str) -> str:
    """What the file that lies at `path` in a pipeline's lake is called in `_m2/files`: no `*.parquet` glob matches.

    The name says all of the place, so that what is there of a batch is found without a walk through all dates.

    >>> kept_name("events/date=2026-03-01/shop-000012-00003.parquet")
    'shop-000012-00003.events.2026-03-01'
    >>> kept_name("rejects/shop-000012-00004.parquet")
    'shop-000012-00004.rejects'
    """
    table, *dates, name = path.split("/")
    return ".".join([name.removesuffix(".parquet"), table, *(folder.removeprefix("date=") for folder in dates)])


def place_kept(name: str) -> PurePosixPath | None:
    """Where the file that is called `name` in `_m2/files` lies when it is current; None if it is no such name.

    >>> place_kept("shop-000012-00003.events.2026-03-01")
    PurePosixPath('events/date=2026-03-01/shop-000012-00003.parquet')
    """
    found = _KEPT_NAME.fullmatch(name)
    if found is None:
        return None
    folder = PurePosixPath(found["table"])
    return (folder / f"date={found['date']}" if found["date"] else folder) / f"{found['stem']}.parquet"


def has_ledger(lake: Path) -> bool:
    """Whether a pipeline keeps its ledger in `lake`."""
    own = lake / OWN_FOLDER
    return own.is_dir() and any(path.name.startswith(_LEDGER_PREFIX) for path in own.iterdir())
