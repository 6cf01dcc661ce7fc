"""Redaction: what goes, what stays byte for byte, and that no planted secret survives."""

from __future__ import annotations

from urllib.parse import quote, unquote

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from m2cli.errors import UsageError
from m2cli.events import TEXTS
from m2cli.stages.redaction import SECRET_NAMES, RedactionRule, redact, redact_texts
from m2cli.stages.secret_spans import decode, is_card_number, is_secret_name, redact_one

RULE = RedactionRule()

REDACTED_URLS = {
    "a parameter": ("/login?password=hunter2&x=1", "/login?password=[redacted]&x=1"),
    "the last parameter": ("/login?x=1&token=abc", "/login?x=1&token=[redacted]"),
    "two in a row": (
        "/?password=a&token=b&pin=c&x=1",
        "/?password=[redacted]&token=[redacted]&pin=[redacted]&x=1",
    ),
    "upper case": ("/?PassWord=hunter2", "/?PassWord=[redacted]"),
    "camel case": ("/?accessToken=abc&newPassword=x", "/?accessToken=[redacted]&newPassword=[redacted]"),
    "other separators in the name": (
        "/?access-token=a&api.key=b",
        "/?access-token=[redacted]&api.key=[redacted]",
    ),
    "a longer name": ("/?csrftoken=a&user_pin=b", "/?csrftoken=[redacted]&user_pin=[redacted]"),
    "a name with an ending": (
        "/?password_confirmation=a&password2=b",
        "/?password_confirmation=[redacted]&password2=[redacted]",
    ),
    "a name in brackets": (
        "/?user[password]=a&token[0]=b",
        "/?user[password]=[redacted]&token[0]=[redacted]",
    ),
    "a semicolon as separator": ("/?x=1;password=a;y=2", "/?x=1;password=[redacted];y=2"),
    "a semicolon in the secret": ("/?password=a;b&y=2", "/?password=[redacted]&y=2"),
    "a question mark in the secret": ("/?password=a?b/c&y=2", "/?password=[redacted]&y=2"),
    "a session in the path": ("/cart;jsessionid=4F2A?page=2", "/cart;jsessionid=[redacted]?page=2"),
    "a session in the middle of the path": ("/a;sid=4F2A/b", "/a;sid=[redacted]/b"),
    "a fragment": ("/#access_token=abc&x=1", "/#access_token=[redacted]&x=1"),
    "an encoded name": ("/?%70assw%6Frd=a&x=1", "/?%70assw%6Frd=[redacted]&x=1"),
    "a doubly encoded name": ("/?%2570assword=a&x=1", "/?%2570assword=[redacted]&x=1"),
    "an encoded separator in the secret": ("/?password=a%26b%3Bc&x=1", "/?password=[redacted]&x=1"),
    "an encoded sign": ("/?password%3Da&x=1", "/?password%3D[redacted]&x=1"),
    "a URL within a URL": (
        "/?next=%2Flogin%3Fpassword%3Da%26x%3D1&y=2",
        "/?next=%2Flogin%3Fpassword%3D[redacted]%26x%3D1&y=2",
    ),
    "a URL within a URL within a URL": (
        "/?u=%2Fa%3Fv%3D%252Fb%253Fpassword%253Dabc%2526x%253D1&y=2",
        "/?u=%2Fa%3Fv%3D%252Fb%253Fpassword%253D[redacted]%2526x%253D1&y=2",
    ),
    "JSON in a query": (
        "/?d=%7B%22password%22%3A%22a%2Cb%22%2C%22q%22%3A1%7D",
        "/?d=%7B%22password%22%3A%22[redacted]%22%2C%22q%22%3A1%7D",
    ),
    "userinfo": ("https://ann:p%40ss@shop.example/?a=b@c", "https://[redacted]@shop.example/?a=b@c"),
    "a token as userinfo": ("https://ghp_abc@shop.example/", "https://[redacted]@shop.example/"),
    "userinfo with an at sign": ("https://ann:p@ss@shop.example/", "https://[redacted]@shop.example/"),
    "userinfo in an encoded URL": (
        "/?u=https%3A%2F%2Fu:p%40h%2F&m=1",
        "/?u=https%3A%2F%2F[redacted]%40h%2F&m=1",
    ),
    "a card number": ("/pay?n=4111111111111111&x=1", "/pay?n=[redacted]&x=1"),
    "a card number in groups": ("/pay?n=4111-1111+1111%201111&x=1", "/pay?n=[redacted]&x=1"),
    "a card number of fifteen digits": ("/pay?n=3782%20822463%2010005", "/pay?n=[redacted]"),
    "a card number of thirteen digits": ("/pay?n=4222222222222", "/pay?n=[redacted]"),
    "a card number after an encoded space": ("/pay?n=%204111111111111111", "/pay?n=%20[redacted]"),
    "a card number among other groups": ("/pay?n=5512-4111-1111-1111-1111-123", "/pay?n=5512-[redacted]-123"),
    "encoded digits": ("/pay?n=%34111111111111111", "/pay?n=[redacted]"),
    "a secret in quotes": ('/?password="a"b"&x=1', '/?password="[redacted]&x=1'),
}
KEPT_URLS = {
    "no query": "/catalog/shoes/4111111111111111",
    "an empty value": "/login?password=&x=1",
    "a word that ends in a short name": "/?japan=1&compass=2&inside=3&shopping=4",
    "a coupon code": "/?code=SUMMER&country_code=NL",
    "a listed name as value": "/?q=password&tab=token",
    "a time in milliseconds": "/?_=1571234567894&t=1795132800000000",
    "digits that fail Luhn's sum": "/?n=4111111111111112",
    "a date and a time": "/?from=2019-10-01&to=2019-10-31&at=20191001T235959",
    "a longer run of digits": "/?n=41111111111111110000",
    "a mail address": "/?u=https%3A%2F%2Fx.example&mail=a@b.example",
    "a path with an at sign": "https://x.example/@ann/1",
    "not UTF-8 when decoded": "/?q=%ff%fe%C3%28",
    "percent signs that encode nothing": "/?q=100%&r=%zz",
}


