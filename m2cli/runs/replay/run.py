"""What `m2 replay` does: a tape made of what arrived, played through batches, and the verdict on what came of it."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from m2cli.errors import ExitCode, M2Error, UnreadableSourceError, UsageError
from m2cli.files.tape import PlannedRows
from m2cli.lake.write import explain_unwritable
from m2cli.runs.intake import IntakeRule, Tally
from m2cli.runs.progress import tell_nobody
from m2cli.runs.replay.making import TapeParts
from m2cli.runs.replay.play import play
from m2cli.runs.replay.record import Recorder
from m2cli.runs.replay.rule import ReplayRule
from m2cli.runs.replay.send import PaceRule, SendFacts, send_tape
from m2cli.runs.replay.sources import CAUSE_COLUMNS, COLUMNS, LakeInput, read_inputs, read_lake, read_live_rule
from m2cli.runs.replay.verdict import judge
from m2cli.runs.replay.what_if import Measures, measure
from m2cli.stages.visitors import DEFAULT, VisitorRule
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date, datetime, timedelta

    import polars as pl

    from m2cli.files.tape import Tape
    from m2cli.runs.progress import Tell
    from m2cli.runs.replay.verdict import Verdict


# Where nothing is an event, so many of the reasons are named.
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class What:
    """What is replayed: a lake, of one date or all, or logs and event files. Raises `UsageError` unless it is one."""

    lake: Path | None = None
    day: date | None = None
    inputs: tuple[str, ...] = ()
    intake: IntakeRule = field(default_factory=IntakeRule)
    visitor: VisitorRule = field(default_factory=VisitorRule)

    def __post_init__(self) -> None:
        if (self.lake is None) == (not self.inputs):
            raise UsageError("name either a lake, by `--lake LAKE`, or the logs and event files that are replayed")
        if self.day and self.lake is None:
            raise UsageError("`--date` is for a lake; logs and event files are replayed whole")


class NotTheSameError(M2Error):
    """A verdict that is not `the same`."""

    exit_code = ExitCode.DATA

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__("the replay is not the same as all that it is held against")


@dataclass(frozen=True, kw_only=True)
class Today:
    """By which rule visits are made today, and whether that is known of a lake."""

    visit: VisitRule
    is_live: bool


class Replay(NamedTuple):
    """A replay that was played and judged."""

    verdict: Verdict
    rule: ReplayRule
    today: Today
    tally: Tally
    lake: Path
    measures: list[dict[str, Any]]
    """Of today's rule and of the other, where it is another."""


def find_today(what: What) -> tuple[Today, ReplayRule]:
    """The rule of today, and a replay by it: of a pipeline's lake that of its last batch, else m2's own."""
    live = read_live_rule(what.lake) if what.lake else None
    if live is None:
        return Today(visit=VisitRule(), is_live=what.lake is not None), ReplayRule()
    return Today(visit=live.visit, is_live=True), ReplayRule(visit=live.visit, max_ahead=live.max_ahead)


def change_rule(visit: VisitRule, changes: Mapping[str, timedelta | None]) -> VisitRule:
    """`visit` with what is changed of it; None is no change."""
    return replace(visit, **{name: value for name, value in changes.items() if value is not None})


def replay(what: What, rule: ReplayRule, today: Today, *, keep: Path | None = None, tell: Tell = tell_nobody) -> Replay:
    """Play `what` by `rule`, and hold it against all there is. The lake it was made of is only read.

    All that is made lies in `keep`, or in a scratch folder that is gone at the end. Raises `UsageError` where `keep`
    is taken, or a partition is named that there is not, `UnreachableError` for what cannot be read or written.
    """
    with ExitStack() as stack:
        folder = _make(keep) if keep else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="m2-replay-")))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scratch-", dir=folder)))
        taken = LakeInput(what.lake, what.day, rule.visit) if what.lake else None
        tally = Tally()
        columns = COLUMNS if rule.visit == today.visit else CAUSE_COLUMNS
        tape = record(what, taken, rule, scratch, columns, tally=tally, tell=tell)
        parts = stack.enter_context(TapeParts(tape, rule.memory, scratch / "parts"))
        played = play(tape, folder, rule, tell)
        is_same_rule = rule.visit == today.visit and what.visitor.by == DEFAULT
        verdict = judge(tape, parts, played, rule, scratch, live=taken if is_same_rule else None, tell=tell)
        measures = []
        if rule.visit != today.visit:
            rules = [Measures("today", today.visit), Measures("what if", rule.visit)]
            everything = tape.read(PlannedRows(first=0, end=tape.row_count))
            measures = measure(everything, rules, rule.memory, scratch, tell)
        return Replay(verdict, rule, today, tally, played.lake, measures)


def sweep(
    what: What, rule: ReplayRule, rules: list[Measures], *, tally: Tally, tell: Tell = tell_nobody
) -> list[dict[str, Any]]:
    """What each of `rules` would make of what is replayed: no batches, one pass. Raises what `replay` raises."""
    with tempfile.TemporaryDirectory(prefix="m2-replay-") as scratch:
        taken = LakeInput(what.lake, what.day, rule.visit) if what.lake else None
        return measure(read(what, taken, tally, tell, CAUSE_COLUMNS), rules, rule.memory, Path(scratch), tell)


def send(  # noqa: PLR0913  # what is sent, how and when, by keyword
    what: What,
    rule: ReplayRule,
    pace: PaceRule,
    *,
    tally: Tally,
    now: Callable[[], datetime],
    pause: Callable[[float], object],
    tell: Tell = tell_nobody,
) -> SendFacts:
    """Send what is replayed to a topic, in the order in which it arrived. Raises what `send_tape` raises."""
    with tempfile.TemporaryDirectory(prefix="m2-replay-") as scratch:
        taken = LakeInput(what.lake, what.day, rule.visit) if what.lake else None
        tape = record(what, taken, rule, Path(scratch), None, tally=tally, tell=tell)
        return send_tape(tape, pace, now=now, pause=pause, tell=tell)


def record(  # noqa: PLR0913  # what is read, how, and where to
    what: What,
    taken: LakeInput | None,
    rule: ReplayRule,
    folder: Path,
    columns: Sequence[str] | None = COLUMNS,
    *,
    tally: Tally,
    tell: Tell,
) -> Tape:
    """The tape of what is replayed, with `columns`; None: all there are.

    Raises `UnreadableSourceError` where there is nothing.
    """
    recorder = Recorder(folder, rule)
    for events in read(what, taken, tally, tell, columns):
        recorder.add(events)
    if not recorder.event_count:
        named = what.lake or ", ".join(what.inputs)
        rejects = ", ".join(f"{reason}: {count:,}" for reason, count in tally.commonest[:_NAMED])
        of_day = f" of {what.day}" if what.day else ""
        raise UnreadableSourceError(named, f"there is no event{of_day} in it" + (f" ({rejects})" if rejects else ""))
    return recorder.finish()


def read(
    what: What, taken: LakeInput | None, tally: Tally, tell: Tell, columns: Sequence[str] | None
) -> Iterator[pl.DataFrame]:
    """`columns` of the events of what is replayed, or all of them, in no order, each with `arrival_time`."""
    if taken:
        return read_lake(taken, what.visitor, columns, tell=tell)
    return read_inputs(what.inputs, what.intake, what.visitor, columns, tally=tally, tell=tell)


def _make(folder: Path) -> Path:
    with explain_unwritable(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "not empty" if folder.is_dir() else "no folder"
            raise UsageError(f"`{folder}` is {what}; name another folder in `--keep`")
        folder.mkdir(parents=True, exist_ok=True)
    return folder
