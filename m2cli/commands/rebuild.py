"""`m2 rebuild`: dates of a pipeline's lake, made anew from what was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.options import DATE, PATH, console_options
from m2cli.commands.pipelines import load, override_options, pipeline_argument

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from m2cli.console import Console
    from m2cli.runs.rebuild.rule import RebuildFacts


@click.command()
@pipeline_argument
@click.option("--from", "first", type=DATE, required=True, metavar="DATE", help="The first date, UTC.")
@click.option("--to", "last", type=DATE, required=True, metavar="DATE", help="The last date.")
@click.option("--with-late", is_flag=True, help="Merge the late events of these dates.")
@click.option("--with", "with_files", type=PATH, multiple=True, metavar="FILE", help="Take in a forgotten file.")
@click.option("--without", "without_files", type=PATH, multiple=True, metavar="FILE", help="Take out a file.")
@click.option("--rejects", "with_rejects", is_flag=True, help="Try the rejects again.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@override_options
@console_options
def rebuild(  # noqa: PLR0913  # one parameter an option; they end in one rule
    *,
    pipeline: Path,
    first: date,
    last: date,
    with_late: bool,
    with_files: tuple[Path, ...],
    without_files: tuple[Path, ...],
    with_rejects: bool,
    dry_run: bool,
    overrides: dict[str, str],
    console: Console,
) -> None:
    """Make some dates of a pipeline's lake anew from what was kept.

    Late events are merged into the visits they belong to, a log that was imported by mistake is taken out, one that
    was forgotten is added, rejects are tried again by the settings of today. Every chain of visits that this touches
    is cut anew as a whole, and all of it is put in place at once. Visits that are still open are left alone: what
    belongs to them stays late, for a later rebuild. Topics are never rewritten.

    \b
    Examples:
      m2 rebuild pipelines/shop.toml --from 2026-11-18 --to 2026-11-20 --with-late
      m2 rebuild pipelines/shop.toml --from 2026-11-18 --to 2026-11-18 --with web2/access.log.3.gz
      m2 rebuild pipelines/shop.toml --from 2026-11-18 --to 2026-11-18 --without test/access.log --dry-run
    """
    from m2cli.clock import now
    from m2cli.runs.rebuild.rule import RebuildRule
    from m2cli.runs.rebuild.work import rebuild_dates

    pipeline_rule = load(pipeline, overrides)
    rule = RebuildRule(
        first_date=first,
        last_date=last,
        with_late=with_late,
        with_files=tuple(path.absolute() for path in with_files),
        without_files=without_files,
        with_rejects=with_rejects,
    )
    with console.progress() as tell:
        facts = rebuild_dates(
            pipeline_rule,
            rule,
            now=now,
            is_dry_run=dry_run,
            tell=tell,
            wait=lambda: console.say(f"waiting for what else works on {pipeline_rule.lake}"),
        )
    console.summarize(_summarize(facts, is_dry_run=dry_run))
    for text in facts.warnings:
        console.warn(text)


def _summarize(facts: RebuildFacts, *, is_dry_run: bool) -> list[tuple[str, str]]:
    if not facts.has_changes:
        return [("rebuilt", "nothing: no event of these dates can be merged or taken out now"), *_waiting(facts)]
    lines = [
        ("rebuilt", "nothing, this is a dry run; it would be:" if is_dry_run else f"batch {facts.batch_id}"),
        ("visits", f"{facts.visits_before:,} were cut anew into {facts.visits_after:,}"),
        ("events", f"{facts.merged_count:,} merged, {facts.excluded_count:,} taken out"),
        ("files", f"{facts.file_count:,} replaced"),
    ]
    if facts.duplicate_count:
        lines.append(("duplicates", f"{facts.duplicate_count:,} set aside"))
    return [*lines, *_waiting(facts)]


def _waiting(facts: RebuildFacts) -> list[tuple[str, str]]:
    lines = []
    if facts.waiting_count:
        lines.append(("waiting", f"{facts.waiting_count:,} events stay late: their visits are still open"))
    if facts.other_count:
        lines.append(("late", f"{facts.other_count:,} events are of other dates, and were put to the late ones"))
    return lines
