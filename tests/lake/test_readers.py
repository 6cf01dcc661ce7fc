"""A lake is read as it is by those who know nothing of m2, with the date of the visits' start."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest

from m2cli.events import MONEY, TEXTS
from m2cli.lake import stage_lake
from tests.twins.lake_twin import Whole, make_whole, part_by_date

if TYPE_CHECKING:
    from pathlib import Path

MADE = make_whole([(0, 3), (1, 90), (3, 2), (30, 2)])
WHOLE = Whole(
    MADE.events.with_columns(
        amount=pl.lit(Decimal("12.3400"), MONEY),
        attributes=pl.Series([{"k": "v"}] * MADE.events.height, dtype=TEXTS),
    ),
    MADE.visits,
)
COUNTS = {date.fromisoformat(day): len(ids) for day, ids in part_by_date(WHOLE).items()}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("readers") / "lake"
    with stage_lake(target) as staged:
        staged.write_events(WHOLE.events, WHOLE.visits)
        staged.write_visits(WHOLE.visits)
        staged.commit()
    return target


def test_duckdb_reads_it(lake: Path) -> None:
    events = duckdb.read_parquet(f"{lake}/events/*/*.parquet", hive_partitioning=True)
    assert dict(events.aggregate("date, count(*)").pl().rows()) == COUNTS
    row = events.order("event_time").limit(1).project("amount, attributes['k'] AS k, event_time").pl()
    assert row.row(0) == (Decimal("12.3400"), "v", WHOLE.events["event_time"].min())


def test_polars_reads_it(lake: Path) -> None:
    events = pl.scan_parquet(f"{lake}/events/**/*.parquet", hive_partitioning=True).collect()
    assert dict(events.group_by("date").len().rows()) == COUNTS
    assert events.drop("date").select(WHOLE.events.columns).equals(WHOLE.events)


def test_pyarrow_reads_it(lake: Path) -> None:
    table = ds.dataset(lake / "events", partitioning="hive").to_table()
    counts = pl.from_arrow(table.group_by("date").aggregate([([], "count_all")]))
    assert isinstance(counts, pl.DataFrame)
    assert {date.fromisoformat(day): count for day, count in counts.select("date", "count_all").rows()} == COUNTS
    assert table["amount"][0].as_py() == Decimal("12.3400")
    assert table["attributes"][0].as_py() == [("k", "v")]


def test_spark_reads_it(lake: Path) -> None:
    pyspark = pytest.importorskip("pyspark.sql", reason="Spark is not installed")
    spark = pyspark.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        rows = spark.read.parquet(str(lake / "events")).groupBy("date").count().collect()
        assert {row["date"]: row["count"] for row in rows} == COUNTS
    finally:
        spark.stop()


def test_the_rows_of_a_visit_are_adjacent_and_visits_in_order_of_start(lake: Path) -> None:
    for path in lake.glob("events/*/*.parquet"):
        runs = pl.read_parquet(path)["visit_id"].rle().struct.field("value").to_list()
        assert len(runs) == len(set(runs))
        starts = WHOLE.visits.filter(pl.col("visit_id").is_in(runs)).sort("start_time")["visit_id"].to_list()
        assert runs == starts


def test_the_folder_of_m2_matches_no_glob_of_parquet_files(lake: Path) -> None:
    assert not [path for path in lake.rglob("*.parquet") if "_m2" in path.parts]
