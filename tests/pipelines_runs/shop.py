"""A small shop with a pipeline: logs and event files with a clock of their own, its runs, and what they came to."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.lake import LakeFile, read_snapshot, verify_files
from m2cli.lake.layout import TABLES
from m2cli.ledger import open_ledger
from m2cli.pipeline import AccessLogSource, EventsSource, PipelineRule
from m2cli.runs.run import run_pipeline
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from m2cli.ledger import Ledger, LedgerBatch
    from m2cli.pipeline import Source
    from m2cli.runs.run import RunFacts

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RULE = VisitRule(inactivity=30 * MINUTE, max_duration=120 * MINUTE, max_out_of_orderness=5 * MINUTE)
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Googlebot/2.1")


def line(time: datetime, visitor: int = 1, url: str = "/", referrer: str = "-") -> str:
    """A line of an access log."""
    agent = AGENTS[visitor % 7 == 0]
    return f'192.0.2.{visitor} - - [{time:%d/%b/%Y:%H:%M:%S %z}] "GET {url} HTTP/1.1" 200 7 "{referrer}" "{agent}"\n'


def walk(start: datetime, count: int, seed: int) -> list[str]:
    """`count` lines from `start` on, about four a minute: out of order, now and then late, and some that are none."""
    dice = random.Random(seed)
    lines = []
    for number in range(count):
        behind = dice.choice((0, 0, 0, 0, 10, 200, 290)) if dice.random() < 0.95 else 600
        time = start + timedelta(seconds=15 * number - behind)
        page = dice.randrange(5)
        lines.append(line(time, dice.randrange(1, 9), f"/{seed}/{number}?p={page}", f"https://shop.example/{page}"))
        if dice.random() < 0.04:
            lines.append(dice.choice(("no line at all\n", "\n", line(time + timedelta(hours=5), 3, "/future"))))
    return lines


@dataclass
class Shop:
    """A folder with `logs/`, `events/` and the `lake` of the pipeline that reads them; `now` is what its clock says."""

    folder: Path
    now: datetime = START

    def __post_init__(self) -> None:
        for name in ("logs", "events"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.rule = PipelineRule(
            path=self.folder / "shop.toml",
            name="shop",
            lake=self.folder / "lake",
            sources=(self.log_source("access.log*"), self.events_source()),
            visit=RULE,
        )

    def log_source(self, *patterns: str, name: str = "logs") -> Source:
        return AccessLogSource(name=name, paths=tuple(str(self.folder / "logs" / pattern) for pattern in patterns))

    def events_source(self) -> Source:
        return EventsSource(name="events", paths=(str(self.folder / "events"),))

    def settle(self, **settings: Any) -> None:
        """Change settings of the pipeline."""
        self.rule = replace(self.rule, **settings)

    @property
    def lake(self) -> Path:
        return self.rule.lake

    # What is there to read

    def pass_time(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)

    def touch(self, path: Path) -> Path:
        """Give `path` the time of the shop's clock."""
        nanoseconds = int(self.now.timestamp()) * 1_000_000_000 + self.now.microsecond * 1000
        os.utime(path, ns=(nanoseconds, nanoseconds))
        return path

    def log(self, *lines: str, name: str = "access.log") -> Path:
        """Append lines to a log."""
        path = self.folder / "logs" / name
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(lines)
        return self.touch(path)

    def rename_log(self, old: str, new: str) -> None:
        (self.folder / "logs" / old).rename(self.folder / "logs" / new)

    def pack_log(self, old: str, new: str) -> None:
        """As gzip does: another file with the same time; then the old one goes."""
        source, target = self.folder / "logs" / old, self.folder / "logs" / new
        target.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
        shutil.copystat(source, target)
        source.unlink()

    def copy_and_truncate_log(self, old: str, new: str) -> None:
        source, target = self.folder / "logs" / old, self.folder / "logs" / new
        shutil.copy2(source, target)
        os.truncate(source, 0)
        self.touch(source)

    def drop_events(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Put an event file in its place."""
        path = self.folder / "events" / f"{name}.ndjson"
        path.write_text("".join(json.dumps(dict(row), default=str) + "\n" for row in rows), encoding="utf-8")
        return self.touch(path)

    def write_toml(self, *names: str, **pipeline: str) -> Path:
        """The pipeline's file, as a person would have written it, with the sources of these `names`."""
        limits = {"inactivity": "30m", "max_duration": "2h", "max_out_of_orderness": "5m"}
        sources = [
            {"type": "access_log", "name": "logs", "paths": "logs/access.log*"},
            {"type": "events", "name": "events", "paths": "events"},
        ]
        sections = [("[pipeline]", {"name": "shop", "lake": "lake"} | pipeline), ("[visit]", limits)]
        sections += [("[[source]]", source) for source in sources if source["name"] in (names or ("logs", "events"))]
        lines = [[header, *(f'{key} = "{value}"' for key, value in keys.items())] for header, keys in sections]
        path = self.folder / "shop.toml"
        path.write_text("\n".join(line for section in lines for line in section) + "\n", encoding="utf-8")
        return path

    # What is made of it

    def run(self, **options: Any) -> RunFacts:
        return run_pipeline(self.rule, now=lambda: self.now, **options)

    def ledger(self) -> Ledger:
        return open_ledger(self.lake / "_m2" / "ledger.sqlite")

    def batches(self) -> list[LedgerBatch]:
        """All that were committed."""
        with self.ledger() as ledger:
            return ledger.list_batches()

    def read(self, table: str) -> pl.DataFrame:
        """All rows of a table, by the snapshot."""
        paths = read_snapshot(self.lake).paths(self.lake, table)
        frames = [pl.read_parquet(path, glob=False, hive_partitioning=False) for path in paths]
        return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()

    def count(self, table: str) -> int:
        return self.read(table).height


def assert_sound(shop: Shop) -> None:
    """Nothing is half done: ledger, glob, snapshot and carried state say the same."""
    with shop.ledger() as ledger:
        assert ledger.list_unfinished() == []
        files = [LakeFile.from_dict(row) for row in ledger.list_lake_files()]
        hidden = [LakeFile.from_dict(row) for row in ledger.list_replaced(over_at=datetime.max.replace(tzinfo=UTC))]
        progress = ledger.read_progress()
        last = ledger.list_batches(1)[0]
    assert verify_files(shop.lake, files, hidden=hidden, deep=True) == []
    snapshot = read_snapshot(shop.lake)
    assert (snapshot.W, snapshot.pipeline, snapshot.batch_id) == (progress.W.time, shop.rule.name, last.batch_id)
    assert sorted(snapshot.files) == sorted(files)
    for carried in progress.carried:
        rows = pl.read_parquet(shop.lake / carried.path, glob=False)
        assert rows.height == carried.row_count >= carried.alive_count
    assert not (shop.lake / "_m2" / "scratch").exists()


def list_lake(shop: Shop) -> dict[str, bytes]:
    """Every file of the lake and its bytes, but for the ledger and the locks."""
    own = ("ledger.sqlite", "run.lock", "lake.lock")
    return {
        str(path.relative_to(shop.lake)): path.read_bytes()
        for path in sorted(shop.lake.rglob("*"))
        if path.is_file() and not path.name.startswith(own)
    }


# What depends on when a plan was made, not on what was read (DESIGN 4.7).
OF_THE_PLAN = ("file", "arrival_time")


def list_rows(shop: Shop, without: Collection[str] = OF_THE_PLAN) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the lake, table by table, in an order of their own, whatever file it is in or was read from."""
    found = {}
    for table in TABLES:
        rows = shop.read(table.name)
        names = [
            name for name in table.schema if name in rows.columns and name not in without and rows[name].dtype != pl.Map
        ]
        found[table.name] = sorted(rows.select(names).rows(), key=str)
    return found


def describe_ledger(shop: Shop) -> dict[str, Any]:
    """What the ledger says of parts, partitions, progress and batches, but for how long anything took."""
    left_out = ("seconds", "warnings", "passed_over")
    with shop.ledger() as ledger:
        progress = ledger.read_progress()
        parts = ledger.find_parts(part_ids=[part.part_id for part in ledger.list_parts()])
        batches = [
            (
                batch.batch_id,
                batch.kind,
                batch.state,
                {key: value for key, value in batch.facts.items() if key not in left_out},
            )
            for batch in ledger.list_batches()
        ]
        return {
            "batches": batches,
            "parts": [part._replace(path="") for part in parts],
            "partitions": progress.partitions.sort("source").rows(),
            "W": progress.W,
            "carried": progress.carried,
            "lake": ledger.list_lake_files(),
        }
