"""Access logs and topics into events and rejects, as files or in a pipe, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from m2cli.errors import UsageError
from m2cli.events import EVENT_SCHEMA
from m2cli.lake.swap import clear_remains, hold_new_sibling, replace_folder, sync_folder
from m2cli.lake.write import explain_unwritable, sync_file
from m2cli.runs.intake import IntakeRule, Tally, open_input
from m2cli.runs.progress import Tell, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import polars as pl

    from m2cli.events import Intake
    from m2cli.settings import RejectLimit


_OF_FILES = (".ndjson", ".jsonl", ".json", ".csv", ".tsv")


@dataclass(frozen=True, kw_only=True)
class IngestRule:
    """Everything that decides what `m2 ingest access-log` makes of its logs."""

    intake: IntakeRule = field(default_factory=lambda: IntakeRule(log_format="combined"))
    max_rejects: RejectLimit | None = None


def ingest_logs(
    logs: Sequence[str], output: Path | IO[bytes], rule: IngestRule, *, now: datetime, tell: Tell = tell_nobody
) -> Tally:
    """Write the events of `logs` to `output`, a new folder or a stream that takes NDJSON; return the counts.

    In a folder they are `events/*.parquet`, and `rejects/*.parquet` for the lines that are none; it appears when it is
    whole, or not at all. Raises `UsageError` for a folder that is not empty, `UnreachableError` for what cannot be
    read or written, `TooManyRejectsError` above `max_rejects` (of a stream, after it was written).
    """
    reading = open_input(logs, rule.intake, now=now, tell=tell)
    return write_pieces(reading.pieces, output, rule.max_rejects, Tally(detected=list(reading.detected)))


def write_pieces(
    pieces: Iterable[Intake], output: Path | IO[bytes], max_rejects: RejectLimit | None, tally: Tally | None = None
) -> Tally:
    """Write what was read to `output`, as `ingest_logs` does, whose errors are raised; return the counts in `tally`."""
    tally = Tally() if tally is None else tally
    if not isinstance(output, Path):
        return _write_stream(pieces, output, max_rejects, tally)
    return _write_folder(pieces, output, max_rejects, tally)


def _write_stream(pieces: Iterable[Intake], stream: IO[bytes], max_rejects: RejectLimit | None, tally: Tally) -> Tally:
    for piece in pieces:
        whole_row = [name for name in EVENT_SCHEMA if name in piece.events.columns]
        # Through a buffer: a pipe that nobody reads any more must fail as Python's own, which is quiet.
        buffer = BytesIO()
        piece.events.select(whole_row).write_ndjson(buffer)
        stream.write(buffer.getvalue())
        tally.add(piece)
    stream.flush()
    tally.check(max_rejects)
    return tally


def _write_folder(pieces: Iterable[Intake], target: Path, max_rejects: RejectLimit | None, tally: Tally) -> Tally:
    with explain_unwritable(target):
        _refuse(target)
        target.resolve().parent.mkdir(parents=True, exist_ok=True)
        clear_remains(target.resolve())
        with hold_new_sibling(target.resolve()) as folder:
            for name in ("events", "rejects"):
                (folder / name).mkdir()
            for number, piece in enumerate(pieces):
                _write(piece.events, folder / "events", number)
                _write(piece.rejects, folder / "rejects", number)
                tally.add(piece)
            tally.check(max_rejects)
            for each in (folder / "events", folder / "rejects", folder):
                sync_folder(each)
            _refuse(target)
            replace_folder(folder, target.resolve(), lambda _step: None)
    return tally


def _write(frame: pl.DataFrame, folder: Path, number: int) -> None:
    if frame.height:
        path = folder / f"{number:05}.parquet"
        frame.write_parquet(path)
        sync_file(path)


def _refuse(target: Path) -> None:
    if target.is_file():
        raise UsageError(f"`{target}` is a file; name a folder, or - for NDJSON on stdout")
    if target.suffix in _OF_FILES and not target.exists():
        hint = f"`-o - > {target}` makes a file of NDJSON"
        raise UsageError(f"`{target}` is called like a file, and `-o` makes a folder of Parquet; {hint}")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"`{target}` is not empty; name another folder")
