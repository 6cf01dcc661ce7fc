"""The floor of anonymizing a lake: read its Parquet, write it again, and hash each distinct identifier once."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import polars_hash

COLUMNS = ("event_id", "cause_id", "session_id", "customer_id", "ip", "visitor_id", "visit_id")
KEY = "0" * 64


def main(lake: Path, output: Path) -> None:
    for path in sorted((lake / "events").rglob("*.parquet")) + sorted((lake / "visits").rglob("*.parquet")):
        frame = pl.read_parquet(path, hive_partitioning=False)
        target = output / path.relative_to(lake)
        target.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(
            target, compression="zstd", compression_level=1, row_group_size=65_536, data_page_size=128 * 1024
        )
        for name in COLUMNS if "events" in path.parts else ():
            distinct = frame.select(pl.col(name).unique().alias("value"))
            distinct.select(polars_hash.col("value").chash.hmac_sha256(key=KEY))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
