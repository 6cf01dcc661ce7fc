"""`m2 salt`: the secrets that key the pseudonyms, one a calendar year."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from m2cli.commands.options import console_options, salts_option
from m2cli.errors import UsageError
from m2cli.privacy.errors import PrivacyError

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.console import Console

YEAR = click.IntRange(1970, 9998)


@click.group()
def salt() -> None:
    """Make, list, verify and destroy the salts of the years.

    A salt is the secret of one calendar year: it keys the pseudonyms of all visits that started in it. What is
    anonymized is pseudonymous as long as the salt is there, and anonymous once it is destroyed.

    \b
    Examples:
      m2 salt new 2026 --salts /etc/m2/salts
      m2 salt verify --salts /etc/m2/salts
    """


@salt.command()
@click.argument("year", type=YEAR)
@salts_option
@console_options
def new(*, year: int, salts: Path, console: Console) -> None:
    """Make the salt of YEAR from the system's random source, for its owner alone to read.

    It is refused if it is there already, or was and is destroyed. Keep a copy where only you get at it: without the
    salt nothing of that year can be anonymized any more. It is never shown.

    \b
    Examples:
      m2 salt new 2026 --salts /etc/m2/salts
    """
    from m2cli.privacy.ring import make_salt

    console.say(f"made the salt of {year} in {salts}, fingerprint {make_salt(salts, year)}")


@salt.command("list")
@salts_option
@console_options
def list_(*, salts: Path, console: Console) -> None:
    """List the years, the fingerprints of their salts, and how they stand.

    \b
    Examples:
      m2 salt list --salts /etc/m2/salts
    """
    from m2cli.privacy.ring import list_ring

    entries = list_ring(salts)
    for entry in entries:
        state = f"destroyed on {entry.destroyed_time[:10]}: anonymous" if entry.destroyed_time else "pseudonymous"
        click.echo(f"{entry.year}  {entry.fingerprint or '-':<16}  {entry.problem or state}")
    if not entries:
        console.say(f"no salts in {salts}; make one with `m2 salt new YEAR`")


@salt.command()
@salts_option
@console_options
def verify(*, salts: Path, console: Console) -> None:
    """Verify that every salt is whole and its owner's alone; exit code 5 if one is not.

    From December on it warns of next year's salt, if that is missing.

    \b
    Examples:
      m2 salt verify --salts /etc/m2/salts
    """
    from m2cli.clock import now
    from m2cli.privacy.ring import list_ring, warn_of_missing

    entries = list_ring(salts)
    problems = [f"{entry.year}: {entry.problem}" for entry in entries if entry.problem]
    for text in warn_of_missing(entries, now()):
        console.warn(text)
    if problems:
        raise PrivacyError("\n".join(problems))
    usable = [str(entry.year) for entry in entries if not entry.destroyed_time]
    console.say(f"the salts of {', '.join(usable)} can be used" if usable else f"no salt in {salts} can be used")


@salt.command()
@click.argument("year", type=YEAR)
@click.option("--yes", is_flag=True, help="Do not ask: it is known that nothing brings it back.")
@salts_option
@console_options
def destroy(*, year: int, yes: bool, salts: Path, console: Console) -> None:
    """Destroy the salt of YEAR: what was pseudonymous becomes anonymous, for good.

    The file is overwritten and removed, and a dated record with the fingerprint stays in its place. That is as far as
    the medium allows: flash disks, journals and snapshots may keep old blocks, and backups are yours to destroy.

    \b
    Examples:
      m2 salt destroy 2024 --salts /etc/m2/salts --yes
    """
    from m2cli.clock import now
    from m2cli.privacy.ring import destroy_salt

    if not yes:
        _ask_for(year)
    fingerprint = destroy_salt(salts, year, now())
    console.say(f"destroyed the salt of {year}, fingerprint {fingerprint}: visits of {year} are anonymous now")
    console.warn(
        "overwritten and removed as far as the medium allows; flash disks, snapshots of the file system and backups "
        "may still have it, and these are yours to destroy"
    )


def _ask_for(year: int) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nothing brings a destroyed salt back; say `--yes` where nobody can be asked")
    if click.prompt(f"nothing brings it back; write {year} to destroy it", err=True, default="") != str(year):
        raise UsageError("nothing was destroyed")
