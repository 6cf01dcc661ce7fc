"""`m2 sessionize`: access logs and event files in, a lake of whole visits out."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from m2cli.commands.log_options import log_options
from m2cli.commands.options import PATH, complete, console_options, duration_option, max_rejects_option, redact_option
from m2cli.commands.words import describe_formats, describe_redacted, describe_rejects, share, warn_of_faults
from m2cli.console import format_rate
from m2cli.errors import UsageError
from m2cli.settings import RejectLimit, parse_mapping, parse_size

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.commands.log_options import LogOptions
    from m2cli.console import Console
    from m2cli.runs.sessionize import SessionizeFacts
    from m2cli.stages.redaction import RedactionRule


@click.command()
@click.argument("inputs", nargs=-1, required=True, type=click.Path(allow_dash=True, readable=False), metavar="INPUT...")
@click.option("-o", "--output", "lake", type=PATH, required=True, metavar="LAKE", help="The lake to make.")
@click.option("--replace", is_flag=True, help="Replace the lake that is there, once the new one is whole.")
@log_options
@click.option(
    "--map", "mapping", multiple=True, metavar="COLUMN=INPUT", help="An event's column and the input's that holds it."
)
@click.option("--time-zone", default="UTC", show_default=True, help="Zone of times that name none.")
@click.option(
    "--visitor",
    default="default",
    show_default=True,
    metavar="RULE",
    shell_complete=complete("default", "session", "ip"),
    help="Who a visitor is: default (session cookie, else address and user agent), session, or ip.",
)
@click.option(
    "--join-first-hits",
    "joins_first_hits",
    is_flag=True,
    help="Give events without a session cookie to the session that the same address and user agent begin next.",
)
@duration_option("--inactivity", timedelta(minutes=30), "A silence of more than this ends a visit.")
@duration_option("--max-duration", timedelta(hours=12), "An event later than this after the first starts the next.")
@click.option("--country-db", type=PATH, metavar="FILE", help="An MMDB file to take countries from.")
@click.option(
    "--memory",
    metavar="SIZE",
    help="How much memory to take: `2GiB`; half of the machine's by default. More input goes by way of the disk.",
)
@redact_option
@max_rejects_option
@console_options
def sessionize(  # noqa: PLR0913  # one parameter an option; they end in one rule
    *,
    inputs: tuple[str, ...],
    lake: Path,
    replace: bool,
    log_options: LogOptions,
    mapping: tuple[str, ...],
    time_zone: str,
    visitor: str,
    joins_first_hits: bool,
    inactivity: timedelta,
    max_duration: timedelta,
    country_db: Path | None,
    memory: str | None,
    redact: RedactionRule,
    max_rejects: RejectLimit | None,
    console: Console,
) -> None:
    """Make whole visits of access logs and event files, in a lake.

    INPUT is a file, a folder, a glob, or - for stdin. Access logs may be compressed (gzip, bzip2, zstd) and come in
    any order; event files are Parquet, NDJSON or CSV. Which of them a file is, is told by its content.

    \b
    Examples:
      m2 sessionize access.log access.log.1.gz -o lake
      m2 sessionize sample_data/events.parquet -o lake
      m2 sessionize clicks.csv -o lake --map event_time=ts --map visitor_id=user --map event_type=action
      m2 sessionize access.log -o lake --visitor ip --inactivity 30m --max-duration 12h
    """
    from m2cli.clock import elapsed_since, now, stopwatch
    from m2cli.runs import sessionize as run
    from m2cli.runs.intake import IntakeRule
    from m2cli.runs.shards import default_memory
    from m2cli.stages.countries import CountryRule
    from m2cli.stages.enrich import EnrichRule
    from m2cli.stages.visitors import VisitorRule
    from m2cli.visits import VisitRule

    rule = run.SessionizeRule(
        intake=IntakeRule(
            log_format=log_options.find_layout(inputs),
            fields=log_options.make_rule(time_zone),
            mapping=parse_mapping(mapping),
            time_zone=time_zone,
            redaction=redact,
        ),
        visitor=VisitorRule(by=visitor),
        enrichment=EnrichRule(country=CountryRule(database=country_db)),
        visit=VisitRule(inactivity=inactivity, max_duration=max_duration),
        joins_first_hits=joins_first_hits,
        max_rejects=max_rejects,
        replace=replace,
        memory=default_memory() if memory is None else parse_size(memory),
    )
    if str(lake) == "-":
        raise UsageError("a lake is a folder, which `-` is not; `m2 ingest access-log LOG -o -` writes to stdout")
    start = stopwatch()
    with console.progress() as tell:
        facts = run.sessionize(inputs, lake, rule, now=now(), tell=tell)
    console.summarize(_summarize(facts, lake, elapsed_since(start)))
    for reason, count in facts.tally.commonest:
        console.detail(f"rejects: {count:,} because {reason}")
    warn_of_faults(facts.tally, console)


def _summarize(facts: SessionizeFacts, lake: Path, seconds: float) -> list[tuple[str, str]]:
    events, visits = facts.event_count, facts.visit_count
    lines = [
        ("events", f"{events:,}{_period(facts)}"),
        ("visits", f"{visits:,} of {facts.visitor_count:,} visitors, whole, in {lake}"),
        *describe_formats(facts.tally),
        ("rejects", describe_rejects(facts.tally)),
        *describe_redacted(facts.tally.commonest_redacted),
        ("robots", f"{share(facts.robot_event_count, events)} of events"),
        ("orphans", _describe_orphans(facts)),
    ]
    if facts.duplicate_count or facts.id_reused_count:
        duplicates = f"{facts.duplicate_count:,} set aside; {facts.id_reused_count:,} ids reused within a visit"
        lines.append(("duplicates", duplicates))
    if facts.first_hit_count:
        lines.append(("first hits", f"{facts.first_hit_count:,} events without a cookie given to a session"))
    if facts.passed_over:
        lines.append(("passed over", f"{', '.join(facts.passed_over)}: nothing that is not in another input"))
    lines.append(("time", f"{seconds:.1f} s, {format_rate(facts.tally.read_count / max(seconds, 1e-9), 'events')}"))
    return lines


def _period(facts: SessionizeFacts) -> str:
    if facts.first_event_time is None or facts.last_event_time is None:
        return ""
    return f", {facts.first_event_time:%Y-%m-%d %H:%M} to {facts.last_event_time:%Y-%m-%d %H:%M} UTC"


def _describe_orphans(facts: SessionizeFacts) -> str:
    if not facts.effect_count:
        return "no event names a cause"
    of_all = share(facts.orphan_count, facts.effect_count)
    return f"{facts.orphan_count:,} of {facts.effect_count:,} events with a cause ({of_all})"
