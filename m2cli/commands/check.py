"""`m2 check`: a pipeline verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.options import console_options
from m2cli.commands.pipelines import load, override_options, pipeline_argument
from m2cli.process import open_stdout
from m2cli.texts import escape_text

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.console import Console


@click.command()
@pipeline_argument
@click.option("--deep", "is_deep", is_flag=True, help="Read all rows of the lake, too: whole visits, in order.")
@override_options
@console_options
def check(*, pipeline: Path, is_deep: bool, overrides: dict[str, str], console: Console) -> None:
    """Verify a pipeline: settings, rights, sources, then its lake against its ledger.

    Each line of the output is something that is not as it should be, with what to do about it. Nothing is changed, and
    nothing is left. Exit code 1: the lake or the ledger; 2: a setting; 3: something is out of reach; 0: all is well,
    but for what is a `warning`. While the files of the lake are looked at, runs wait; they do not for --deep.

    \b
    Examples:
      m2 check shop.toml
      m2 check shop.toml --deep
    """
    from m2cli.clock import now
    from m2cli.runs.check import NotAsItShouldBeError, check_pipeline

    rule = load(pipeline, overrides)
    with console.progress() as tell:
        facts = check_pipeline(
            rule,
            now=now(),
            is_deep=is_deep,
            tell=tell,
            wait=lambda: console.say(f"waiting for what else works on {rule.lake}"),
        )
    lines = [f"{'error' if finding.code else 'warning'}: {escape_text(finding.text)}\n" for finding in facts.findings]
    stream = open_stdout()
    stream.write("".join(lines).encode(errors="backslashreplace"))
    stream.flush()
    console.summarize([("checked", ", ".join(["the settings", *facts.looked_at]))])
    if facts.faults:
        raise NotAsItShouldBeError(facts)
    console.summarize([("found", "nothing that is not as it should be")])
