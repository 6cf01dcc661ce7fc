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
    TOLD,
    Aside,
    Comparison,
    compare_aside,
    compare_visits,
    digest_place,
    digest_visits,
)
from m2cli.runs.replay.making import Making, count_shards, open_spill
from m2cli.visits import sessionize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from m2cli.files.tape import Tape
    from m2cli.runs.progress import Tell
    from m2cli.runs.replay.play import Played
    from m2cli.runs.replay.rule import ReplayRule
    from m2cli.runs.replay.sources import LakeInput
    from m2cli.runs.shards import Shard, Spill

_OF_VISITS = ("visit_id", "visitor_id", "event_time", *PLACE)
_AT_ONCE = ("visitor_id", "event_time", "event_id", *PLACE)
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
    tape: Tape, played: Played, rule: ReplayRule, scratch: Path, *, live: LakeInput | None, tell: Tell = tell_nobody
) -> Verdict:
    """Hold what was `played` against all there is; `live` is the lake that the tape was made of, if any.

    Raises `UnreadableSourceError` where a file is gone meanwhile.
    """
    replayed = Replayed(played.lake)
    made = Making(scratch / "replayed", rule.memory)
    made.add_events(replayed.read(EVENTS, _OF_VISITS))
    late = _aside(replayed.scan(LATE), "late_reason")
    duplicates = _aside(replayed.scan(DUPLICATES), None)
    rejects = replayed.scan(REJECTS).select(PLACE).collect()
    against = _Against(live, made, rule.memory, scratch) if live else None
    if against:
        made.add_rows(replayed.read(VISITS, TOLD))
        against.set_aside(late, duplicates)
    one_shot = Comparison()
    set_aside = pl.concat([late.select(PLACE), rejects]).select(digest_place()).to_series()
    done = 0
    for shard in _part_tape(tape, set_aside, rule.memory, scratch).drain(count_shards(tape.row_count)):
        found = made.read(shard.number, shard.count)
        at_once = digest_visits(sessionize(shard.events, rule.visit).events.select(_OF_VISITS))
        one_shot += compare_visits(at_once, found, _NO_REASONS)
        if against:
            against.compare(found, shard)
        done += shard.events.height
        tell(Step("comparing", done, tape.row_count, "events"))
        del shard  # before the next one is read
    proof = prove_visits(
        replayed.paths(EVENTS),
        replayed.paths(LATE, DUPLICATES, REJECTS),
        [piece.path for piece in tape.pieces],
        inactivity=rule.visit.inactivity,
        max_duration=rule.visit.max_duration,
        memory=rule.memory,
        scratch=scratch,
    )
    tell(Step("comparing", tape.row_count, tape.row_count, "events"))
    return Verdict(
        event_count=tape.row_count,
        batch_count=played.batch_count,
        visit_count=made.visit_count,
        late_count=late.height,
        duplicate_count=duplicates.height,
        reject_count=rejects.height,
        live=against.finish() if against else None,
        proof=proof,
        one_shot=one_shot,
    )


class _Against:
    """What ran live, held against a replay, some visitors at a time."""

    def __init__(self, live: LakeInput, made: Making, memory: int, scratch: Path) -> None:
        self._live, self._made = live, made
        self._expected = Making(scratch / "live", memory)
        self._expected.add_events(live.read_events(_OF_VISITS[1:]))
        self._expected.add_rows(live.read_visits(TOLD))
        self._visits = Comparison()

    def set_aside(self, late: pl.DataFrame, duplicates: pl.DataFrame) -> None:
        """Compare what was set aside, which says why visits differ."""
        at_date = self._live.touches("event_time", "event_time")
        self._late, why_late = compare_aside(_aside(self._live.scan_late(), "late_reason"), late.filter(at_date))
        twice = _aside(self._live.scan_duplicates(), None)
        self._duplicates, why_twice = compare_aside(twice, duplicates.filter(at_date))
        self._reasons = pl.concat([why_late, why_twice])

    def compare(self, found: pl.DataFrame, shard: Shard) -> None:
        """Compare the visits of a shard's visitors."""
        touching = found.filter(self._live.touches("start_time", "end_time"))
        self._visits += compare_visits(self._expected.read(shard.number, shard.count), touching, self._reasons)

    def finish(self) -> Live:
        """What came of it."""
        return Live(visits=self._visits, late=self._late, duplicates=self._duplicates)


def _aside(rows: pl.LazyFrame, reason: str | None) -> pl.DataFrame:
    why = pl.col(reason) if reason else pl.lit("duplicate")
    return rows.select(*PLACE, "visitor_id", "event_time", reason=why).collect()


def _part_tape(tape: Tape, set_aside: pl.Series, memory: int, scratch: Path) -> Spill:
    """All that was on time, which the kernel is given at once (DESIGN 4.7), parted by visitor."""
    spill = open_spill(scratch / "at-once", memory)
    for events in tape.read(PlannedRows(first=0, end=tape.row_count), _AT_ONCE):
        is_aside = digest_place().is_in(set_aside.implode())
        spill.add(events.filter(~is_aside) if len(set_aside) else events)
    return spill
