"""What a request asked for is told from its line, what is no request line is kept; only some are pages."""

from __future__ import annotations

import pytest

from m2cli.logs.fields.requests import ASSETS
from tests.logs.lines_of_formats import ALB
from tests.logs.reading import read_event

LINE = b'10.0.0.1 - - [17/May/2015:10:05:03 +0000] "%s" %s 512 "-" "x"'


def ask(request: str, status: str = "200") -> dict[str, object]:
    return read_event(LINE % (request.encode(), status.encode()))


REQUESTS = {
    "an ordinary one": ("GET /a HTTP/1.1", "GET", "/a"),
    "with a query": ("POST /a?b=c&d=/e HTTP/1.0", "POST", "/a?b=c&d=/e"),
    "the whole URL": ("GET http://shop.example:80/a HTTP/1.1", "GET", "http://shop.example:80/a"),
    "a URL with spaces": ("GET /a b c HTTP/1.1", "GET", "/a b c"),
    "two spaces": ("GET  /a  HTTP/1.1", "GET", "/a"),
    "an asterisk": ("OPTIONS * HTTP/1.1", "OPTIONS", "*"),
    "an authority": ("CONNECT shop.example:443 HTTP/1.1", "CONNECT", "shop.example:443"),
    "a method with a hyphen": ("VERSION-CONTROL /a HTTP/1.1", "VERSION-CONTROL", "/a"),
    "a method in small letters": ("get /a HTTP/1.1", "get", "/a"),
    "lone percent signs and brackets": ("GET /%%%3dv[0]? HTTP/1.1", "GET", "/%%%3dv[0]?"),
    "two fragments": ("GET /a#b#c HTTP/1.1", "GET", "/a#b#c"),
    "HTTP/2": ("GET /a HTTP/2", "GET", "/a"),
    "another server's escape": (r"GET /\x22 HTTP/1.1", "GET", '/"'),
    "an escaped line's end": (r"GET /a\nb HTTP/1.1", "GET", "/a\nb"),
    "a TLS handshake": (r"\x16\x03\x01", None, "\x16\x03\x01"),
    "one that was cut": ("GET /aaaaaaaaaaaaaaaaa", None, "GET /aaaaaaaaaaaaaaaaa"),
    "no URL": ("GET HTTP/1.1", None, "GET HTTP/1.1"),
    "only spaces for a URL": ("GET   HTTP/1.1", None, "GET   HTTP/1.1"),
    "a method that is no token": ("G(T /a HTTP/1.1", None, "G(T /a HTTP/1.1"),
    "a protocol without a version": ("GET /a HTTP", None, "GET /a HTTP"),
    "a letter beyond ASCII in it": ("GET /a HTTP/\u0661", None, "GET /a HTTP/\u0661"),
    "a hyphen for a URL": ("GET - HTTP/1.1", "GET", "-"),
    "none": ("-", None, None),
    "an empty one": ("", None, None),
}


@pytest.mark.parametrize(("request_line", "method", "url"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_is_split_or_kept_whole(request_line: str, method: str | None, url: str | None) -> None:
    event = ask(request_line)
    assert (event["method"], event["url"]) == (method, url)
    assert event["event_type"] == ("page" if method == "GET" else "request")


def test_an_unusual_protocol_is_an_attribute() -> None:
    assert ask("GET /a ICY/1.0")["attributes"] == {"protocol": "ICY/1.0"}
    assert ask("GET /a HTTP/1.1")["attributes"] is None


ANSWERS = {"200": "page", "206": "page", "299": "page", "304": "page"} | dict.fromkeys(
    ("-", "000", "100", "199", "300", "301", "302", "303", "305", "404", "499", "500"), "request"
)


@pytest.mark.parametrize(("status", "event_type"), ANSWERS.items())
def test_a_page_was_answered_2xx_or_304(status: str, event_type: str) -> None:
    assert ask("GET /a HTTP/1.1", status)["event_type"] == event_type


@pytest.mark.parametrize("method", ["POST", "HEAD", "get", "GETS"])
def test_only_a_get_is_a_page(method: str) -> None:
    assert ask(f"{method} /a HTTP/1.1")["event_type"] == "request"


@pytest.mark.parametrize("extension", ASSETS)
def test_an_asset_is_no_page(extension: str) -> None:
    assert ask(f"GET /a.{extension} HTTP/1.1")["event_type"] == "request"


ASSET_URLS = {
    "capitals": ("/a.PNG", "request"),
    "a query": ("/a.css?v=3", "request"),
    "a fragment": ("/a.js#b", "request"),
    "a dot in a folder": ("/a.css/b", "page"),
    "an asset in the query": ("/a?next=/b.css", "page"),
    "an asset in the fragment": ("/a#b.css", "page"),
    "a longer extension": ("/a.jsp", "page"),
    "a name without a dot": ("/css", "page"),
    "a letter that is only like one of an extension": ("/a.c\u017f\u017f", "page"),
    "a document": ("/robots.txt", "page"),
}


@pytest.mark.parametrize(("url", "event_type"), ASSET_URLS.values(), ids=ASSET_URLS.keys())
def test_an_asset_is_told_by_the_extension_of_the_path(url: str, event_type: str) -> None:
    assert ask(f"GET {url} HTTP/1.1")["event_type"] == event_type


@pytest.mark.parametrize(
    ("request_line", "url"),
    [
        ("- http://host:80- -", None),
        ("- https://shop.example:443- ", None),
        ("- https://host:443-", None),
        ("- http://host:80/a -", "- http://host:80/a -"),
    ],
)
def test_a_request_that_a_load_balancer_could_not_read_asked_for_nothing(request_line: str, url: str | None) -> None:
    """docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html, field `request`."""
    line = ALB.splitlines()[1].replace(b"- https://shop.example:443- ", request_line.encode())
    event = read_event(line, "alb")
    assert (event["method"], event["url"], event["status"]) == (None, url, 460)
