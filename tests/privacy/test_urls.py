"""URLs by allow-list, however they are written."""

from __future__ import annotations

import re
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.privacy.rule import PrivacyRule
from m2cli.privacy.urls import clean_referrers, clean_urls

RULE = PrivacyRule(
    paths=("/", "/product/{id}", "/c/{kind}/{style}", "/account/*", "/account/orders/*", "/static/**"),
    parameters=frozenset({"utm_source", "page"}),
    own_hosts=frozenset({"shop.example"}),
)
URLS = {
    "/": "/",
    "/product/P1": "/product/P1",
    "/product/P1/": "/product/P1",
    "/PRODUCT/P1": "/product/P1",
    "/pro%64uct/P1": "/product/P1",
    "/product/P1#anna": "/product/P1",
    "/product/P1%23anna": None,
    "/product/P1;jsessionid=5": "/product/P1",
    "/product/P1%3Bjsessionid=5": "/product/P1",
    "/product/anna%40example.com": None,
    "/product/anna%2540example.com": None,
    "/product/anna%252525252540example.com": None,
    "/product/192.0.2.7": None,
    "/product/0031612345678": None,
    "/product/%30031612345678": None,
    "/?page=0031612345678": None,
    "/product/00614141000036": "/product/00614141000036",
    f"/product/{'P' * 64}": f"/product/{'P' * 64}",
    f"/product/{'P' * 65}": None,
    f"/c/{'a' * 65}/b": None,
    f"/static/{'a' * 65}": "/static/**",
    "/product/P1/extra": None,
    "/product": None,
    "/products/P1": None,
    "/product/a%2Fb": None,
    "/account/anna@example.com": "/account/*",
    "/account/orders/4711": "/account/orders/*",
    "/static/anna/a.css": "/static/**",
    "/anna": None,
    "anna": None,
    "-": None,
    "": None,
    "/?page=2": "/?page=2",
    "/?Page=2&UTM_SOURCE=News": "/?page=2&utm_source=News",
    "/?p%61ge=2": "/?page=2",
    "/?page=2;utm_source=x": "/?page=2&utm_source=x",
    "/?q=anna&page=2": "/?page=2",
    "/?page=anna%40example.com": "/",
    "/?page=anna%2540example.com": "/",
    "/?page=anna@example.com&utm_source=x": "/?utm_source=x",
    "/?page=192.0.2.7": None,
    f"/?page={'2' * 64}": f"/?page={'2' * 64}",
    f"/?page={'2' * 65}&utm_source=x": "/?utm_source=x",
    "/?utm_\u017fource=x": "/?utm_source=x",
    "/?xpage=2": "/",
    "/?page=two%20words": "/?page=two+words",
    "?page=2": "/?page=2",
    "/#page=2": "/",
    "https://shop.example/product/P1": "https://shop.example/product/P1",
    "HTTPS://WWW.Shop.Example:443/product/P1": "https://www.shop.example/product/P1",
    "https://anna:tulip@shop.example/product/P1": "https://shop.example/product/P1",
    "https://notshop.example/product/P1": "/product/P1",
    "https://anna.example/anna": None,
    "//evil.example/product/P1": None,
    "https%3A%2F%2Fshop.example%2Fproduct%2FP1": None,
    "/product/P1\nanna": None,
}
REFERRERS = {
    "https://www.google.com/search?q=anna": "https://www.google.com",
    "https://WWW.Google.com": "https://www.google.com",
    "https://anna:tulip@mail.example/inbox": "https://mail.example",
    "https://anna%40example.com@mail.example/inbox": "https://mail.example",
    "https://mail.example?user=anna": "https://mail.example",
    "https://mail.example#anna": "https://mail.example",
    "https://192.0.2.7/": None,
    "https://[2001:db8::1]/": None,
    "https://3232235777/": None,
    "https://a%6Ena.example/": None,
    "https://anna/": None,
    "https://shop.example/product/P1?page=2&q=anna": "https://shop.example/product/P1?page=2",
    "https://shop.example/anna": "https://shop.example",
    "https://shop.example/": "https://shop.example/",
    "/product/P1": "/product/P1",
    "android-app://com.google.android.gm/": "android-app://com.google.android.gm",
    "about:blank": None,
    "file:///home/anna/list.html": None,
    "-": None,
}


@pytest.mark.parametrize("url", URLS)
def test_of_a_url_passes_what_the_rule_names(url: str) -> None:
    assert clean_urls(pl.Series([url]), RULE).to_list() == [URLS[url]]


@pytest.mark.parametrize("referrer", REFERRERS)
def test_of_a_referrer_the_host_passes(referrer: str) -> None:
    assert clean_referrers(pl.Series([referrer]), RULE).to_list() == [REFERRERS[referrer]]


def test_all_at_once_is_one_by_one() -> None:
    for cases, clean in ((URLS, clean_urls), (REFERRERS, clean_referrers)):
        column = pl.Series([*cases, None, *cases])
        assert clean(column, RULE).to_list() == [*cases.values(), None, *cases.values()]


MARK = "anna@jansen"
GRAMMAR = re.compile(
    r"(https?://([a-z0-9-]+\.)+[a-z0-9-]+|android-app://[a-z0-9.-]+)?"
    r"(/|/product/ID|/c/ID/ID|/account/\*|/account/orders/\*|/static/\*\*)?(\?page=ID(&utm_source=ID)?|\?utm_source=ID)?".replace(
        "ID", r"[\w.~+-]{1,64}"
    )
)
pieces = st.lists(
    st.sampled_from(
        [
            "/",
            "product",
            "P1",
            "?",
            "&",
            ";",
            "page",
            "utm_source",
            "=",
            "#",
            "%",
            "@",
            "25",
            "40",
            MARK,
            "https://",
            "shop.example",
            "x",
            "\n",
            "\\",
            ":",
        ]
    ),
    max_size=12,
).map("".join)


@given(st.one_of(pieces, st.text(max_size=20)), st.integers(0, 7))
def test_what_comes_out_is_of_the_rules_making_whatever_goes_in(text: str, times: int) -> None:
    for _ in range(times):
        text = quote(text)
    for clean in (clean_urls, clean_referrers):
        cleaned = clean(pl.Series([text, f"/product/{text}", f"/?page={text}", f"https://{text}"]), RULE)
        for each in cleaned.drop_nulls():
            assert GRAMMAR.fullmatch(each), each
            assert "@" not in each
