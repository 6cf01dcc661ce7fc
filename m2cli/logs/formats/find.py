"""From what a person writes after `--log-format` to the format: a name, a layout, or either in a wrapper."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from m2cli.errors import UnknownNameError
from m2cli.logs.formats.apache import compile_apache
from m2cli.logs.formats.model import LogFormat, Wrapper
from m2cli.logs.formats.named import ALIASES, FORMATS
from m2cli.logs.formats.nginx import ESCAPES, compile_nginx
from m2cli.logs.formats.objects import PREFIX, compile_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTO = "auto"
"""In the place of a format: whichever the first lines are of."""
WRAPPED = re.compile(rf"({'|'.join(wrapper.value for wrapper in Wrapper if wrapper.value)})\+(?=.)")
_ESCAPE = re.compile(rf"escape=({'|'.join(ESCAPES)}) +")
_VARIABLE = re.compile(r"\$(?:\{\w+\}|[a-z_]\w*)")


@lru_cache(maxsize=256)
def find_format(text: str) -> LogFormat:  # noqa: PLR0911 - a way to write one a line
    """The format that `text` names or describes; of several, one a line, the first, with the others to try after it.

    >>> find_format("common").layout
    '%h %l %u %t "%r" %>s %b'
    >>> find_format("syslog+combined").wrapper
    <Wrapper.SYSLOG: 'syslog'>

    Raises `UnknownNameError` for a name that is not in the table; the message offers the nearest. Raises `LayoutError`
    for a layout with a directive that does not exist.
    """
    first, *others = [each for each in text.splitlines() if each.strip()] or [text]
    if others:
        found = find_format(first)
        return replace(found, others=(*found.others, *_list_all(others)))
    wrapped = WRAPPED.match(text)
    if wrapped:
        inner = find_format(text[wrapped.end() :])
        wrapper = Wrapper(wrapped[1])
        carried = tuple(replace(each, name=f"{wrapped[0]}{each.name}", wrapper=wrapper) for each in inner.others)
        return replace(inner, name=text, wrapper=wrapper, others=carried)
    if escaped := _ESCAPE.match(text):
        return compile_nginx(text[escaped.end() :], name=text, escape=escaped[1])
    if text.startswith(PREFIX):
        return compile_mapping(text)
    name = ALIASES.get(text.lower(), text.lower() if text.lower() in FORMATS else text)
    if name in FORMATS:
        return FORMATS[name]
    if _VARIABLE.search(text):
        return compile_nginx(text)
    if "%" in text:
        return compile_apache(text)
    raise UnknownNameError("log format", text, FORMATS)


def _list_all(texts: list[str]) -> Iterator[LogFormat]:
    """The formats that `texts` name, and those that each is tried with itself, if they have one wrapper."""
    for text in texts:
        found = find_format(text)
        yield replace(found, others=())
        yield from found.others


def list_names() -> list[str]:
    """The names that a person may write, for completion."""
    return [*FORMATS, AUTO]
