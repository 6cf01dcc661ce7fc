"""Variables of the environment in settings: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from m2cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOLLAR = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}|(?P<rest>\{[^}]*\}?|\w*))"
)


def fill_text(text: str, environment: Mapping[str, str]) -> str:
    """`text` with its variables filled in, once: what a variable holds is not looked at again.

    >>> fill_text("${HOME}/logs of ${SHOP:-the shop}, 5 $$", {"HOME": "/home/shop"})
    '/home/shop/logs of the shop, 5 $'

    As in a shell, the default stands for a variable that is empty, too. Raises `UsageError` for a variable that
    is not set and has no default, and for a dollar before anything else, so that `$HOME` is not taken as it is.
    """
    return _DOLLAR.sub(lambda found: _value(found, environment), text)


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    name, default = found["name"], found["default"]
    if found["dollar"]:
        return "$"
    if name is None:
        hint = f"write `${{{found['rest']}}}`" if found["rest"].isidentifier() else "write it as `${NAME}`"
        raise UsageError(f"`{found[0]}` is no variable; {hint}, or `$$` for a dollar")
    if default is not None:
        return environment.get(name) or default
    if name in environment:
        return environment[name]
    raise UsageError(f"the environment has no `{name}`; set it, or write `${{{name}:-default}}`")
