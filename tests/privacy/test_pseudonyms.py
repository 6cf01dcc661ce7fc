"""Pseudonyms: equal in, equal out within the year; nothing else of a person, and nothing that no rule names."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import UnknownNameError, UsageError
from m2cli.events import LAKE_EVENT_SCHEMA, TEXTS, TIME, VISIT_SCHEMA
from m2cli.privacy.errors import MissingSaltError
from m2cli.privacy.fields import FIELDS, normalize
from m2cli.privacy.pseudonyms import LEFT_OUT, pseudonymize, pseudonymize_visits
from m2cli.privacy.rule import PrivacyRule
from m2cli.privacy.texts import BROWSERS, DEVICES, METHODS
from tests.twins.privacy_twin import pseudonym

if TYPE_CHECKING:
    from m2cli.privacy.salts import FolderSalts

SILVESTER = datetime(2025, 12, 31, 23, 50, tzinfo=UTC)
NEW_YEAR = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
NOTHING = PrivacyRule(
    paths=(),
    parameters=frozenset(),
    entity_types=frozenset(),
    event_types=frozenset(),
    hooks=frozenset(),
    reasons=frozenset(),
)
# `event_id` and `cause_id` are one field, `visit_id` and `continues_visit_id` another.
IDS = {name: field for name, field in FIELDS.items() if name in LAKE_EVENT_SCHEMA}
TEXT_COLUMNS = [name for name, dtype in LAKE_EVENT_SCHEMA.items() if dtype == pl.String]
values = st.one_of(
    st.none(),
    st.sampled_from(["", "-", " anna ", "anna", "192.0.2.7", "::ffff:192.0.2.7", "[2001:DB8::1]:80", "a@b.nl"]),
    st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=12),
)
starts = st.sampled_from([datetime(2023, 6, 1, tzinfo=UTC), SILVESTER, NEW_YEAR])


# What is the same for everybody: known browsers, devices, methods, and codes of countries and currencies.
CLOSED = re.compile("|".join([*map(re.escape, BROWSERS | DEVICES | METHODS | {"page", "search term"}), "[A-Z]{2,3}"]))


def visit(*rows: dict[str, object], **common: object) -> pl.DataFrame:
    filled = [{"event_time": NEW_YEAR, "visit_id": "v", "visitor_id": "p"} | common | row for row in rows]
    schema = {name: dtype for name, dtype in LAKE_EVENT_SCHEMA.items() if any(name in row for row in filled)}
    return pl.DataFrame(filled, schema=schema)


@given(st.lists(st.tuples(starts, *(values for _ in IDS)), min_size=1, max_size=12))
def test_pseudonyms_are_those_of_the_plain_loop(
    salts: FolderSalts, keys: dict[int, bytes], rows: list[tuple[object, ...]]
) -> None:
    frame = pl.DataFrame(rows, schema={"start_time": TIME} | dict.fromkeys(IDS, pl.String), orient="row")
    made = pseudonymize(frame.with_columns(event_time="start_time"), PrivacyRule(), salts)
    for name, field in IDS.items():
        expected = [
            pseudonym(field, value, start, keys) for value, start in zip(frame[name], frame["start_time"], strict=True)
        ]
        assert made[name].to_list() == expected


@given(st.lists(st.tuples(*(values for _ in TEXT_COLUMNS)), min_size=1, max_size=2))
def test_nothing_passes_that_no_rule_names(salts: FolderSalts, rows: list[tuple[str | None, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(TEXT_COLUMNS, pl.String), orient="row").with_columns(
        event_time=pl.lit(NEW_YEAR, TIME),
        attributes=pl.Series(
            [[{"key": "k", "value": "anna"}]], dtype=pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
        )
        .new_from_index(0, len(rows))
        .cast(TEXTS),
    )
    made = pseudonymize(frame, NOTHING, salts)
    passed = {text for name in made.columns if made[name].dtype == pl.String for text in made[name].drop_nulls()}
    pseudonyms = {text for name in IDS if name in made.columns for text in made[name].drop_nulls()}
    assert {text for text in passed - pseudonyms if not CLOSED.fullmatch(text)} == set()
    assert made["attributes"].null_count() == len(rows)


@given(values, st.sampled_from(sorted(set(FIELDS.values()))), st.booleans())
def test_normalizing_twice_is_normalizing_once(value: str | None, field: str, is_caseless: bool) -> None:
    rule = PrivacyRule(caseless=frozenset({"customer", "session", "visitor"} if is_caseless else ()))
    once = normalize(pl.Series([value], dtype=pl.String), field, rule)
    assert normalize(once, field, rule).to_list() == once.to_list()


def test_equal_values_of_different_fields_have_different_pseudonyms(salts: FolderSalts) -> None:
    names = list(IDS)
    made = pseudonymize(visit(dict.fromkeys(names, "192.0.2.7")), PrivacyRule(), salts).select(names)
    assert len({made[name].item() for name in names}) == len(set(IDS.values()))
    assert made["event_id"].item() == made["cause_id"].item()


def test_a_visit_over_new_year_has_one_salt(salts: FolderSalts, keys: dict[int, bytes]) -> None:
    rows = [{"event_time": time, "customer_id": "anna"} for time in (SILVESTER, NEW_YEAR)]
    made = pseudonymize(visit(*rows), PrivacyRule(), salts)
    assert made["customer_id"].to_list() == [pseudonym("customer", "anna", SILVESTER, keys)] * 2


def test_a_visit_that_is_not_whole_is_told_its_start(salts: FolderSalts, keys: dict[int, bytes]) -> None:
    rest = visit({"customer_id": "anna"}).with_columns(start_time=pl.lit(SILVESTER, TIME))
    made = pseudonymize(rest, PrivacyRule(), salts)
    assert made["customer_id"].item() == pseudonym("customer", "anna", SILVESTER, keys)
    assert "start_time" not in made.columns


def test_a_cause_in_another_years_visit_stays_followable(salts: FolderSalts) -> None:
    click = visit({"event_id": "click"}, event_time=SILVESTER, visit_id="before")
    bought = visit({"event_id": "bought", "cause_id": "click"}).with_columns(cause_start_time=pl.lit(SILVESTER, TIME))
    made = [pseudonymize(frame, PrivacyRule(), salts) for frame in (click, bought)]
    assert made[1]["cause_id"].item() == made[0]["event_id"].item()


def test_a_continued_visit_of_another_year_is_named_as_it_is_called_there(salts: FolderSalts) -> None:
    schema = {name: VISIT_SCHEMA[name] for name in ("visit_id", "start_time", "continues_visit_id")}
    rows = [("one", SILVESTER, None, None), ("two", NEW_YEAR + timedelta(hours=12), "one", SILVESTER)]
    visits = pl.DataFrame(rows, schema=schema | {"continues_start_time": TIME}, orient="row")
    made = pseudonymize_visits(visits, PrivacyRule(), salts)
    assert made["continues_visit_id"].to_list() == [None, made["visit_id"][0]]


def test_visits_are_called_what_their_events_call_them(salts: FolderSalts) -> None:
    events = pseudonymize(visit({}), PrivacyRule(), salts)
    row = pl.DataFrame({"visit_id": "v", "visitor_id": "p", "start_time": NEW_YEAR}).cast({"start_time": TIME})
    visits = pseudonymize_visits(row, PrivacyRule(), salts)
    assert events.select("visit_id", "visitor_id").rows() == visits.select("visit_id", "visitor_id").rows()


def test_a_year_without_a_salt_is_refused(salts: FolderSalts) -> None:
    with pytest.raises(MissingSaltError, match="2031"):
        pseudonymize(visit({"event_time": datetime(2031, 1, 1, tzinfo=UTC)}), PrivacyRule(), salts)


@pytest.mark.parametrize(
    "alike",
    [
        ("192.0.2.7", "::ffff:192.0.2.7", "::FFFF:c000:207", "192.0.2.7:443", " 192.0.2.7 "),
        ("2001:db8::1", "2001:DB8:0:0:0:0:0:1", "[2001:db8::1]:443", "[2001:DB8::1]", "2001:db8::1%eth0"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_one_address_in_many_forms_is_one(salts: FolderSalts, alike: tuple[str, ...]) -> None:
    made = pseudonymize(visit(*({"ip": form} for form in alike)), PrivacyRule(), salts)
    assert made["ip"].n_unique() == 1


def test_blanks_around_an_id_make_no_other_and_within_it_do(salts: FolderSalts, keys: dict[int, bytes]) -> None:
    rows = visit(*({"session_id": text} for text in ("s 1", " s 1", "s 1\t", "\u00a0s 1", "s1", "s  1", "  ", "")))
    made = pseudonymize(rows, PrivacyRule(), salts)["session_id"].to_list()
    assert made[:4] == [pseudonym("session", "s 1", NEW_YEAR, keys)] * 4
    assert len({*made}) == 4
    assert made[6:] == [None, None]


def test_ids_differ_in_case_unless_a_rule_says_that_they_do_not(salts: FolderSalts) -> None:
    rows = visit({"customer_id": "Anna@Example.com"}, {"customer_id": "anna@example.com"})
    assert pseudonymize(rows, PrivacyRule(), salts)["customer_id"].n_unique() == 2
    caseless = PrivacyRule(caseless=frozenset({"customer"}))
    assert pseudonymize(rows, caseless, salts)["customer_id"].n_unique() == 1


def test_what_leads_back_to_the_logs_is_left_out(salts: FolderSalts) -> None:
    whole = pl.DataFrame([{"event_time": NEW_YEAR}], schema=LAKE_EVENT_SCHEMA)
    assert set(LAKE_EVENT_SCHEMA) - set(pseudonymize(whole, PrivacyRule(), salts).columns) == LEFT_OUT


def test_columns_that_no_schema_has_do_not_pass(salts: FolderSalts) -> None:
    made = pseudonymize(visit({}).with_columns(loyalty_card=pl.lit("4711")), PrivacyRule(), salts)
    assert "loyalty_card" not in made.columns


def test_a_user_agent_becomes_browser_device_and_robot_by_known_names(salts: FolderSalts) -> None:
    agents = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0",
        "AnnaJansenBot/1.0 (anna@example.com)",
    ]
    made = pseudonymize(visit(*({"user_agent": agent} for agent in agents)), PrivacyRule(), salts)
    assert made.select("browser", "device", "is_robot").rows() == [
        ("Firefox", "desktop", False),
        ("Other", "robot", True),
    ]


def test_ids_of_products_pass_and_search_terms_do_not(salts: FolderSalts) -> None:
    rows = visit(
        {"entity_type": "product", "entity_id": "P1"},
        {"entity_type": "search term", "entity_id": "anna jansen"},
        {"entity_type": "anna", "entity_id": "P1"},
    )
    personal = [
        *("bob@example.com", "bob%40example.com", "192.0.2.7", "2001:db8::1"),
        *("+31 6 12345678", "+31612345678", "%2B31612345678", "+1 (212) 555-0100", "tel:+44-20-7946-0958"),
        *("0031612345678", "00 31 6 1234 5678", "00491711234567"),
    ]
    things = ["P1.2:3", "0000000000017", "0012345", "00614141000036", "12345678901234", "A+31612345678", "06-12"]
    products = pl.DataFrame({"entity_id": [*things, *personal]}).with_columns(
        entity_type=pl.lit("product"), event_time=pl.lit(rows["event_time"][0])
    )
    assert pseudonymize(products, PrivacyRule(), salts)["entity_id"].to_list() == [
        *things,
        *[None] * len(personal),
    ]
    made = pseudonymize(rows, PrivacyRule(), salts).select("entity_type", "entity_id").rows()
    assert made == [("product", "P1"), ("search term", None), ("other", None)]
    named = PrivacyRule().allowing(entity_types=["search term"])
    assert pseudonymize(rows, named, salts)["entity_id"].to_list() == ["P1", "anna jansen", None]


def test_attributes_pass_by_name(salts: FolderSalts) -> None:
    maps = [{"colour": "red", "email": "a@b.nl"}, {"Colour": "red"}, None]
    rows = visit(*({"n": n} for n in range(3))).with_columns(attributes=pl.Series(maps, dtype=TEXTS))
    made = pseudonymize(rows, PrivacyRule(attributes=frozenset({"colour"})), salts)
    assert made["attributes"].cast(pl.List(pl.Struct({"key": pl.String, "value": pl.String}))).to_list() == [
        [{"key": "colour", "value": "red"}],
        None,
        None,
    ]


def test_currencies_of_a_visit_are_currencies(salts: FolderSalts) -> None:
    dtype = VISIT_SCHEMA["revenue_by_currency"]
    sums = pl.Series([[{"key": "EUR", "value": 5}, {"key": "anna@b.nl", "value": 7}]]).cast(
        pl.List(pl.Struct({"key": pl.String, "value": pl.Decimal(38, 4)}))
    )
    visits = pl.DataFrame({"start_time": [NEW_YEAR]}, schema={"start_time": TIME}).with_columns(
        revenue_by_currency=sums.cast(dtype)
    )
    made = pseudonymize_visits(visits, PrivacyRule(), salts)["revenue_by_currency"]
    assert made.dtype == dtype
    assert [entry["key"] for entry in made.cast(sums.dtype).item()] == ["EUR"]


@pytest.mark.parametrize("path", ["product", "/a//b", "/a/{1}", "/**/a", "/a?b", "/a%20b", "/{id}x"])
def test_what_is_no_pattern_of_paths_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="pattern of paths"):
        PrivacyRule(paths=(path,))


def test_a_field_without_case_is_refused() -> None:
    with pytest.raises(UnknownNameError):
        PrivacyRule(caseless=frozenset({"address"}))