@pytest.mark.parametrize(("url", "redacted"), REDACTED_URLS.values(), ids=REDACTED_URLS)
def test_a_secret_in_a_url_is_replaced_and_nothing_else(url: str, redacted: str) -> None:
    frame = redact(pl.DataFrame({"url": [url], "referrer": [url]}), RULE)
    assert frame.rows() == [(redacted, redacted)]


@pytest.mark.parametrize("url", KEPT_URLS.values(), ids=KEPT_URLS)
def test_a_clean_url_stays_byte_for_byte(url: str) -> None:
    assert redact(pl.DataFrame({"url": [url]}), RULE)["url"].to_list() == [url]


REDACTED_TEXTS = {
    "a log line": (
        '1.2.3.4 - - [x] "GET /?password=my secret HTTP/1.1" 200 "http://x/?token=abc" "Moz',
        '1.2.3.4 - - [x] "GET /?password=[redacted] HTTP/1.1" 200 "http://x/?token=[redacted]" "Moz',
    ),
    "JSON": (
        '{"password": "a\\"b", "pin": 123, "q": "x"}',
        '{"password": "[redacted]", "pin": [redacted], "q": "x"}',
    ),
    "JSON in JSON": ('{"a":"{\\"token\\":\\"x\\"}"}', '{"a":"{\\"token\\":\\"[redacted]\\"}"}'),
    "an object of JSON": ('{"auth":{"user":["a"]},"q":1}', '{"auth":[redacted],"q":1}'),
    "a header": ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
    "pairs with blanks": ("level=info token=abc user=ann", "level=info token=[redacted] user=ann"),
    "cookies": ("sid=abc; password=tulip; theme=dark", "sid=[redacted]; password=[redacted]; theme=dark"),
    "a cookie that is set": ("token=x; Path=/; Secure", "token=[redacted]; Path=/; Secure"),
    "a card number in a path": ("GET /card/4111111111111111/", "GET /card/[redacted]/"),
}


