"""Variables of the environment in settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import UsageError
from m2cli.pipeline.fill import fill_text

ENVIRONMENT = {"HOME": "/home/shop", "EMPTY": "", "MONEY": "${HOME}"}
FILLED = {
    "plain": "plain",
    "${HOME}/logs": "/home/shop/logs",
    "${HOME}${HOME}": "/home/shop/home/shop",
    "${NONE:-here}": "here",
    "${NONE:-}": "",
    "${EMPTY:-here}": "here",
    "${EMPTY}": "",
    "${HOME:-here}": "/home/shop",
    "$$": "$",
    "$${HOME}": "${HOME}",
    "$$$$": "$$",
    "${MONEY}": "${HOME}",
    "${NONE:-a:-b}": "a:-b",
}


@pytest.mark.parametrize("text", FILLED)
def test_a_text_is_filled_once(text: str) -> None:
    assert fill_text(text, ENVIRONMENT) == FILLED[text]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", r"the environment has no `NONE`; set it, or write `\$\{NONE:-default\}`"),
        ("$HOME", r"`\$HOME` is no variable; write `\$\{HOME\}`, or `\$\$`"),
        ("5 $", r"`\$` is no variable"),
        ("${HOME", r"`\$\{HOME` is no variable"),
        ("${}", "is no variable"),
        ("${1}", "is no variable"),
        ("${A B}", "is no variable"),
        ("${HOME-x}", "is no variable"),
    ],
)
def test_a_dollar_that_cannot_be_filled_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fill_text(text, ENVIRONMENT)


@given(st.text())
def test_any_text_can_be_written_with_doubled_dollars(text: str) -> None:
    assert fill_text(text.replace("$", "$$"), {}) == text
