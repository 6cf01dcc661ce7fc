"""The truth of a sample as it is made: what is plain is written at once, the rest settled at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import MONEY, TIME
from m2cli.sample.catalogue import CURRENCIES
from m2cli.sample.draws import draw, hex_ids, make_key
from m2cli.sample.dress import PART_ID, list_people, name_source
from m2cli.sample.people import visitor_id
from m2cli.sample.sink import Sink
from m2cli.sample.truth import INACTIVITY, MAX_DURATION, TYPES, revenue_of_one_currency, settle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from m2cli.sample.library import Library
    from m2cli.sample.play import Slice
    from m2cli.sample.rule import SampleRule

TRUTHS = ALL, ON_TIME = ("all", "on_time")
"""Of every event, as a bounded run finds it; and of those that are not late, as batches find it."""

_WATCHED = (
    "journey",
    "event",
    "time",
    "source",
    "place",
    "cause",
    "is_late",
    "event_type",
    "amount",
    "currency",
)
_EVENTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "event_id": pl.String,
    "source": pl.String,
    "part_id": pl.String,
    "position_in_source": pl.Int64,
    "visitor_id": pl.String,
    "start_time": TIME,
    "root_event_id": pl.String,
    "is_orphan": pl.Boolean,
    "is_duplicate": pl.Boolean,
    "is_late": pl.Boolean,
}
VISITS: dict[str, pl.DataType | type[pl.DataType]] = {
    "visitor_id": pl.String,
    "start_time": TIME,
    "end_time": TIME,
    "event_count": pl.Int64,
    **{f"{name}_count": pl.Int64 for name in TYPES},
    "end_reason": pl.String,
    "is_closed": pl.Boolean,
    "continues_start_time": TIME,
    "revenue": MONEY,
    "currency": pl.String,
}
_NOT_IN_LOGS = ("event_id", "root_event_id", "is_orphan")
VISIT_COUNTS = ("visits", "continued_visits", "visits_over_midnight", "visits_over_new_year")
EVENT_COUNTS = ("orphans", "without_root", "ids_reused", "duplicates")
_PIECE = 400_000


class Record:
    """What is known of the sample so far."""

    def __init__(self, directory: Path, plan: pl.DataFrame, library: Library, rule: SampleRule) -> None:
        self._plan, self._rule = plan, rule
        self._visits: list[pl.DataFrame] = []
        self._purchases: list[pl.DataFrame] = []
        self._watched: list[pl.DataFrame] = []
        self._counts = [_CountOf(name, library.scenes["event_type"] == name) for name in TYPES]
        self._compact = _compact(library, rule)
        self._truths = [_Truth(name, directory / name) for name in TRUTHS]

    def note_journeys(self, piece: Slice) -> None:
        """Journeys that are one visit each, whatever arrives when, by the plan and the last event's time."""
        last_row = pl.col("first_event") - pl.col("first_event").first() + pl.col("length") - 1
        self._visits.append(
            piece.journeys.with_columns(end=pl.lit(piece.played["time"]).gather(last_row))
            .filter(~pl.col("is_watched"))
            .select("journey", "start", "end", *(count.within() for count in self._counts), event_count="length")
        )

    def note_events(self, dressed: pl.DataFrame) -> None:
        """What arrived: written where it is plain, kept where it is watched."""
        self._watched.append(dressed.filter("is_watched").select(_WATCHED).with_columns(self._compact))
        plain = dressed.filter(~pl.col("is_watched"))
        if plain["is_late"].any():
            msg = "an event that nobody delayed beyond the bound is late"
            raise AssertionError(msg)
        self._purchases.append(plain.filter(plain["amount"].is_not_null()).select("journey", "amount", "currency"))
        rows = plain.with_columns(
            visitor_id(),
            start_time=pl.col("start").cast(TIME),
            root_event_id="root_id",
            position_in_source="place",
            is_orphan=pl.lit(value=False),
            is_duplicate=pl.lit(value=False),
        )
        table = self._as_events(rows).to_arrow()
        for truth in self._truths:
            truth.events.write(table)

    def close(self, latest: int, watermark: int) -> dict[str, int]:
        """Settle what was watched and write all that is left; what was counted.

        `latest` is the time of the latest event, `watermark` the W of batches that have read all (µs).
        """
        revenue = pl.concat(self._purchases).group_by("journey").agg(revenue_of_one_currency())
        for truth in self._truths:
            for visits in self._visits:
                with_revenue = visits.join(revenue, on="journey", how="left", maintain_order="left")
                self._write_visits(truth, end_visits(with_revenue, latest, watermark, truth.name))
            for rows in _whole_journeys(pl.concat(self._watched)):
                settled = settle(rows, has_late=truth.name == ON_TIME)
                truth.events.write(self._dress(settled.events).to_arrow())
                truth.counts.update(count_events(settled.events))
                self._write_visits(truth, end_visits(settled.visits, latest, watermark, truth.name))
            truth.close()
        return {
            f"{truth.name}/{name}": truth.counts[name]
            for truth in self._truths
            for name in (*VISIT_COUNTS, *(() if self._rule.is_log else EVENT_COUNTS))
        }

    def _write_visits(self, truth: _Truth, visits: pl.DataFrame) -> None:
        if not visits.height:
            return
        named = self._with_visitors(visits).with_columns(
            pl.lit(None).alias("continues") if "continues" not in visits.columns else "continues",
            start_time="start",
            end_time="end",
        )
        columns = named.rename({"continues": "continues_start_time"})
        truth.visits.write(columns.select(pl.col(name).cast(dtype) for name, dtype in VISITS.items()).to_arrow())
        truth.counts.update(count_visits(columns))

    def _as_events(self, rows: pl.DataFrame) -> pl.DataFrame:
        names = [name for name in _EVENTS if not (self._rule.is_log and name in _NOT_IN_LOGS)]
        return rows.select(pl.col(name).cast(_EVENTS[name]) for name in names)

    def _dress(self, settled: pl.DataFrame) -> pl.DataFrame:
        key = make_key(self._rule.seed, "event")
        return self._as_events(
            self._with_visitors(settled)
            .with_columns(event_id=draw(pl.col("event"), key), root_event_id=draw(pl.col("root"), key))
            .with_columns(
                pl.col("event_id", "root_event_id").map_batches(hex_ids, return_dtype=pl.String),
                start_time=pl.col("start").cast(TIME),
                position_in_source="place",
                part_id=pl.lit(PART_ID),
            )
        )

    def _with_visitors(self, rows: pl.DataFrame) -> pl.DataFrame:
        people = list_people(rows["journey"], self._plan, self._rule).select("journey", visitor_id())
        return rows.join(people, on="journey", how="left", maintain_order="left")


