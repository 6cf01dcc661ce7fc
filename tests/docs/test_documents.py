"""What README and docs show is what happens: commands and Python are run, and what they print is what stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BIN = str(Path(sys.executable).parent)


class Shown(NamedTuple):
    command: str
    output: list[str]


class Block(NamedTuple):
    language: str
    text: str


def find_blocks(text: str) -> list[Block]:
    """The blocks of code that are run, in order of appearance."""
    return [Block(*found) for found in re.findall(r"^```(console|python)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def find_commands(block: str) -> list[Shown]:
    """The commands of a ```console block, each with the lines shown after it."""
    shown: list[Shown] = []
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
def test_every_block_of_code_does_what_the_document_shows(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "100")
    names: dict[str, Any] = {}
    for block in find_blocks(document.read_text(encoding="utf-8")):
        if block.language == "python":
            exec(compile(block.text, document.name, "exec"), names)  # noqa: S102  # the document's own code
        else:
            for shown in find_commands(block.text):
                check_command(shown)


def check_command(shown: Shown) -> None:
    command = ["bash", "-o", "pipefail", "-c", shown.command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)
    assert done.returncode == 0, f"{shown.command}\n{done.stdout}"
    assert not shown.output or matches(shown.output, done.stdout), f"{shown.command}\n{done.stdout}"


def test_only_what_is_long_is_left_out_of_what_a_document_shows() -> None:
    blocks = [block for path in DOCUMENTS for block in find_blocks(path.read_text(encoding="utf-8"))]
    shown = [one for block in blocks if block.language == "console" for one in find_commands(block.text)]
    assert [one.command for one in shown if [line.strip() for line in one.output] == ["..."]] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
