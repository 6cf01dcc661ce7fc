"""Each format with a name reads the lines that its vendor's document describes: one golden for each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from m2cli.logs.formats import ALIASES, FORMATS, find_format
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.parse import Place, parse_block
from tests.logs.lines_of_formats import LINES
from tests.logs.reading import ORIGIN

GOLDENS = Path(__file__).parent / "goldens"
OF_PLACE = ("event_id", "source", "part_id", "position_in_source", "arrival_time", "attributes")
# What GoAccess 1.7 calls the formats that it has (goaccess.io/man#custom-log).
GOACCESS = (
    "COMBINED",
    "VCOMBINED",
    "COMMON",
    "VCOMMON",
    "W3C",
    "SQUID",
    "CLOUDFRONT",
    "CLOUDSTORAGE",
    "AWSELB",
    "AWSS3",
    "AWSALB",
    "CADDY",
    "TRAEFIKCLF",
)


def show(data: bytes, name: str) -> str:
    log_format = find_format(name).with_options(FieldRule(keep=("all",)))
    intake = parse_block(data, Place(log_format, ORIGIN, 0), max_line_size=1 << 20)
    shown = [f"{intake.read_count} lines, {intake.ignored_count} ignored"]
    for event in intake.events.to_dicts():
        shown.append("event")
        shown += [f"  {key}: {value}" for key, value in event.items() if key not in OF_PLACE and value is not None]
        shown += [f"    {key}: {value}" for key, value in (event.get("attributes") or {}).items()]
    shown += [f"reject of line {row['line_number']}: {row['reason']}" for row in intake.rejects.to_dicts()]
    return "\n".join(shown) + "\n"


@pytest.mark.parametrize("name", LINES)
def test_its_lines_are_read_as_the_golden_says(name: str) -> None:
    golden = GOLDENS / f"{name}.txt"
    text = show(LINES[name], name)
    if os.environ.get("M2_UPDATE_GOLDENS"):
        GOLDENS.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_every_format_with_a_name_has_lines_of_its_own() -> None:
    assert set(LINES) == set(FORMATS)


def test_every_format_says_where_it_is_laid_down() -> None:
    assert all("." in each.about or each.name == "json" for each in FORMATS.values())


@pytest.mark.parametrize("name", GOACCESS)
def test_what_goaccess_calls_a_format_is_a_name_here_too(name: str) -> None:
    assert find_format(name) is FORMATS[ALIASES.get(name.lower(), name.lower())]


@pytest.mark.parametrize("name", LINES)
def test_a_block_without_events_has_the_columns_of_one_with_events(name: str) -> None:
    """But for columns that the log itself names, and attributes, which are there if a line has any."""
    log_format = find_format(name)
    if log_format.header is None:
        whole = parse_block(LINES[name], Place(log_format, ORIGIN, 0), max_line_size=1 << 20).events
        empty = parse_block(b"", Place(log_format, ORIGIN, 0), max_line_size=1 << 20).events
        assert whole.drop("attributes", strict=False).schema == empty.schema