class _CountOf:
    """How often a type of event occurs from one scene to another."""

    def __init__(self, event_type: str, is_it: pl.Series) -> None:
        self._name = f"{event_type}_count"
        self._until = is_it.cast(pl.Int64).cum_sum().extend_constant(0, 1)  # at -1: before the first

    def within(self) -> pl.Expr:
        """The count in the scenes of a plan's journey."""
        until, begin = pl.lit(self._until), pl.col("begin")
        before = pl.when(begin == 0).then(len(self._until) - 1).otherwise(begin - 1)
        return (until.gather(begin + pl.col("length") - 1) - until.gather(before)).alias(self._name)


class _Truth:
    """The files of one truth, and what was counted in it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.events, self.visits = Sink(directory / "events.parquet"), Sink(directory / "visits.parquet")
        self.counts: Counter[str] = Counter()

    def close(self) -> None:
        self.events.close()
        self.visits.close()


def end_visits(visits: pl.DataFrame, latest: int, watermark: int, name: str) -> pl.DataFrame:
    """`visits` with `end_reason` (DESIGN 4.10) and `is_closed`: whether before any end or flush."""
    silent, full = pl.col("end") + INACTIVITY, pl.col("start") + MAX_DURATION
    moment = pl.min_horizontal(silent, full)
    by_the_data = pl.when(full < silent).then(pl.lit("max_duration")).otherwise(pl.lit("inactivity"))
    nothing_later = pl.lit("flush" if name == ON_TIME else "end_of_input")
    return visits.with_columns(
        end_reason=pl.when(moment >= latest).then(nothing_later).otherwise(by_the_data),
        is_closed=moment < watermark,
    )


def _compact(library: Library, rule: SampleRule) -> list[pl.Expr]:
    """Texts that recur, as a byte each while they are kept; enumerated in the order in which texts sort."""
    words: dict[str, list[str]] = {
        "event_type": library.scenes["event_type"].unique().to_list(),
        "currency": list(CURRENCIES),
        "source": [name_source(n) for n in range(rule.sources)],
    }
    return [pl.col(name).cast(pl.Enum(sorted(texts))) for name, texts in words.items()]


def _whole_journeys(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """`rows` in pieces of about `_PIECE`, the events of a journey together."""
    ordered = rows.sort("journey")
    begin = 0
    while begin < ordered.height:
        last = ordered["journey"][min(begin + _PIECE, ordered.height) - 1]
        end = int(ordered["journey"].search_sorted(last, side="right"))
        yield ordered.slice(begin, end - begin)
        begin = end


def count_visits(visits: pl.DataFrame) -> dict[str, int]:
    """What the facts say of visits."""
    start, end = pl.col("start").cast(TIME), pl.col("end").cast(TIME)
    return visits.select(
        visits=pl.len(),
        continued_visits=pl.col("continues_start_time").count(),
        visits_over_midnight=(start.dt.date() != end.dt.date()).sum(),
        visits_over_new_year=(start.dt.year() != end.dt.year()).sum(),
    ).row(0, named=True)


def count_events(settled: pl.DataFrame) -> dict[str, int]:
    """What the facts say of settled events; among the others there is nothing to count."""
    is_member = pl.col("start").is_not_null()
    return settled.select(
        orphans=pl.col("is_orphan").sum(),
        without_root=(is_member & pl.col("root").is_null()).sum(),
        ids_reused=is_member.sum() - pl.struct("journey", "start", "event").filter(is_member).n_unique(),
        duplicates=pl.col("is_duplicate").sum(),
    ).row(0, named=True)
