"""Numbers, money, booleans and maps from whatever columns hold, and the words for what they cannot be."""

from __future__ import annotations

import json
from datetime import date, time, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.events import MONEY, TEXTS, TIME
from m2cli.files.attributes import gather_attributes, to_map
from m2cli.files.rule import FileRule
from m2cli.files.texts import escape_controls, to_text
from m2cli.files.values import convert

RULE = FileRule()
WHOLE, OUT, NUMBER, FINER = (
    "is not a whole number",
    "is out of range",
    "is not a number",
    "has more than 4 decimals",
)


def convert_one(column: pl.Series, dtype: pl.DataType) -> object:
    """The value, or the reason why there is none."""
    converted = convert(column, dtype, RULE)
    assert converted.values.dtype == dtype
    assert len(converted.values) == len(column) == 1
    if converted.faults:
        (fault,) = converted.faults
        assert fault.mask.to_list() == [True]
        assert converted.values.item() is None
        return fault.reason
    return converted.values.item()


INTEGERS = {
    "text": ("200", 200),
    "text with blanks and a sign": (" +200 ", 200),
    "text of a float without a fraction": ("200.0", 200),
    "blank text": ("  ", None),
    "a fraction": ("200.5", WHOLE),
    "words": ("ok", WHOLE),
    "a word for true": (True, WHOLE),
    "too much": ("2147483648", OUT),
    "the most": ("2147483647", 2147483647),
    "digits of another script": ("٣", WHOLE),
    "a larger integer type": (2**40, OUT),
    "a float": (3.0, 3),
    "a float with a fraction": (3.5, WHOLE),
    "not a number": (float("nan"), WHOLE),
    "a float too large": (1e20, OUT),
    "a decimal": (Decimal("4.00"), 4),
    "a decimal with a fraction": (Decimal("4.50"), WHOLE),
    "bytes": (b"12", 12),
}


@pytest.mark.parametrize(("value", "expected"), INTEGERS.values(), ids=INTEGERS)
def test_a_whole_number_is_read_from(value: object, expected: object) -> None:
    assert convert_one(pl.Series("status", [value]), pl.Int32()) == expected


AMOUNTS = {
    "text": ("19.99", Decimal("19.99")),
    "text of a whole number": ("7", Decimal(7)),
    "a point first": (".5", Decimal("0.5")),
    "a negative one": ("-0.0001", Decimal("-0.0001")),
    "an exponent": ("1e3", Decimal(1000)),
    "zeros behind the fourth": ("1.23450000", Decimal("1.2345")),
    "a fifth decimal": ("1.23456", FINER),
    "a fifth decimal by exponent": ("1e-5", FINER),
    "the most": ("99999999999999.9999", Decimal("99999999999999.9999")),
    "more than the most": ("100000000000000", OUT),
    "a comma": ("1,50", NUMBER),
    "a currency": ("$5", NUMBER),
    "blank": (" ", None),
    "a float": (0.1 + 0.2, Decimal("0.3")),
    "a float half way, to even": (0.00005, Decimal(0)),
    "a float half way, to even above": (0.00015 + 0.0001, Decimal("0.0002")),
    "a float too large": (1e14, OUT),
    "a float that rounds to too much": (99999999999999.99999, OUT),
    "infinity": (float("inf"), NUMBER),
    "an integer": (5, Decimal(5)),
    "an integer too large": (10**15, OUT),
    "a decimal with a fifth": (Decimal("1.23456"), FINER),
    "a wide decimal that fits": (Decimal("1.50000000"), Decimal("1.5")),
    "a boolean": (True, NUMBER),
}


@pytest.mark.parametrize(("value", "expected"), AMOUNTS.values(), ids=AMOUNTS)
def test_an_amount_is_read_from(value: object, expected: object) -> None:
    assert convert_one(pl.Series("amount", [value]), MONEY) == expected


FLAGS = {
    "true": ("true", True),
    "False": ("False", False),
    "1": (1, True),
    "0 as text": ("0", False),
    "1.0": (1.0, True),
    "blank": ("", None),
    "yes": ("yes", "is not true or false"),
    "2": (2, "is not true or false"),
}


@pytest.mark.parametrize(("value", "expected"), FLAGS.values(), ids=FLAGS)
def test_a_flag_is_read_from(value: object, expected: object) -> None:
    assert convert_one(pl.Series("is_robot", [value]), pl.Boolean()) == expected


TEXTS_OF = {
    "bytes": (b"caf\xc3\xa9", "café"),
    "bytes that are no UTF-8": (b"caf\xe9", "caf\\xe9"),
    "a date": (date(2019, 10, 1), "2019-10-01"),
    "a time of day": (time(1, 2, 3), "01:02:03"),
    "a duration": (timedelta(hours=1), "PT1H"),
    "a boolean": (True, "true"),
    "a list": ([1, None], "[1,null]"),
    "a struct": ({"a": 'q"\\'}, '{"a":"q\\"\\\\"}'),
    "a list of bytes": ([b"a\xff"], '["a\\\\xff"]'),
    "a struct of durations": ({"d": timedelta(seconds=1)}, '{"d": "0:00:01"}'),
}


