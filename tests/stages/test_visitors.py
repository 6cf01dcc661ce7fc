"""Whose event it is: DESIGN 2, visitor."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.errors import UnknownNameError
from m2cli.events import REJECT_SCHEMA
from m2cli.stages.visitors import VISITOR_KINDS, VisitorRule, assign_visitors
from tests.twins import stages_twin

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = VisitorRule()


def visitors(*rows: dict[str, str | None], rule: VisitorRule = DEFAULT) -> list[str]:
    """The visitors of events that all have one."""
    events = pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String))
    identified = assign_visitors(events, rule)
    assert identified.rejects.is_empty()
    return identified.events["visitor_id"].to_list()


def test_an_id_of_the_input_comes_first_then_the_session_then_what_is_derived() -> None:
    rows = [
        {"visitor_id": "ann", "session_id": "s", "ip": "192.0.2.1"},
        {"visitor_id": None, "session_id": "s", "ip": "192.0.2.1"},
        {"visitor_id": None, "session_id": None, "ip": "192.0.2.1"},
    ]
    given_id, session, derived = visitors(*rows)
    assert (given_id, session) == ("ann", "s")
    assert re.fullmatch("[0-9a-f]{32}", derived)


def test_an_empty_text_identifies_nobody() -> None:
    assert visitors({"visitor_id": "", "session_id": "s"}) == ["s"]
    assert assign_visitors(pl.DataFrame({"visitor_id": [""], "ip": [""]}), DEFAULT).rejects.height == 1


def test_the_derived_visitor_is_the_same_in_every_version() -> None:
    # Visit ids are digests of it: if this test fails, every visit of every lake gets another id.
    rows = [{"ip": "192.0.2.1", "user_agent": "Mozilla/5.0"}, {"ip": "192.0.2.1", "user_agent": None}]
    assert visitors(*rows) == ["992f3da6867acb1cd49854e43c861dd0", "6d6811275e054bc4f69acf4cf1a155db"]


def test_a_frame_without_user_agents_derives_the_visitors_of_null_user_agents() -> None:
    assert visitors({"ip": "192.0.2.1"}) == visitors({"ip": "192.0.2.1", "user_agent": None})


def test_a_null_user_agent_is_a_value_of_its_own() -> None:
    agents = [None, "", "-", "+", "null", "None"]
    assert len(set(visitors(*({"ip": "192.0.2.1", "user_agent": agent} for agent in agents)))) == len(agents)


def test_no_two_pairs_share_a_visitor_because_their_texts_join_alike() -> None:
    pairs = [
        ("1", "2x"),
        ("12", "x"),
        ("1+2", "x"),
        ("1", "+2x"),
        ("1:2", "x"),
        ("2:1", "x"),
        ("1+", "2x"),
        ("1", "-"),
    ]
    assert len(set(visitors(*({"ip": ip, "user_agent": agent} for ip, agent in pairs)))) == len(pairs)


def test_by_ip_the_address_is_the_visitor_whatever_else_is_there() -> None:
    row = {"visitor_id": "ann", "session_id": "s", "ip": "192.0.2.1", "user_agent": "x"}
    assert visitors(row, rule=VisitorRule(by="ip")) == ["192.0.2.1"]


def test_by_session_the_cookie_is_the_visitor_and_nothing_is_derived() -> None:
    events = pl.DataFrame({"visitor_id": ["ann", "bob"], "session_id": ["s", None], "ip": ["192.0.2.1"] * 2})
    identified = assign_visitors(events, VisitorRule(by="session"))
    assert identified.events["visitor_id"].to_list() == ["s"]
    assert identified.rejects.height == 1


def test_events_that_nothing_identifies_become_rejects_with_all_that_is_known() -> None:
    arrival = datetime(2026, 11, 22, tzinfo=UTC)
    events = pl.DataFrame(
        {
            "user_agent": ["Mozilla/5.0", "Mozilla/5.0"],
            "ip": ["192.0.2.1", None],
            "source": ["access", "access"],
            "part_id": ["p", "p"],
            "position_in_source": [0, 120],
            "arrival_time": [arrival, arrival],
        },
        schema_overrides={"arrival_time": REJECT_SCHEMA["arrival_time"]},
    )
    identified = assign_visitors(events, DEFAULT)
    assert identified.events.height == 1
    assert identified.rejects.schema == REJECT_SCHEMA
    reject = identified.rejects.row(0, named=True)
    assert json.loads(reject.pop("raw"))["user_agent"] == "Mozilla/5.0"
    assert reject == {
        "source": "access",
        "part_id": "p",
        "file": "access",
        "line_number": None,
        "position_in_source": 120,
        "reason": "no visitor",
        "arrival_time": arrival,
    }


def test_a_reject_keeps_the_file_that_its_event_names() -> None:
    events = pl.DataFrame(
        {"source": ["access"], "file": ["access.1"], "ip": [None]}, schema_overrides={"ip": pl.String}
    )
    assert assign_visitors(events, DEFAULT).rejects["file"].to_list() == ["access.1"]


def test_a_reject_without_a_source_has_no_file_and_none_has_a_line_number_that_its_event_lacks() -> None:
    (reject,) = assign_visitors(pl.DataFrame({"ip": [""]}), DEFAULT).rejects.to_dicts()
    assert (reject["file"], reject["line_number"]) == (None, None)


@pytest.mark.parametrize("rule", [VisitorRule(by=kind) for kind in VISITOR_KINDS], ids=list(VISITOR_KINDS))
def test_a_frame_without_any_column_to_go_by_is_all_rejects(rule: VisitorRule) -> None:
    identified = assign_visitors(pl.DataFrame({"user_agent": ["a", "b"]}), rule)
    assert identified.events.is_empty()
    assert identified.rejects["reason"].to_list() == ["no visitor"] * 2


def test_an_empty_frame_gives_empty_frames_of_the_same_columns() -> None:
    identified = assign_visitors(pl.DataFrame(schema={"ip": pl.String, "user_agent": pl.String}), DEFAULT)
    assert identified.events.schema == {"ip": pl.String, "user_agent": pl.String, "visitor_id": pl.String}
    assert identified.rejects.schema == REJECT_SCHEMA


def test_an_unknown_kind_of_visitor_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `session`"):
        VisitorRule(by="sesion")


@pytest.mark.parametrize(("by", "count"), [("ip", 1753), ("default", 1861)])
def test_the_visitors_of_a_real_log_are_as_many_as_its_addresses_and_pairs(
    shared_data: Path, by: str, count: int
) -> None:
    good_line = re.compile(r'(\S+) .*"((?:[^"\\]|\\.)*)"')
    log = (shared_data / "apache-combined-10k" / "apache_logs").read_text("latin-1").splitlines()
    pairs = [found.groups() for line in log if (found := good_line.fullmatch(line))]
    events = pl.DataFrame(pairs, schema=["ip", "user_agent"], orient="row")
    events = events.with_columns(pl.col("user_agent").replace("-", None))
    assert assign_visitors(events, VisitorRule(by=by)).events["visitor_id"].n_unique() == count


values = st.sampled_from([None, "", "a", "b", "ab"])
rows = st.fixed_dictionaries({}, optional=dict.fromkeys(("visitor_id", "session_id", "ip", "user_agent"), values))


@given(st.lists(rows, min_size=1, max_size=12), st.sampled_from(list(VISITOR_KINDS)))
def test_the_twin_tells_the_same_visitors_apart(drawn: list[dict[str, str | None]], by: str) -> None:
    columns = sorted(set().union(*drawn)) or ["url"]
    events = pl.DataFrame(
        [{name: row.get(name) for name in columns} for row in drawn], schema=dict.fromkeys(columns, pl.String)
    )
    events = events.with_row_index("row")
    expected = {row: stages_twin.visitor_of(event, by) for row, event in enumerate(events.to_dicts())}
    identified = assign_visitors(events, VisitorRule(by=by))
    found = dict(identified.events.select("row", "visitor_id").rows())
    assert identified.events.drop("visitor_id").equals(
        events.filter(pl.col("row").is_in([row for row, key in expected.items() if key])).select(
            name for name in events.columns if name != "visitor_id"
        )
    )
    assert identified.rejects.height == events.height - len(found)
    assert all((found[a] == found[b]) == (expected[a] == expected[b]) for a in found for b in found)
