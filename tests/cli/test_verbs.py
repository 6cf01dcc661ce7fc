"""The table of verbs says what the verbs themselves say, and loading it loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from m2cli.cli import VERBS, Verb, m2


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_the_table_has_the_first_line_of_each_verbs_help(verb: Verb) -> None:
    command = m2.get_command(click.Context(m2), verb.name)
    assert command is not None
    assert (command.help or "").splitlines()[0] == verb.help


def test_help_loads_none_of_the_heavy_libraries() -> None:
    code = """
import sys
from m2cli.cli import m2
try:
    m2(["--help"])
except SystemExit:
    pass
heavy = {"polars", "duckdb", "pyarrow", "rich", "m2cli.commands"}
print(*heavy & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "m2cli", "completion", shell], capture_output=True, text=True, check=True
    )
    assert "_M2_COMPLETE" in done.stdout