@pytest.mark.parametrize(("value", "expected"), TEXTS_OF.values(), ids=TEXTS_OF)
def test_the_text_of_a_value_is(value: object, expected: str) -> None:
    texts = to_text(pl.Series("a", [value, None]))
    assert texts.to_list() == [expected, None]
    assert texts.name == "a"


def test_all_control_characters_are_escaped_and_nothing_else() -> None:
    column = pl.Series(["\x00\t\n\x1b\x7f\x9b", "é☃ \\ ~"])
    assert escape_controls(column).to_list() == [r"\x00\x09\x0a\x1b\x7f\xc2\x9b", "é☃ \\ ~"]


def test_a_column_that_fits_is_not_touched() -> None:
    column = pl.Series("status", [1, None], dtype=pl.Int32)
    assert convert(column, pl.Int32(), RULE).values is column


@pytest.mark.parametrize("dtype", [pl.Int32(), pl.Int64(), MONEY, pl.Boolean(), TIME, pl.String()], ids=str)
def test_a_column_of_nothing_but_nulls_is_null_without_a_fault(dtype: pl.DataType) -> None:
    converted = convert(pl.Series("c", [None, None]), dtype, RULE)
    assert converted.values.to_list() == [None, None]
    assert converted.values.dtype == dtype
    assert not converted.faults


@given(st.lists(st.none() | st.decimals(-(10**15), 10**15, places=6).map(str) | st.text(max_size=4), max_size=6))
def test_an_amount_of_text_is_exactly_itself_or_a_fault(texts: list[str | None]) -> None:
    converted = convert(pl.Series("amount", texts, dtype=pl.String), MONEY, RULE)
    faulty = {place for fault in converted.faults for place in fault.mask.arg_true()}
    for place, (text, value) in enumerate(zip(texts, converted.values, strict=True)):
        if value is None:
            assert (place in faulty) == bool((text or "").strip())
        else:
            assert Decimal(text or "") == value


MAPS = {
    "JSON": ('{"a":"b"}', {"a": "b"}),
    "JSON of other values": ('{"a":1.5,"b":true,"c":[1]}', {"a": "1.5", "b": "true", "c": "[1]"}),
    "JSON of nothing": ("{}", {}),
    "JSON over lines": ('{\n"a":\r\n"b"}', {"a": "b"}),
    "JSON of entries": ('[{"key":"a","value":"b"}]', {"a": "b"}),
    "JSON null": ("null", None),
    "blank text": (" ", None),
    "a struct": ({"a": 1, "b": None}, {"a": "1"}),
    "a list of entries": ([{"key": "a", "value": 1}, {"key": "a", "value": 2}], {"a": "2"}),
    "text": ("a=b", "is not a map of texts"),
    "a JSON number": ("3", "is not a map of texts"),
    "JSON cut short": ('{"a":', "is not a map of texts"),
    "JSON and more": ('{"a":1},"m":{"b":2}', "is not a map of texts"),
    "a JSON list": ("[1]", "is not a map of texts"),
    "a number": (3, "is not a map of texts"),
}


@pytest.mark.parametrize(("value", "expected"), MAPS.values(), ids=MAPS)
def test_attributes_are_read_from(value: object, expected: object) -> None:
    values, faults = to_map(pl.Series("attributes", [value, None]))
    assert values.dtype == TEXTS
    given = faults[0].reason if faults else values.to_list()[0]
    assert given == expected
    assert values.to_list()[1] is None


def test_other_columns_join_the_attributes_and_win_over_them() -> None:
    own = pl.Series("attributes", [{"a": "x", "z": "y"}, {}, None, None], dtype=TEXTS)
    others = [pl.Series("a", [1, None, None, 2]), pl.Series("b", [None, None, None, [3]])]
    gathered = gather_attributes(own, others)
    assert gathered is not None
    assert gathered.values.to_list() == [{"a": "1", "z": "y"}, {}, None, {"a": "2", "b": "[3]"}]


def test_columns_of_nothing_but_nulls_make_no_attributes() -> None:
    assert gather_attributes(None, [pl.Series("a", [None, None], dtype=pl.String)]) is None


@given(st.lists(st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3), max_size=5))
def test_json_of_any_map_of_texts_is_that_map(maps: list[dict[str, str] | None]) -> None:
    texts = [None if each is None else json.dumps(each) for each in maps]
    values, faults = to_map(pl.Series("attributes", texts, dtype=pl.String))
    assert values.to_list() == maps
    assert not faults