@pytest.mark.parametrize(("text", "redacted"), REDACTED_TEXTS.values(), ids=REDACTED_TEXTS)
def test_a_secret_in_the_raw_text_of_a_reject_is_replaced(text: str, redacted: str) -> None:
    assert redact(pl.DataFrame({"raw": [text]}), RULE)["raw"].to_list() == [redacted]


def test_attributes_lose_the_values_of_listed_names_and_the_secrets_in_others() -> None:
    rows = [
        {"password": "x", "colour": "red"},
        {"user.Password": "x", "note": "token=abc"},
        {"n": "4111 1111 1111 1111", "none": None, "pin": None, "pwd": ""},
        {"colour": "blue"},
        {},
        None,
    ]
    redacted = redact(pl.DataFrame({"attributes": rows}, schema={"attributes": TEXTS}), RULE)
    assert redacted.schema == {"attributes": TEXTS}
    assert redacted["attributes"].to_list() == [
        {"password": "[redacted]", "colour": "red"},
        {"user.Password": "[redacted]", "note": "token=[redacted]"},
        {"n": "[redacted]", "none": None, "pin": None, "pwd": ""},
        {"colour": "blue"},
        {},
        None,
    ]


def test_a_frame_without_texts_is_unchanged() -> None:
    frame = pl.DataFrame({"event_id": ["password=x"], "user_agent": ["token=x"]})
    assert redact(frame, RULE).equals(frame)


def test_nulls_stay_and_rows_keep_their_places() -> None:
    urls = [None, "/?token=a", "/a", None, "/?token=b", "/?token=a"]
    expected = [None, "/?token=[redacted]", "/a", None, "/?token=[redacted]", "/?token=[redacted]"]
    assert redact(pl.DataFrame({"url": urls}), RULE)["url"].to_list() == expected


def test_an_empty_frame_stays_empty() -> None:
    frame = pl.DataFrame(schema={"url": pl.String, "raw": pl.String, "attributes": TEXTS})
    assert redact(frame, RULE).equals(frame)


def test_settings_extend_the_names() -> None:
    rule = RedactionRule(names=SECRET_NAMES | {"Loyalty-No"})
    urls = pl.DataFrame({"url": ["/?loyalty_no=1&loyaltyNo=2&token=3&x=4"]})
    expected = "/?loyalty_no=[redacted]&loyaltyNo=[redacted]&token=[redacted]&x=4"
    assert redact(urls, rule)["url"].to_list() == [expected]


def test_without_names_only_card_numbers_and_userinfo_go() -> None:
    urls = pl.DataFrame({"url": ["https://a:b@c/?password=x&n=4111111111111111"]})
    expected = "https://[redacted]@c/?password=x&n=[redacted]"
    assert redact(urls, RedactionRule(names=frozenset()))["url"].to_list() == [expected]


@pytest.mark.parametrize("name", ["", "pass word", "a=b", "naïve", "a|b"])
def test_a_name_that_no_parameter_has_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no parameter's name"):
        RedactionRule(names=frozenset({name}))


@pytest.mark.parametrize("number", ["4111111111111111", "5500005555555559", "340000000000009", "6011000990139424"])
def test_the_card_networks_own_test_numbers_are_card_numbers(number: str) -> None:
    assert is_card_number(number)


def test_a_text_encoded_a_hundred_times_takes_no_longer_than_one_encoded_eight_times() -> None:
    assert decode("%" + "25" * 100 + "41").text == "%" + "25" * 92 + "41"


