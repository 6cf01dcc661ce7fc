"""`m2 sample`: a shop's days of events with known truth."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from m2cli.commands.clusters import cluster_options, make_kafka_rule
from m2cli.commands.options import PATH, complete, console_options
from m2cli.console import Console, format_rate
from m2cli.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from m2cli.runs.topics import SendRule
    from m2cli.sample.rule import SampleRule

KAFKA = "kafka"


@click.command()
@click.argument("directory", type=PATH, required=False, metavar="DIR")
@click.option("--events", "event_count", default=1_000_000, show_default=True, help="How many events, exactly.")
@click.option("--days", default=1, show_default=True, help="On how many days visits begin.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same events.")
@click.option(
    "--as",
    "format_",
    default="events",
    show_default=True,
    metavar="FORMAT",
    shell_complete=complete("events", "ndjson", "access-log", "kafka"),
    help="events, ndjson, access-log, or kafka: Avro messages, sent to a topic.",
)
@click.option(
    "--start", type=click.DateTime(["%Y-%m-%d"]), default="2025-10-01", show_default=True, help="The first day, UTC."
)
@click.option("--sources", default=4, show_default=True, help="From how many partitions.")
@click.option("--malformed", default=0, show_default=True, help="Lines of the log that are none.")
@click.option("--topic", metavar="TOPIC", help="With --as kafka: the topic, made if it is not there.")
@click.option("--rate", type=click.FloatRange(min=1), metavar="EVENTS", help="With --as kafka: so many a second.")
@cluster_options(is_required=False)
@console_options
def sample(  # noqa: PLR0913  # one parameter an option; they end in one rule
    *,
    directory: Path | None,
    event_count: int,
    days: int,
    seed: int,
    format_: str,
    start: datetime,
    sources: int,
    malformed: int,
    topic: str | None,
    rate: float | None,
    cluster: dict[str, Any],
    console: Console,
) -> None:
    """Make a shop's days of events with known truth.

    DIR is a new folder. In it are visitors, customers and robots; pages, shows, clicks and purchases with their
    causes; and every edge of the rules in known number: visits beyond 12 hours, gaps of exactly 30 minutes, late
    and out-of-order arrivals, duplicates, orphans. DIR/truth holds the visits and roots that m2 must find.

    \b
    Examples:
      m2 sample shop
      m2 sample shop --events 5000000 --days 3 --seed 1
      m2 sample newyear --events 100000 --start 2025-12-31
      m2 sample logs --events 1000000 --as access-log
      m2 sample --events 100000 --as kafka --bootstrap-server localhost:9092 --topic measurements --rate 1000
    """
    from m2cli.sample.rule import SampleRule

    is_sent = format_ == KAFKA
    if is_sent != bool(topic) or (rate and not is_sent) or not (directory or is_sent):
        raise UsageError(
            "`--as kafka` needs a `--topic` and a `--bootstrap-server`"
            if is_sent
            else "name a folder that is to be made, or send the sample with `--as kafka --topic TOPIC`"
        )
    rule = SampleRule(
        events=event_count,
        days=days,
        seed=seed,
        format="events" if is_sent else format_,
        start_date=start.date(),
        sources=sources,
        malformed=malformed,
    )
    sending = _make_send_rule(topic, rate, cluster) if topic else None
    if directory:
        _make(directory, rule, console)
        if sending:
            _send(directory, sending, console)
    elif sending:
        with TemporaryDirectory() as folder:
            _make(Path(folder), rule, Console(quiet=True))
            _send(Path(folder), sending, console)


def _make_send_rule(topic: str, rate: float | None, cluster: dict[str, Any]) -> SendRule:
    from m2cli.runs.topics import SendRule

    return SendRule(kafka=make_kafka_rule(cluster, os.environ), topic=topic, rate=rate)


def _send(directory: Path, rule: SendRule, console: Console) -> None:
    from m2cli.clock import elapsed_since, stopwatch
    from m2cli.runs.sample import read_sample
    from m2cli.runs.topics import send_events

    start = stopwatch()
    with console.progress() as tell:
        count = send_events(read_sample(directory), rule, pause=time.sleep, tell=tell)
    seconds = elapsed_since(start)
    rate_text = format_rate(count / max(seconds, 1e-9), "events")
    console.summarize([("sent", f"{count:,} events to {rule.topic}"), ("time", f"{seconds:.1f} s, {rate_text}")])


def _make(directory: Path, rule: SampleRule, console: Console) -> None:
    from m2cli.clock import elapsed_since, stopwatch
    from m2cli.runs.progress import Step
    from m2cli.runs.sample import make_sample

    begin = stopwatch()
    with console.progress() as tell:
        facts = make_sample(directory, rule, lambda done: tell(Step("events", done, rule.events, "events")))
    seconds = elapsed_since(begin)
    kind = "logs" if rule.is_log else "events"
    traps = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in facts.traps.items())
    console.summarize(
        [
            ("events", f"{facts.event_count:,} of {facts.visitor_count:,} visitors, in {directory}"),
            ("traps", traps or "none"),
            ("next", f"m2 sessionize {directory / kind} -o lake"),
            ("time", f"{seconds:.1f} s, {format_rate(facts.event_count / max(seconds, 1e-9), 'events')}"),
        ]
    )
