"""The verdict on a replay: what ran live, the kernel at once, and DuckDB have to say the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.files.tape import PlannedRows
from m2cli.lake.layout import DUPLICATES, EVENTS, LATE, REJECTS, VISITS, Table
from m2cli.lake.prove import Proof, prove_visits
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import read_snapshot
from m2cli.runs.progress import Step, tell_nobody
from m2cli.runs.replay.arrivals import PLACE
from m2cli.runs.replay.compare import (
    Aside,
    Comparison,
    compare_aside,
    compare_visits,
    digest_visits,
    told_of,
)
from m2cli.runs.shards import Spill, budget_events
from m2cli.visits import sessionize

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from m2cli.files.tape import Tape
    from m2cli.runs.progress import Tell
    from m2cli.runs.replay.play import Played
    from m2cli.runs.replay.rule import ReplayRule
    from m2cli.runs.replay.sources import LakeInput

_OF_VISITS = ("visit_id", "visitor_id", "event_time", *PLACE)
_NO_REASONS = pl.DataFrame(schema={"visitor_id": pl.String, "reason": pl.String})


@dataclass(frozen=True, kw_only=True)
class Live:
    """What ran live against the replay."""

    visits: Comparison
    late: Aside
    duplicates: Aside

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not (self.visits.difference_count or self.late.difference_count or self.duplicates.difference_count)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a replay came to, and what it was held against; `live` is None where nothing ran live by the same rule."""

    event_count: int
    batch_count: int
    visit_count: int
    late_count: int
    duplicate_count: int
    reject_count: int
    live: Live | None
    proof: Proof
    one_shot: Comparison

    @property
    def is_same(self) -> bool:
        """Whether all say the same."""
        return self.proof.is_good and not self.one_shot.difference_count and (self.live is None or self.live.is_same)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can have it."""
        return asdict(self) | {"proof": self.proof._asdict(), "is_same": self.is_same}


class Replayed:
    """The lake that a replay made."""

    def __init__(self, lake: Path) -> None:
        self.lake = lake
        self.snapshot = read_snapshot(lake)

    def read_events(self) -> Iterator[pl.DataFrame]:
        """What of its events makes a digest, file by file."""
        for path in self.snapshot.paths(self.lake, EVENTS.name):
            yield scan_files([path], EVENTS).select(_OF_VISITS).collect()

    def scan(self, table: Table) -> pl.LazyFrame:
        """The rows of a table."""
        return scan_files(self.snapshot.paths(self.lake, table.name), table)

    def paths(self, *tables: Table) -> list[Path]:
        """The files of tables."""
        return [path for table in tables for path in self.snapshot.paths(self.lake, table.name)]


def judge(  # noqa: PLR0913  # all that is held against each other
    tape: Tape, played: Played, rule: ReplayRule, scratch: Path, *, live: LakeInput | None, tell: Tell = tell_nobody
) -> Verdict:
    """Hold what was `played` against all there is; `live` is the lake that the tape was made of, if any.

    Raises `UnreadableSourceError` where a file is gone meanwhile.
    """
    replayed = Replayed(played.lake)
    digests = digest_visits(replayed.read_events())
    late = _aside(replayed.scan(LATE), "late_reason")
    duplicates = _aside(replayed.scan(DUPLICATES), None)
    tell(Step("comparing", 1, 4, "checks"))
    against_live = _compare_live(live, replayed, digests, late, duplicates) if live else None
    tell(Step("comparing", 2, 4, "checks"))
    rejects = replayed.scan(REJECTS).select(PLACE).collect()
    one_shot = _compare_one_shot(tape, pl.concat([late.select(PLACE), rejects]), digests, rule, scratch)
    tell(Step("comparing", 3, 4, "checks"))
    proof = prove_visits(
        replayed.paths(EVENTS),
        replayed.paths(LATE, DUPLICATES, REJECTS),
        [piece.path for piece in tape.pieces],
        inactivity=rule.visit.inactivity,
        max_duration=rule.visit.max_duration,
        memory=rule.memory,
        scratch=scratch,
    )
    tell(Step("comparing", 4, 4, "checks"))
    return Verdict(
        event_count=tape.row_count,
        batch_count=played.batch_count,
        visit_count=digests.height,
        late_count=late.height,
        duplicate_count=duplicates.height,
        reject_count=rejects.height,
        live=against_live,
        proof=proof,
        one_shot=one_shot,
    )


def _compare_live(
    live: LakeInput, replayed: Replayed, digests: pl.DataFrame, late: pl.DataFrame, duplicates: pl.DataFrame
) -> Live:
    touches = live.touches("start_time", "end_time")
    expected = digest_visits(live.read_events(_OF_VISITS[1:]))
    expected = expected.join(told_of(live.scan_visits()).collect(), on="visit_id", how="left")
    found = digests.filter(touches).join(told_of(replayed.scan(VISITS)).collect(), on="visit_id", how="left")
    at_date = live.touches("event_time", "event_time")
    of_late, why_late = compare_aside(_aside(live.scan_late(), "late_reason"), late.filter(at_date))
    of_twice, why_twice = compare_aside(_aside(live.scan_duplicates(), None), duplicates.filter(at_date))
    return Live(
        visits=compare_visits(expected, found, pl.concat([why_late, why_twice])),
        late=of_late,
        duplicates=of_twice,
    )


def _aside(rows: pl.LazyFrame, reason: str | None) -> pl.DataFrame:
    why = pl.col(reason) if reason else pl.lit("duplicate")
    return rows.select(*PLACE, "visitor_id", "event_time", reason=why).collect()


def _compare_one_shot(
    tape: Tape, aside: pl.DataFrame, digests: pl.DataFrame, rule: ReplayRule, scratch: Path
) -> Comparison:
    """The kernel at once on all that was on time (DESIGN 4.7), visitor by visitor where memory says so."""
    spill = Spill(scratch, budget_events(rule.memory))
    for events in tape.read(PlannedRows(first=0, end=tape.row_count)):
        named = events.select("visitor_id", "event_time", "event_id", *PLACE)
        spill.add(named.join(aside, on=PLACE, how="anti", nulls_equal=True) if aside.height else named)
    made = (sessionize(shard.events, rule.visit).events.select(_OF_VISITS) for shard in spill.drain())
    return compare_visits(digest_visits(made), digests, _NO_REASONS)
