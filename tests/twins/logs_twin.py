"""Access logs, one line and one character at a time: slow, plain, and written from the rules alone."""

from __future__ import annotations

from codecs import BOM_UTF8
from datetime import UTC, datetime, timedelta, timezone

IGNORED, REJECT = "ignored", "reject"

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
LETTERS = {"b": 8, "t": 9, "n": 10, "v": 11, "r": 13, '"': 34, "\\": 92}
HEX = "0123456789abcdefABCDEF"
DIGITS = "0123456789"
METHOD_CHARACTERS = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LETTERS_OF_PROTOCOL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
USUAL_PROTOCOLS = {"HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/2.0", "HTTP/3", "HTTP/3.0"}
ASSETS = {
    "css",
    "js",
    "mjs",
    "map",
    "wasm",
    "class",
    "swf",
    "json",
    "webmanifest",
    "xml",
    "rss",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "bmp",
    "ico",
    "svg",
    "svgz",
    "webp",
    "avif",
    "tif",
    "tiff",
    "woff",
    "woff2",
    "ttf",
    "otf",
    "eot",
    "mp3",
    "mp4",
    "m4a",
    "m4v",
    "ogg",
    "ogv",
    "oga",
    "wav",
    "webm",
    "m3u8",
    "ts",
    "vtt",
}


class NoLine(Exception):  # noqa: N818  (it is no error: most lines of a test are none)
    pass


class Cursor:
    def __init__(self, text: str, at: int = 0) -> None:
        self.text, self.at = text, at

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, wanted: str) -> None:
        if not self.text.startswith(wanted, self.at):
            raise NoLine
        self.at += len(wanted)

    def spaces(self) -> None:
        self.take(" ")
        while self.peek() == " ":
            self.at += 1

    def token(self) -> str:
        begin = self.at
        while self.peek() not in ("", " "):
            self.at += 1
        if begin == self.at:
            raise NoLine
        return self.text[begin : self.at]

    def digits(self, count: int) -> int:
        text = self.text[self.at : self.at + count]
        if len(text) != count or any(char not in DIGITS for char in text):
            raise NoLine
        self.at += count
        return int(text)

    def quoted(self) -> str:
        self.take('"')
        begin = self.at
        while self.peek() != '"':
            self.at += 2 if self.peek() == "\\" else 1
            if self.at >= len(self.text):
                raise NoLine
        self.at += 1
        return self.text[begin : self.at - 1]


def split_lines(data: bytes) -> list[tuple[int, bytes]]:
    """The byte offset and the content of each line; a byte order mark at the beginning is no part of one."""
    lines: list[tuple[int, bytes]] = []
    begin = len(BOM_UTF8) if data.startswith(BOM_UTF8) else 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        after = end + 1
        if end < 0:
            end = after = len(data)
        lines.append((begin, data[begin:end].removesuffix(b"\r")))
        begin = after
    return lines


def read_line(raw: bytes, log_format: str) -> dict[str, object] | str:
    """The event of a line of a common or combined log, `IGNORED` or `REJECT`."""
    text = raw.decode(errors="backslashreplace")
    if text.startswith("#") or not text.strip(" \t"):
        return IGNORED
    try:
        return make_event(split_line(text, log_format), is_utf8(raw))
    except NoLine:
        return REJECT


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def split_line(text: str, log_format: str) -> dict[str, object]:
    cursor = Cursor(text)
    host = cursor.token()
    cursor.spaces()
    ident = cursor.token()
    cursor.spaces()
    begin = cursor.at
    if begin == len(text):
        raise NoLine
    # The user ends where first everything after it is as it should be.
    for end in range(begin + 1, len(text)):
        try:
            rest = split_rest(Cursor(text, end), log_format)
        except NoLine:
            continue
        user = text[begin:end]
        if " " in user and ident != "-":
            raise NoLine
        return {"host": host, "ident": ident, "user": user, **rest}
    raise NoLine


def split_rest(cursor: Cursor, log_format: str) -> dict[str, object]:
    cursor.spaces()
    cursor.take("[")
    rest: dict[str, object] = {"time": read_time(cursor)}
    cursor.take("]")
    cursor.spaces()
    rest["request"] = cursor.quoted()
    cursor.spaces()
    if cursor.peek() == "-":
        cursor.at += 1
        rest["status"] = None
    else:
        rest["status"] = cursor.digits(3)
    for name in ("bytes", "referrer", "user_agent")[: 1 if log_format == "common" else 3]:
        cursor.spaces()
        rest[name] = read_size(cursor) if name == "bytes" else cursor.quoted()
    if cursor.text[cursor.at :].strip(" "):
        raise NoLine
    return rest


