"""`m2 compact`: the small files of a day into few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.options import DATE, DURATION, console_options, lake_option
from m2cli.commands.words import count_of
from m2cli.errors import UsageError

if TYPE_CHECKING:
    from datetime import date, timedelta
    from pathlib import Path

    from m2cli.console import Console


@click.command()
@lake_option
@click.option("--date", "only", type=DATE, metavar="DATE", help="The UTC date on which the visits start.")
@click.option("--from", "first", type=DATE, metavar="DATE", help="The first of several dates.")
@click.option("--to", "last", type=DATE, metavar="DATE", help="The last of them.")
@click.option("--max-rows", type=int, default=1_000_000, show_default=True, help="No file gets more rows than this.")
@click.option(
    "--grace",
    type=DURATION,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long the files that are replaced stay for those who read by an earlier snapshot.",
)
@console_options
def compact(  # noqa: PLR0913  # one parameter an option
    *,
    lake: Path,
    only: date | None,
    first: date | None,
    last: date | None,
    max_rows: int,
    grace: timedelta,
    console: Console,
) -> None:
    """Make few files of a day's many small ones.

    Each batch of a pipeline adds files; this merges those of the days that are over. Visits stay whole, no row
    changes, and who reads meanwhile, by snapshot (m2 query, m2 trace, scan_lake), is not disturbed. A run of the
    pipeline waits until it is done.

    \b
    Examples:
      m2 compact --lake lake --date 2026-11-20
      m2 compact --lake lake --from 2026-11-01 --to 2026-11-20
    """
    from m2cli.clock import now
    from m2cli.runs.compact import CompactRule, compact_lake

    if only is not None and (first or last):
        raise UsageError("`--date` is one date, `--from` and `--to` are several; give the one or the others")
    first, last = only or first, only or last
    if first is None or last is None:
        raise UsageError("which dates? give `--date 2026-11-20`, or `--from` and `--to`")
    rule = CompactRule(first_date=first, last_date=last, max_rows=max_rows, grace=grace)
    with console.progress() as tell:
        facts = compact_lake(
            lake, rule, now=now, tell=tell, wait=lambda: console.say(f"waiting for what else works on {lake}")
        )
    if not facts.removed_count:
        console.say("nothing to compact: no date has several small files")
        return
    console.say(
        f"{facts.removed_count:,} files have become {facts.added_count:,}, of {count_of(facts.row_count, 'row')}"
    )
