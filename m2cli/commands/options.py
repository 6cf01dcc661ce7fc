"""The options that several verbs share, and the types of what people write in them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from m2cli.console import Console
from m2cli.errors import UsageError
from m2cli.settings import RejectLimit, format_duration, parse_date, parse_duration, parse_reject_limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from m2cli.stages.redaction import RedactionRule

P = ParamSpec("P")
R = TypeVar("R")


class _NonEmptyPath(click.Path):
    """A path; an empty text, as of a shell variable that is not set, is none (it would be the working folder)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path that `value` names."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = _NonEmptyPath(path_type=Path)


class _Parsed(click.ParamType[Any]):
    """A value that a function of `settings` reads; what that refuses is the option's error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that `value` names; one that is no text is passed on."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


DURATION = _Parsed("duration", parse_duration)
DATE = _Parsed("date", parse_date)
REJECT_LIMIT = _Parsed("number|share", parse_reject_limit)


def duration_option(name: str, default: timedelta, help_text: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """An option whose value is a duration such as `30m`."""
    return click.option(
        name, type=DURATION, default=format_duration(default), show_default=True, help=help_text, metavar="DURATION"
    )


def complete(*names: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """What the shell offers for an option whose value is one of `names`."""
    return lambda _context, _parameter, begun: [name for name in names if name.startswith(begun)]


def console_options(command: Callable[..., R]) -> Callable[..., R]:
    """`--quiet` and `--verbose`; the command gets a `console` in their place."""

    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more about what is done.")
    @functools.wraps(command)
    def with_console(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> R:
        return command(*args, console=Console(quiet=quiet, verbose=verbose), **kwargs)

    return with_console


lake_option = click.option("--lake", type=PATH, required=True, help="The lake to read.", metavar="LAKE")

salts_option = click.option(
    "--salts",
    type=_NonEmptyPath(path_type=Path, readable=False),  # whether it may be read is said with exit code 5
    default="/etc/m2/salts",
    show_default=True,
    metavar="DIR",
    help="The folder of the salts, one file a year.",
)

max_rejects_option = click.option(
    "--max-rejects",
    type=REJECT_LIMIT,
    default=None,
    metavar="NUMBER|SHARE",
    help="End with exit code 1, and without a lake or folder, if there are more rejects than this: `100`, `1%`.",
)


def _read_redaction(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> RedactionRule:
    from m2cli.stages.redaction import SECRET_NAMES, RedactionRule

    names, patterns = set(SECRET_NAMES), dict[str, str]()
    for text in texts:
        name, equals, pattern = text.partition("=")
        if not equals:
            names.add(name)
        elif name in patterns:
            raise UsageError(f"`--redact` has two patterns of the name `{name}`; each is counted by its own")
        else:
            patterns[name] = pattern
    return RedactionRule(names=frozenset(names), patterns=patterns)


redact_option = click.option(
    "--redact",
    multiple=True,
    metavar="NAME[=REGEX]",
    callback=_read_redaction,
    help="What is a secret besides what is by default: `voucher`, a parameter's name; `loyalty=LC-[0-9]{8}`, whatever "
    "this regular expression matches, counted as `loyalty`.",
)

__all__ = [
    "DATE",
    "DURATION",
    "PATH",
    "RejectLimit",
    "complete",
    "console_options",
    "duration_option",
    "lake_option",
    "max_rejects_option",
    "redact_option",
    "salts_option",
]
