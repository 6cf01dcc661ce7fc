"""`m2 run`: one batch of a pipeline."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from m2cli.commands.options import console_options
from m2cli.commands.pipelines import load, override_options, pipeline_argument
from m2cli.commands.words import share
from m2cli.settings import parse_moment

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from m2cli.console import Console
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.batch.facts import BatchFacts
    from m2cli.runs.run import RunFacts


@click.command()
@pipeline_argument
@click.option(
    "--flush", "is_flush", is_flag=True, help="Close every visit that is open; what comes from before is late."
)
@click.option(
    "--until", metavar="TIME", help="Take input up to this event time only: `12:00` (today, UTC) or ISO 8601."
)
@override_options
@console_options
def run(*, pipeline: Path, is_flush: bool, until: str | None, overrides: dict[str, str], console: Console) -> None:
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
    """
    from m2cli.clock import now
    from m2cli.runs.run import run_pipeline

    rule = load(pipeline, overrides)
    moment = parse_moment(until, now()) if until else None
    with console.progress() as tell:
        facts = run_pipeline(
            rule,
            now=now,
            is_flush=is_flush,
            until=moment,
            tell=tell,
            wait=lambda: console.say(f"waiting for what else works on {rule.lake}"),
        )
    if console.verbose or sys.stderr.isatty():
        console.summarize(_summarize(facts, rule))
    _warn(facts, pipeline, console)


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
    if batch.passed_over:
        lines.append(("passed over", f"{', '.join(batch.passed_over)}: nothing that is not known"))
    lines.append(("time", f"{batch.seconds:.1f} s"))
    return lines


def describe_open(batch: BatchFacts) -> str:
    """How many visits are open, and until when at most."""
    if not batch.open_visit_count:
        return "no visit"
    until = f"; the last ends by {batch.open_until:%Y-%m-%d %H:%M:%S} UTC" if batch.open_until else ""
    return f"{batch.open_visit_count:,} visits, {batch.carried_out_count:,} events{until}"


def _describe_redone(facts: RunFacts) -> str:
    if facts.redone is None:
        return ""
    return f", after a batch that a killed run had begun ({facts.redone.event_count:,} events)"


def _period(first: datetime | None, last: datetime | None) -> str:
    return f", {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC" if first and last else ""


def _warn(facts: RunFacts, pipeline: Path, console: Console) -> None:
    for batch in filter(None, (facts.redone, facts.batch)):
        for text in batch.warnings:
            console.warn(text)
        for path, count in batch.late_parts.items():
            console.warn(
                f"most of `{path}` came late ({count:,} events, kept in `late`): visits of its time have been written; "
                f"`m2 rebuild {pipeline} --with-late --from DATE --to DATE` merges them"
            )
        if batch.reject_count and batch.reject_count == batch.read_count - batch.ignored_count:
            console.warn("nothing that was read is an event; is it the `format` or the `map` that the pipeline says?")
