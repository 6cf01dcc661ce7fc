"""The check by DuckDB finds each kind of fault, however the rows of a lake stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.events import TIME
from m2cli.lake.prove import Proof, prove_visits

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = datetime(2025, 10, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
US = timedelta(microseconds=1)
SCHEMA = {"visitor_id": pl.String, "visit_id": pl.String, "event_time": TIME}
# Two visits of one visitor, parted by more than the limit, one of another, and a long one that was cut.
LONG = [("c", "c1", BEGIN + step * 20 * MINUTE) for step in range(7)] + [("c", "c2", BEGIN + 2 * HOUR + 20 * MINUTE)]
GOOD = [
    ("a", "a1", BEGIN),
    ("a", "a1", BEGIN + 30 * MINUTE),
    ("a", "a2", BEGIN + 60 * MINUTE + US),
    ("b", "b1", BEGIN + 5 * MINUTE),
    *LONG,
]


def prove(folder: Path, rows: list[tuple[str, str, datetime]], *, is_mixed: bool, given: int | None = None) -> Proof:
    events = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(
        source=pl.lit("s"), part_id=pl.lit(None, pl.String), position_in_source=pl.int_range(pl.len())
    )
    shown = events.sample(fraction=1.0, shuffle=True, seed=3) if is_mixed else events
    shown[:5].write_parquet(folder / "1.parquet")
    shown[5:].write_parquet(folder / "2.parquet")
    events.head(given or events.height).write_parquet(folder / "given.parquet")
    return prove_visits(
        [folder / "1.parquet", folder / "2.parquet"],
        [],
        [folder / "given.parquet"],
        inactivity=30 * MINUTE,
        max_duration=2 * HOUR,
        memory=1 << 28,
        scratch=folder,
    )


FAULTS = {
    "gap_count": [*GOOD, ("d", "d1", BEGIN), ("d", "d1", BEGIN + 30 * MINUTE + US)],
    "cut_count": [*GOOD, ("d", "d1", BEGIN), ("d", "d2", BEGIN + 30 * MINUTE)],
    "long_count": [*GOOD, *(("d", "d1", BEGIN + step * 30 * MINUTE) for step in range(6))],
    "torn_count": [*GOOD, *(("d", f"d{step % 2}", BEGIN + step * 60 * MINUTE) for step in range(4))],
}


@pytest.mark.parametrize("is_mixed", [False, True])
def test_good_visits_have_no_faults(tmp_path: Path, *, is_mixed: bool) -> None:
    proof = prove(tmp_path, GOOD, is_mixed=is_mixed)
    assert proof == Proof(12, 5, 0, 0, 0, 0, 0, is_once=True)
    assert proof.is_good


@pytest.mark.parametrize("is_mixed", [False, True])
@pytest.mark.parametrize("kind", FAULTS)
def test_each_kind_of_fault_is_found(tmp_path: Path, kind: str, *, is_mixed: bool) -> None:
    proof = prove(tmp_path, FAULTS[kind], is_mixed=is_mixed)
    assert getattr(proof, kind) > 0
    others = {"gap_count", "cut_count", "long_count", "torn_count"} - {kind}
    allowed = {"torn_count": {"gap_count"}}.get(kind, set())
    assert not any(getattr(proof, other) for other in others - allowed)
    assert not proof.is_good


def test_a_visit_of_two_visitors_is_torn(tmp_path: Path) -> None:
    assert prove(tmp_path, [*GOOD, ("e", "b1", BEGIN + 6 * MINUTE)], is_mixed=False).torn_count > 0


def test_events_too_many_are_counted(tmp_path: Path) -> None:
    proof = prove(tmp_path, GOOD, is_mixed=False, given=10)
    assert (proof.missing_count, proof.is_once, proof.is_good) == (-2, False, False)
