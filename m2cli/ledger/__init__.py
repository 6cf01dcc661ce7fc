"""What a pipeline knows between batches: plans, commits, positions and carried state in SQLite, and its locks."""

from m2cli.ledger.lock import LockedError, find_holder, hold_lock
from m2cli.ledger.reader import LedgerReader
from m2cli.ledger.rows import CarriedFile, Changes, LedgerBatch, Progress, RowOfFile, RowOfPart
from m2cli.ledger.store import Ledger, create_ledger, open_ledger
from m2cli.ledger.verify import find_damage

__all__ = [
    "CarriedFile",
    "Changes",
    "Ledger",
    "LedgerBatch",
    "LedgerReader",
    "LockedError",
    "Progress",
    "RowOfFile",
    "RowOfPart",
    "create_ledger",
    "find_damage",
    "find_holder",
    "hold_lock",
    "open_ledger",
]
