"""`m2 sample`: a shop's days of events with known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.options import PATH, complete, console_options
from m2cli.console import format_rate

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from m2cli.console import Console


@click.command()
@click.argument("directory", type=PATH, metavar="DIR")
@click.option("--events", "event_count", default=1_000_000, show_default=True, help="How many events, exactly.")
@click.option("--days", default=1, show_default=True, help="On how many days visits begin.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same events.")
@click.option(
    "--as",
    "format_",
    default="events",
    show_default=True,
    metavar="FORMAT",
    shell_complete=complete("events", "ndjson", "access-log"),
    help="events, ndjson or access-log.",
)
@click.option(
    "--start", type=click.DateTime(["%Y-%m-%d"]), default="2025-10-01", show_default=True, help="The first day, UTC."
)
@click.option("--sources", default=4, show_default=True, help="From how many partitions.")
@click.option("--malformed", default=0, show_default=True, help="Lines of the log that are none.")
@console_options
def sample(  # noqa: PLR0913  # one parameter an option; they end in one rule
    *,
    directory: Path,
    event_count: int,
    days: int,
    seed: int,
    format_: str,
    start: datetime,
    sources: int,
    malformed: int,
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
    """
    from m2cli.clock import elapsed_since, stopwatch
    from m2cli.runs.progress import Step
    from m2cli.runs.sample import make_sample
    from m2cli.sample.rule import SampleRule

    rule = SampleRule(
        events=event_count,
        days=days,
        seed=seed,
        format=format_,
        start_date=start.date(),
        sources=sources,
        malformed=malformed,
    )
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
