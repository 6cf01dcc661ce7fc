"""A trace as a tree: what a person sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from m2cli.events import LAKE_EVENT_SCHEMA
from m2cli.output.text import measure_text
from m2cli.output.tree import render_tree
from m2cli.runs.trace import Trace
from m2cli.runs.trace_reader import SHOWN

START = datetime(2026, 3, 1, 23, 58, tzinfo=UTC)
SCHEMA = {name: LAKE_EVENT_SCHEMA[name] for name in SHOWN}


def event(minute: float, event_type: str, entity: str | None = None, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(SHOWN) | {"event_time": START + timedelta(minutes=minute), "event_type": event_type}
    row |= {"visit_id": "v1", "entity_type": "product" if entity else None, "entity_id": entity}
    return row | more


def trace(*steps: dict[str, Any], competitors: dict[int, list[dict[str, Any]]] | None = None, **more: Any) -> Trace:
    beside = [{"step": step} | row for step, rows in (competitors or {}).items() for row in rows]
    made = Trace(
        steps=pl.DataFrame(steps, schema=SCHEMA),
        competitors=pl.DataFrame(beside, schema={"step": pl.UInt32} | SCHEMA),
        end="root",
        missing_cause_id=None,
        occurrences=(steps[-1]["event_time"],),
    )
    return made._replace(**more)


def show(minute: float, entity: str, position: int, **more: Any) -> dict[str, Any]:
    return event(minute, "show", entity, position=position, reason="recommendation", **more)


def test_the_root_is_at_the_top_and_what_competed_beside_what_was_chosen() -> None:
    lines = render_tree(
        trace(
            event(0, "page", url="/", reason="search"),
            show(0, "shoe", 2),
            event(1, "click", "shoe", hook="product_page"),
            event(3, "purchase", "shoe", quantity=2, amount=Decimal("1079.9000"), currency="EUR", visit_id="v2"),
            competitors={1: [show(0, "hat", 1), show(0, "coat", 3)]},
        )
    )
    assert lines == [
        "2026-03-01 23:58:00  ● page /                       search",
        "           23:58:00  ├─○ show product hat           #1  recommendation",
        "           23:58:00  ├─○ show product coat          #3  recommendation",
        "           23:58:00  └─● show product shoe          #2  recommendation",
        "           23:59:00    └─● click product shoe       product_page",
        "2026-03-02 00:01:00      └─● purchase product shoe  2 pieces  1,079.90 EUR  in another visit",
    ]


def test_of_many_competitors_five_are_shown_and_the_others_counted() -> None:
    many = trace(event(0, "page"), show(0, "x", 9), competitors={1: [show(0, str(n), n) for n in range(17)]})
    lines = render_tree(many)
    assert len(lines) == 1 + 5 + 1 + 1
    assert lines[6].strip() == "├─… and 12 more"
    assert len(render_tree(many, is_whole=True)) == 1 + 17 + 1


def test_one_competitor_more_than_five_is_shown_rather_than_counted() -> None:
    six = trace(event(0, "page"), show(0, "x", 9), competitors={1: [show(0, str(n), n) for n in range(6)]})
    assert len(render_tree(six)) == 1 + 6 + 1


def test_an_orphan_shows_the_cause_that_is_missing() -> None:
    lines = render_tree(trace(event(0, "click", "shoe"), end="orphan", missing_cause_id="e-17"))
    assert [line.strip() for line in lines] == [
        "◌ e-17                  not in the data: an orphan",
        "2026-03-01 23:58:00  └─● click product shoe",
    ]


def test_a_cycle_is_said_to_be_one() -> None:
    lines = render_tree(trace(event(0, "page", cause_id="e-2"), event(1, "page"), end="cycle"))
    assert "◌ e-2" in lines[0]
    assert "a cycle" in lines[0]


def test_an_id_that_was_reused_is_said_to_be() -> None:
    times = (START, START + timedelta(days=1))
    lines = render_tree(trace(event(0, "page"), occurrences=times))
    assert lines[-2:] == [
        "2 events have this id; above is that of 2026-03-01T23:58:00Z",
        "  another: 2026-03-02T23:58:00Z",
    ]


def test_the_middle_of_a_long_path_is_left_out() -> None:
    long = trace(*(event(n, "page", url=f"/{n}") for n in range(1000)))
    lines = render_tree(long)
    assert len(lines) == 31
    assert lines[15].strip() == "└─… 970 steps"
    assert "/14" in lines[14]
    assert "/985" in lines[16]
    assert len(render_tree(long, is_whole=True)) == 1000


def test_nothing_of_the_data_reaches_the_terminal_raw() -> None:
    nasty = "\x1b[2J\u202e\n\x7f"
    lines = render_tree(
        trace(
            event(0, nasty, url=nasty, reason=nasty, hook=nasty),
            event(0, "show", nasty, entity_type=nasty, currency=nasty, amount=Decimal(1)),
            competitors={1: [event(0, "show", nasty)]},
            end="orphan",
            missing_cause_id=nasty,
        )
    )
    assert all(line.isprintable() for line in lines)
    assert any("\\x1b[2J\\u202e\\x0a\\x7f" in line for line in lines)


def test_details_are_aligned_beside_wide_characters() -> None:
    lines = render_tree(
        trace(event(0, "page", url="/日本", reason="one"), event(0, "page", url="/abcdef", reason="two"))
    )
    assert lines[0].index("one") + 2 == lines[1].index("two")


def test_a_long_text_is_cut_unless_all_is_asked() -> None:
    long = trace(event(0, "page", url="/" + "x" * 300))
    assert len(render_tree(long)[0]) < 100
    assert "x" * 300 in render_tree(long, is_whole=True)[0]


def test_times_are_as_fine_as_the_finest_needs() -> None:
    coarse, fine = event(0, "page"), event(0.5 + 1 / 60_000, "page")
    assert "23:58:00.000  ●" in render_tree(trace(coarse, fine))[0]
    assert "23:58:30.001" in render_tree(trace(coarse, fine))[1]


WIDE = trace(
    event(0, "page", url="/日本/" + "x" * 300, reason="search"),
    show(0, "shoe", 2),
    *(event(n, "page", url=f"/é/{n}") for n in range(40)),
    competitors={1: [show(0, str(n), n) for n in range(17)]},
    end="orphan",
    missing_cause_id="● é",
    occurrences=(START, START + timedelta(days=1)),
)


@pytest.mark.parametrize("ascii_only", [False, True], ids=["any characters", "ASCII"])
@pytest.mark.parametrize("is_whole", [False, True], ids=["its gist", "whole"])
@pytest.mark.parametrize("width", [20, 40, 79])
def test_no_line_is_wider_than_the_terminal(width: int, is_whole: bool, ascii_only: bool) -> None:
    uncut = render_tree(WIDE, is_whole=is_whole, ascii_only=ascii_only)
    lines = render_tree(WIDE, is_whole=is_whole, ascii_only=ascii_only, width=width)
    ellipsis = "..." if ascii_only else "…"
    assert len(lines) == len(uncut)
    for line, whole in zip(lines, uncut, strict=True):
        assert measure_text(line) <= width
        assert line == whole if measure_text(whole) <= width else line.endswith(ellipsis)


def test_a_tree_in_ascii_has_marks_of_its_own() -> None:
    lines = render_tree(
        trace(
            event(0, "page", url="/日"),
            show(0, "shoe", 2),
            competitors={1: [show(0, str(n), n) for n in range(8)]},
            end="orphan",
            missing_cause_id="e-17",
        ),
        ascii_only=True,
    )
    assert [line[21:].split("  #")[0].split("  not")[0].rstrip() for line in lines] == [
        "? e-17",
        "+-* page /\\u65e5",
        *(f"  |-o show product {n}" for n in range(5)),
        "  |-... and 3 more",
        "  +-* show product shoe",
    ]


def test_a_tree_in_ascii_is_ascii_and_aligned() -> None:
    lines = render_tree(WIDE, ascii_only=True)
    assert all(line.isascii() for line in lines)
    assert len({line.index("  #") for line in lines if "  #" in line}) == 1
