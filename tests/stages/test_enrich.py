"""What is added about clients: robots, browsers, devices, and all at once."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import polars as pl
import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler
from hypothesis import given, settings
from hypothesis import strategies as st

from m2cli.stages.browsers import name_browsers
from m2cli.stages.enrich import EnrichRule, add_client, enrich
from m2cli.stages.robots import are_robots, list_patterns, sort_patterns

if TYPE_CHECKING:
    from pathlib import Path

WINDOWS, MAC = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
LINUX, ANDROID = "Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (Linux; Android 13; "
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPAD = "Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
BROWSERS = [
    (f"{WINDOWS} {WEBKIT} Chrome/120.0.0.0 Safari/537.36", "Chrome", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0", "Edge", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/120.0.0.0 Safari/537.36 OPR/106.0.0.0", "Opera", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/51.0.2704.79 Safari/537.36 Edge/14.14393", "Edge", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/118.0.0.0 YaBrowser/23.11.0 Safari/537.36", "Yandex Browser", "desktop"),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0",
        "Firefox",
        "desktop",
    ),
    ("Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "IE", "desktop"),
    (
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Media Center PC 6.0; Tablet PC 2.0)",
        "IE",
        "desktop",
    ),
    ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", "IE", "desktop"),
    ("Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18", "Opera", "desktop"),
    (f"{MAC} {WEBKIT} Chrome/120.0.0.0 Safari/537.36", "Chrome", "desktop"),
    (f"{MAC} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15", "Safari", "desktop"),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0",
        "Firefox",
        "desktop",
    ),
    (f"{LINUX} {WEBKIT} Chrome/120.0.0.0 Safari/537.36", "Chrome", "desktop"),
    (
        f"{LINUX} {WEBKIT} Ubuntu Chromium/80.0.3987.87 Chrome/80.0.3987.87 Safari/537.36",
        "Chromium",
        "desktop",
    ),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0", "Firefox", "desktop"),
    (
        f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/120.0.0.0 Safari/537.36",
        "Chrome",
        "desktop",
    ),
    ("Mozilla/5.0 (X11; Linux x86_64) KHTML/5.0 (like Gecko) Konqueror/5.0", "Konqueror", "desktop"),
    (f"{WINDOWS} {WEBKIT} Chrome/118.0.0.0 Safari/537.36 Vivaldi/6.4", "Vivaldi", "desktop"),
    (f"{IPHONE} Version/17.0 Mobile/15E148 Safari/604.1", "Mobile Safari", "mobile"),
    (f"{IPHONE} CriOS/120.0.6099.50 Mobile/15E148 Safari/604.1", "Chrome Mobile iOS", "mobile"),
    (f"{IPHONE} FxiOS/121.0 Mobile/15E148 Safari/605.1.15", "Firefox iOS", "mobile"),
    (f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/440.0;FBBV/1]", "Facebook", "mobile"),
    (
        f"{IPHONE.replace('iPhone;', 'iPod touch;')} Version/12.0 Mobile/15E148 Safari/604.1",
        "Mobile Safari",
        "mobile",
    ),
    (f"{ANDROID}SM-S918B) {WEBKIT} Chrome/120.0.0.0 Mobile Safari/537.36", "Chrome Mobile", "mobile"),
    (
        f"{ANDROID}SM-S918B) {WEBKIT} SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
        "Samsung Internet",
        "mobile",
    ),
    (f"{ANDROID}CUBOT X18 Plus) {WEBKIT} Chrome/120.0.0.0 Mobile Safari/537.36", "Chrome Mobile", "mobile"),
    (
        f"{ANDROID}Pixel 7) {WEBKIT} Chrome/120.0.0.0 Mobile Safari/537.36 EdgA/120.0.0.0",
        "Edge Mobile",
        "mobile",
    ),
    ("Mozilla/5.0 (Android 13; Mobile; rv:121.0) Gecko/121.0 Firefox/121.0", "Firefox Mobile", "mobile"),
    (
        f"Mozilla/5.0 (Linux; U; Android 4.1.2; fi-fi; GT-I9305) {WEBKIT} Version/4.0 Mobile Safari/534.30",
        "Android",
        "mobile",
    ),
    (
        "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80/37.6334; U; en) Presto/2.12.423 Version/12.16",
        "Opera Mini",
        "mobile",
    ),
    (
        f"Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1) {WEBKIT} Chrome/52 Mobile Safari/537.36 Edge/15.1",
        "Edge Mobile",
        "mobile",
    ),
    (
        "Mozilla/5.0 (BB10; Touch) AppleWebKit/537.10+ (KHTML, like Gecko) Version/10.0.9.2372 Mobile Safari/537.10+",
        "BlackBerry WebKit",
        "mobile",
    ),
    (
        "Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
        "Firefox Mobile",
        "mobile",
    ),
    (f"{IPAD} Version/17.0 Mobile/15E148 Safari/604.1", "Mobile Safari", "tablet"),
    (f"{IPAD} CriOS/120.0.6099.50 Mobile/15E148 Safari/604.1", "Chrome Mobile iOS", "tablet"),
    (f"{ANDROID}SM-X710) {WEBKIT} Chrome/120.0.0.0 Safari/537.36", "Chrome", "tablet"),
    (f"{ANDROID}Lenovo TB-X606F) {WEBKIT} Chrome/120.0.0.0 Safari/537.36", "Chrome", "tablet"),
    ("Mozilla/5.0 (Android 13; Tablet; rv:121.0) Gecko/121.0 Firefox/121.0", "Firefox Mobile", "tablet"),
    (f"{ANDROID}Nexus 7) {WEBKIT} Chrome/120.0.0.0 Safari/537.36", "Chrome", "tablet"),
    ("Roku/DVP-9.10 (519.10E04111A)", "Roku", "other"),
    (
        f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {WEBKIT} SamsungBrowser/2.2 Chrome/63.0 TV Safari/537.36",
        "Samsung Internet",
        "other",
    ),
]
ROBOTS = {
    "empty": "",
    "a dash": "-",
    "blanks": "  ",
    "curl": "curl/8.4.0",
    "Wget": "Wget/1.21",
    "Python": "python-requests/2.31.0",
    "Python itself": "Python/3.11 aiohttp/3.9",
    "Java": "Java/17.0.1",
    "Go": "Go-http-client/1.1",
    "Perl": "libwww-perl/6.67",
    "a load test": "ApacheBench/2.3",
    "a bot that no list knows": "Mozilla/5.0 (compatible; ZzTopBot/1.0)",
    "a bot in lower case": "zztopbot",
    "a crawler that no list knows": "Zz-Web-Crawler 2",
    "a spider that no list knows": "ZzSpider",
    "an address for complaints": "Mozilla/5.0 (compatible; Zz/1.0; +https://zz.example/why)",
    "a browser without a head": f"{LINUX} {WEBKIT} HeadlessChrome/120.0.0.0 Safari/537.36",
}


def client(user_agent: str | None, **columns: str | None) -> dict[str, object]:
    schema = dict.fromkeys(["user_agent", *columns], pl.String)
    events = add_client(pl.DataFrame([{"user_agent": user_agent, **columns}], schema=schema))
    return events.select("is_robot", "browser", "device").row(0, named=True)


@pytest.mark.parametrize(("user_agent", "browser", "device"), BROWSERS, ids=[agent[:150] for agent, _, _ in BROWSERS])
def test_an_ordinary_browser_is_no_robot_and_named(user_agent: str, browser: str, device: str) -> None:
    assert client(user_agent) == {"is_robot": False, "browser": browser, "device": device}


@pytest.mark.parametrize("user_agent", ROBOTS.values(), ids=ROBOTS)
def test_a_robot_is_found_by_its_user_agent(user_agent: str) -> None:
    found = client(user_agent)
    assert (found["is_robot"], found["device"]) == (True, "robot")
    assert found["browser"] is not None


def test_every_user_agent_of_the_list_of_robots_is_found(shared_data: Path) -> None:
    entries = json.loads((shared_data / "crawler-user-agents" / "crawler-user-agents.json").read_text())
    agents = pl.Series([agent for entry in entries for agent in entry["instances"]])
    assert len(agents) == 2116
    assert agents.filter(~are_robots(agents)).to_list() == []


def test_the_patterns_alone_find_what_the_packages_own_function_finds() -> None:
    agents = [agent for entry in CRAWLER_USER_AGENTS_DATA for agent in entry["instances"]][::7]
    agents += [agent for agent, _, _ in BROWSERS]
    listed, texts = list_patterns(), pl.Series(agents)
    found = texts.str.contains_any(listed.literals) | texts.str.contains("|".join(listed.regexes))
    assert found.to_list() == [is_crawler(agent) for agent in agents]


def test_each_pattern_goes_to_an_engine_that_takes_it() -> None:
    found = sort_patterns([r"Googlebot\/", "a.b", "^curl", "Foo Bar", r"(?<!cu)bot\b", r"(x)\1"])
    assert found.literals == ["Googlebot/", "Foo Bar"]
    assert found.regexes == ["a.b", "^curl"]
    assert [regex.pattern for regex in found.backtracking] == [r"(?<!cu)bot\b", r"(x)\1"]


def test_a_pattern_that_only_python_takes_is_tried_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2cli.stages.robots.list_patterns", lambda: sort_patterns([r"(?<!Not)Zz"]))
    agents = pl.Series(["Zz/1", "NotZz/1", None])
    assert are_robots(agents).to_list() == [True, False, None]


NAMELESS = {
    "with an address": ({"ip": "192.0.2.1"}, True),
    "with an address and a session": ({"ip": "192.0.2.1", "session_id": "s"}, None),
    "with an address and a null session": ({"ip": "192.0.2.1", "session_id": None}, True),
    "with a null address": ({"ip": None}, None),
    "with nothing": ({}, None),
}


@pytest.mark.parametrize(("columns", "is_robot"), NAMELESS.values(), ids=NAMELESS)
def test_without_a_user_agent_only_an_address_without_session_is_a_robots(
    columns: dict[str, str | None], is_robot: bool | None
) -> None:
    assert client(None, **columns) == {
        "is_robot": is_robot,
        "browser": None,
        "device": "robot" if is_robot else None,
    }


def test_everything_is_added_by_row_and_the_rest_stays() -> None:
    chrome = BROWSERS[0][0]
    events = pl.DataFrame(
        {
            "event_id": ["a", "b", "c"],
            "ip": ["8.8.8.8", None, "8.8.8.8"],
            "user_agent": [chrome, "curl/8", chrome],
        }
    )
    enriched = enrich(events, EnrichRule())
    assert enriched.drop("country", "is_robot", "browser", "device").equals(events)
    assert enriched["country"].to_list() == ["US", None, "US"]
    assert enriched["is_robot"].to_list() == [False, True, False]
    assert enriched["browser"].to_list() == ["Chrome", "curl", "Chrome"]
    assert enriched["device"].to_list() == ["desktop", "robot", "desktop"]


def test_a_frame_without_address_and_user_agent_is_unchanged() -> None:
    events = pl.DataFrame({"event_id": ["a"]})
    assert enrich(events, EnrichRule()).equals(events)


def test_an_empty_frame_gets_the_columns() -> None:
    enriched = enrich(pl.DataFrame(schema={"ip": pl.String, "user_agent": pl.String}), EnrichRule())
    added = {"country": pl.String, "is_robot": pl.Boolean, "browser": pl.String, "device": pl.String}
    assert enriched.schema == {"ip": pl.String, "user_agent": pl.String, **added}


def test_browsers_are_named_as_ua_parser_names_them(shared_data: Path) -> None:
    from ua_parser import parse_user_agent

    entries = json.loads((shared_data / "crawler-user-agents" / "crawler-user-agents.json").read_text())
    agents = [agent for entry in entries for agent in entry["instances"]][::20] + [agent for agent, _, _ in BROWSERS]
    expected = [found.family if (found := parse_user_agent(agent)) else "Other" for agent in agents]
    assert name_browsers(pl.Series(agents)).to_list() == expected


SEEN_AGENTS = [None, "", "curl/8", BROWSERS[0][0], BROWSERS[19][0]]


@pytest.fixture(scope="module")
def alone() -> dict[str | None, dict[str, object]]:
    return {agent: client(agent) for agent in SEEN_AGENTS}


@settings(max_examples=25)
@given(agents=st.lists(st.sampled_from(SEEN_AGENTS), max_size=30))
def test_a_row_is_described_the_same_whatever_stands_around_it(
    alone: dict[str | None, dict[str, object]], agents: list[str | None]
) -> None:
    events = pl.DataFrame({"user_agent": agents}, schema={"user_agent": pl.String})
    described = add_client(events).select("is_robot", "browser", "device").to_dicts()
    assert described == [alone[agent] for agent in agents]


def test_a_quarter_of_the_lines_of_a_real_log_are_robots(shared_data: Path) -> None:
    log = (shared_data / "apache-combined-10k" / "apache_logs").read_text("latin-1")
    agents = pl.Series(re.findall(r'"([^"]*)"$', log, re.MULTILINE))
    share = are_robots(agents).mean()
    assert share == pytest.approx(0.259, abs=0.002)
