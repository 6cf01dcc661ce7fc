"""Writes docs/reference: every verb with its help, and every column of every table, from the code itself.

`make docs` writes; a test checks that what is written is what the code says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from m2cli import events
from m2cli.cli import VERBS, m2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REFERENCE = Path(__file__).parent / "reference"
_TABLES = {
    "Events, as they come in": events.EVENT_COLUMNS,
    "What m2 adds to them": events.ADDED_COLUMNS,
    "Visits": events.VISIT_COLUMNS,
    "Rejects": events.REJECT_COLUMNS,
}


def main() -> None:
    """Write all pages of the reference."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Each page of the reference, by its file's name."""
    return {"commands.md": _commands(), "columns.md": _columns()}


def _commands() -> str:
    parts = ["# Commands\n\nWritten by `make docs` from the commands themselves.\n"]
    parts += [f"## m2\n\n```\n{_help(m2, 'm2')}\n```\n"]
    for verb in VERBS:
        command = m2.get_command(click.Context(m2), verb.name)
        if command is not None:
            parts += [
                f"## {name}\n\n```\n{_help(one, name)}\n```\n" for name, one in _flatten(command, f"m2 {verb.name}")
            ]
    return "\n".join(parts)


def _flatten(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            yield from _flatten(sub, f"{name} {sub.name}")


def _help(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    return command.get_help(context).rstrip()


def _columns() -> str:
    parts = ["# Columns\n\nWritten by `make docs` from `m2cli/events.py`. Any column may be null.\n"]
    parts += [f"## {title}\n\n{_table(columns)}\n" for title, columns in _TABLES.items()]
    return "\n".join(parts)


def _table(columns: Iterable[events.Column]) -> str:
    rows = [f"| `{column.name}` | {_type(column)} | {column.meaning} |" for column in columns]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


def _type(column: events.Column) -> str:
    text = str(column.dtype() if isinstance(column.dtype, type) else column.dtype)
    return f"`{text}`"


if __name__ == "__main__":
    main()
