"""Salts of a few years and lakes that are only looked at, as tests share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from m2cli.privacy.ring import make_salt
from m2cli.privacy.salts import FolderSalts
from m2cli.runs.anonymize.lake import anonymize_lake
from tests.privacy.lakes import RULE, make_lake

if TYPE_CHECKING:
    from pathlib import Path

YEARS = (2023, 2024, 2025, 2026)


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ring") / "salts"
    for year in YEARS:
        make_salt(folder, year)
    return folder


@pytest.fixture(scope="session")
def salts(ring: Path) -> FolderSalts:
    return FolderSalts(folder=ring)


@pytest.fixture(scope="session")
def keys(ring: Path) -> dict[int, bytes]:
    return {year: (ring / f"{year}.salt").read_bytes().strip() for year in YEARS}


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory, salts: FolderSalts) -> Path:
    """A folder with `lake`, of the sample, and `anonymous`, made of it; who changes something copies it."""
    folder = tmp_path_factory.mktemp("pair")
    make_lake(folder / "lake")
    anonymize_lake(folder / "lake", folder / "anonymous", RULE, salts)
    return folder
