"""What `m2cli` offers to a notebook: every name is there, is documented, and is loaded when it is used."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import m2cli
from m2cli import visits

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
# What functions return, and nobody has to name.
RETURNED = {"Assigned", "Gathered", "Sessionized", "SplitLate"}


@pytest.mark.parametrize("name", m2cli.__all__)
def test_every_name_is_there_and_on_the_page(name: str) -> None:
    assert getattr(m2cli, name).__name__ == name
    assert f"{name}(" in PAGE or f"`{name}." in PAGE


def test_all_of_the_kernel_is_offered() -> None:
    assert set(visits.__all__) - RETURNED <= set(m2cli.__all__)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="`sessionise`"):
        _ = m2cli.sessionise


def test_importing_m2_loads_no_heavy_library() -> None:
    loaded = "import sys, m2cli; print({'polars', 'duckdb', 'rich', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_frames_alone_make_what_the_verb_makes() -> None:
    events = pl.read_parquet(ROOT / "sample_data" / "events.parquet")
    named = m2cli.assign_visitors(events, m2cli.VisitorRule())
    made = m2cli.sessionize(m2cli.enrich(named.events, m2cli.EnrichRule()))
    assert (made.visits.height, made.events.height, made.duplicates.height) == (142, 5977, 23)
    assert m2cli.count_reused_ids(made.events) == 2
    path = m2cli.trace_causes(made.events, ["dd360995c58c1c40"])
    assert path["entity_id"].to_list()[-1] == "wool desk"


def test_a_log_that_is_read_has_visits_and_causes() -> None:
    log = m2cli.read_access_log(
        [ROOT / "sample_data" / "access.log"], m2cli.LogRule(), arrival_time=datetime(2026, 2, 1, tzinfo=UTC)
    )
    lines = pl.concat([piece.events for piece in log], how="diagonal")
    named = lines.pipe(m2cli.redact, m2cli.RedactionRule()).pipe(m2cli.assign_visitors, m2cli.VisitorRule())
    made = named.events.pipe(m2cli.sessionize)
    caused = made.events.pipe(m2cli.derive_causes, m2cli.CauseRule())
    assert made.visits.height == 367
    assert caused["cause_id"].count() == 1269
