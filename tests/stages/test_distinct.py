"""Values computed once per distinct input, whatever the column is like: dense, in runs, sparse, empty."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from m2cli.stages.distinct import code_values, map_distinct, map_together

COLUMNS = st.lists(st.none() | st.sampled_from(["", "a", "b", "long enough for a buffer of its own"]), max_size=40)
SPARSE = COLUMNS.map(lambda texts: [each for text in texts for each in (text, None, None, None)])


@given(COLUMNS | SPARSE)
def test_what_is_coded_and_spread_is_the_column(texts: list[str | None]) -> None:
    column = pl.Series("text", texts, pl.String)
    coded = code_values(column)
    assert coded.spread(coded.values).to_list() == texts
    assert coded.codes.null_count() == column.null_count()


@given(COLUMNS | SPARSE)
def test_a_function_sees_each_value_once(texts: list[str | None]) -> None:
    seen: list[str | None] = []

    def shout(values: pl.Series) -> pl.Series:
        seen.extend(values)
        return values.str.to_uppercase()

    shouted = map_distinct(pl.Series("text", texts, pl.String), shout)
    assert shouted.to_list() == [None if text is None else text.upper() for text in texts]
    assert (shouted.name, shouted.dtype) == ("text", pl.String)
    there = [text for text in seen if text is not None]
    assert sorted(there) == sorted({text for text in texts if text is not None})


@given(st.lists(COLUMNS, max_size=4))
def test_columns_together_are_each_alone(columns: list[list[str | None]]) -> None:
    made = map_together(
        [pl.Series(f"column {place}", texts, pl.String) for place, texts in enumerate(columns)],
        lambda texts: texts.str.to_uppercase(),
    )
    assert [(column.name, column.to_list()) for column in made] == [
        (f"column {place}", [None if text is None else text.upper() for text in texts])
        for place, texts in enumerate(columns)
    ]
