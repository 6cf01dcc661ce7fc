"""The verbs of m2, in their groups; each is loaded when it is called and not before."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NamedTuple

import click

from m2cli.errors import UnknownNameError
from m2cli.process import run_and_exit


class Verb(NamedTuple):
    """A verb, the group it is shown in, and its first line of help, so that `m2 --help` need not load it."""

    name: str
    group: str
    help: str


VERBS = (
    Verb("sessionize", "Take in", "Make whole visits of access logs and event files, in a lake."),
    Verb("run", "Take in", "Run one batch of a pipeline: take what is new, close what has ended, commit."),
    Verb("ingest", "Take in", "Make events of access logs or topics, and nothing more."),
    Verb("rebuild", "Take in", "Make some dates of a pipeline's lake anew from what was kept."),
    Verb("sample", "Take in", "Make a shop's days of events with known truth."),
    Verb("trace", "Causes", "Show an event's causes up to the root, with what competed at every step."),
    Verb("query", "Look", "Ask a lake in SQL."),
    Verb("explain", "Look", "Show why a visit begins and ends where it does."),
    Verb("status", "Look", "Show how a pipeline stands: open visits, watermarks, the last batches, what was read."),
    Verb("replay", "Prove", "Replay a day through batches on a virtual clock, and prove what comes of it."),
    Verb("check", "Prove", "Verify a pipeline: settings, rights, sources, then its lake against its ledger."),
    Verb("anonymize", "Privacy", "Make a pseudonymous lake beside a lake, or pseudonymous events in a pipe."),
    Verb("audit", "Privacy", "Prove that no identifier has passed, or list what identifies in an input."),
    Verb("expire", "Privacy", "Remove the identified data of visits that started long ago."),
    Verb("salt", "Privacy", "Make, list, verify and destroy the salts of the years."),
    Verb("compact", "Care", "Make few files of a day's many small ones."),
    Verb("schema", "Care", "Keep the schemas of messages, and try new ones against them."),
    Verb("formats", "Care", "List the log formats that m2 knows by name, or explain any format."),
    Verb("completion", "Help", "Print the script that completes m2's verbs and options in your shell."),
)

_COMPLETION = "_M2_COMPLETE"  # set by the scripts of `m2 completion`

_EPILOG = """
\b
Exit codes: 0 ok, 1 the data is not as it should be, 2 usage,
3 a source or sink is out of reach, 4 another run is at work, 5 a salt is missing,
open to others or destroyed, 130 interrupted.
"""


class Verbs(click.Group):
    """The group of all verbs: lists them by purpose, loads the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """All verbs, in the order in which they are shown."""
        return [verb.name for verb in VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # click's signature
        """The verb's command, from the module of its name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"m2cli.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that is called; an unknown one gets the nearest as a hint."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise UnknownNameError("verb", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        """The verbs with their first lines of help, by group."""
        for group in dict.fromkeys(verb.group for verb in VERBS):
            with formatter.section(group):
                formatter.write_dl([(verb.name, verb.help) for verb in VERBS if verb.group == group])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(package_name="m2cli", prog_name="m2", message="%(prog)s %(version)s")
def m2() -> None:
    """Measure everything visitors are shown and do, with its cause.

    Events come in as access logs or event files, go out as whole visits in a lake of Parquet,
    and every purchase can be traced back to what caused it.
    """


def main() -> None:
    """Run `m2`, and end the process with its exit code."""
    if _COMPLETION in os.environ:
        m2(prog_name="m2")
    run_and_exit(_call)


def _call() -> None:
    # Not `m2()`: even where it is told to leave errors alone, click ends the process itself at a closed pipe.
    with m2.make_context("m2", sys.argv[1:]) as context:
        m2.invoke(context)
