"""Where in a TOML file a setting stands, which `tomllib` does not tell, and the error that says so."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, TypeAlias

from m2cli.errors import UsageError
from m2cli.texts import printable_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Place: TypeAlias = tuple[str | int, ...]
"""Where a value is: names of tables and keys, and in arrays of tables the number from 0: ("source", 1, "paths")."""

# Of text that tomllib has read, so that what is no TOML need not be thought of. A string is one token, as is a
# comment, so that neither a `#` nor a bracket in a string is taken for one.
_TOKEN = re.compile(
    r'''(?P<string>"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')'''
    r"""|(?P<comment>\#[^\n]*)|(?P<blank>[ \t\r]+)|(?P<end>\n)|(?P<bare>[A-Za-z0-9_-]+)|(?P<sign>.)""",
    re.DOTALL,
)
_BARE = re.compile(r"""\s*([A-Za-z0-9_-]+)\s*=\s*([^\s"'\[{#][^"'#]*?)\s*(?:#.*)?$""")
_OPENING, _CLOSING = "[{", "]}"


class PipelineError(UsageError):
    """A pipeline's TOML file that cannot be taken; `line` is None where there is no line to name."""

    def __init__(self, path: Path, line: int | None, message: str) -> None:
        self.path, self.line, self.message = path, line, message
        super().__init__(f"{printable_path(path)}{f':{line}' if line else ''}: {message}")


def find_lines(text: str) -> dict[Place, int]:
    """The line, from 1, of each table and key of `text`, which is TOML.

    Exact for headers and for keys on lines of their own, whether bare, quoted or dotted. What is inside an
    inline table or an array has no place of its own: it stands where the key before the `=` does.
    """
    places: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    for line, statement in _split_statements(text):
        if statement[0] != "[":
            here = table
            for name in _names(statement[: statement.index("=")]):
                here = (*here, name)
                places.setdefault(here, line)
            continue
        table = _enter(_names(statement), counts, is_array=statement[1] == "[")
        places.setdefault(table, line)
        if isinstance(table[-1], int):
            places.setdefault(table[:-1], line)
    return places


def find_line(places: Mapping[Place, int], place: Place) -> int | None:
    """The line of `place`, or of the table that it is in or would be."""
    while place and place not in places:
        place = place[:-1]
    return places.get(place)


def find_syntax_error(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """The line and the message of what `tomllib` says, which puts the one into the other."""
    message, _, place = str(error).rpartition(" (at ")
    found = re.match(r"line (\d+)", place)
    line = int(found[1]) if found else text.count("\n", 0, len(text.rstrip())) + 1
    bare = _BARE.match(text.split("\n")[line - 1])
    hint = f'; write texts in quotes, as `{bare[1]} = "{bare[2]}"`' if bare else ""
    return line, message[:1].lower() + message[1:] + hint


def _enter(names: list[str], counts: dict[Place, int], *, is_array: bool) -> Place:
    """The table that a header names: of arrays of tables on the way, the last one begun."""
    place: Place = ()
    for depth, name in enumerate(names, 1):
        place = (*place, name)
        if is_array and depth == len(names):
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place


def _names(tokens: list[str]) -> list[str]:
    """The parts of a dotted key among `tokens`, unquoted."""
    return [_unquote(token) for token in tokens if token not in ("[", "]", ".")]


def _unquote(token: str) -> str:
    return next(iter(tomllib.loads(f"{token} = 0"))) if token[0] in "\"'" else token


def _split_statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Headers and `key = value` as tokens without blanks and comments, each with the line that it begins on."""
    line, begun, depth = 1, 1, 0
    statement: list[str] = []
    for found in _TOKEN.finditer(text):
        token = found[0]
        if found["end"] and depth == 0 and statement:
            yield begun, statement
            statement = []
        if not (found["end"] or found["blank"] or found["comment"]):
            begun = begun if statement else line
            statement.append(token)
            depth += (token in _OPENING) - (token in _CLOSING) if found["sign"] else 0
        line += token.count("\n")
    if statement:
        yield begun, statement
