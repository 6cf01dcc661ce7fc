"""Event files written for one test, and read back whole."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import polars as pl
import pytest

from m2cli.events import REJECT_SCHEMA, Intake
from m2cli.files.read import FileRule, find_files, read_event_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLANNED = datetime(2030, 1, 1, tzinfo=UTC)


class ReadBytes(Protocol):
    def __call__(self, name: str, data: bytes, rule: FileRule | None = None) -> Intake: ...


def read_all(path: Path, rule: FileRule | None = None, arrival_time: datetime = PLANNED) -> Intake:
    """All intakes of `path` as one."""
    pieces = list(read_event_files(find_files([path]), rule or FileRule(), arrival_time=arrival_time))
    if not pieces:
        return Intake(pl.DataFrame(), pl.DataFrame(schema=REJECT_SCHEMA), 0, 0)
    return Intake(
        pl.concat([piece.events for piece in pieces], how="diagonal"),
        pl.concat([piece.rejects for piece in pieces]),
        sum(piece.read_count for piece in pieces),
        sum(piece.ignored_count for piece in pieces),
    )


def adds_up(intake: Intake) -> bool:
    return intake.read_count == intake.events.height + intake.rejects.height + intake.ignored_count


@pytest.fixture
def read_bytes(tmp_path: Path) -> ReadBytes:
    def read(name: str, data: bytes, rule: FileRule | None = None) -> Intake:
        path = tmp_path / name
        path.write_bytes(data)
        intake = read_all(path, rule)
        assert adds_up(intake)
        return intake

    return read


@pytest.fixture
def read_frame(tmp_path: Path) -> Callable[..., Intake]:
    def read(frame: pl.DataFrame, rule: FileRule | None = None) -> Intake:
        path = tmp_path / "events.parquet"
        frame.write_parquet(path)
        intake = read_all(path, rule)
        assert adds_up(intake)
        return intake

    return read
