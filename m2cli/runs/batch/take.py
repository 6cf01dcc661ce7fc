"""A batch's input, taken in: read, redacted, made plausible, named by visitor, late events and rejects set aside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import polars as pl

from m2cli.errors import UnreadableSourceError
from m2cli.events import REJECT_SCHEMA, Intake
from m2cli.logs.follow import RangeReader, ReadRange
from m2cli.pipeline import AccessLogSource, EventsSource, KafkaSource, TapeSource
from m2cli.runs.batch.contents import make_log_rule, read_whole
from m2cli.runs.intake import Tally
from m2cli.runs.progress import Step
from m2cli.stages.redaction import redact_intake
from m2cli.stages.rejects import split_future
from m2cli.stages.visitors import assign_visitors
from m2cli.visits import split_late
from m2cli.visits.watermarks import later_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from m2cli.pipeline import PipelineRule
    from m2cli.runs.batch.plan import Plan, PlannedInput
    from m2cli.runs.batch.site import Site
    from m2cli.visits import Watermark

# Rejects and late events are few in each piece, and a file each would be many.
_MOST_HELD = 100_000


class GoneSourceError(UnreadableSourceError):
    """A source that a plan reads from and that the pipeline no longer has."""

    def __init__(self, source_name: str) -> None:
        super().__init__(source_name, "the pipeline has no such source any more")


@dataclass
class Taken:
    """What was taken in, in numbers, and how far the partitions have come."""

    partitions: pl.DataFrame
    tally: Tally = field(default_factory=Tally)
    late_reasons: Counter[str] = field(default_factory=Counter)
    event_counts: Counter[str] = field(default_factory=Counter)
    """Events of each part."""
    late_counts: Counter[str] = field(default_factory=Counter)
    """Of these, late ones."""
    read: list[ReadRange] = field(default_factory=list)
    first_event_time: datetime | None = None
    last_event_time: datetime | None = None


class Held:
    """Rows that are few in each piece, held until they make a file: rejects, late events."""

    def __init__(self, write: Callable[[pl.DataFrame], None]) -> None:
        self._write = write
        self._frames: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Take `frame`; what is held is written once it is much."""
        if frame.height:
            self._frames.append(frame)
        if sum(frame.height for frame in self._frames) >= _MOST_HELD:
            self.write()

    def write(self) -> None:
        """Write what is held."""
        if self._frames:
            self._write(pl.concat(self._frames, how="diagonal"))
        self._frames = []


class Taker(Protocol):
    """Where events on time go."""

    def add(self, events: pl.DataFrame) -> None:
        """Take in `events`."""


class Sinks(NamedTuple):
    """Where what is taken in goes: events on time, and what is set aside."""

    on_time: Taker
    late: Held
    rejects: Held

    def write(self) -> None:
        """Write what is held of what was set aside."""
        self.late.write()
        self.rejects.write()


def take_in(plan: Plan, site: Site, W: Watermark, sinks: Sinks, taken: Taken) -> None:
    """Read all that `plan` names, and count it in `taken`. W is the one that the batch was planned with (DESIGN 4.5).

    Raises `RangeLostError`, `SourceChangedError`, `OffsetsLostError` or `TopicReplacedError` for input that is no
    longer as it was planned, `UnreadableSourceError` for what cannot be read.
    """
    pipeline = site.pipeline
    taken.partitions = plan.partitions
    done = 0
    for planned in plan.inputs:
        for piece in _read(planned, site, taken):
            events = _find_events(piece, plan, pipeline, sinks, taken)
            if events.height:
                split = split_late(events, taken.partitions, W, plan.visit)
                taken.partitions = split.partitions
                sinks.late.add(split.late)
                sinks.on_time.add(split.on_time)
                _count(events, split.late, taken)
            done += piece.read_count
            site.tell(Step("reading", done, None, "events"))


def _read(planned: PlannedInput, site: Site, taken: Taken) -> Iterator[Intake]:
    pipeline = site.pipeline
    source = next((each for each in pipeline.sources if each.name == planned.source_name), None)
    if isinstance(source, AccessLogSource) and planned.ranges:
        reader = RangeReader(planned.ranges, make_log_rule(source, pipeline.memory))
        yield from reader.read()
        taken.read += reader.results
    elif isinstance(source, EventsSource) and planned.files:
        for file in planned.files:
            yield from read_whole(file, source, pipeline.memory)
    elif isinstance(source, KafkaSource):
        yield from site.broker.read(planned.offsets, source)
    elif isinstance(source, TapeSource):
        no_rejects = pl.DataFrame(schema=REJECT_SCHEMA)
        for events in (events for rows in planned.rows for events in source.tape.read(rows)):
            yield Intake(events, no_rejects, events.height, 0)
    elif planned.ranges or planned.files or planned.offsets or planned.rows:
        raise GoneSourceError(planned.source_name)


def _find_events(piece: Intake, plan: Plan, pipeline: PipelineRule, sinks: Sinks, taken: Taken) -> pl.DataFrame:
    """The events of `piece`, redacted, with a visitor each; all that is none goes to the rejects."""
    redacted = redact_intake(piece, pipeline.redaction)
    taken.tally.add(redacted)
    plausible = split_future(redacted.events, plan.max_ahead)
    named = assign_visitors(plausible.events, pipeline.visitor)
    sinks.rejects.add(redacted.rejects)
    for rejects in (plausible.rejects, named.rejects):
        taken.tally.reject(rejects)
        sinks.rejects.add(rejects)
    return named.events


def _count(events: pl.DataFrame, late: pl.DataFrame, taken: Taken) -> None:
    of_part = "part_id" if "part_id" in events.columns else "source"
    taken.event_counts.update(_count_values(events[of_part]))
    if late.height:
        taken.late_counts.update(_count_values(late[of_part]))
        taken.late_reasons.update(_count_values(late["late_reason"]))
    first, last = events["event_time"].min(), events["event_time"].max()
    taken.first_event_time = min(filter(None, (taken.first_event_time, first)))  # type: ignore[type-var,assignment]  # its min
    taken.last_event_time = later_of(taken.last_event_time, last)  # type: ignore[arg-type]  # and its max


def _count_values(values: pl.Series) -> dict[str, int]:
    return dict(values.drop_nulls().value_counts().iter_rows())
