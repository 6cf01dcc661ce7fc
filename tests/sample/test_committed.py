"""The sample that is kept is the one that the generator makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from tests.sample.committed import FOLDER, make

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("committed")
    make(folder)
    return folder


def test_the_same_files_are_kept_as_are_made(made: Path) -> None:
    kept, new = ({str(path.relative_to(folder)) for path in folder.rglob("*.*")} for folder in (FOLDER, made))
    assert kept == new


def test_every_file_that_is_kept_has_the_content_that_is_made(made: Path) -> None:
    for path in (path for path in made.rglob("*.*") if path.is_file()):
        kept = FOLDER / path.relative_to(made)
        if path.suffix == ".parquet":
            assert pl.read_parquet(kept).equals(pl.read_parquet(path)), path
        else:
            assert kept.read_bytes() == path.read_bytes(), path


def test_what_is_kept_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.*")) < 1_500_000
