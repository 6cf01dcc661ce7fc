"""Access logs of a sample: combined lines, one file a partition, and lines that are none."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from m2cli.sample.dress import name_source

if TYPE_CHECKING:
    from pathlib import Path

MALFORMED = (
    "this is not a log line",
    '77.160.1.2 - - [99/Oct/2025:13:55:36 +0000] "GET / HTTP/1.1" 200 5120 "-" "curl/8.5.0"',
    '77.160.1.2 - - [01/Oct/2025:13:55:36 +0000] "GET /p/P00012',
    r"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    '77.160.1.2 - - "GET / HTTP/1.1" 200 5120 "-" "curl/8.5.0"',
    "<html><body>502 Bad Gateway</body></html>",
    '77.160.1.2 - - [01/Oct/2025:13:55:36 +0000] "GET / HTTP/1.1" twohundred 5120 "-" "curl/8.5.0"',
)
"""Added in turn; the summary of an intake must count each of them as a reject."""


class Logs:
    """The logs of all partitions, which grow as events arrive."""

    def __init__(self, directory: Path, malformed: int) -> None:
        self._directory = directory
        self._malformed = Counter({name_source(0): malformed})
        self._sizes: dict[str, int] = {}

    def append(self, dressed: pl.DataFrame) -> pl.DataFrame:
        """Write a line for every row, in order of arrival; the rows with its byte offset as `place`."""
        self._directory.mkdir(parents=True, exist_ok=True)
        lined = dressed.with_columns(line=_line())
        placed = [
            self._append_to(str(name[0]), rows) for name, rows in lined.partition_by("source", as_dict=True).items()
        ]
        return pl.concat(placed)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, by name."""
        return tuple(sorted(self._path(source) for source in self._sizes))

    def _path(self, source: str) -> Path:
        return self._directory / f"{source}.access.log"

    def _append_to(self, source: str, rows: pl.DataFrame) -> pl.DataFrame:
        size = self._sizes.get(source, 0)
        lines = _scatter(rows.with_columns(order=2 * pl.int_range(pl.len())), 0 if size else self._malformed[source])
        length = pl.col("line").str.len_bytes().cast(pl.Int64) + 1
        placed = lines.with_columns(place=size + length.cum_sum() - length)
        with self._path(source).open("ab") as log:
            placed.select("line").write_csv(log, include_header=False, quote_style="never")
        self._sizes[source] = size + int(placed.select(length.sum()).item())
        return placed.filter(pl.col("time").is_not_null()).drop("line", "order")


def _scatter(rows: pl.DataFrame, malformed: int) -> pl.DataFrame:
    """`rows` with so many lines between them that are no log lines."""
    if not malformed:
        return rows
    apart = max(rows.height // (malformed + 1), 1)
    odd = pl.DataFrame(
        {
            "line": [MALFORMED[n % len(MALFORMED)] for n in range(malformed)],
            "order": [2 * (n + 1) * apart - 1 for n in range(malformed)],
        }
    )
    return pl.concat([rows, odd], how="diagonal").sort("order", maintain_order=True)


def _line() -> pl.Expr:
    def text(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.String).fill_null("-")

    time = pl.col("event_time").dt.strftime("%d/%b/%Y:%H:%M:%S +0000")
    request = (pl.col("method"), pl.col("url"), pl.col("status"))
    return pl.format(
        '{} - - [{}] "{} {} HTTP/1.1" {} {} "{}" "{}"',
        "ip",
        time,
        *request,
        text("bytes"),
        text("referrer"),
        text("user_agent"),
    )
