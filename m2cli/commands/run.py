"""`m2 run`: one batch of a pipeline."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from m2cli.commands.options import console_options
from m2cli.commands.pipelines import load, override_options, pipeline_argument
from m2cli.commands.words import count_of, describe_redacted, share
from m2cli.errors import ExitCode, UsageError
from m2cli.settings import parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from m2cli.console import Console
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.batch.facts import BatchFacts
    from m2cli.runs.run import RunFacts

_FROM_THE_FUTURE = "from_the_future"  # as `stages.rejects` has it, which would load what `--help` does not need
_UNREADABLE = {  # until somebody says how, as `avro.decode` and `avro.cipher` have it
    "unknown_schema": "add their schemas (`m2 schema add`)",
    "unknown_key": "put their key into the folder `keys`",
}
_BEHIND_ITS_OWN = "late"
# One clock that is wrong is nobody's mistake to put right; that of a file is more than so much of what was read.
_MANY_AHEAD = 0.05


@click.command()
@pipeline_argument
@click.option(
    "--flush", "is_flush", is_flag=True, help="Close every visit that is open; what comes from before is late."
)
@click.option(
    "--until", metavar="TIME", help="Take input up to this event time only: `12:00` (today, UTC) or ISO 8601."
)
@click.option(
    "--follow",
    "is_following",
    is_flag=True,
    help="Stay, and send to the topics every second or so, to the lake every `lake_every`; SIGTERM commits and ends.",
)
@click.option(
    "--accept-gap", "accepts_gap", is_flag=True, help="Go on where messages of a topic are lost, and say how many."
)
@override_options
@console_options
def run(  # noqa: PLR0913  # click's options
    *,
    pipeline: Path,
    is_flush: bool,
    until: str | None,
    is_following: bool,
    accepts_gap: bool,
    overrides: dict[str, str],
    console: Console,
) -> None:
    """Run one batch of a pipeline: take what is new, close what has ended, commit.

    PIPELINE is a TOML file. Whatever is killed whenever, nothing is lost and nothing comes twice: the next run
    finishes what this one began. Without a terminal, as in cron, it says nothing unless something is wrong. Exit code
    4 says that another run of the pipeline is at work.

    \b
    Examples:
      m2 run pipelines/shop.toml
      m2 run pipelines/shop.toml --flush
      m2 run pipelines/shop.toml --until 12:00
      */15 * * * *  m2 run /etc/m2/shop.toml
      m2 run pipelines/kafka.toml --follow
    """
    from m2cli.clock import now
    from m2cli.runs.run import run_pipeline

    rule = load(pipeline, overrides)
    if is_following:
        if is_flush or until:
            raise UsageError("`--follow` stays until it is ended; leave out `--flush` and `--until`, or `--follow`")
        _follow(rule, pipeline, accepts_gap=accepts_gap, console=console)
        return
    moment = parse_moment(until, now()) if until else None
    with console.progress() as tell:
        facts = run_pipeline(
            rule,
            now=now,
            is_flush=is_flush,
            until=moment,
            accepts_gap=accepts_gap,
            tell=tell,
            wait=lambda: console.say(f"waiting for what else works on {rule.lake}"),
        )
    if console.verbose or sys.stderr.isatty():
        console.summarize(_summarize(facts, rule))
    for batch in filter(None, (facts.redone, facts.batch)):
        for text in list_warnings(batch, pipeline):
            console.warn(text)
    for text in facts.unreported:
        console.warn(f"{text}; all else is done")
    if facts.unreported:
        raise click.exceptions.Exit(ExitCode.UNREACHABLE)


def _follow(rule: PipelineRule, pipeline: Path, *, accepts_gap: bool, console: Console) -> None:
    from m2cli.clock import now
    from m2cli.process import ending_gently
    from m2cli.runs.follow import Followed, FollowRule, follow_pipeline

    def tell_batch(followed: Followed) -> None:
        batch = followed.facts
        W = f"{batch.W:%Y-%m-%d %H:%M:%S} UTC" if batch.W else "none"
        events, visits = count_of(batch.event_count, "event"), count_of(batch.visit_count, "visit")
        steps = count_of(followed.step_count, "step")
        console.say(f"{followed.batch_id}: {events} in {steps}, {visits} ended, {describe_open(batch)}, W {W}")
        for text in list_warnings(batch, pipeline):
            console.warn(text)

    with ending_gently() as pause:
        follow_pipeline(
            rule,
            FollowRule(accepts_gap=accepts_gap),
            now=now,
            pause=pause,
            told=tell_batch,
            wait=lambda: console.say(f"waiting for what else works on {rule.lake}"),
        )


def _summarize(facts: RunFacts, rule: PipelineRule) -> list[tuple[str, str]]:
    batch = facts.batch
    lines = [("batch", facts.batch_id + _describe_redone(facts))]
    lines.append(("events", f"{batch.event_count:,}{_period(batch.first_event_time, batch.last_event_time)}"))
    lines.append(("visits", f"{batch.visit_count:,} ended, whole, in {rule.lake}"))
    lines.append(("open", describe_open(batch)))
    if batch.late_count:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(batch.late_reasons.items()))
        lines.append(("late", f"{batch.late_count:,} set aside ({reasons})"))
    if batch.duplicate_count:
        lines.append(("duplicates", f"{batch.duplicate_count:,} set aside"))
    if batch.reject_count:
        reason, count = next(iter(batch.reject_reasons.items()))
        rejects = (
            f"{batch.reject_count:,} ({share(batch.reject_count, batch.read_count)}); commonest: {reason} ({count:,})"
        )
        lines.append(("rejects", rejects))
    lines += describe_redacted(batch.redacted)
    if batch.passed_over:
        lines.append(("passed over", f"{', '.join(batch.passed_over)}: nothing that is not known"))
    lines.append(("time", f"{batch.seconds:.1f} s"))
    return lines


def describe_open(batch: BatchFacts) -> str:
    """How many visits are open, and until when at most."""
    if not batch.open_visit_count:
        return "no visit"
    until = f"; the last ends by {batch.open_until:%Y-%m-%d %H:%M:%S} UTC" if batch.open_until else ""
    return f"{count_of(batch.open_visit_count, 'visit')}, {count_of(batch.carried_out_count, 'event')}{until}"


def _describe_redone(facts: RunFacts) -> str:
    if facts.redone is None:
        return ""
    return f", after a batch that was left unfinished ({count_of(facts.redone.event_count, 'event')})"


def _period(first: datetime | None, last: datetime | None) -> str:
    return f", {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC" if first and last else ""


def list_warnings(batch: BatchFacts, pipeline: Path) -> Iterator[str]:
    """What a person is to know of a batch, with what to do about it."""
    yield from batch.warnings
    for path, count in batch.late_parts.items():
        yield (
            f"most of `{path}` came late ({count_of(count, 'event')}, kept in `late`): {_explain_late(batch)}; "
            f"`m2 rebuild {pipeline} --with-late {_dates(batch)}` merges them"
        )
    if not batch.reject_count:
        return
    ahead_count = batch.reject_reasons.get(_FROM_THE_FUTURE, 0)
    if next(iter(batch.reject_reasons)) == _FROM_THE_FUTURE:
        if ahead_count > _MANY_AHEAD * batch.read_count:
            yield (
                f"{ahead_count:,} of {batch.read_count:,} that were read are rejects, `{_FROM_THE_FUTURE}`: the files' "
                "modification times are older than the events in them, as after a restore or a copy; "
                f"`m2 rebuild {pipeline} --from DATE --to DATE --rejects --set visit.max_ahead=...` takes them in, "
                "with a `max_ahead` as long as the times are apart"
            )
    elif next(iter(batch.reject_reasons)) in _UNREADABLE:
        pass  # told below, with what to do
    elif batch.reject_count == batch.read_count - batch.ignored_count:
        yield "nothing that was read is an event; is it the `format` or the `map` that the pipeline says?"
    for reason, remedy in _UNREADABLE.items():
        if count := batch.reject_reasons.get(reason, 0):
            yield (
                f"{count_of(count, 'message')} could not be read, `{reason}`, and kept whole among the rejects; "
                f"{remedy}, then `m2 rebuild {pipeline} --from DATE --to DATE --rejects` takes in what they hold"
            )


def _explain_late(batch: BatchFacts) -> str:
    if batch.late_reasons.keys() <= {_BEHIND_ITS_OWN}:
        return "they are older than what came before them in the same partition, by more than `max_out_of_orderness`"
    return "visits of their time have been written"


def _dates(batch: BatchFacts) -> str:
    if batch.first_event_time is None or batch.last_event_time is None:
        return "--from DATE --to DATE"
    return f"--from {batch.first_event_time:%Y-%m-%d} --to {batch.last_event_time:%Y-%m-%d}"
