"""`m2 formats`: the log formats that have a name, and any format explained, with the lines of a log taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.options import PATH

if TYPE_CHECKING:
    from pathlib import Path


@click.group(invoke_without_command=True)
@click.pass_context
def formats(context: click.Context) -> None:
    """List the log formats that m2 knows by name, or explain any format.

    Besides these, `--log-format` takes Apache's LogFormat and nginx' log_format as they stand in the server's
    configuration, `json:time=KEY,url=KEY,...` for any log of JSON lines, and `syslog+FORMAT`, `docker+FORMAT` and
    `cri+FORMAT` for lines that syslog or a container's runtime has carried.

    \b
    Examples:
      m2 formats
      m2 formats explain auto --sample access.log
    """
    if context.invoked_subcommand is None:
        from m2cli.runs.formats import list_formats

        click.echo(list_formats())


@formats.command()
@click.argument("log_format", metavar="FORMAT")
@click.option("--sample", type=PATH, metavar="LOG", help="A log whose first lines are taken apart.")
@click.option("--lines", default=3, show_default=True, type=click.IntRange(1, 1000), help="How many of them.")
@click.option("--time-zone", default="UTC", show_default=True, help="Zone of times that name none.")
def explain(*, log_format: str, sample: Path | None, lines: int, time_zone: str) -> None:
    """Show each field of FORMAT, what it becomes, and which parser reads it.

    FORMAT is a name or a layout, as `--log-format` takes it; auto tells it by the log of `--sample`. Ends with exit
    code 1 if a line of the log does not fit, with a caret under the place.

    \b
    Examples:
      m2 formats explain combined
      m2 formats explain '%h %t "%r" %>s %D' --sample access.log
    """
    from m2cli.errors import ExitCode
    from m2cli.runs.formats import explain_format, explain_lines

    found, head = explain_format(log_format, sample, time_zone)
    click.echo(head)
    if sample is None:
        return
    text, do_all_fit = explain_lines(found, sample, lines)
    click.echo(text)
    if not do_all_fit:
        raise click.exceptions.Exit(ExitCode.DATA)
