"""Writes lines as Apache and nginx would, from formats put together at random, with what has to be read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from hypothesis import strategies as st

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
urls = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=15).map("/{}".format)
words = st.text("abcXYZ019._/~", min_size=1, max_size=10)
addresses = st.ip_addresses().map(str)
# A zone is put on them.
times = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30)).map(  # noqa: DTZ001
    lambda time: time.replace(microsecond=0)
)
zones = st.integers(-12 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))
moments = st.builds(lambda time, zone: time.replace(tzinfo=zone), times, zones)
statuses = st.integers(100, 599).map(str)
sizes = st.integers(0, 10**18 - 1).map(str) | st.just("-")
numbers = st.integers(0, 10**9).map(str)


class Written(NamedTuple):
    """A directive, how its value is written, and what it says: None for nothing."""

    directive: str
    text: str
    value: object
    is_quoted: bool = False


def apache_escape(text: str) -> str:
    """server/util.c, ap_escape_logitem."""
    letters = {8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 13: "\\r", 34: '\\"', 92: "\\\\"}
    written = []
    for byte in text.encode():
        if byte in letters:
            written.append(letters[byte])
        else:
            written.append(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}")
    return "".join(written)


def nginx_escape(text: str) -> str:
    """ngx_http_log_module.c, ngx_http_log_escape."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}" for byte in text.encode())


def said(text: str) -> str | None:
    return None if text in ("", "-") else text


def clf(time: datetime) -> str:
    return f"{time.day:02}/{MONTHS[time.month - 1]}/{time.year}:{time:%H:%M:%S %z}"


def seconds(number: str, digits: int) -> str:
    padded = number.zfill(digits + 1)
    return f"{padded[:-digits]}.{padded[-digits:]}"


def quoted(directive: str, escape: object) -> st.SearchStrategy[Written]:
    return texts.map(lambda text: Written(directive, escape(text), said(text), is_quoted=True))


def plain(directive: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[Written]:
    return values.map(lambda text: Written(directive, text, said(text)))


APACHE_TIMES = st.one_of(
    moments.map(lambda time: Written("%t", f"[{clf(time)}]", time)),
    moments.map(lambda time: Written("%{%Y-%m-%dT%H:%M:%S%z}t", f"{time:%Y-%m-%dT%H:%M:%S%z}", time)),
    moments.map(
        lambda time: (
            Written("%{%d/%b/%y %T %z}t", f"{clf(time)[:7]}{time:%y %H:%M:%S %z}", time)
            if 1970 <= time.year <= 2068
            else Written("%{%F %T %z}t", f"{time:%Y-%m-%d %H:%M:%S %z}", time)
        )
    ),
    st.integers(86400, 7 * 10**9).map(
        lambda number: Written("%{sec}t", str(number), datetime.fromtimestamp(number, UTC))
    ),
    st.integers(86400 * 10**6, 7 * 10**15).map(
        lambda number: Written(
            "%{usec}t", str(number), datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=number)
        )
    ),
)
APACHE = [
    plain("%h", addresses),
    plain("%a", addresses),
    plain("%>s", statuses),
    plain("%b", sizes),
    plain("%O", sizes),
    plain("%k", numbers),
    plain("%P", numbers),
    plain("%X", st.sampled_from("X+-").filter(lambda sign: sign != "-")),
    plain("%v", words),
    plain("%400,501{X-Word}i", words),
    numbers.map(lambda number: Written("%D", number, seconds(number, 6))),
    numbers.map(lambda number: Written("%{ms}T", number, seconds(number, 3))),
    *(quoted(directive, apache_escape) for directive in ("%{Referer}i", "%{User-Agent}i", "%{sid}C", "%{X-Any}o")),
    *(quoted(directive, apache_escape) for directive in ("%{X-Trailer}^ti", "%{note}n", "%r", "%f", "%{ENV}e")),
]
NGINX_TIMES = st.one_of(
    moments.map(lambda time: Written("[$time_local]", f"[{clf(time)}]", time)),
    moments.map(lambda time: Written("$time_iso8601", time.isoformat(), time)),
    st.integers(86400 * 10**3, 7 * 10**12).map(
        lambda number: Written(
            "$msec",
            f"{number // 1000}.{number % 1000:03}",
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number),
        )
    ),
)
NGINX = [
    plain("$remote_addr", addresses),
    plain("$status", statuses),
    plain("$body_bytes_sent", sizes),
    plain("$request_length", numbers),
    plain("$scheme", st.sampled_from(["http", "https"])),
    plain("$request_method", st.sampled_from(["GET", "POST"])),
    plain("$upstream_addr", st.lists(addresses, min_size=1, max_size=3).map(", ".join)),
    plain("$upstream_status", st.lists(statuses, min_size=2, max_size=3).map(" : ".join)),
    numbers.map(lambda number: Written("$request_time", seconds(number, 3), seconds(number, 3))),
    *(quoted(directive, nginx_escape) for directive in ("$http_referer", "$http_user_agent", "$cookie_sid")),
    *(quoted(directive, nginx_escape) for directive in ("$request", "$uid_set", "$sent_http_x_any", "${arg_q}")),
]


@st.composite
def written_lines(draw: st.DrawFn, server: str) -> tuple[str, list[str], list[list[Written]]]:
    """A layout, some lines of it, and of each what its fields say; the time stands first of them."""
    strategies = APACHE if server == "apache" else NGINX
    time = APACHE_TIMES if server == "apache" else NGINX_TIMES
    chosen = draw(st.lists(st.integers(0, len(strategies) - 1), min_size=1, max_size=8, unique=True))
    place = draw(st.integers(0, len(chosen)))
    separator = draw(st.sampled_from([" ", " ", " ", " - ", "|", "\t"]))
    first = [draw(time), *(draw(strategies[number]) for number in chosen)]
    lines = [first]
    for _ in range(draw(st.integers(0, 3))):
        moment = draw(time.filter(lambda each: each.directive == first[0].directive))
        lines.append([moment, *(draw(strategies[number]) for number in chosen)])
    layout = separator.join(_arrange([show(each.directive, each.is_quoted) for each in first], place))
    return (
        layout,
        [separator.join(_arrange([show(each.text, each.is_quoted) for each in row], place)) for row in lines],
        lines,
    )


def show(text: str, is_quoted: bool) -> str:
    return f'"{text}"' if is_quoted else text


def _arrange(items: list[str], place: int) -> list[str]:
    """With the first at `place`."""
    return [*items[1 : place + 1], items[0], *items[place + 1 :]]
