"""`m2 ingest`: access logs or topics in, events out, and nothing more."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from m2cli.commands.clusters import cluster_options, make_kafka_rule
from m2cli.commands.log_options import log_options
from m2cli.commands.options import PATH, complete, console_options, max_rejects_option, redact_option
from m2cli.commands.words import describe_formats, describe_redacted, describe_rejects, warn_of_faults
from m2cli.console import format_rate
from m2cli.errors import UnknownNameError, UsageError
from m2cli.process import open_stdout
from m2cli.settings import parse_mapping, parse_moment

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from m2cli.commands.log_options import LogOptions
    from m2cli.console import Console
    from m2cli.runs.intake import Tally
    from m2cli.runs.topics import TopicRule
    from m2cli.settings import RejectLimit
    from m2cli.stages.redaction import RedactionRule

_PEEK_FORMATS = ("table", "ndjson")


@click.group()
def ingest() -> None:
    """Make events of access logs or topics, and nothing more."""


@ingest.command("access-log")
@click.argument("logs", nargs=-1, required=True, type=click.Path(allow_dash=True, readable=False), metavar="LOG...")
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="DIR", help="The folder to make, or - for NDJSON on stdout."
)
@log_options
@click.option("--time-zone", default="UTC", show_default=True, help="Zone of times that name none.")
@redact_option
@max_rejects_option
@console_options
def access_log(  # noqa: PLR0913  # one parameter an option; they end in one rule
    *,
    logs: tuple[str, ...],
    output: Path,
    log_options: LogOptions,
    time_zone: str,
    redact: RedactionRule,
    max_rejects: RejectLimit | None,
    console: Console,
) -> None:
    """Make events of access logs: DIR/events/*.parquet, and DIR/rejects/*.parquet for lines that are none.

    LOG is a file, a folder, a glob, or - for stdin; plain, gzip, bzip2 or zstd, in any order. A log that is named
    twice, as its rotated and compressed copy for instance, is read once. In a pipe rejects are counted, not kept.

    \b
    Examples:
      m2 ingest access-log /var/log/nginx/access.log* -o events
      cat access.log | m2 ingest access-log - -o - | head
      m2 ingest access-log access.log -o events --log-format '%h %l %u %t "%r" %>s %b %D' --keep duration
      m2 ingest access-log shop.log -o events --config /etc/nginx/nginx.conf --cookie session_id=SID
    """
    from m2cli.clock import elapsed_since, now, stopwatch
    from m2cli.logs.formats.find import AUTO
    from m2cli.runs.ingest import IngestRule, ingest_logs
    from m2cli.runs.intake import IntakeRule

    start = stopwatch()
    intake = IntakeRule(
        log_format=log_options.find_layout(logs) or AUTO,
        fields=log_options.make_rule(time_zone),
        time_zone=time_zone,
        redaction=redact,
    )
    rule = IngestRule(intake=intake, max_rejects=max_rejects)
    stdout = open_stdout() if str(output) == "-" else None
    with console.progress() as tell:
        facts = ingest_logs(logs, stdout or output, rule, now=now(), tell=tell)
    _summarize(facts, output, elapsed_since(start), "lines", console)
    warn_of_faults(facts, console)


@ingest.command("kafka")
@click.argument("topic")
@click.option("-o", "--output", type=PATH, metavar="DIR", help="The folder to make, or - for NDJSON on stdout.")
@click.option(
    "--from",
    "begin",
    default="earliest",
    show_default=True,
    metavar="PLACE",
    help="earliest, an offset, or the time from which on messages arrived.",
)
@click.option(
    "--to", "end", default="latest", show_default=True, metavar="PLACE", help="latest, an offset, or a time; before it."
)
@click.option("--schemas", metavar="PLACE", help="A folder of .avsc files, or a registry's URL.")
@click.option(
    "--map", "pairs", multiple=True, metavar="COLUMN=FIELD", help="The event's column, and the field with it."
)
@click.option(
    "--peek", "peek_count", type=click.IntRange(1, 10_000), metavar="COUNT", help="Show so many of each partition only."
)
@click.option(
    "--format",
    "format_",
    default="table",
    show_default=True,
    metavar="FORMAT",
    shell_complete=complete(*_PEEK_FORMATS),
    help="With --peek: table or ndjson.",
)
@cluster_options()
@redact_option
@max_rejects_option
@console_options
def kafka(  # noqa: PLR0913  # click's options
    *,
    topic: str,
    output: Path | None,
    begin: str,
    end: str,
    schemas: str | None,
    pairs: tuple[str, ...],
    peek_count: int | None,
    format_: str,
    cluster: dict[str, Any],
    redact: RedactionRule,
    max_rejects: RejectLimit | None,
    console: Console,
) -> None:
    """Make events of a topic's messages: DIR/events/*.parquet, and DIR/rejects/*.parquet for those that are none.

    Messages are Avro (single-object, Confluent's framing, container files) or JSON, told apart by their first bytes.
    Nothing is committed at the cluster. Options about it may stand in the environment, as M2_KAFKA_BOOTSTRAP_SERVERS;
    the password only there, as M2_KAFKA_SASL_PASSWORD.

    \b
    Examples:
      m2 ingest kafka measurements --bootstrap-server kafka:9092 -o events
      m2 ingest kafka measurements --bootstrap-server kafka:9092 --from 2026-11-21T00:00Z --to 2026-11-22T00:00Z -o day
      m2 ingest kafka measurements --bootstrap-server kafka:9092 --peek 10
    """
    from m2cli.clock import elapsed_since, now, stopwatch
    from m2cli.runs.topics import TopicRule, ingest_topic

    start = stopwatch()
    rule = TopicRule(
        kafka=make_kafka_rule(cluster, os.environ),
        topic=topic,
        begin=_parse_place(begin, now(), "--from"),
        end=_parse_place(end, now(), "--to"),
        schemas=schemas,
        mapping=parse_mapping(pairs),
        max_rejects=max_rejects,
        redaction=redact,
    )
    if peek_count:
        _peek(rule, peek_count, format_, console)
        return
    if output is None:
        raise UsageError("name where the events go with `-o`, or look at some with `--peek 10`")
    stdout = open_stdout() if str(output) == "-" else None
    with console.progress() as tell:
        facts = ingest_topic(stdout or output, rule, tell=tell)
    _summarize(facts, output, elapsed_since(start), "messages", console)


def _peek(rule: TopicRule, count: int, format_: str, console: Console) -> None:
    from m2cli.output.formats import write_frames
    from m2cli.runs.topics import peek_topic

    if format_ not in _PEEK_FORMATS:
        raise UnknownNameError("format", format_, _PEEK_FORMATS)
    peeked = peek_topic(rule, count)
    events = peeked.events
    if events.is_empty() and peeked.rejects.is_empty():
        console.say(f"there is no message in that part of `{rule.topic}`")
    if format_ == "table":  # what says nothing takes no room
        events = events.select(column for column in events if column.null_count() < len(column))
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    write_frames([events], format_, open_stdout(), for_terminal=is_terminal)
    for reject in peeked.rejects.iter_rows(named=True):
        console.warn(f"{reject['source']} at offset {reject['position_in_source']} is no event: {reject['reason']}")


def _parse_place(text: str, now: datetime, option: str) -> str | int | datetime:
    if text in ("earliest", "latest"):
        return text
    if text.isdecimal():
        return int(text)
    try:
        return parse_moment(text, now)
    except UsageError:
        hint = "write `earliest`, `latest`, an offset, or a time as 2026-11-21T00:00Z"
        raise UsageError(f"`{option} {text}` is no place in a topic; {hint}") from None


def _summarize(facts: Tally, output: Path, seconds: float, unit: str, console: Console) -> None:
    console.summarize(
        [
            ("events", f"{facts.event_count:,}" + (f" in {output}" if str(output) != "-" else "")),
            *describe_formats(facts),
            ("rejects", describe_rejects(facts)),
            *describe_redacted(facts.commonest_redacted),
            ("time", f"{seconds:.1f} s, {format_rate(facts.read_count / max(seconds, 1e-9), unit)}"),
        ]
    )