# What hypothesis builds texts of: all that the rules mention.
PIECES = (
    *(
        "password",
        "Token",
        "pin",
        "sid",
        "x",
        "japan",
        "n",
        "userPassword",
        "access_token",
        "user[",
        "]",
        "_2",
        "confirm",
    ),
    *(
        "=",
        "=",
        "=",
        "&",
        "&",
        ";",
        "?",
        "#",
        "/",
        "//",
        "://",
        "https://",
        ":",
        "@",
        ",",
        " ",
        "\t",
        "\n",
        "\\",
        '"',
        "'",
    ),
    *(
        "%26",
        "%3D",
        "%3d",
        "%253D",
        "%2526",
        "%70",
        "%2570",
        "%3A",
        "%22",
        "%2F",
        "%40",
        "%20",
        "%25",
        "%",
        "%ff",
        "%5B",
    ),
    *(
        "{",
        "}",
        "[",
        ".",
        "-",
        "+",
        "4111",
        "1111",
        "4111111111111111",
        "4111-1111-1111-1111",
        "37828",
        "é",
        "\x01",
        "A",
    ),
    *(" HTTP/1.1", "[redacted]", "hunter2", "\u017f"),
)
texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@given(st.lists(texts, max_size=8), st.booleans())
def test_the_column_says_what_each_text_alone_says(rows: list[str], is_url: bool) -> None:
    together = redact_texts(pl.Series("t", rows, pl.String), RULE, is_url=is_url)
    assert together.to_list() == [redact_one(text, RULE.names, is_url=is_url) for text in rows]


@given(texts, st.booleans())
def test_redacting_twice_is_redacting_once(text: str, is_url: bool) -> None:
    once = redact_one(text, RULE.names, is_url=is_url)
    assert redact_one(once, RULE.names, is_url=is_url) == once


def encode_some(text: str, choices: list[bool]) -> str:
    return "".join(f"%{ord(char):02X}" if chosen else char for char, chosen in zip(text, choices, strict=True))


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, str]:
    """A URL with a secret under a listed name, and the secret."""
    name = draw(st.sampled_from(sorted(SECRET_NAMES)))
    name = draw(st.sampled_from([name, name.upper(), name.title(), name.replace("_", "-"), name.replace("_", "")]))
    name = (
        draw(st.sampled_from(["", "user_", "a[b][", "X-"])) + name + draw(st.sampled_from(["", "2", "_confirm", "[0]"]))
    )
    name = encode_some(name, draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name))))
    secret = draw(st.text("abcXYZ0189-_.~!*()", min_size=4, max_size=12)) + "zQ"
    value = encode_some(secret, draw(st.lists(st.booleans(), min_size=len(secret), max_size=len(secret))))
    pair = f"{name}={value}"
    for _ in range(draw(st.integers(0, 2))):
        pair = draw(st.sampled_from(["next=", "u="])) + quote(draw(st.sampled_from(["/a?", "/a?x=1&"])) + pair, safe="")
    before = draw(st.sampled_from(["/a?", "/a?x=1&", "/a?x=1;", "/#", "https://shop.example/?q=a%20b&"]))
    return before + pair + draw(st.sampled_from(["", "&y=2", ";y=2", "#top"])), secret


@given(planted())
def test_no_secret_under_a_listed_name_survives_in_any_form(case: tuple[str, str]) -> None:
    url, secret = case
    redacted = redact(pl.DataFrame({"url": [url]}), RULE)["url"].item()
    for _ in range(4):
        assert secret not in redacted
        redacted = unquote(redacted)


@given(
    st.text("0123456789", min_size=12, max_size=18),
    st.sampled_from("23456"),
    st.sampled_from(["", "-", " ", "%20"]),
)
def test_no_card_number_survives_in_a_query(digits: str, first: str, separator: str) -> None:
    number = next(n for check in "0123456789" if is_card_number(n := first + digits[:-1] + check))
    groups = [number[at : at + 4] for at in range(0, len(number), 4)]
    assume(not separator or len(groups[-1]) >= 3)
    redacted = redact(pl.DataFrame({"url": [f"/?n={separator.join(groups)}&x=1"]}), RULE)["url"].item()
    assert redacted == "/?n=[redacted]&x=1"


clean_names = st.text("abcdefgh", min_size=1, max_size=6)
clean_values = st.text("abc123%20é+.-/", max_size=8)


@given(st.lists(st.tuples(clean_names, clean_values), max_size=6))
def test_queries_without_a_secret_stay_byte_for_byte(pairs: list[tuple[str, str]]) -> None:
    assume(not any(is_secret_name(name, RULE.names) for name, _ in pairs))
    url = "/a?" + "&".join(f"{name}={value}" for name, value in pairs)
    assert redact(pl.DataFrame({"url": [url]}), RULE)["url"].item() == url
