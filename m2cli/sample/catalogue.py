"""The shop: its pages, products, searches and banners, what each costs, and where visitors come from."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import NamedTuple

import polars as pl

from m2cli.events import MONEY
from m2cli.sample.draws import make_key, mix

SITE = "https://shop.example"
CURRENCIES = ("EUR", "GBP")
MOST_OF_ONE = 3  # the largest quantity on an order line

_GOODS = ("chair", "table", "lamp", "shelf", "rug", "mirror", "bench", "clock", "vase", "desk")
_STYLES = ("garden", "oak", "wool", "steel", "vintage", "kids", "outdoor", "folding", "nordic", "brass")
_PRODUCT_COUNT = 4_000
_PRICE_KEY = make_key(0, "price")  # prices are the same with every seed
_POUNDS_FOR_A_EURO = Decimal("0.8673")


class Kind(NamedTuple):
    """A kind of thing that has an address, or is shown, or both: so many of them in one row of the tables."""

    offset: int
    size: int
    entity_type: str | None


def _things() -> dict[str, tuple[str | None, list[tuple[str | None, str | None]]]]:
    """Per kind: the type of the entity, and of each thing its id and its address."""
    pairs = [(style, good) for style in _STYLES for good in _GOODS]
    return {
        "home": ("page", [("home", "/")]),
        "campaign": (
            "campaign",
            [(f"c{n:02}", f"/?utm_source=newsletter&utm_campaign=c{n:02}") for n in range(24)],
        ),
        "search": (
            "search term",
            [(f"{style} {good}", f"/search?q={style}+{good}") for style, good in pairs],
        ),
        "list": ("list", [(f"{good}/{style}", f"/c/{good}/{style}") for style, good in pairs[::3]]),
        "product": ("product", [_product(n) for n in range(_PRODUCT_COUNT)]),
        "basket": ("page", [("basket", "/basket")]),
        "checkout": ("page", [("checkout", "/checkout")]),
        "thanks": ("page", [("thanks", "/checkout/thanks")]),
        "banner": ("banner", [(f"banner-{n:02}", None) for n in range(30)]),
        "asset": (None, [(None, f"/static/{n:02}.{'js' if n % 2 else 'css'}") for n in range(12)]),
        "api": (None, [(None, "/api/basket")]),
        "engine": (None, [(None, "https://www.google.com/"), (None, "https://www.bing.com/")]),
        "social": (None, [(None, "https://www.facebook.com/"), (None, "https://www.pinterest.com/")]),
        "blog": (None, [(None, f"https://blog{n}.example/posts/{n * 37}") for n in range(8)]),
    }


def _product(number: int) -> tuple[str, str]:
    style, good = _STYLES[number // 7 % 10], _GOODS[number % 10]
    return f"P{number:05}", f"/p/P{number:05}/{style}-{good}"


def _cents(product: int) -> int:
    """The price of a product in euro cents: 4.95 to 399.95, cheap ones more often."""
    drawn = mix(product ^ _PRICE_KEY) >> 32
    return 495 + (drawn * drawn >> 32) * 396 // 2**32 * 100


def _amount(product: int, quantity: int, currency: str) -> Decimal:
    euros = Decimal(_cents(product) * quantity).scaleb(-2)
    return euros if currency == "EUR" else (euros * _POUNDS_FOR_A_EURO).quantize(Decimal("0.0001"))


KINDS: dict[str, Kind] = {}
NAMES: list[str | None] = []
LINKS: list[str | None] = []
for _kind, (_entity_type, _members) in _things().items():
    KINDS[_kind] = Kind(len(NAMES), len(_members), _entity_type)
    NAMES += [name for name, _ in _members]
    LINKS += [link for _, link in _members]


class Tables(NamedTuple):
    """What numbers stand for: gathered by the row of a thing, amounts by `amount_row`."""

    names: pl.Series
    links: pl.Series
    referrers: pl.Series
    amounts: pl.Series


@cache
def make_tables() -> Tables:
    """The catalogue as columns."""
    referrers = [f"{SITE}{link}" if link and link.startswith("/") else link for link in LINKS]
    amounts = [
        _amount(product, quantity, currency)
        for product in range(_PRODUCT_COUNT)
        for quantity in range(1, MOST_OF_ONE + 1)
        for currency in CURRENCIES
    ]
    return Tables(
        pl.Series("entity_id", NAMES, pl.String),
        pl.Series("url", LINKS, pl.String),
        pl.Series("referrer", referrers, pl.String),
        pl.Series("amount", amounts, MONEY),
    )


def amount_row(thing: pl.Expr, quantity: pl.Expr, currency: pl.Expr) -> pl.Expr:
    """The row of `Tables.amounts` for an order line; null where there is no currency."""
    number = currency.replace_strict(CURRENCIES, range(len(CURRENCIES)), default=None, return_dtype=pl.Int64)
    line = (thing - KINDS["product"].offset) * MOST_OF_ONE + quantity - 1
    return line * len(CURRENCIES) + number
