"""Chance that is the same everywhere."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from m2cli.sample.draws import HALF, Dice, below, draw, hex_ids, make_key, mix

MASK = 2**64 - 1


def test_the_mix_is_the_published_one() -> None:
    # the first numbers of SplitMix64 with the seed 1234567, as the authors' own code gives them
    step = 0x9E3779B97F4A7C15
    drawn = [mix(1234567 + n * step & MASK) for n in range(3)]
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1), st.integers(0, MASK))
def test_columns_and_plain_numbers_draw_the_same(counters: list[int], key: int) -> None:
    column = pl.DataFrame({"n": counters}, schema={"n": pl.Int64}).select(draw(pl.col("n"), key)).to_series()
    assert column.to_list() == [mix(counter ^ key) for counter in counters]


@given(st.lists(st.none() | st.integers(0, MASK)))
def test_ids_are_their_eight_bytes_in_hexadecimal(numbers: list[int | None]) -> None:
    ids = hex_ids(pl.Series(numbers, dtype=pl.UInt64))
    assert ids.to_list() == [None if n is None else n.to_bytes(8, "little").hex() for n in numbers]


@given(st.integers(0, HALF - 1), st.integers(1, 2**34 - 1))
def test_a_number_below_a_limit_is_below_it(half: int, limit: int) -> None:
    (number,) = pl.select(below(pl.lit(half, dtype=pl.Int64), pl.lit(limit, dtype=pl.Int64))).to_series()
    assert 0 <= number < limit


def test_purposes_draw_apart() -> None:
    assert len({make_key(seed, purpose) for seed in range(50) for purpose in ("play", "event", "yalp")}) == 150


def test_dice_are_fair_enough() -> None:
    dice = Dice(make_key(1, "dice"))
    assert {dice.number(6) for _ in range(200)} == set(range(6))
    assert 120 < sum(dice.chance(30) for _ in range(500)) < 180
