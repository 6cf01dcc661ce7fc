"""m2's own way to write a layout, for formats that are no server's setting: `{status:status} "{request:request}"`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from m2cli.logs.formats.kinds import BY_NAME, TEXT, Escape
from m2cli.logs.formats.model import Field, LogFormat, Token, join_pieces, name_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIELD = re.compile(r"\{(\w+)(?::(\w+))?\}")


def compile_template(  # noqa: PLR0913 - one thing about the format each
    layout: str,
    *,
    name: str,
    about: str = "",
    escape: Escape = Escape.NONE,
    is_lenient: bool = False,
    has_absolute_urls: bool = False,
    heading: str = "",
    others: tuple[LogFormat, ...] = (),
) -> LogFormat:
    """The format of `layout`: texts, and fields as `{meaning:kind}`, of which a text's kind need not be named.

    >>> compile_template("{remote_ip:address} {status:status}", name="short").columns
    ('remote_ip', 'status')

    `escape` is how texts of it are escaped.
    """
    pieces, tail = join_pieces(name_fields(_read(layout, escape)))
    return LogFormat(
        name=name,
        layout=layout,
        about=about,
        pieces=pieces,
        tail=tail,
        is_lenient=is_lenient,
        has_absolute_urls=has_absolute_urls,
        heading=heading,
        others=others,
    )


def _read(layout: str, escape: Escape) -> Iterator[Token]:
    at = 0
    for found in _FIELD.finditer(layout):
        if found.start() > at:
            yield layout[at : found.start()]
        yield make_field(found[1], found[2] or "text", found[0], escape)
        at = found.end()
    if at < len(layout):
        yield layout[at:]


def make_field(meaning: str, kind_name: str, directive: str, escape: Escape = Escape.NONE) -> Field:
    """The field that says `meaning`, of the kind that is called so."""
    kind = BY_NAME[kind_name]
    return Field(
        name=meaning,
        meaning=meaning,
        label=meaning.replace("_", " "),
        kind=kind,
        directive=directive,
        escape=escape if kind.is_text or kind is TEXT else Escape.NONE,
    )
