"""Own patterns of secrets: gone wherever they stand and however they are encoded, and counted by their name."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import UsageError
from m2cli.events import TEXTS
from m2cli.stages.own_patterns import suspect_own
from m2cli.stages.redaction import RedactionRule, redact, redact_and_count, redact_texts
from m2cli.stages.secret_spans import decode

PATTERNS = {"loyalty": "LC-[0-9]{8}", "care": "(?i)bsn[:= ]*[0-9]{9}"}
RULE = RedactionRule(patterns=PATTERNS)
SECRET, GONE = "LC-12345678", "[redacted]"
CASES = {
    "plain": (f"/a/{SECRET}/b", f"/a/{GONE}/b"),
    "twice": (f"/{SECRET}?x={SECRET}", f"/{GONE}?x={GONE}"),
    "two patterns": (f"/{SECRET}?BSN=123456789", f"/{GONE}?{GONE}"),
    "encoded": ("/a?q=%4cC%2D12345678&x=%41", f"/a?q={GONE}&x=%41"),
    "encoded twice": ("/a?q=%254cC-12345678", f"/a?q={GONE}"),
    "beside a listed name": (f"/a?token=x&q={SECRET}", f"/a?token={GONE}&q={GONE}"),
    "within the value of one": (f"/a?token={SECRET}&q=1", f"/a?token={GONE}&q=1"),
    "across the end of one": ("/a?q=bsn&token=1&y=bsn: 123456789", f"/a?q=bsn&token={GONE}&y={GONE}"),
    "none": ("/a?q=LC-1234567", "/a?q=LC-1234567"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_pattern_matches_goes_and_all_else_stays(case: str) -> None:
    text, expected = CASES[case]
    assert redact_texts(pl.Series([text, None, text]), RULE, is_url=True).to_list() == [expected, None, expected]


def test_a_match_that_what_is_redacted_by_default_cuts_goes_as_a_whole() -> None:
    rule = RedactionRule(patterns={"pair": "token=[a-z]+&x=[a-z]+"})
    assert redact_texts(pl.Series(["/?token=abc&x=def&y=1"]), rule, is_url=True).to_list() == [f"/?{GONE}&y=1"]


@pytest.mark.parametrize("column", ["url", "referrer", "user_agent", "entity_id", "reason", "raw", "attributes"])
def test_every_column_of_free_text_is_looked_into(column: str) -> None:
    text, gone = f"see {SECRET} there", f"see {GONE} there"
    values = pl.Series(column, [{"k": text}, None], dtype=TEXTS) if column == "attributes" else [text, None]
    made = redact_and_count(pl.DataFrame({column: values}), RULE)
    expected = [{"k": gone}, None] if column == "attributes" else [gone, None]
    assert made.frame.equals(pl.DataFrame({column: pl.Series(expected, dtype=made.frame[column].dtype)}))
    assert made.counts == {"loyalty": 1}


def test_secrets_are_counted_by_name_one_for_each_row_and_place() -> None:
    frame = pl.DataFrame(
        {
            "url": [*[f"/?user_password=a&q={SECRET}"] * 3, f"/{SECRET}{SECRET}", "/?d=%7B%22pin%22%3A1%7D", "/?c=2"],
            "referrer": ["https://anna:tulip@shop.example/", *["/?card=4111111111111111"] * 2, None, None, None],
            "attributes": pl.Series([{"csrftoken": "a"}, {"n": "4111111111111111"}, *[None] * 4], dtype=TEXTS),
        }
    )
    made = redact_and_count(frame, RULE)
    expected = {"password": 3, "loyalty": 5, "pin": 1, "userinfo": 1, "card": 2, "token": 1, "payment card": 1}
    assert made.counts == expected
    again = redact_and_count(made.frame, RULE)
    assert again.frame.equals(made.frame)
    assert again.counts.total() == 0


PIECES = (
    *(SECRET, "%4cC-12345678", "%25%34cC-12345678", "LC%2d12345678", "LC-1234", "5678", "bsn", "=123456789", " ", "é"),
    *("/", "?", "&", ";", "token=", "x=", "%", "%4", "25", "\x01", '"', "4111111111111111", "[redacted]", "//a:b@"),
)
pieces = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


@given(st.lists(pieces, max_size=4), st.booleans())
def test_none_is_left_and_nothing_else_is_touched(texts: list[str], is_url: bool) -> None:
    column = pl.Series(texts, dtype=pl.String)
    made = redact_texts(column, RULE, is_url=is_url)
    listed = redact_texts(column, RedactionRule(), is_url=is_url)
    for text, redacted, by_default in zip(texts, made, listed, strict=True):
        has_own = any(re.search(pattern, each) for pattern in PATTERNS.values() for each in (text, decode(text).text))
        assert has_own or redacted == by_default
        assert not any(re.search(pattern, redacted) for pattern in PATTERNS.values())
        if text.count("%") == 1 or "%25" not in text:  # what is cut out of nested escapes may make others
            assert not re.search(PATTERNS["loyalty"], decode(redacted).text)
    assert suspect_own(column, PATTERNS).to_list() == [
        any(re.search(pattern, each) for pattern in PATTERNS.values() for each in (text, decode(text).text))
        for text in texts
    ]


def test_without_patterns_nothing_is_looked_for() -> None:
    frame = pl.DataFrame({"url": [f"/{SECRET}"], "user_agent": [SECRET]})
    assert redact(frame, RedactionRule()).equals(frame)


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ({"x": "LC-[0-9"}, "`x` is no regular expression: unclosed character class"),
        ({"x": "(?=LC)"}, "look-around"),
        ({"x": r"(a)\1"}, "backreferences are not supported"),
        ({"x": "[0-9]*"}, "`x` also matches where nothing is"),
        ({"x": r"\b"}, "`x` also matches where nothing is"),
        ({"x": ""}, "`x` also matches where nothing is"),
        ({"a b": "x"}, "`a b` is no name of a pattern"),
    ],
)
def test_what_is_no_pattern_is_refused(patterns: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        RedactionRule(patterns=patterns)
