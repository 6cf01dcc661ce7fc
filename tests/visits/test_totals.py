"""What an end of visit says (DESIGN 4.10), however its events were spread over batches."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from m2cli.events import VISIT_SCHEMA
from m2cli.visits import sessionize
from tests.visits.small import Pipeline, at, events

if TYPE_CHECKING:
    import polars as pl

TIMES = ("9:00", "9:10", "9:20", "9:30", "9:40")


def in_one(frame: pl.DataFrame) -> dict[str, Any]:
    """The end of the one visit, all of it read at once."""
    return sessionize(frame).visits.row(0, named=True)


def in_batches(frame: pl.DataFrame) -> dict[str, Any]:
    """The same, two events a batch: each leaves the other to be tagged with those of the next."""
    pipeline = Pipeline()
    for row in range(0, frame.height, 2):
        pipeline.read(frame[row : row + 2])
    return pipeline.flush().ended.row(0, named=True)


both_ways = pytest.mark.parametrize("end_of", [in_one, in_batches], ids=["in one", "in batches"])


@both_ways
def test_times_and_counts_are_those_of_the_events(end_of: Any) -> None:
    end = end_of(events(*TIMES, event_type=["page", "show", "click", "purchase", "page"]))
    assert (end["start_time"], end["end_time"], end["event_count"]) == (at("9:00"), at("9:40"), 5)
    counts = [end[f"{kind}_count"] for kind in ("page", "show", "click", "purchase")]
    assert counts == [2, 1, 1, 1]


@both_ways
def test_seen_requests_and_unknown_types_are_events_and_nothing_else(end_of: Any) -> None:
    end = end_of(events(*TIMES, event_type=["seen", "request", "enter", "add_to_cart", None]))
    assert end["event_count"] == 5
    assert {end[f"{kind}_count"] for kind in ("page", "show", "click", "purchase")} == {0}


@both_ways
@pytest.mark.parametrize(
    ("types", "urls", "landing", "exit_"),
    [
        ("p p p p p", "/1 /2 /3 /4 /5", "/1", "/5"),
        ("r p p r r", "/1 /2 /3 /4 /5", "/2", "/3"),
        ("r r p r r", "/1 /2 /3 /4 /5", "/3", "/3"),
        ("r r r r r", "/1 /2 /3 /4 /5", None, None),
        ("p p r p p", "- /2 /3 /4 -", None, None),
    ],
    ids=[
        "the first and the last page",
        "a request is neither landing nor exit",
        "one page is both",
        "without pages there is neither",
        "a page without a URL is the first or last page all the same",
    ],
)
def test_landing_and_exit(end_of: Any, types: str, urls: str, landing: str | None, exit_: str | None) -> None:
    kinds = [{"p": "page", "r": "request"}[kind] for kind in types.split()]
    end = end_of(events(*TIMES, event_type=kinds, url=[None if url == "-" else url for url in urls.split()]))
    assert (end["landing_url"], end["exit_url"]) == (landing, exit_)


@both_ways
def test_country_robot_browser_and_device_are_those_of_the_first_event(end_of: Any) -> None:
    frame = events(
        *TIMES[:2],
        country=["NL", "BE"],
        is_robot=[False, True],
        browser=["Firefox", "Edge"],
        device=["mobile", "desktop"],
    )
    end = end_of(frame)
    assert [end[name] for name in ("country", "is_robot", "browser", "device")] == [
        "NL",
        False,
        "Firefox",
        "mobile",
    ]


@both_ways
def test_what_the_first_event_does_not_know_no_later_one_tells(end_of: Any) -> None:
    assert end_of(events(*TIMES[:2], country=[None, "BE"]))["country"] is None


def money(text: str) -> list[Decimal | None]:
    return [None if word == "-" else Decimal(word) for word in text.split()]


@both_ways
@pytest.mark.parametrize(
    ("amounts", "currencies", "expected"),
    [
        ("1 2.5 0.0001", ["EUR"] * 3, (Decimal("3.5001"), "EUR", None)),
        ("1 -1 -", ["EUR"] * 3, (Decimal(0), "EUR", None)),
        ("- - -", ["EUR"] * 3, (None, None, None)),
        ("1 2 4", ["EUR", "USD", "EUR"], (None, None, {"EUR": Decimal(5), "USD": Decimal(2)})),
        ("1 2 -", ["EUR", "EUR", "USD"], (Decimal(3), "EUR", None)),
        ("1 2 4", [None] * 3, (Decimal(7), None, None)),
        ("1 2 4", ["EUR", None, None], (None, None, {"EUR": Decimal(1), "XXX": Decimal(6)})),
    ],
    ids=[
        "the sum of one currency",
        "a sum of nothing is nothing, and not null",
        "without amounts there is no revenue",
        "where currencies mix each has its own sum",
        "a purchase without an amount mixes nothing",
        "a sum without a currency",
        "no currency beside one mixes",
    ],
)
def test_revenue(end_of: Any, amounts: str, currencies: list[str | None], expected: tuple[object, ...]) -> None:
    end = end_of(events(*TIMES[:3], event_type="purchase", amount=money(amounts), currency=currencies))
    assert (end["revenue"], end["currency"], end["revenue_by_currency"]) == expected


@both_ways
def test_only_purchases_bring_revenue(end_of: Any) -> None:
    frame = events(*TIMES[:2], event_type=["purchase", "add_to_cart"], amount=money("1 9"), currency="EUR")
    assert end_of(frame)["revenue"] == Decimal(1)


def test_an_end_of_visit_has_the_columns_of_design_in_their_types() -> None:
    schema = sessionize(events("9:00")).visits.schema
    assert dict(schema) == VISIT_SCHEMA


def test_the_largest_amounts_add_up_without_loss() -> None:
    most = Decimal("99999999999999.9999")
    frame = events(*TIMES, event_type="purchase", amount=[most] * 5, currency="EUR")
    assert in_one(frame)["revenue"] == in_batches(frame)["revenue"] == 5 * most
