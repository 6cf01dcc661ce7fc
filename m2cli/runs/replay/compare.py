"""Two makings of the same visits held against each other: visit by visit, event by event, and why they differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import TIME
from m2cli.runs.replay.arrivals import PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of what a visit's row says, all that does not depend on what came after the dates that are compared.
TOLD = ("visit_id", "visitor_id", "page_count", "show_count", "click_count", "purchase_count", "end_reason")
_OPEN_ENDED = ("flush", "end_of_input")
NOT_EXPLAINED = "not explained"
# Of events that were late live as well, and that a rebuild has put into visits since.
MERGED = "late, merged by rebuild"
# Of what differs, so many are named.
_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How visits that should be the same are; `reasons` say of those that differ why, with how many do."""

    same_count: int = 0
    other_boundaries_count: int = 0
    other_totals_count: int = 0
    """Same events, and something else is said of them."""
    missing_count: int = 0
    extra_count: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    visit_ids: tuple[str, ...] = ()
    """Some of those that differ."""

    def __add__(self, other: Comparison) -> Comparison:
        """Both together: of the visits of some visitors and of some others."""
        return Comparison(
            same_count=self.same_count + other.same_count,
            other_boundaries_count=self.other_boundaries_count + other.other_boundaries_count,
            other_totals_count=self.other_totals_count + other.other_totals_count,
            missing_count=self.missing_count + other.missing_count,
            extra_count=self.extra_count + other.extra_count,
            reasons=dict(sorted((Counter(self.reasons) + Counter(other.reasons)).items())),
            visit_ids=tuple(sorted({*self.visit_ids, *other.visit_ids})[:_NAMED]),
        )

    @property
    def is_same(self) -> bool:
        """Whether no visit differs but those that a rebuild has made anew."""
        return self.difference_count == self.reasons.get(MERGED, 0)

    @property
    def difference_count(self) -> int:
        """All visits that are not the same."""
        return self.other_boundaries_count + self.other_totals_count + self.missing_count + self.extra_count


def digest_visits(events: pl.DataFrame) -> pl.DataFrame:
    """A row for each visit: `visit_id`, `visitor_id`, `start_time`, `end_time`, and a `digest` of its events.

    `events` are whole visits. Digests are good within one process.
    """
    if not events.height:
        return pl.DataFrame(schema=DIGEST_SCHEMA)
    digest = pl.sum_horizontal(pl.col("event_time").hash(1), digest_place()).hash(9)
    # Ids are long, and to group by their hash takes half the time.
    return (
        events.with_columns(digest=digest, _visit=pl.col("visit_id").hash())
        .group_by("_visit")
        .agg(
            pl.col("visit_id", "visitor_id").first(),
            start_time=pl.col("event_time").min(),
            end_time=pl.col("event_time").max(),
            digest=pl.col("digest").sum(),
        )
        .select(*DIGEST_SCHEMA)
    )


def digest_place() -> pl.Expr:
    """A number for where an event came from, good within one process."""
    # Each column by itself: the hash of a struct takes several times as long.
    return pl.sum_horizontal(pl.col(name).hash(2 + place) for place, name in enumerate(PLACE))


DIGEST_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "visit_id": pl.String,
    "visitor_id": pl.String,
    "start_time": TIME,
    "end_time": TIME,
    "digest": pl.UInt64,
}


