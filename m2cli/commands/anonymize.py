"""`m2 anonymize`: a pseudonymous lake beside the identified one, or pseudonymous events in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from m2cli.commands.options import PATH, console_options, redact_option, salts_option
from m2cli.commands.words import count_of, describe_redacted, describe_rejects, warn_of_faults
from m2cli.errors import UnknownNameError, UsageError
from m2cli.process import open_stdout

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.console import Console
    from m2cli.privacy.rule import PrivacyRule
    from m2cli.privacy.salts import Salts
    from m2cli.stages.redaction import RedactionRule

# What `--allow` calls the fields of a rule.
_ALLOWED = {
    "path": "paths",
    "parameter": "parameters",
    "own-host": "own_hosts",
    "entity-type": "entity_types",
    "event-type": "event_types",
    "hook": "hooks",
    "reason": "reasons",
    "attribute": "attributes",
    "caseless": "caseless",
}
_STDOUT = "-"

allow_option = click.option(
    "--allow",
    multiple=True,
    metavar="KIND=NAME",
    help="What may pass besides what does by default: `path=/product/{id}`, `parameter=page`, `own-host=shop.example`, "
    "`entity-type=article`, `attribute=colour`, `event-type`, `hook`, `reason`; `caseless=customer` where ids that "
    "differ in case alone are one.",
)


@click.command()
@click.argument("inputs", nargs=-1, type=click.Path(allow_dash=True, readable=False), metavar="[INPUT...]")
@click.option("--lake", type=PATH, metavar="LAKE", help="The lake of identified data to read.")
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="LAKE", help="The pseudonymous lake, or - for NDJSON on stdout."
)
@salts_option
@click.option(
    "--salt-command", metavar="COMMAND", help="A command that prints the salt of `{year}`, in the place of --salts."
)
@allow_option
@redact_option
@console_options
def anonymize(  # noqa: PLR0913  # one parameter an option
    *,
    inputs: tuple[str, ...],
    lake: Path | None,
    output: Path,
    salts: Path,
    salt_command: str | None,
    allow: tuple[str, ...],
    redact: RedactionRule,
    console: Console,
) -> None:
    """Make a pseudonymous lake beside a lake, or pseudonymous events in a pipe.

    Every identifier becomes a keyed digest: equal stays equal within a year, so that m2 trace and m2 query work on the
    new lake as on the old. Of free text (URLs, referrers, search terms, attributes) only what is named passes. Run
    again, it adds the visits that are new and removes nothing. Once the salts are destroyed, the lake is anonymous.

    INPUT is a file of events, an access log, a folder, a glob, or - for stdin; then the output is -.

    \b
    Examples:
      m2 anonymize --lake lake -o anonymous --salts /etc/m2/salts
      m2 anonymize --lake lake -o anonymous --allow 'path=/product/{id}' --allow own-host=shop.example
      cat events.ndjson | m2 anonymize - -o - --salts /etc/m2/salts > pseudonymous.ndjson
    """
    from m2cli.stages.redaction import RedactionRule

    rule = read_rule(allow)
    given = click.get_current_context().get_parameter_source("salts")
    if salt_command and given is not click.core.ParameterSource.DEFAULT:
        raise UsageError("`--salts` and `--salt-command` both say where the salts come from; give one of them")
    source = read_salts(salts, salt_command)
    if inputs and lake is None and str(output) == _STDOUT:
        _anonymize_stream(inputs, rule, source, redact, console)
    elif lake is not None and redact != RedactionRule():
        raise UsageError("`--redact` is for inputs; what a lake holds was redacted when it was made")
    elif lake is not None and not inputs and str(output) != _STDOUT:
        _anonymize_lake(lake, output, rule, source, console)
    else:
        raise UsageError("give `--lake LAKE -o LAKE`, or inputs with `-o -`; `m2 sessionize` makes a lake of inputs")


def read_rule(allow: tuple[str, ...]) -> PrivacyRule:
    """The rule by default, with what `allow` names besides."""
    from m2cli.privacy.rule import PrivacyRule

    more: dict[str, list[str]] = {}
    for text in allow:
        kind, equals, name = text.partition("=")
        if not (equals and name):
            raise UsageError(f"`{text}` names nothing that passes; write it as `path=/product/{{id}}`")
        if kind not in _ALLOWED:
            raise UnknownNameError("kind of what passes", kind, _ALLOWED)
        more.setdefault(_ALLOWED[kind], []).append(name)
    return PrivacyRule().allowing(**more)


def read_salts(folder: Path, command: str | None) -> Salts:
    """Where the salts come from."""
    from m2cli.privacy.salts import CommandSalts, FolderSalts

    return CommandSalts(command=command) if command else FolderSalts(folder=folder)


def _anonymize_lake(lake: Path, output: Path, rule: PrivacyRule, salts: Salts, console: Console) -> None:
    from m2cli.runs.anonymize.lake import anonymize_lake

    with console.progress() as tell:
        facts = anonymize_lake(
            lake, output, rule, salts, tell=tell, wait=lambda: console.say(f"waiting for what else works on {output}")
        )
    known = (
        f"; {count_of(facts.known_visit_count, 'visit')} of these dates were there" if facts.known_visit_count else ""
    )
    console.summarize(
        [
            ("events", f"{facts.event_count:,} added"),
            ("visits", f"{facts.visit_count:,} added to {output}{known}"),
            ("privacy", facts.statement),
        ]
    )


def _anonymize_stream(
    inputs: tuple[str, ...], rule: PrivacyRule, salts: Salts, redaction: RedactionRule, console: Console
) -> None:
    from m2cli.clock import now
    from m2cli.runs.anonymize.pipe import anonymize_stream
    from m2cli.stages.enrich import EnrichRule

    with console.progress() as tell:
        facts = anonymize_stream(
            inputs, open_stdout(), rule, salts, enrichment=EnrichRule(), redaction=redaction, now=now(), tell=tell
        )
    console.summarize(
        [
            ("events", f"{facts.tally.event_count:,}"),
            ("rejects", f"{describe_rejects(facts.tally)}; counted, not written"),
            *describe_redacted(facts.tally.commonest_redacted),
            ("privacy", facts.statement),
        ]
    )
    warn_of_faults(facts.tally, console)
