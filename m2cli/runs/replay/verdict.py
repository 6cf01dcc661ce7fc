"""The verdict on a replay: what ran live, the kernel at once, and DuckDB have to say the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from m2cli.lake.layout import DUPLICATES, EVENTS, LATE, REJECTS, VISITS, Table
from m2cli.lake.prove import Proof, prove_visits
from m2cli.lake.scan import scan_files
from m2cli.lake.snapshot import read_snapshot
from m2cli.runs.progress import Step, tell_nobody
from m2cli.runs.replay.arrivals import PLACE
from m2cli.runs.replay.compare import (
    TOLD,
    Aside,
    Comparison,
    compare_aside,
    compare_visits,
    digest_place,
    digest_visits,
)
from m2cli.runs.replay.making import Making, work_ahead
from m2cli.visits import sessionize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from m2cli.files.tape import Tape
    from m2cli.runs.progress import Tell
    from m2cli.runs.replay.making import TapeParts
    from m2cli.runs.replay.play import Played
    from m2cli.runs.replay.rule import ReplayRule
    from m2cli.runs.replay.sources import LakeInput
    from m2cli.runs.shards import Shard

_OF_VISITS = ("visit_id", "visitor_id", "event_time", *PLACE)
# Of the memory that may be taken, DuckDB takes so much: what it checks, the kernel does again beside it.
_SHARE = 4
_NO_REASONS = pl.DataFrame(schema={"visitor_id": pl.String, "reason": pl.String})


@dataclass(frozen=True, kw_only=True)
class Live:
    """What ran live against the replay."""

    visits: Comparison
    late: Aside
    duplicates: Aside

    @property
    def is_same(self) -> bool:
        """Whether nothing differs but what a rebuild has made anew since."""
        return self.visits.is_same and self.late.is_same and self.duplicates.is_same


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

    def read(self, table: Table, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Columns of a table, file by file."""
        for path in self.snapshot.paths(self.lake, table.name):
            yield scan_files([path], table).select(columns).collect()

    def scan(self, table: Table) -> pl.LazyFrame:
        """The rows of a table."""
        return scan_files(self.snapshot.paths(self.lake, table.name), table)

    def paths(self, *tables: Table) -> list[Path]:
        """The files of tables."""
        return [path for table in tables for path in self.snapshot.paths(self.lake, table.name)]


def judge(  # noqa: PLR0913  # all that is held against each other
    tape: Tape,
    parts: TapeParts,
    played: Played,
    rule: ReplayRule,
    scratch: Path,
    *,
    live: LakeInput | None,
    tell: Tell = tell_nobody,
) -> Verdict:
    """Hold what was `played` against all there is; `live` is the lake that the tape was made of, if any.

    `parts` are the tape's events by visitor. Raises `UnreadableSourceError` where a file is gone meanwhile.
    """
    replayed = Replayed(played.lake)
    with ThreadPoolExecutor(1, thread_name_prefix="m2-prove") as prover:
        proof = prover.submit(_prove, tape, replayed, rule, scratch)
        made = Making(scratch / "replayed", rule.memory)
        made.add_events(replayed.read(EVENTS, _OF_VISITS))
        late = _aside(replayed.scan(LATE), "late_reason")
        duplicates = _aside(replayed.scan(DUPLICATES), None)
        rejects = replayed.scan(REJECTS).select(PLACE).collect()
        against = _Against(live, rule, scratch) if live else None
        if against:
            made.add_rows(replayed.read(VISITS, TOLD))
            against.set_aside(late, duplicates)
        made.settle()
        set_aside = pl.concat([late.select(PLACE), rejects]).select(digest_place()).to_series()
        one_shot, visits, done = Comparison(), Comparison(), 0
        compare = partial(_compare_shard, made=made, against=against, set_aside=set_aside, rule=rule)
        for of_shard in work_ahead(compare, parts.drain()):
            one_shot, visits, done = one_shot + of_shard.one_shot, visits + of_shard.live, done + of_shard.event_count
            tell(Step("comparing", done, tape.row_count, "events"))
        return Verdict(
            event_count=tape.row_count,
            batch_count=played.batch_count,
            visit_count=made.visit_count,
            late_count=late.height,
            duplicate_count=duplicates.height,
            reject_count=rejects.height,
            live=against.finish(visits) if against else None,
            proof=proof.result(),
            one_shot=one_shot,
        )


def _prove(tape: Tape, replayed: Replayed, rule: ReplayRule, scratch: Path) -> Proof:
    return prove_visits(
        replayed.paths(EVENTS),
        replayed.paths(LATE, DUPLICATES, REJECTS),
        [piece.path for piece in tape.pieces],
        inactivity=rule.visit.inactivity,
        max_duration=rule.visit.max_duration,
        memory=rule.memory // _SHARE,
        scratch=scratch,
    )


class _Compared(NamedTuple):
    one_shot: Comparison
    live: Comparison
    event_count: int


def _compare_shard(
    shard: Shard, *, made: Making, against: _Against | None, set_aside: pl.Series, rule: ReplayRule
) -> _Compared:
    """What some visitors did against the kernel at once, on all that was on time (DESIGN 4.7), and what ran live."""
    events, found = shard.events, made.read(shard.number, shard.count)
    if len(set_aside):
        events = events.filter(~digest_place().is_in(set_aside.implode()))
    at_once = digest_visits(sessionize(events, rule.visit).events.select(_OF_VISITS))
    live = against.compare(found, shard) if against else Comparison()
    return _Compared(compare_visits(at_once, found, _NO_REASONS), live, shard.events.height)


class _Against:
    """What ran live, held against a replay, some visitors at a time."""

    def __init__(self, live: LakeInput, rule: ReplayRule, scratch: Path) -> None:
        self._live = live
        # Where events are moved, more of them are late than were.
        self._may_be_merged = live.is_rebuilt and not rule.faults.moves_events
        self._expected = Making(scratch / "live", rule.memory)
        self._expected.add_events(live.read_events(_OF_VISITS[1:]))
        self._expected.add_rows(live.read_visits(TOLD))
        self._expected.settle()

    def set_aside(self, late: pl.DataFrame, duplicates: pl.DataFrame) -> None:
        """Compare what was set aside, which says why visits differ."""
        at_date = self._live.touches("event_time", "event_time")
        late, duplicates = late.filter(at_date), duplicates.filter(at_date)
        late_live = _aside(self._live.scan_late(), "late_reason")
        only_late = late.join(late_live, on=PLACE, how="anti", nulls_equal=True)
        merged = only_late["visitor_id"].unique() if self._may_be_merged else None
        self._late, why_late = compare_aside(late_live, late, merged)
        twice_live = _aside(self._live.scan_duplicates(), None)
        self._duplicates, why_twice = compare_aside(twice_live, duplicates, merged)
        self._reasons = pl.concat([why_late, why_twice])

    def compare(self, found: pl.DataFrame, shard: Shard) -> Comparison:
        """Compare the visits of a shard's visitors."""
        touching = found.filter(self._live.touches("start_time", "end_time"))
        return compare_visits(self._expected.read(shard.number, shard.count), touching, self._reasons)

    def finish(self, visits: Comparison) -> Live:
        """All that came of it."""
        return Live(visits=visits, late=self._late, duplicates=self._duplicates)


def _aside(rows: pl.LazyFrame, reason: str | None) -> pl.DataFrame:
    why = pl.col(reason) if reason else pl.lit("duplicate")
    return rows.select(*PLACE, "visitor_id", "event_time", reason=why).collect()
