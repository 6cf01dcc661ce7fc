"""What m2 says to people: where, when, and without anything that could steer a terminal."""

from __future__ import annotations

import pytest

from m2cli.console import Console, escape, format_rate
from m2cli.runs.progress import Step


def test_a_quiet_console_says_nothing_but_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True, verbose=True)
    console.say("a")
    console.detail("b")
    console.summarize([("events", "1")])
    console.warn("c")
    assert capsys.readouterr() == ("", "warning: c\n")


def test_details_are_for_those_who_ask_for_more(capsys: pytest.CaptureFixture[str]) -> None:
    Console().detail("a")
    Console(verbose=True).detail("b")
    assert capsys.readouterr() == ("", "b\n")


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\r", "\x00", "\x7f", "\x9b", "\u202e", "\u2028"])
def test_nothing_that_steers_a_terminal_is_said(character: str, capsys: pytest.CaptureFixture[str]) -> None:
    Console().say(f"a{character}b\nc")
    said = capsys.readouterr().err
    assert character not in said
    assert said.count("\n") == 2


def test_text_is_left_as_it_is() -> None:
    assert escape("Grüße, 日本, ●\n") == "Grüße, 日本, ●\n"


def test_progress_is_not_drawn_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress() as tell:
        tell(Step("reading", 1, 2, "bytes"))
    assert capsys.readouterr() == ("", "")


def test_bytes_have_a_rate_in_megabytes() -> None:
    assert [format_rate(2_500_000, "bytes"), format_rate(12.4, "events")] == ["2.5 MB/s", "12 events/s"]