def compare_visits(
    expected: pl.DataFrame, found: pl.DataFrame, reasons: pl.DataFrame, *, otherwise: str = NOT_EXPLAINED
) -> Comparison:
    """`found` against `expected`, both of `digest_visits`, with rows of visits joined where there are any.

    `reasons` has `visitor_id` and `reason`: what else was different for a visitor; where nothing was: `otherwise`.
    A visit that is not there has other boundaries if one of the same visitor that should not be there overlaps it.
    """
    common = [name for name in expected.columns if name in found.columns and name not in {"visit_id", "visitor_id"}]
    both = expected.join(found, on="visit_id", how="inner", suffix="_found")
    events_differ = pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(f"{name}_found")) for name in ("digest", "start_time", "end_time")
    )
    changed = both.filter(events_differ)
    told = both.filter(~events_differ & _told_differently([name for name in common if name not in DIGEST_SCHEMA]))
    gone = expected.join(found, on="visit_id", how="anti")
    new = found.join(expected, on="visit_id", how="anti")
    overlaps = gone.join(new, on="visitor_id", suffix="_new").filter(
        pl.col("start_time") <= pl.col("end_time_new"), pl.col("start_time_new") <= pl.col("end_time")
    )
    moved, moved_to = overlaps["visit_id"].unique(), overlaps["visit_id_new"].unique()
    missing = gone.filter(~pl.col("visit_id").is_in(moved.implode()))
    extra = new.filter(~pl.col("visit_id").is_in(moved_to.implode()))
    differing = pl.concat(
        [
            frame.select("visit_id", "visitor_id")
            for frame in (changed, gone.filter(pl.col("visit_id").is_in(moved.implode())), told, missing, extra)
        ]
    )
    return Comparison(
        same_count=both.height - changed.height - told.height,
        other_boundaries_count=changed.height + len(moved),
        other_totals_count=told.height,
        missing_count=missing.height,
        extra_count=extra.height,
        reasons=_count_reasons(differing, reasons, otherwise),
        visit_ids=tuple(differing["visit_id"].unique().sort().head(_NAMED)),
    )


def _told_differently(names: list[str]) -> pl.Expr:
    """Whether the rows of a visit say something else; why it ended is not known where input or flush has ended it."""
    differs = [pl.lit(value=False)]
    for name in names:
        other = pl.col(name).ne_missing(pl.col(f"{name}_found"))
        if name == "end_reason":
            other &= ~pl.any_horizontal(pl.col(each).is_in(_OPEN_ENDED) for each in (name, f"{name}_found"))
        differs.append(other)
    return pl.any_horizontal(differs)


def _count_reasons(differing: pl.DataFrame, reasons: pl.DataFrame, otherwise: str) -> dict[str, int]:
    first = reasons.group_by("visitor_id").agg(pl.col("reason").sort().last())  # before `duplicate`, which follows
    explained = differing.join(first, on="visitor_id", how="left").with_columns(pl.col("reason").fill_null(otherwise))
    return dict(sorted(explained["reason"].value_counts().iter_rows()))


@dataclass(frozen=True, kw_only=True)
class Aside:
    """Late events or duplicates of two makings: how many both have, and how many only one, by reason."""

    same_count: int
    only_live: dict[str, int]
    only_replay: dict[str, int]

    @property
    def is_same(self) -> bool:
        """Whether only one of them has none but those that a rebuild has put into visits."""
        return self.difference_count == self.only_live.get(MERGED, 0) + self.only_replay.get(MERGED, 0)

    @property
    def difference_count(self) -> int:
        """How many only one of them has."""
        return sum(self.only_live.values()) + sum(self.only_replay.values())


def compare_aside(
    live: pl.DataFrame, replayed: pl.DataFrame, merged: pl.Series | None = None
) -> tuple[Aside, pl.DataFrame]:
    """Two frames of events that were set aside, with PLACE, `visitor_id` and `reason`; why visitors differ.

    `merged` are the visitors of events that a rebuild has put into visits, if there was one: copies of these are
    duplicates since, or the others are.
    """
    only = {
        "live": live.join(replayed, on=PLACE, how="anti", nulls_equal=True),
        "in the replay": replayed.join(live, on=PLACE, how="anti", nulls_equal=True),
    }
    if merged is not None:
        only = {name: _mark_merged(rows, merged) for name, rows in only.items()}
    counts = {name: dict(sorted(Counter(rows["reason"]).items())) for name, rows in only.items()}
    aside = Aside(
        same_count=live.height - only["live"].height, only_live=counts["live"], only_replay=counts["in the replay"]
    )
    return aside, pl.concat(list(_explain(only)))


def _mark_merged(rows: pl.DataFrame, merged: pl.Series) -> pl.DataFrame:
    is_merged = pl.col("visitor_id").is_in(merged.implode())
    return rows.with_columns(reason=pl.when(is_merged).then(pl.lit(MERGED)).otherwise("reason"))


def _explain(only: dict[str, pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for name, rows in only.items():
        where = pl.format("{} only {}", pl.col("reason"), pl.lit(name))
        reason = pl.when(pl.col("reason") == MERGED).then("reason").otherwise(where)
        yield rows.select("visitor_id", reason=reason)
