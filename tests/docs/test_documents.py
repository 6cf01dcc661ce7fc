"""What README and docs show is what happens: their commands are run, and what they print is what is written there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BIN = str(Path(sys.executable).parent)


class Shown(NamedTuple):
    command: str
    output: list[str]


def find_commands(text: str) -> list[Shown]:
    """The commands of all ```console blocks, each with the lines shown after it."""
    shown: list[Shown] = []
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                shown.append(Shown(line[2:], []))
            elif shown[-1].command.endswith("\\"):
                shown[-1] = Shown(f"{shown[-1].command}\n{line}", [])
            elif line or shown[-1].output:
                shown[-1].output.append(line)
    for one in shown:
        while one.output and not one.output[-1]:
            one.output.pop()  # the blank line before the next command
    return shown


def matches(lines: list[str], printed: str) -> bool:
    """Whether the lines are what was printed; `...` alone stands for any lines, a time for any time."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(_settle(line.rstrip())) + "\n" for line in lines
    )
    return re.fullmatch(pattern, "".join(_settle(line.rstrip()) + "\n" for line in printed.splitlines())) is not None


def _settle(line: str) -> str:
    return re.sub(r"^(time +)\S.*$", r"\1SECONDS", line)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_does_what_the_document_shows(document: Path, tmp_path: Path) -> None:
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    for shown in find_commands(document.read_text(encoding="utf-8")):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", shown.command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
        )
        assert done.returncode == 0, f"{shown.command}\n{done.stdout}"
        assert not shown.output or matches(shown.output, done.stdout), f"{shown.command}\n{done.stdout}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
