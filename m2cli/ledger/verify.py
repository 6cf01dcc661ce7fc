"""Whether a ledger's file is whole, as SQLite can tell."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_NAMED = 10


def find_damage(path: Path) -> list[str]:
    """What SQLite finds wrong in the ledger at `path`, in its own words and the first ten; none if it is whole.

    It reads all of the file: a second for each gigabyte or so.
    """
    try:
        # Whoever may not write there looks at the file alone.
        for mode in ("mode=ro", "immutable=1"):
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
            try:
                rows = connection.execute(f"PRAGMA integrity_check({_MOST_NAMED})").fetchall()
            except sqlite3.OperationalError as error:
                failure = error
            else:
                return [text for (text,) in rows if text != "ok"]
            finally:
                connection.close()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [str(failure)]
