"""What the files of a pipeline's lake hold, held against the rules of the lake: whole visits, in order (DESIGN 5.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.lake.layout import EVENTS, FILES, TABLES, VISITS, kept_name
from m2cli.lake.scan import scan_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from m2cli.lake.lists import LakeFile

_TABLES = {table.name: table for table in TABLES}
# What a file of events and one of visits say of the same visit.
_FACTS = ("visit_id", "start_time", "event_count")


class Fault(NamedTuple):
    """What is wrong with one file; `path` is relative to the lake's folder."""

    path: str
    reason: str


def verify_content(lake: Path, files: Sequence[LakeFile], broken: Collection[str]) -> Iterator[Fault]:
    """What is wrong in the rows of `files`, all that are current, file by file and date by date.

    Those whose paths are in `broken` are not read. In memory at once is one file, and the visits of a date.
    """
    for start_date in dict.fromkeys(file.start_date for file in files):
        of_date = [file for file in files if file.start_date == start_date]
        whole: dict[str, list[pl.DataFrame]] = {EVENTS.name: [], VISITS.name: []}
        has_all = True
        for file in of_date:
            read = None if file.path in broken else _read(lake, file)
            if isinstance(read, pl.DataFrame) and file.kind in whole:
                visits = _list_visits(read, file)
                yield from _verify_order(read, visits, file)
                whole[file.kind].append(visits.select(*_FACTS, path=pl.lit(file.path)))
            elif not isinstance(read, pl.DataFrame):
                has_all = False
                yield from [read] if read else []
        if has_all and start_date is not None:
            yield from _verify_visits(*(_join(frames) for frames in whole.values()))


def _read(lake: Path, file: LakeFile) -> pl.DataFrame | Fault:
    """All rows of a file with all its columns, each of its type; or what is wrong with it."""
    try:
        return scan_files([lake / FILES / kept_name(file.path)], _TABLES[file.kind]).collect()
    except pl.exceptions.SchemaError as error:
        return Fault(file.path, f"its columns are not those of `{file.kind}` ({str(error).splitlines()[0]})")
    except (OSError, pl.exceptions.PolarsError) as error:
        return Fault(file.path, f"it is damaged ({str(error).splitlines()[0]})")


def _list_visits(rows: pl.DataFrame, file: LakeFile) -> pl.DataFrame:
    """`visit_id`, `start_time` and `event_count` of each visit as it comes in a file of events or of visits."""
    if file.kind == VISITS.name:
        return rows.select(_FACTS)
    runs = rows["visit_id"].rle().struct.unnest()
    count = runs["len"].cast(pl.Int64)
    start = rows["event_time"].gather(count.cum_sum() - count)
    return pl.DataFrame({"visit_id": runs["value"], "start_time": start, "event_count": count})


def _verify_order(rows: pl.DataFrame, visits: pl.DataFrame, file: LakeFile) -> Iterator[Fault]:
    is_same = pl.col("visit_id") == pl.col("visit_id").shift(1)
    if visits["visit_id"].n_unique() < visits.height:
        yield Fault(file.path, "a visit is in it twice, or its rows are not adjacent")
    if not visits["start_time"].is_sorted():
        yield Fault(file.path, "its visits are not in the order of their start")
    if not (visits["start_time"].dt.date() == file.start_date).all():
        yield Fault(file.path, "a visit in it starts on another date")
    if (
        file.kind == EVENTS.name
        and rows.select((is_same & (pl.col("event_time") < pl.col("event_time").shift(1))).any()).item()
    ):
        yield Fault(file.path, "the events of a visit are not in the order of their time")


def _verify_visits(events: pl.DataFrame, visits: pl.DataFrame) -> Iterator[Fault]:
    """What the events and the visits of one date do not say alike."""
    for one, other, missed in (
        (events, visits, "whose row in `visits` says otherwise or is not there"),
        (visits, events, "whose events are others or are not there"),
    ):
        for path, count in _count(one.filter(pl.col("visit_id").is_duplicated())):
            yield Fault(path, f"of its visits, {count:,} are in another file or place as well")
        for path, count in _count(one.join(other, on=_FACTS, how="anti")):
            yield Fault(path, f"of its visits, there are {count:,} {missed}")


def _count(visits: pl.DataFrame) -> Iterator[tuple[str, int]]:
    return visits.group_by("path", maintain_order=True).len().iter_rows()


def _join(frames: list[pl.DataFrame]) -> pl.DataFrame:
    schema = {name: VISITS.schema[name] for name in _FACTS} | {"path": pl.String}
    return pl.concat([pl.DataFrame(schema=schema), *frames])
