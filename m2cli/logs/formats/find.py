"""From what a person writes after `--log-format` to the format: a name, a layout, or either in a wrapper."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from m2cli.errors import UnknownNameError
from m2cli.logs.formats.apache import compile_apache
from m2cli.logs.formats.model import LogFormat, Wrapper
from m2cli.logs.formats.named import ALIASES, FORMATS
from m2cli.logs.formats.nginx import compile_nginx

WRAPPED = re.compile(rf"({'|'.join(wrapper.value for wrapper in Wrapper if wrapper.value)})\+(?=.)")
_VARIABLE = re.compile(r"\$(?:\{\w+\}|[a-z_]\w*)")


@lru_cache(maxsize=256)
def find_format(text: str) -> LogFormat:
    """The format that `text` names or describes.

    >>> find_format("common").layout
    '%h %l %u %t "%r" %>s %b'
    >>> find_format("syslog+combined").wrapper
    <Wrapper.SYSLOG: 'syslog'>

    Raises `UnknownNameError` for a name that is not in the table; the message offers the nearest. Raises `LayoutError`
    for a layout with a directive that does not exist.
    """
    wrapped = WRAPPED.match(text)
    if wrapped:
        inner = find_format(text[wrapped.end() :])
        return replace(inner, name=text, wrapper=Wrapper(wrapped[1]))
    name = ALIASES.get(text.lower(), text)
    if name in FORMATS:
        return FORMATS[name]
    if _VARIABLE.search(text):
        return compile_nginx(text)
    if "%" in text:
        return compile_apache(text)
    raise UnknownNameError("log format", text, FORMATS)
