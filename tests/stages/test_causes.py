"""Causes from referrers, DESIGN 6.4."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.stages.causes import CauseRule, derive_causes
from tests.twins import stages_twin

RULE = CauseRule()
SHOP = "https://shop.example"
COLUMNS = ("visit_id", "event_type", "url", "referrer", "event_id", "cause_id", "reason")
SCHEMA = dict.fromkeys(COLUMNS, pl.String)


def visit(*pages: tuple[str, str | None]) -> pl.DataFrame:
    """One visit of pages (url, referrer), whose ids are their numbers from 1."""
    rows = [("v", "page", url, referrer, str(number), None, None) for number, (url, referrer) in enumerate(pages, 1)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def causes(events: pl.DataFrame, rule: CauseRule = RULE) -> list[tuple[str | None, str | None]]:
    return derive_causes(events, rule).select("cause_id", "reason").rows()


CAUSED = {
    "the page before": visit(("/a", None), ("/b", f"{SHOP}/a")),
    "with its query": visit(("/a?x=1", None), ("/b", f"{SHOP}/a?x=1")),
    "without the fragment": visit(("/a", None), ("/b", f"{SHOP}/a#top")),
    "the root without its slash": visit(("/", None), ("/b", SHOP)),
    "a query at the root": visit(("/?q=1", None), ("/b", f"{SHOP}?q=1")),
    "host in upper case and port": visit((f"{SHOP}/a", None), ("/b", "HTTPS://SHOP.example:443/a")),
    "a referrer that is a path": visit(("/a", None), ("/b", "/a")),
    "a URL with a host": visit((f"{SHOP}/a", None), (f"{SHOP}/b", f"{SHOP}/a")),
    "a URL in the query": visit(("/a?u=https://x.example/", None), ("/b", f"{SHOP}/a?u=https://x.example/")),
    "not ASCII": visit(("/schön?q=ß", None), ("/b", f"{SHOP}/schön?q=ß")),
    "two slashes": visit(("//a", None), ("/b", f"{SHOP}//a")),
    "redacted userinfo": visit(("/a", None), ("/b", "https://[redacted]@shop.example/a")),
}


@pytest.mark.parametrize("events", CAUSED.values(), ids=CAUSED)
def test_the_cause_of_a_page_is_the_page_that_its_referrer_names(events: pl.DataFrame) -> None:
    assert causes(events) == [(None, "direct"), ("1", None)]


UNCAUSED = {
    "another query": visit(("/a?x=1", None), ("/b", f"{SHOP}/a")),
    "another case of the path": visit(("/A", None), ("/b", f"{SHOP}/a")),
    "another host, where the page has one": visit((f"{SHOP}/a", None), ("/b", "https://other.example/a")),
    "a page that was not visited": visit(("/a", None), ("/b", f"{SHOP}/c")),
}


@pytest.mark.parametrize("events", UNCAUSED.values(), ids=UNCAUSED)
def test_a_referrer_that_is_no_page_of_the_visit_makes_a_root_reached_by_a_link(events: pl.DataFrame) -> None:
    assert causes(events)[1] == (None, "link")


def test_the_latest_of_several_earlier_pages_is_the_cause() -> None:
    events = visit(("/a", None), ("/b", f"{SHOP}/a"), ("/a", f"{SHOP}/b"), ("/c", f"{SHOP}/b"), ("/d", f"{SHOP}/a"))
    assert [cause for cause, _ in causes(events)] == [None, "1", "2", "2", "3"]


def test_a_page_is_not_its_own_cause_but_an_earlier_showing_of_it_is() -> None:
    assert causes(visit(("/a", f"{SHOP}/a"), ("/a", f"{SHOP}/a"))) == [(None, "link"), ("1", None)]


def test_a_later_page_is_no_cause() -> None:
    assert causes(visit(("/b", f"{SHOP}/a"), ("/a", None)))[0] == (None, "link")


def test_a_page_of_another_visit_is_no_cause() -> None:
    events = visit(("/a", None), ("/b", f"{SHOP}/a")).with_columns(visit_id=pl.Series(["v", "w"]))
    assert causes(events) == [(None, "direct"), (None, "link")]


def test_each_visit_has_causes_of_its_own() -> None:
    events = visit(("/a", None), ("/b", f"{SHOP}/a"), ("/a", None), ("/c", None), ("/b", f"{SHOP}/a"))
    events = events.with_columns(visit_id=pl.Series(["v", "v", "w", "w", "w"]))
    assert [cause for cause, _ in causes(events)] == [None, "1", None, None, "3"]


def test_the_latest_is_the_cause_whether_its_url_has_a_host_or_not() -> None:
    path, whole = ("/a", None), (f"{SHOP}/a", None)
    assert causes(visit(path, whole, ("/b", f"{SHOP}/a")))[2] == ("2", None)
    assert causes(visit(whole, path, ("/b", f"{SHOP}/a")))[2] == ("2", None)
    assert causes(visit(whole, path, ("/c", None), ("/b", f"{SHOP}/a")))[3] == ("2", None)


def test_requests_are_no_causes_and_have_none() -> None:
    events = visit(("/a", None), ("/b", f"{SHOP}/a"), ("/c", f"{SHOP}/a"))
    events = events.with_columns(event_type=pl.Series(["request", "request", "page"]))
    assert causes(events) == [(None, None), (None, None), (None, "link")]


def test_what_the_input_says_stays() -> None:
    events = visit(("/a", None), ("/b", f"{SHOP}/a"), ("/c", f"{SHOP}/b"), ("/d", f"{SHOP}/c"))
    events = events.with_columns(
        cause_id=pl.Series([None, "elsewhere", None, None], dtype=pl.String),
        reason=pl.Series(["mail", None, None, "recommendation"], dtype=pl.String),
    )
    expected = [(None, "mail"), ("elsewhere", None), ("2", None), ("3", "recommendation")]
    assert causes(events) == expected


REASONS = {
    "Google": ("https://www.google.com/", "search"),
    "Google of another country": ("https://www.google.co.uk/url?q=x", "search"),
    "Google's app": ("android-app://com.google.android.googlequicksearchbox/", "search"),
    "Bing": ("https://www.bing.com/search?q=x", "search"),
    "DuckDuckGo": ("https://duckduckgo.com/", "search"),
    "Baidu": ("https://m.baidu.com/s?wd=x", "search"),
    "Yandex": ("https://yandex.ru/search/?text=x", "search"),
    "Yahoo's search": ("https://r.search.yahoo.com/x", "search"),
    "Ecosia": ("https://www.ecosia.org/search?q=x", "search"),
    "Facebook": ("https://l.facebook.com/l.php?u=x", "social"),
    "Twitter": ("https://t.co/abc", "social"),
    "X": ("https://x.com/", "social"),
    "LinkedIn": ("https://www.linkedin.com/feed/", "social"),
    "Pinterest of another country": ("https://www.pinterest.co.uk/", "social"),
    "Reddit": ("https://old.reddit.com/r/x", "social"),
    "Instagram's app": ("android-app://com.instagram.android/", "social"),
    "mail at Google": ("https://mail.google.com/mail/u/0/", "link"),
    "a host that ends like a social network": ("https://notfacebook.com/", "link"),
    "a host that begins like a search engine": ("https://google.example.com/", "link"),
    "any other site": ("https://blog.example/post", "link"),
    "no referrer": (None, "direct"),
    "an empty referrer": ("", "direct"),
    "a dash": ("-", "direct"),
    "a blank page": ("about:blank", "direct"),
    "a file": ("file:///home/ann/shop.html", "direct"),
    "no URL": ("shop", "direct"),
}


@pytest.mark.parametrize(("referrer", "reason"), REASONS.values(), ids=REASONS)
def test_the_reason_of_a_root_is_where_its_referrer_is_from(referrer: str | None, reason: str) -> None:
    assert causes(visit(("/", referrer))) == [(None, reason)]


@pytest.mark.parametrize("query", ["utm_source=mail", "a=1&gclid=x", "fbclid=x#top", "UTM_Campaign=y", "a=1;msclkid=1"])
@pytest.mark.parametrize("referrer", [None, "https://www.google.com/", "https://blog.example/"])
def test_a_campaign_in_the_url_comes_before_the_referrer(query: str, referrer: str | None) -> None:
    assert causes(visit((f"/a?{query}", referrer))) == [(None, "campaign")]


@pytest.mark.parametrize("url", ["/gclid=1", "/a?utm_source=", "/a?q=gclid", "/a?xgclid=1"])
def test_a_url_without_a_campaigns_parameter_is_no_campaign(url: str) -> None:
    assert causes(visit((url, None))) == [(None, "direct")]


def test_a_page_of_a_campaign_that_was_reached_from_the_shop_has_a_cause() -> None:
    assert causes(visit(("/a", None), ("/b?utm_source=banner", f"{SHOP}/a")))[1] == ("1", None)


def test_a_search_engine_with_the_path_of_an_earlier_page_is_no_cause() -> None:
    assert causes(visit(("/", None), ("/b", "https://www.google.com/")))[1] == (None, "search")


def test_with_own_hosts_only_their_referrers_can_be_causes() -> None:
    pages = (
        ("/", None),
        ("/a", "https://blog.example/"),
        ("/b", "https://www.shop.example/"),
        ("/c", SHOP + "/x"),
    )
    rule = CauseRule(own_hosts=frozenset({"Shop.Example"}))
    assert causes(visit(*pages)) == [(None, "direct"), ("1", None), ("1", None), (None, "link")]
    assert causes(visit(*pages), rule) == [(None, "direct"), (None, "link"), ("1", None), (None, "link")]


def test_an_own_host_may_be_a_search_engine() -> None:
    rule = CauseRule(own_hosts=frozenset({"google.com"}))
    assert causes(visit(("/", None), ("/b", "https://www.google.com/")), rule)[1] == ("1", None)


def test_a_host_that_ends_like_an_own_host_is_another() -> None:
    rule = CauseRule(own_hosts=frozenset({"shop.example"}))
    assert causes(visit(("/", None), ("/b", "https://myshop.example/")), rule)[1] == (None, "link")


@pytest.mark.parametrize("absent", ["visit_id", "event_type", "url", "referrer", "event_id"])
def test_without_a_needed_column_nothing_is_derived(absent: str) -> None:
    events = visit(("/a", None)).drop(absent, "cause_id", "reason")
    assert derive_causes(events, RULE).equals(events)


def test_cause_and_reason_are_added_where_the_input_has_none() -> None:
    events = visit(("/a", None)).drop("cause_id", "reason")
    assert derive_causes(events, RULE).columns == [*events.columns, "cause_id", "reason"]
    assert derive_causes(events.clear(), RULE).schema == derive_causes(events, RULE).schema


HOSTS = {"www.google.com": "search", "t.co": "social"}
urls = st.sampled_from(
    ["/", "/a", "/a", "/a?x=1", "/b?utm_source=m", "https://s.example/a", "https://s.example/", None]
)
shop_referrers = st.sampled_from(["/a", "https://s.example", "https://s.example/a", "https://s.example/a#x"])
referrers = shop_referrers | st.builds(
    "{}{}".format,
    st.sampled_from(["http://www.s.example", "https://o.example:8080", "https://www.google.com", "http://t.co", "-"]),
    st.sampled_from(["", "/", "/a", "/a?x=1", "/b?utm_source=m", "?x=1"]),
)
rows = st.tuples(
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from(["page", "page", "page", "request", None]),
    urls,
    referrers | st.none(),
    st.sampled_from([None, None, None, "given"]),
    st.sampled_from([None, None, None, "said"]),
)


@given(st.lists(rows, max_size=12), st.sampled_from([frozenset(), frozenset({"s.example"})]))
def test_the_twin_says_the_same(drawn: list[tuple[int, str, str, str, str, str]], own_hosts: frozenset[str]) -> None:
    visits, number = [], 0
    for index, (step, event_type, url, referrer, cause, reason) in enumerate(drawn):
        number += step
        visits.append((f"v{number}", event_type, url, referrer, f"e{index}", cause, reason))
    events = pl.DataFrame(visits, schema=SCHEMA, orient="row")
    derived = derive_causes(events, CauseRule(own_hosts=own_hosts))
    assert derived.select("cause_id", "reason").rows() == stages_twin.derive_causes(events.to_dicts(), own_hosts, HOSTS)
    assert derived.drop("cause_id", "reason").equals(events.drop("cause_id", "reason"))
