"""One setting: how it is written, its default, its meaning, and what it may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m2cli.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from m2cli.pipeline.kinds import Kind

_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


@dataclass(frozen=True, kw_only=True)
class Key:
    """One setting. `default` is as a person would write it; None: there is none, and absent means absent.

    `sample` is a value as TOML has it, where the default does not show how it is written. `check` raises
    `UsageError` for a value that is written well and cannot be; `of_types`: of these sources only.
    """

    section: str
    name: str
    kind: Kind
    meaning: str
    default: str | None = None
    sample: str = ""
    is_required: bool = False
    of_types: tuple[str, ...] = ()
    check: Callable[[Any], object] = lambda value: value

    @property
    def full_name(self) -> str:
        """What `--set` calls it."""
        return f"{self.section}.{self.name}"

    @property
    def example(self) -> str:
        """A value as TOML has it."""
        return self.sample or f'"{self.default}"'


def one_of(kind: str, known: tuple[str, ...]) -> Callable[[str], None]:
    """A check that a value is one of `known`; `kind` is what these are."""

    def check(name: str) -> None:
        if name not in known:
            raise UnknownNameError(kind, name, known)

    return check


def check_hosts(hosts: tuple[str, ...]) -> None:
    """Raise `UsageError` unless all of `hosts` are names of hosts."""
    if wrong := [host for host in hosts if not _HOST.fullmatch(host)]:
        raise UsageError(f"`{wrong[0]}` is no host; write its name alone, as `shop.example`")
