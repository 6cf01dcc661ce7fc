"""The truth about a sample, in the words of what m2 makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.stages.visitors import derive_visitors

if TYPE_CHECKING:
    from pathlib import Path


def read_truth(path: Path) -> pl.DataFrame:
    """A table of a sample's truth; who has no cookie is called by address and user agent there."""
    truth = pl.read_parquet(path)
    client = truth["visitor_id"].str.splitn(" ", 2).struct.unnest()
    derived = derive_visitors(client["field_0"], client["field_1"])
    has_cookie = client["field_1"].is_null()
    return truth.with_columns(visitor_id=pl.when(has_cookie).then("visitor_id").otherwise(derived))
