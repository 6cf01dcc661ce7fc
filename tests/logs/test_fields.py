"""What is taken out of fields: cookies, parameters, the client behind proxies, durations, and what is kept."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from m2cli.errors import UsageError
from m2cli.logs.fields.clients import find_client, parse_address
from m2cli.logs.formats import find_format
from m2cli.logs.formats.options import FieldRule, parse_client
from m2cli.logs.parse import Place, parse_block
from m2cli.logs.read import LogRule
from tests.logs.reading import ORIGIN

LAYOUT = '%h %t "%r" %>s "%{X-Forwarded-For}i" "%{Cookie}i" "%{Set-Cookie}o" %D %{c}a'
HEAD = '10.0.0.1 [20/Nov/2026:10:00:00 +0000] "GET /p?pid=7%20x&q=a+b#pid=9 HTTP/1.1" 200'


def read(line: str, layout: str = LAYOUT, **options: object) -> dict[str, object]:
    rule = LogRule(format=layout, fields=FieldRule(**options))
    (event,) = parse_block(line.encode(), Place(rule.log_format, ORIGIN, 0), max_line_size=1 << 20).events.to_dicts()
    return event


def test_nothing_is_kept_that_was_not_asked_for() -> None:
    event = read(f'{HEAD} "203.0.113.9" "SID=abc" "-" 1500 10.0.0.2')
    assert "attributes" not in event
    assert event["ip"] == "10.0.0.1"


def test_what_is_kept_has_its_standard_name_and_durations_are_seconds() -> None:
    event = read(f'{HEAD} "-" "SID=abc" "-" 1500 10.0.0.2', keep=("duration", "peer_ip", "cookie", "x_forwarded_for"))
    assert event["attributes"] == {"duration": "0.001500", "peer_ip": "10.0.0.2", "cookie": "SID=abc"}


@pytest.mark.parametrize(
    ("sent", "given", "expected"),
    [
        ("a=b; SID=abc; c=d", "-", "abc"),
        ("-", "SID=new; Path=/; HttpOnly", "new"),  # the first hit, which had no cookie yet
        ("SID=old", "SID=new; Path=/", "old"),
        ("XSID=abc", "-", None),
        ("a=SID=x", "-", None),
        ("-", "-", None),
    ],
)
def test_a_first_hit_and_the_next_have_the_same_cookie(sent: str, given: str, expected: str | None) -> None:
    event = read(f'{HEAD} "-" "{sent}" "{given}" 1 -', cookies={"session_id": "SID"})
    assert event["session_id"] == expected


def test_the_userid_module_of_nginx_says_the_visitor_at_the_first_hit_too() -> None:
    layout = '$remote_addr [$time_local] "$request" $status "$uid_got" "$uid_set"'
    head = '192.0.2.1 [20/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200'
    first = read(f'{head} "-" "uid=7F00010A5E"', layout)
    second = read(f'{head} "uid=7F00010A5E" "-"', layout)
    assert first["session_id"] == second["session_id"] == "uid=7F00010A5E"


def test_a_cookie_with_a_field_of_its_own_is_taken_from_it() -> None:
    event = read('192.0.2.1 [20/Nov/2026:10:00:00 +0000] "abc"', '%h %t "%{SID}C"', cookies={"session_id": "SID"})
    assert event["session_id"] == "abc"


def test_a_parameter_goes_to_a_column_or_to_an_attribute_of_its_own_name() -> None:
    event = read(f'{HEAD} "-" "-" "-" 1 -', queries={"entity_id": "pid", "words": "q", "none": "x"})
    assert event["entity_id"] == "7 x"
    assert event["attributes"] == {"words": "a b"}


PRIVATE = [ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")]


@pytest.mark.parametrize(
    ("seen", "forwarded", "expected"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.9, 203.0.113.7, 10.2.3.4", "203.0.113.7"),  # what is further left may be a lie
        ("203.0.113.8", "198.51.100.9", "203.0.113.8"),  # nobody's proxy: what it forwards is its own word
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8:1::5", '"[2001:db8::1]:4711"', "2001:db8::1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        (None, "203.0.113.7", "203.0.113.7"),
        ("host.example", "203.0.113.7", "host.example"),
        (None, None, None),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(
    seen: str | None, forwarded: str | None, expected: str | None
) -> None:
    assert find_client(seen, forwarded, PRIVATE) == expected


def test_the_client_is_found_line_by_line() -> None:
    event = read(
        f'{HEAD} "198.51.100.9, 203.0.113.7" "-" "-" 1 -', client=parse_client("X-Forwarded-For:trusted=10.0.0.0/8")
    )
    assert event["ip"] == "203.0.113.7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ('for="[2001:db8::1]:80"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("x", None),
    ],
)
def test_an_address_is_read_however_a_proxy_writes_it(text: str, expected: str | None) -> None:
    address = parse_address(text)
    assert (address and str(address)) == expected


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ('%h "%r"', {}, "does not say when"),
        ("%h %{%H:%M:%S}t", {}, "does not say when"),
        ("%h %t", {"keep": ("duration",)}, "unknown field to keep `duration`"),
        ("%h %t", {"cookies": {"session_id": "SID"}}, "has no field for the cookie `SID`; log it as `%{SID}C`"),
        ("%h %t", {"queries": {"x": "y"}}, "has no URL to take a parameter from"),
        ("%h %t", {"client": parse_client("x_real_ip")}, "has no field `x_real_ip`"),
        ("w3c\ncombined\ncloudfront", {}, "of `cloudfront`, .* leave it out"),
        ("alb\nw3c\ncombined", {}, "of `w3c`, .* name it first"),
        ("combined\nsyslog+haproxy", {}, "`combined` and `syslog.haproxy` are not carried alike"),
    ],
)
def test_what_a_format_does_not_have_is_refused_at_once(layout: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("{", "\\{").replace("}", "\\}")):
        LogRule(format=layout, fields=FieldRule(**options))


def test_a_column_that_no_cookie_can_fill_is_refused() -> None:
    with pytest.raises(UsageError, match="`event_time` cannot be filled"):
        FieldRule(cookies={"event_time": "x"})


def test_a_time_without_a_zone_is_of_the_zone_that_was_named() -> None:
    layout = "%h %{%F %T}t"
    event = read("192.0.2.1 2026-07-01 12:00:00", layout, time_zone="Europe/Amsterdam")
    assert f"{event['event_time']:%H:%M %Z}" == "10:00 UTC"
    assert parse_none("192.0.2.1 2026-03-29 02:30:00", layout) == 1  # the hour that summer time skips


def parse_none(line: str, layout: str) -> int:
    log_format = find_format(layout).with_options(FieldRule(time_zone="Europe/Amsterdam"))
    return len(parse_block(line.encode(), Place(log_format, ORIGIN, 0), max_line_size=1 << 20).rejects)


def test_a_rule_can_be_a_key_whatever_it_holds() -> None:
    assert len({FieldRule(cookies={"session_id": "a"}), FieldRule(cookies={"session_id": "a"}), FieldRule()}) == 2