def read_size(cursor: Cursor) -> int | None:
    if cursor.peek() == "-":
        cursor.at += 1
        return None
    begin = cursor.at
    while cursor.peek() and cursor.peek() in DIGITS:
        cursor.at += 1
    if not 1 <= cursor.at - begin <= 18:
        raise NoLine
    return int(cursor.text[begin : cursor.at])


def read_time(cursor: Cursor) -> datetime | None:
    """The time where the cursor is, None where it has the shape of one but the calendar has none such."""
    day = cursor.digits(2)
    cursor.take("/")
    name = cursor.text[cursor.at : cursor.at + 3]
    if name not in MONTHS:
        raise NoLine
    cursor.take(name)
    cursor.take("/")
    year = cursor.digits(4)
    cursor.take(":")
    hour = cursor.digits(2)
    cursor.take(":")
    minute = cursor.digits(2)
    cursor.take(":")
    second = cursor.digits(2)
    cursor.take(" ")
    sign = cursor.peek()
    cursor.at += 1
    zone_hours, zone_minutes = cursor.digits(2), cursor.digits(2)
    if sign not in ("+", "-") or max(hour, zone_hours) > 23 or max(minute, zone_minutes) > 59 or second > 60:
        raise NoLine
    if not 1900 <= year <= 2199:
        raise NoLine
    offset = timedelta(hours=zone_hours, minutes=zone_minutes)
    zone = timezone(offset if sign == "+" else -offset)
    try:
        start = datetime(year, MONTHS.index(name) + 1, day, hour, minute, tzinfo=zone)
    except ValueError:
        return None
    return (start + timedelta(seconds=second)).astimezone(UTC)


def decode(text: str) -> tuple[str, bool]:
    """The text without its escapes, and whether it is all UTF-8."""
    data, at = bytearray(), 0
    while at < len(text):
        rest = text[at + 1 :]
        if text[at] == "\\" and rest[:1] in LETTERS and rest:
            data.append(LETTERS[rest[0]])
            at += 2
        elif text[at] == "\\" and rest[:1] == "x" and len(rest) > 2 and rest[1] in HEX and rest[2] in HEX:
            data.append(int(rest[1:3], 16))
            at += 4
        else:
            data += text[at].encode()
            at += 1
    return bytes(data).decode(errors="backslashreplace"), is_utf8(bytes(data))


def make_event(fields: dict[str, object], is_text: bool) -> dict[str, object]:
    if fields["time"] is None:
        raise NoLine
    values: dict[str, str | None] = {}
    for name in ("user", "request", "referrer", "user_agent"):
        if name in fields:
            text, is_text_too = decode(str(fields[name]))
            values[name] = None if text in ("", "-") or (name == "user" and text == '""') else text
            is_text = is_text and is_text_too
    method, url, protocol = split_request(values["request"] or "")
    attributes = {"ident": fields["ident"]} if fields["ident"] != "-" else {}
    if protocol and protocol not in USUAL_PROTOCOLS:
        attributes["protocol"] = protocol
    if not is_text:
        attributes["encoding"] = "not UTF-8"
    event = {
        "event_time": fields["time"],
        "event_type": name_type(method, url, fields["status"]),
        "customer_id": values["user"],
        "ip": None if fields["host"] == "-" else fields["host"],
        "method": method,
        "url": url or None,
        "status": fields["status"],
        "bytes": fields["bytes"],
        "attributes": attributes or None,
    }
    if "referrer" in values:
        event |= {"referrer": values["referrer"], "user_agent": values["user_agent"]}
    return event


def split_request(request: str) -> tuple[str | None, str, str | None]:
    words = [word for word in request.split(" ") if word]
    is_request = (
        len(words) >= 3
        and request[0] != " "
        and all(char in METHOD_CHARACTERS for char in words[0])
        and is_protocol(words[-1])
    )
    if not is_request:
        return None, request, None
    return words[0], request[len(words[0]) :].rstrip(" ").removesuffix(words[-1]).strip(" "), words[-1]


def is_protocol(word: str) -> bool:
    name, slash, version = word.partition("/")
    numbers = version.split(".")
    return (
        bool(name and slash)
        and all(char in LETTERS_OF_PROTOCOL for char in name)
        and len(numbers) <= 2
        and all(number and all(digit in DIGITS for digit in number) for number in numbers)
    )


def name_type(method: str | None, url: str, status: object) -> str:
    path = url.partition("?")[0].partition("#")[0]
    _, dot, extension = path.rpartition(".")
    is_asset = bool(dot) and extension.lower() in ASSETS
    is_answered = isinstance(status, int) and (200 <= status <= 299 or status == 304)
    return "page" if method == "GET" and is_answered and not is_asset else "request"
