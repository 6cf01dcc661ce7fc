"""Cut a week of a sample into batches in any way: the same visits, ids, late events, duplicates and counts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest

from m2cli.runs.sample import make_sample
from m2cli.sample.rule import LOG, SampleRule
from m2cli.visits import VisitRule
from tests.cli.command import run_m2
from tests.pipelines_runs.shop import Shop, assert_sound, list_rows
from tests.properties.test_sample_truth import FACTS
from tests.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Rows = dict[str, list[tuple[Any, ...]]]

PLACE = ("source", "part_id", "position_in_source")
RULE = VisitRule(idle_after=timedelta(days=3_650))
AFTERWARDS = datetime(2025, 12, 1, tzinfo=UTC)
PRIMER = "primer"


class CrashError(BaseException):
    """The process is gone; nothing that m2 catches."""


class Week(NamedTuple):
    """A sample, and what is true of it where nothing is ever idle."""

    events: pl.DataFrame
    visits: pl.DataFrame
    late: pl.DataFrame
    duplicates: pl.DataFrame


def read_week(folder: Path) -> Week:
    truth = folder / "truth" / "on_time"
    events = read_truth(truth / "events.parquet")
    is_copy = pl.col("is_duplicate") & ~pl.col("is_late")
    return Week(
        pl.concat(pl.read_parquet(path) for path in sorted((folder / "events").glob("*.parquet"))),
        read_truth(truth / "visits.parquet").select(FACTS).sort(FACTS[:2]),
        events.filter("is_late").select(PLACE).sort(PLACE),
        events.filter(is_copy).select(PLACE).sort(PLACE),
    )


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Week:
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder / "week", SampleRule(events=20_000, days=7, seed=3))
    return read_week(folder / "week")


def make_primer(week: Week) -> pl.DataFrame:
    """An event of each partition before all others: which partitions are new when is the plans', not the cut's."""
    first = week.events["arrival_time"].min() - timedelta(hours=1)  # type: ignore[operator]  # a time
    sources = week.events["source"].unique().sort()
    times = {name: pl.lit(first).cast(week.events.schema[name]) for name in ("event_time", "arrival_time")}
    return pl.DataFrame({"source": sources, "event_id": sources}).with_columns(
        **times,
        session_id=pl.lit(PRIMER),
        event_type=pl.lit("page"),
        part_id=pl.lit("-"),
        position_in_source=pl.lit(0, pl.Int64),
    )


def cut_by_arrival(week: Week, every: str) -> list[pl.DataFrame]:
    """What was read in each span of time; a source is read in order."""
    read_time = pl.col("arrival_time").cum_max().over("source").dt.truncate(every)
    arrived = week.events.sort(PLACE).with_columns(span=read_time)
    return [piece.drop("span") for _, piece in sorted(arrived.partition_by("span", as_dict=True).items())]


def cut_anywhere(week: Week, count: int, seed: int) -> list[pl.DataFrame]:
    """So many pieces, each source cut where it happens to be."""
    dice = random.Random(seed)
    pieces: list[list[pl.DataFrame]] = [[] for _ in range(count)]
    for rows in week.events.sort(PLACE).partition_by("source"):
        cuts = sorted(dice.choices(range(rows.height), k=count - 1))
        for number, (first, end) in enumerate(zip([0, *cuts], [*cuts, rows.height], strict=True)):
            pieces[number].append(rows[first:end])
    return [pl.concat(of_batch) for of_batch in pieces]


def open_shop(folder: Path) -> Shop:
    shop = Shop(folder, AFTERWARDS)
    shop.settle(visit=RULE, sources=(shop.events_source(),))
    return shop


def put(shop: Shop, number: int, events: pl.DataFrame) -> None:
    path = shop.folder / "events" / f"{number:04}.parquet"
    events.write_parquet(path)
    shop.touch(path)


def run_all(shop: Shop, pieces: Sequence[pl.DataFrame], crash: Callable[[str], None] = lambda _step: None) -> Rows:
    """A batch for each piece and a flush; each is tried until it is done. All rows of the lake."""
    for number, piece in enumerate(pieces):
        shop.pass_time(15)
        put(shop, number, piece)
        run_until_done(shop, crash, is_flush=False)
    run_until_done(shop, crash, is_flush=True)
    assert_sound(shop)
    return list_rows(shop)


def run_until_done(shop: Shop, crash: Callable[[str], None], *, is_flush: bool) -> None:
    while True:
        try:
            shop.run(is_flush=is_flush, at=crash)
        except CrashError:
            continue
        return


def crash_now_and_then(seed: int) -> Callable[[str], None]:
    dice = random.Random(seed)

    def crash(_step: str) -> None:
        if dice.random() < 0.03:
            raise CrashError

    return crash


def assert_true(shop: Shop, week: Week) -> None:
    """The lake is what is true of the sample, but for the primer."""
    visits = shop.read("visits").filter(pl.col("start_time") >= week.visits["start_time"].min())
    starts = visits.select(continues_visit_id="visit_id", continues_start_time="start_time")
    found = visits.join(starts, on="continues_visit_id", how="left")
    # The truth knows no flush, which closes who is open at the end of input.
    expected = week.visits.with_columns(end_reason=pl.col("end_reason").replace("end_of_input", "flush"))
    assert found.select(FACTS).sort(FACTS[:2]).equals(expected)
    assert shop.read("late").select(PLACE).sort(PLACE).equals(week.late)
    assert shop.read("duplicates").select(PLACE).sort(PLACE).equals(week.duplicates)


@pytest.fixture(scope="module")
def one_batch(week: Week, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    shop = open_shop(tmp_path_factory.mktemp("one"))
    rows = run_all(shop, [make_primer(week), week.events.sort(PLACE)])
    assert_true(shop, week)
    return rows


def test_one_batch_finds_the_truth(one_batch: Rows) -> None:
    assert all(one_batch[table] for table in ("events", "visits", "late", "duplicates"))


def test_a_batch_a_day_says_what_one_batch_says(tmp_path: Path, week: Week, one_batch: Rows) -> None:
    assert run_all(open_shop(tmp_path), [make_primer(week), *cut_by_arrival(week, "1d")]) == one_batch


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak), pytest.param(3, marks=pytest.mark.soak)])
def test_random_cuts_with_crashes_in_between_say_what_one_batch_says(
    tmp_path: Path, week: Week, one_batch: Rows, seed: int
) -> None:
    pieces = [make_primer(week), *cut_anywhere(week, 10, seed)]
    assert run_all(open_shop(tmp_path), pieces, crash_now_and_then(seed)) == one_batch


def test_little_memory_says_what_much_says(
    tmp_path: Path, week: Week, one_batch: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2cli.runs.batch.work.budget_events", lambda _memory: 1_500_000)
    monkeypatch.setattr("m2cli.runs.batch.cut._LEAST_GATHERED", 500)
    rows = run_all(open_shop(tmp_path), [make_primer(week), *cut_by_arrival(week, "3d")])
    assert rows == one_batch


def test_a_batch_every_quarter_of_an_hour_says_what_one_batch_says(tmp_path: Path, week: Week) -> None:
    end = week.events["arrival_time"].min() + timedelta(hours=16)  # type: ignore[operator]  # a time
    day = week._replace(events=week.events.filter(pl.col("arrival_time") < end))
    one = run_all(open_shop(tmp_path / "one"), [make_primer(day), day.events.sort(PLACE)])
    pieces = cut_by_arrival(day, "15m")
    assert len(pieces) > 32
    assert run_all(open_shop(tmp_path / "many"), [make_primer(day), *pieces]) == one


def test_the_command_says_what_one_batch_says(tmp_path: Path, week: Week, one_batch: Rows) -> None:
    shop = open_shop(tmp_path)
    toml = (
        shop.write_toml("events").read_text().replace('2h"', '12h"').replace("[visit]", '[visit]\nidle_after = "3650d"')
    )
    (tmp_path / "shop.toml").write_text(toml)
    for number, piece in enumerate([make_primer(week), *cut_by_arrival(week, "3d"), None]):
        if piece is not None:
            put(shop, number, piece)
        done = run_m2("run", "shop.toml", *(["--flush"] if piece is None else []), folder=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert_sound(shop)
    assert list_rows(shop) == one_batch


# ---------------------------------------------------------------- access logs


class LogWeek(NamedTuple):
    """The access logs of a sample, cut where they are rotated, and the visits that are in them."""

    parts: dict[str, list[bytes]]
    visits: pl.DataFrame
    late_count: int


@pytest.fixture(scope="module")
def log_week(tmp_path_factory: pytest.TempPathFactory) -> LogWeek:
    folder = tmp_path_factory.mktemp("sample") / "week"
    make_sample(folder, SampleRule(events=20_000, days=7, seed=4, format=LOG, malformed=7))
    parts = {}
    for path in sorted(folder.rglob("*.access.log")):
        lines = path.read_bytes().splitlines(keepends=True)
        size = -(-len(lines) // 4)
        parts[path.name] = [b"".join(lines[first : first + size]) for first in range(0, len(lines), size)]
    truth = folder / "truth" / "on_time"
    visits = read_truth(truth / "visits.parquet")
    late_count = pl.read_parquet(truth / "events.parquet")["is_late"].sum()
    return LogWeek(parts, visits.select(FACTS).sort(FACTS[:2]), late_count)


def follow_week(shop: Shop, log_week: LogWeek, runs_a_part: int, seed: int, crash: Callable[[str], None]) -> Rows:
    """Logs that grow and are rotated four times, read so many times between."""
    shop.settle(
        visit=RULE,
        sources=tuple(shop.log_source(name, f"{name}.*", name=name) for name in log_week.parts),
    )
    dice = random.Random(seed)
    shop.run()  # the partitions are known before they are written
    for number in range(4):
        written = dict.fromkeys(log_week.parts, 0)
        for run in range(runs_a_part):
            shop.pass_time(10)
            for name, parts in log_week.parts.items():
                text = parts[number]
                end = len(text) if run == runs_a_part - 1 else dice.randrange(written[name], len(text))
                with (shop.folder / "logs" / name).open("ab") as stream:
                    stream.write(text[written[name] : end])
                shop.touch(shop.folder / "logs" / name)
                written[name] = end
            run_until_done(shop, crash, is_flush=False)
        for place, name in enumerate(log_week.parts):
            rotate(shop, name, number, (place + number) % 3)
    run_until_done(shop, crash, is_flush=True)
    assert_sound(shop)
    return list_rows(shop)


def rotate(shop: Shop, name: str, number: int, how: int) -> None:
    if how == 0:
        shop.rename_log(name, f"{name}.{number}")
    elif how == 1:
        shop.pack_log(name, f"{name}.{number}.gz")
    else:
        shop.copy_and_truncate_log(name, f"{name}.{number}")


def test_logs_that_grow_and_rotate_say_the_truth_however_often_they_are_read(tmp_path: Path, log_week: LogWeek) -> None:
    seldom, often = Shop(tmp_path / "shop", AFTERWARDS), Shop(tmp_path / "shop", AFTERWARDS)
    rows = follow_week(seldom, log_week, 1, 1, lambda _step: None)
    visits = seldom.read("visits")
    starts = visits.select(continues_visit_id="visit_id", continues_start_time="start_time")
    found = visits.join(starts, on="continues_visit_id", how="left").select(FACTS)
    expected = log_week.visits.with_columns(end_reason=pl.col("end_reason").replace("end_of_input", "flush"))
    assert found.sort(FACTS[:2]).equals(expected)
    assert (len(rows["late"]), len(rows["rejects"])) == (log_week.late_count, 7)
    (tmp_path / "shop").rename(tmp_path / "seldom")
    (tmp_path / "shop" / "logs").mkdir(parents=True)
    assert follow_week(often, log_week, 4, 2, crash_now_and_then(5)) == rows
