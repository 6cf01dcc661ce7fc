"""`m2 expire`: identified data that is too old leaves a pipeline's lake."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from m2cli.commands.options import DATE, DURATION, console_options, lake_option
from m2cli.commands.words import count_of
from m2cli.errors import UsageError
from m2cli.settings import parse_duration

if TYPE_CHECKING:
    from datetime import date, timedelta
    from pathlib import Path

    from m2cli.console import Console
    from m2cli.runs.expire import ExpireFacts

_YEARS = re.compile(r"(\d{1,3})y")


@click.command()
@lake_option
@click.option("--older-than", metavar="AGE", help="The age from which on visits go, by their start: `2y`, `400d`.")
@click.option("--before", type=DATE, metavar="DATE", help="In its place: the first UTC date that stays.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option(
    "--grace",
    type=DURATION,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long the files stay on the disk for those who read by an earlier snapshot.",
)
@console_options
def expire(  # noqa: PLR0913  # one parameter an option
    *,
    lake: Path,
    older_than: str | None,
    before: date | None,
    dry_run: bool,
    grace: timedelta,
    console: Console,
) -> None:
    """Remove the identified data of visits that started long ago.

    All of it: events and visits, late events, duplicates, rejects, visits that are still open, and what the ledger
    says of the logs of that time. It leaves the lake at once and the disk after the grace, with the next run or
    expiry. A pseudonymous lake beside it keeps its own. A run of the pipeline waits until it is done.

    \b
    Examples:
      m2 expire --lake lake --older-than 2y --dry-run
      m2 expire --lake lake --before 2024-01-01
    """
    from m2cli.clock import now
    from m2cli.runs.expire import ExpireRule, expire_lake, preview_expiry

    if (older_than is None) == (before is None):
        raise UsageError("how old? give `--older-than 2y` or `--before 2024-01-01`, one of them")
    first_kept = before or find_date(str(older_than), now().date())
    rule = ExpireRule(before=first_kept, grace=grace)
    if dry_run:
        _tell(preview_expiry(lake, rule), first_kept, console, would="would go")
        return
    with console.progress() as tell:
        facts = expire_lake(
            lake, rule, now=now, tell=tell, wait=lambda: console.say(f"waiting for what else works on {lake}")
        )
    _tell(facts, first_kept, console, would="are gone")


def find_date(age: str, today: date) -> date:
    """The first date that is not older than `age` on the day `today`.

    >>> from datetime import date
    >>> find_date("2y", date(2028, 2, 29))
    datetime.date(2026, 2, 28)
    """
    years = _YEARS.fullmatch(age.strip())
    try:
        if years is None:
            return today - parse_duration(age)
        year = today.year - int(years[1])
        is_leap_day = (today.month, today.day) == (2, 29)
        return today.replace(year=year, day=28 if is_leap_day else today.day)
    except (ValueError, OverflowError):
        raise UsageError(f"`{age}` is older than any date") from None
    except UsageError:
        raise UsageError(f"`{age}` is no age; write it as `2y` or `400d`") from None


def _tell(facts: ExpireFacts, first_kept: date, console: Console, *, would: str) -> None:
    if facts.is_nothing:
        console.say(f"nothing of visits that started before {first_kept}")
        return
    rows = [f"{count:,} {name}" for name, count in facts.row_counts.items()]
    if facts.carried_event_count:
        rows.append(f"{facts.carried_event_count:,} events of visits that are still open")
    files = count_of(facts.file_count, "file")
    if facts.rewritten_count:
        files += f", and {count_of(facts.rewritten_count, 'file')} written anew"
    console.say(f"{', '.join(rows)} of before {first_kept} {would}: {files}")
