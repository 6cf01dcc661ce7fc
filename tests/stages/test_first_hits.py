"""First hits go to the session that follows from the same address and user agent, soon enough; others stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from m2cli.runs.intake import IntakeRule
from m2cli.runs.sessionize import SessionizeRule, sessionize
from m2cli.stages.first_hits import join_first_hits, merge_sessions, split_first_hits
from m2cli.stages.visitors import VisitorRule, assign_visitors, derive_visitors

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
REACH = timedelta(minutes=30)
Row = tuple[int, str, str, str | None]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 90), st.sampled_from(("a", "b")), st.sampled_from(("X", "Y")), st.sampled_from((None, "s", "t"))
    ),
    max_size=12,
)


def make_events(rows: list[Row]) -> pl.DataFrame:
    schema = {"event_time": pl.Datetime("us", "UTC"), "ip": pl.String, "user_agent": pl.String, "session_id": pl.String}
    return pl.DataFrame(
        [(START + timedelta(minutes=minute), *rest) for minute, *rest in rows], schema=schema, orient="row"
    )


def join_all(rows: list[Row]) -> list[str]:
    """The visitor of each row, by the stages."""
    named = assign_visitors(make_events(rows), VisitorRule()).events.with_row_index("nth")
    parted = split_first_hits(named)
    joined = join_first_hits(parted.without_cookie, merge_sessions([parted.sessions]), REACH)
    return pl.concat([parted.others, joined.events]).sort("nth")["visitor_id"].to_list()


def loop(rows: list[Row]) -> list[str]:
    """The same, row by row."""
    starts: dict[tuple[str, str, str], int] = {}
    for minute, ip, agent, session in rows:
        if session:
            starts[ip, agent, session] = min(minute, starts.get((ip, agent, session), minute))
    found = []
    for minute, ip, agent, session in rows:
        own = derive_visitors(pl.Series([ip]), pl.Series([agent])).item()
        later = sorted(
            (start, each)
            for (other_ip, other_agent, each), start in starts.items()
            if (other_ip, other_agent) == (ip, agent) and minute <= start <= minute + 30
        )
        found.append(session or (later[0][1] if later else own))
    return found


@given(ROWS)
def test_an_event_without_a_cookie_goes_to_the_next_session_from_there(rows: list[Row]) -> None:
    assert join_all(rows) == loop(rows)


def test_without_addresses_or_cookies_nothing_is_a_first_hit() -> None:
    events = pl.DataFrame({"event_time": [START], "visitor_id": ["v"]})
    parted = split_first_hits(events)
    assert (parted.others.height, parted.without_cookie.height, parted.sessions.height) == (1, 0, 0)


def test_a_first_hit_is_of_the_visit_that_follows_and_counted(tmp_path: Path) -> None:
    make_events([(0, "a", "X", None), (1, "a", "X", "s"), (2, "a", "X", "s"), (0, "b", "X", None)]).write_parquet(
        tmp_path / "events.parquet"
    )
    for joins, visits in ((False, 3), (True, 2)):
        rule = SessionizeRule(intake=IntakeRule(), joins_first_hits=joins)
        lake = tmp_path / f"lake-{joins}"
        facts = sessionize([str(tmp_path / "events.parquet")], lake, rule, now=START)
        assert (facts.visit_count, facts.first_hit_count) == (visits, int(joins))
        assert facts.event_count == 4
