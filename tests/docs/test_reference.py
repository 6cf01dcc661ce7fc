"""The reference is written from the code, and is what the code says now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from m2cli.cli import VERBS, m2
from m2cli.stages.redaction import SECRET_NAMES

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = load_generator().pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / "reference" / name).read_text(encoding="utf-8") == PAGES[name], "run `make docs`"


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_is_documented_with_an_example(verb: str) -> None:
    section = PAGES["commands.md"].split(f"## m2 {verb}")[1]
    assert "Examples:" in section or verb == "ingest"


@pytest.mark.parametrize("called", ["m2", *(f"m2 {verb.name}" for verb in VERBS), "m2 ingest access-log"])
def test_the_help_of_a_verb_is_what_it_prints(called: str) -> None:
    printed = CliRunner(env={"COLUMNS": "80"}).invoke(m2, [*called.split()[1:], "--help"], prog_name="m2").output
    assert f"## {called}\n\n```\n{printed.rstrip()}\n```\n" in PAGES["commands.md"]


def test_every_name_that_is_redacted_is_documented() -> None:
    assert {line[3:-1] for line in PAGES["redaction.md"].splitlines() if line.startswith("- `")} == SECRET_NAMES
