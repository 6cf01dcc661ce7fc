"""Whatever is killed whenever: the next run goes on, and the lake is the one of runs that nobody killed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.crash.killing import Survivor, choose_targets, record
from tests.pipelines_runs.shop import assert_sound

if TYPE_CHECKING:
    from pathlib import Path

# So few bytes of events may be in memory that each batch goes by way of the disk.
LITTLE = 20_000


def die_at_steps(folder: Path, name: str, budget: int | None, most: int, seed: int) -> None:
    """Live through a diary, killed at every step that its runs come to, each at up to `most` moments."""
    targets = choose_targets(record(folder, name, budget), most, seed)
    survivor = Survivor(folder, name, budget)
    for target in targets:
        survivor.die_at(target)
    survivor.finish()
    assert_sound(survivor.shop)
    survivor.assert_as_undisturbed()


def die_any_time(folder: Path, name: str, count: int, seed: int) -> None:
    """Live through a diary, killed after so many random times."""
    dice = random.Random(seed)
    survivor = Survivor(folder, name, dice.choice((None, LITTLE)))
    for _ in range(count):
        survivor.die_after(dice.uniform(0, 0.7))
    survivor.finish()
    assert_sound(survivor.shop)
    survivor.assert_as_undisturbed()


@pytest.mark.parametrize(
    ("name", "budget", "most"),
    [("logs", None, 2), ("events", LITTLE, 1)],
    ids=["logs that rotate", "event files, by way of the disk"],
)
def test_killed_at_every_step_a_pipeline_makes_the_lake_of_one_that_was_not(
    tmp_path: Path, name: str, budget: int | None, most: int
) -> None:
    die_at_steps(tmp_path / "shop", name, budget, most, seed=1)


@pytest.mark.parametrize("name", ["logs", "events"])
def test_killed_at_any_time_a_pipeline_makes_the_lake_of_one_that_was_not(tmp_path: Path, name: str) -> None:
    die_any_time(tmp_path / "shop", name, 8, seed=3)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["logs", "events"])
@pytest.mark.parametrize("budget", [None, LITTLE], ids=["in memory", "by way of the disk"])
def test_killed_at_every_step_of_every_moment(tmp_path: Path, name: str, budget: int | None) -> None:
    die_at_steps(tmp_path / "shop", name, budget, most=100, seed=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", ["logs", "events"])
def test_killed_at_a_thousand_times(tmp_path: Path, name: str, seed: int) -> None:
    die_any_time(tmp_path / "shop", name, 25, seed)
