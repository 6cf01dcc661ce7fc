"""Writes docs/reference: verbs, columns, a pipeline's settings, what is redacted, what is no page, from the code.

`make docs` writes; a test checks that what is written is what the code says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from m2cli import events
from m2cli.cli import m2
from m2cli.logs.fields.requests import ASSETS
from m2cli.pipeline.keys import SECTIONS, Key, header
from m2cli.stages.redaction import SECRET_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REFERENCE = Path(__file__).parent / "reference"
WIDTH = 80  # what click makes of a terminal of 80 columns, and of any wider one
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
    return {
        "commands.md": _commands(),
        "columns.md": _columns(),
        "pipeline.md": _pipeline(),
        "redaction.md": _redaction(),
        "assets.md": _assets(),
    }


def _commands() -> str:
    parts = ["# Commands\n\nWritten by `make docs` from the commands themselves.\n"]
    parts += [
        f"## {context.command_path}\n\n```\n{context.get_help().rstrip()}\n```\n" for context in _contexts(m2, "m2")
    ]
    return "\n".join(parts)


def _contexts(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[click.Context]:
    """`command` and all below it, each as it is when it is called on a terminal of 80 columns."""
    context = click.Context(command, parent, name, terminal_width=WIDTH, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for sub_name in command.list_commands(context):
            if sub := command.get_command(context, sub_name):
                yield from _contexts(sub, sub_name, context)


def _columns() -> str:
    parts = ["# Columns\n\nWritten by `make docs` from `m2cli/events.py`. Any column may be null.\n"]
    parts += [f"## {title}\n\n{_table(columns)}\n" for title, columns in _TABLES.items()]
    return "\n".join(parts)


_PIPELINE = """# A pipeline's settings

Written by `make docs` from `m2cli/pipeline/keys.py`. A pipeline is one TOML file, as
[shop.toml](../../pipelines/shop.toml) and [logs.toml](../../pipelines/logs.toml) are. It needs a `name`, a `lake` and
one `[[source]]`; all else has a default.

- Paths are relative to the folder of the file; `~` stands for nothing.
- `${NAME}` in a text is filled from the environment, `${NAME:-default}` with the default where `NAME` is not set or
  empty; `$$` is a dollar.
- A duration is written as `30m`, `12h`, `90s` or `1h30m`, a size as `2GiB`, `512MiB` or `1GB`.
- `--set SECTION.KEY=VALUE` goes before what the file says, but for sources; lists are written with commas.
"""


def _pipeline() -> str:
    parts = [_PIPELINE]
    for section, keys in SECTIONS.items():
        rows = [f"| `{key.name}` | `{key.example}` | {_default(key)} | {_meaning(key)} |" for key in keys.values()]
        parts.append(
            "\n".join([f"## {header(section)}\n", "| key | as | default | meaning |", "|---|---|---|---|", *rows, ""])
        )
    return "\n".join(parts)


def _default(key: Key) -> str:
    if key.is_required:
        return "required"
    return f"`{key.default}`" if key.default is not None else ""


def _meaning(key: Key) -> str:
    types = " and ".join(f"`{each}`" for each in key.of_types)
    return f"{key.meaning} Of {types} only." if types else key.meaning


def _redaction() -> str:
    names = [f"- `{name}`" for name in sorted(SECRET_NAMES)]
    head = "# Redacted by default\n\nWritten by `make docs` from `m2cli/stages/redaction.py`;"
    said = "what a name stands for is said in [redaction](../redaction.md)."
    return "\n".join([f"{head} {said}\n", *names, ""])


def _assets() -> str:
    names = [f"- `.{name}`" for name in sorted(ASSETS)]
    head = (
        "# Assets\n\nWritten by `make docs` from `m2cli/logs/fields/requests.py`. A line of an access log that asks for"
    )
    return "\n".join([f"{head} one of these is no page.\n", *names, ""])


def _table(columns: Iterable[events.Column]) -> str:
    rows = [f"| `{column.name}` | {_type(column)} | {column.meaning} |" for column in columns]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


def _type(column: events.Column) -> str:
    text = str(column.dtype() if isinstance(column.dtype, type) else column.dtype)
    return f"`{text}`"


if __name__ == "__main__":
    main()
