"""Making the plan of a batch: what of the sources is new, which partitions are active, how far to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from m2cli.logs.follow import (
    declared_sources,
)
from m2cli.pipeline import AccessLogSource, EventsSource, TapeSource
from m2cli.runs.batch.known import Known, PlanRule, Standing
from m2cli.runs.batch.lost import describe_lost
from m2cli.runs.batch.plan import Plan
from m2cli.runs.batch.work import Notes
from m2cli.visits import declare_partitions, plan_partitions

if TYPE_CHECKING:
    from datetime import datetime

    from m2cli.ledger import Ledger, RowOfFile
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.batch.broker import Broker


class NewPlan(NamedTuple):
    """A plan, the files that it saw, to be remembered with its commit, and what there is to say of it."""

    plan: Plan
    files: list[RowOfFile]
    notes: Notes
    is_partial: bool = False
    """Whether there is more than the plan takes."""


def make_plan(  # noqa: PLR0913  # by keyword, what the ledger does not know
    pipeline: PipelineRule,
    ledger: Ledger,
    now: datetime,
    rule: PlanRule,
    *,
    broker: Broker,
    standing: Standing | None = None,
) -> NewPlan:
    """The plan of the next batch or step, made at `now`, of all that is new in the sources of `pipeline`.

    Raises `UnreadableSourceError` for a source that cannot be read on, `OffsetsLostError` and `TopicReplacedError` for
    messages that are lost, `BrokerAwayError`.
    """
    known = Known(ledger)
    logs = [source for source in pipeline.sources if isinstance(source, AccessLogSource)]
    events = [source for source in pipeline.sources if isinstance(source, EventsSource)]
    found = [
        known.follow_logs(logs, now, rule),
        *(known.follow_events(source, now, rule) for source in events),
        *(known.follow_topic(source, pipeline, rule, broker, standing) for source in pipeline.topic_sources),
        *(known.follow_tape(source, now, standing) for source in pipeline.sources if isinstance(source, TapeSource)),
    ]
    declared = [name for source in logs for name in declared_sources(source.paths)]
    declared += [name for each in found for name in each.declared]
    before = standing.partitions if standing else ledger.read_progress().partitions
    partitions = declare_partitions(before, declared, now)
    unread = frozenset().union(*(each.unread for each in found))
    plan = Plan(
        inputs=tuple(planned for each in found for planned in each.inputs),
        partitions=plan_partitions(
            partitions,
            frozenset().union(*(each.sources for each in found)),
            now,
            pipeline.visit,
            unread=unread,
        ),
        visit=pipeline.visit,
        max_ahead=pipeline.max_ahead,
        is_flush=rule.is_flush,
    )
    warnings = (text for each in found for text in each.notes.warnings)
    files = [row for each in found for row in each.files]
    notes = Notes(
        warnings=(
            *warnings,
            *known.describe_empty(pipeline, files),
            *describe_lost(ledger, plan, unread, rule.without),
        ),
        passed_over=tuple(name for each in found for name in each.notes.passed_over),
    )
    return NewPlan(plan, files, notes, is_partial=bool(unread))
