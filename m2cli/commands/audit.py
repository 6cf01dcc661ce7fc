"""`m2 audit`: proof that a pseudonymous lake leads back to nobody, or what identifies in an input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.anonymize import read_salts
from m2cli.commands.log_options import log_options
from m2cli.commands.options import PATH, console_options
from m2cli.console import escape
from m2cli.errors import M2Error, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from m2cli.commands.log_options import LogOptions
    from m2cli.console import Console
    from m2cli.runs.audit.lake import Check

_MARKS = {True: "ok", False: "FAILED", None: "-"}


class AuditFailedError(M2Error):
    """A pseudonymous lake in which something was found that should not be there."""


@click.command()
@click.argument("inputs", nargs=-1, type=click.Path(allow_dash=True, readable=False), metavar="[INPUT...]")
@click.option("--lake", type=PATH, metavar="LAKE", help="The pseudonymous lake to audit.")
@click.option("--against", type=PATH, metavar="LAKE", help="The lake of identified data that it was made of.")
@click.option("--salts", type=PATH, metavar="DIR", help="The salts, to show that with them it fails.")
@click.option(
    "--network", metavar="NETWORK", help="Whose addresses to guess, as `192.0.0.0/16`; by default the commonest."
)
@log_options
@console_options
def audit(  # noqa: PLR0913  # one parameter an option
    *,
    inputs: tuple[str, ...],
    lake: Path | None,
    against: Path | None,
    salts: Path | None,
    network: str | None,
    log_options: LogOptions,
    console: Console,
) -> None:
    """Prove that no identifier has passed, or list what identifies in an input.

    Of a pseudonymous lake, against the one that it was made of: no identifier occurs in its values or bytes, in plain,
    encoded or hashed without a salt; groups are as large as before; guessing fails without the salt, and succeeds with
    it, so that the check is seen to be able to fail; and what would re-identify all the same. Exit code 1 if it fails.

    Of an INPUT, access logs or event files: what in it identifies, what m2 anonymize makes of it, and what to name so
    that it passes. No value is shown.

    \b
    Examples:
      m2 audit --lake anonymous --against lake --salts /etc/m2/salts
      m2 audit access.log
      m2 audit app.log --log-format '%h %l %u %t "%r" %>s %b %D' --keep duration
    """
    if inputs and lake is None and against is None:
        if salts is not None or network is not None:
            raise UsageError("`--salts` and `--network` go with `--lake LAKE --against LAKE`, not with inputs")
        _audit_input(inputs, log_options, console)
    elif lake is not None and against is not None and not inputs:
        if any(log_options):
            raise UsageError("how access logs are read goes with inputs, not with `--lake LAKE --against LAKE`")
        _audit_lake(lake, against, salts, network, console)
    else:
        raise UsageError("give `--lake LAKE --against LAKE`, or inputs")


def _audit_lake(lake: Path, against: Path, salts: Path | None, network: str | None, console: Console) -> None:
    from m2cli.runs.audit.lake import audit_lake

    source = None if salts is None else read_salts(salts, None)
    with console.progress() as tell:
        checks = list(audit_lake(lake, against, salts=source, network=network, tell=tell))
    failed_count = _print(checks)
    if failed_count:
        raise AuditFailedError(
            f"{failed_count:,} of {len(checks):,} checks failed: `{lake}` is not fit to be handed on"
        )
    console.say("all checks passed")


def _audit_input(inputs: tuple[str, ...], log_options: LogOptions, console: Console) -> None:
    from m2cli.clock import now
    from m2cli.runs.audit.inputs import audit_inputs
    from m2cli.runs.intake import IntakeRule

    rule = IntakeRule(log_format=log_options.find_layout(inputs), fields=log_options.make_rule("UTC"))
    with console.progress() as tell:
        findings = audit_inputs(inputs, rule, now=now(), tell=tell)
    if not findings:
        console.say("nothing was read that could identify")
    for finding in findings:
        click.echo(escape(f"{finding.what:<24} {finding.sentence}; {finding.fate}"))


def _print(checks: Iterable[Check]) -> int:
    failed_count = 0
    for check in checks:
        click.echo(escape(f"{_MARKS[check.is_well]:<6} {check.name:<13} {check.sentence}"))
        failed_count += check.is_well is False
    return failed_count
