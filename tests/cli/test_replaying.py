"""What a person sees of a replay, of a visit explained, and of watermarks looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from tests.cli.command import ROOT, compare_with_golden, run_m2, show

if TYPE_CHECKING:
    from pathlib import Path

EVENTS, LOG = (str(ROOT / "sample_data" / name) for name in ("events.parquet", "access.log"))
TOML = f"""
[pipeline]
name = "shop"
lake = "lake"

[[source]]
type = "events"
paths = ["{EVENTS}"]
"""

CASES: dict[str, tuple[str, ...]] = {
    "replay_a_log": ("replay", "access.log", "--every", "6h"),
    "replay_by_another_rule": ("replay", "events.parquet", "--every", "12h", "--inactivity", "20m"),
    "replay_a_sweep": ("replay", "events.parquet", "--sweep", "inactivity=10m,30m,1h"),
    "replay_nothing": ("replay",),
    "replay_without_a_time_of_day": ("replay", "access.log", "--outage", "ten"),
    "replay_a_plot_of_nothing": ("replay", "access.log", "--plot", "plot.svg"),
    "replay_a_sweep_of_no_limit": ("replay", "access.log", "--sweep", "inactivty=10m"),
    "replay_an_outage_of_another_zone": ("replay", "access.log", "--outage", "10:00+02:00-11:00"),
    "replay_a_plot_to_no_folder": ("replay", "access.log", "--sweep", "inactivity=10m", "--plot", "no/plot.svg"),
    "replay_no_shuffle": ("replay", "access.log", "--seed", "-1"),
    "replay_at_a_speed_without_a_topic": ("replay", "access.log", "--speed", "60"),
    "replay_a_log_without_sessions": ("replay", "access.log", "--visitor", "session"),
    "replay_into_a_file": ("replay", "access.log", "--keep", "shop.toml"),
    "replay_to_nowhere": ("replay", "access.log", "--to-kafka", "topic"),
    "explain_in_no_lake": ("explain", "x", "--lake", "lake"),
    "status_of_a_date": ("status", "shop.toml", "--date", "2025-12-30"),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs, and none of their names in what is said of them."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "events.parquet").symlink_to(EVENTS)
    (folder / "access.log").symlink_to(LOG)
    (folder / "shop.toml").write_text(TOML)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_person_sees(name: str, shop: Path) -> None:
    compare_with_golden(name, show(run_m2(*CASES[name], folder=shop), shop))


def test_a_visit_is_explained_and_watermarks_are_shown(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(TOML)
    assert run_m2("run", "shop.toml", "--flush", folder=tmp_path).returncode == 0
    visits = pl.read_parquet(tmp_path / "lake" / "visits" / "**" / "*.parquet", hive_partitioning=False)
    [(visit_id,)] = visits.sort("event_count", "visit_id").select("visit_id").tail(1).rows()
    explained = run_m2("explain", visit_id, "--lake", "lake", folder=tmp_path)
    lines = explained.stdout.decode().splitlines()
    assert lines[0].startswith(f"visit       {visit_id} of visitor ")
    assert [line.split()[0] for line in lines[:6]] == ["visit", "begins", "ends", "limit", "closed", "late"]
    shown = run_m2("status", "shop.toml", "--watermarks", "--format", "json", folder=tmp_path)
    assert shown.returncode == 0
    assert b'"late_reasons"' in shown.stdout
    table = run_m2("status", "shop.toml", "--watermarks", "--date", "2025-12-30", folder=tmp_path).stdout.decode()
    assert table.splitlines()[0].split()[:3] == ["partition", "batches", "lag"]
    assert "B = 5m" in table
