r"""Apache's LogFormat: the table of its directives, and from a layout such as `%h %t "%r" %>s` the format.

The directives are those of mod_log_config, mod_logio and mod_ssl (httpd.apache.org/docs/2.4/mod/mod_log_config.html).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import UsageError
from m2cli.logs.formats import kinds
from m2cli.logs.formats.kinds import Escape, Kind
from m2cli.logs.formats.model import Field, LogFormat, Token, apart, join_pieces, name_fields
from m2cli.logs.formats.patterns import LayoutError
from m2cli.logs.formats.strftime import StrftimeError, compile_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Directive(NamedTuple):
    """What a directive writes: its standard name, its name in reasons, how, and how far to believe it."""

    meaning: str
    label: str
    kind: Kind
    rank: int = 0
    is_original: bool = False
    """Whether it speaks of the original request where the server redirected inside: %s, %U, %T, %D and %r."""


PLAIN: Mapping[str, Directive] = {
    "a": Directive("remote_ip", "address", kinds.ADDRESS),
    "A": Directive("server_ip", "server's address", kinds.ADDRESS),
    "B": Directive("bytes", "size", kinds.SIZE),
    "b": Directive("bytes", "size", kinds.SIZE),
    "D": Directive("duration", "duration", kinds.MICROS, 2, is_original=True),
    "f": Directive("file", "file", kinds.TEXT),
    "h": Directive("remote_host", "address", kinds.WORD),  # a name where HostnameLookups is on
    "H": Directive("protocol", "protocol", kinds.PROTOCOL),
    "k": Directive("connection_request_count", "number of requests", kinds.INTEGER),
    "l": Directive("ident", "identity", kinds.IDENT),
    "L": Directive("request_log_id", "request's id in the error log", kinds.WORD),
    "m": Directive("method", "method", kinds.METHOD),
    "p": Directive("server_port", "port", kinds.PORT),
    "P": Directive("process_id", "process", kinds.INTEGER),
    "q": Directive("query", "query", kinds.QUERY),
    "r": Directive("request", "request", kinds.REQUEST, is_original=True),
    "R": Directive("handler", "handler", kinds.TEXT),
    "s": Directive("status", "status", kinds.STATUS, is_original=True),
    "t": Directive("time", "time", kinds.TIME),
    "T": Directive("duration", "duration", kinds.SECONDS, is_original=True),
    "u": Directive("user", "user", kinds.USER),
    "U": Directive("path", "path", kinds.PATH, is_original=True),
    "v": Directive("server_name", "virtual host", kinds.WORD),
    "V": Directive("server_name", "virtual host", kinds.WORD, -1),
    "X": Directive("connection_status", "connection's status", kinds.SIGN),
    "I": Directive("bytes_received", "size of the request", kinds.SIZE),
    "O": Directive("bytes_sent", "size", kinds.SIZE),
    "S": Directive("bytes_transferred", "size of both", kinds.SIZE),
    "^FB": Directive("first_byte_duration", "time to the first byte", kinds.MICROS),  # mod_logio, LogIOTrackTTFB
}
# With one of a few words in braces, upper or lower case.
WORDED: Mapping[str, Mapping[str, Directive]] = {
    "a": {"c": Directive("peer_ip", "connection's address", kinds.ADDRESS)},
    "h": {"c": Directive("peer_host", "connection's address", kinds.WORD)},
    "L": {"c": Directive("connection_log_id", "connection's id in the error log", kinds.WORD)},
    "p": {
        "canonical": Directive("server_port", "port", kinds.PORT),
        "local": Directive("local_port", "port", kinds.PORT),
        "remote": Directive("remote_port", "client's port", kinds.PORT),
    },
    "P": {
        "pid": Directive("process_id", "process", kinds.INTEGER),
        "tid": Directive("thread_id", "thread", kinds.INTEGER),
        "hextid": Directive("thread_id", "thread", kinds.HEX),
    },
    "T": {
        "s": Directive("duration", "duration", kinds.SECONDS, is_original=True),
        "ms": Directive("duration", "duration", kinds.MILLIS, 1, is_original=True),
        "us": Directive("duration", "duration", kinds.MICROS, 2, is_original=True),
    },
}
# With any name in braces: what stands before the name in the standard one.
NAMED: Mapping[str, tuple[str, str]] = {
    "C": ("cookie_", "cookie {}"),
    "e": ("environment_", "variable {}"),
    "i": ("", "header {}"),
    "n": ("note_", "note {}"),
    "o": ("response_", "header {} of the response"),
    "x": ("", "{}"),  # mod_ssl's variables, as SSL_PROTOCOL
    "c": ("", "{}"),
    "^ti": ("trailer_", "trailer {}"),
    "^to": ("response_trailer_", "trailer {} of the response"),
}
HEADERS = {
    "referer": ("referrer", "referrer"),
    "user_agent": ("user_agent", "user agent"),
    "host": ("host", "host"),
    "cookie": ("cookie", "cookies"),
}
_CASED = ("C", "e", "n")  # names of cookies, variables and notes are different in upper and lower case
_PREFIXES = {"<": "original_", ">": "final_"}
_SIGNS = re.compile(r"\\(.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


class _Modifiers(NamedTuple):
    end: int
    word: str | None
    side: str
    has_statuses: bool


def compile_apache(layout: str, *, name: str = "", about: str = "") -> LogFormat:
    """The format that Apache's LogFormat `layout` describes; raises `LayoutError` for what it does not know."""
    tokens = name_fields(_read(layout))
    try:
        pieces, tail = join_pieces(tokens)
    except UsageError as error:
        raise LayoutError(layout, 0, str(error)) from None
    return LogFormat(name=name or layout, layout=layout, about=about, pieces=pieces, tail=tail, is_lenient=True)


def _read(layout: str) -> Iterator[Token]:
    at = 0
    while at < len(layout):
        sign = layout[at]
        if sign == "\\" and at + 1 < len(layout):  # as in httpd.conf: mod_log_config.c, parse_log_misc_string
            letter = layout[at + 1]
            yield _LETTERS.get(letter, "\\" + letter)
            at += 2
        elif sign != "%":
            yield sign
            at += 1
        elif layout.startswith("%%", at):
            yield "%"
            at += 2
        else:
            at, field = _read_directive(layout, at)
            yield field


def _read_directive(layout: str, start: int) -> tuple[int, Field]:
    at, word, side, has_statuses = _read_modifiers(layout, start)
    end = at + (3 if layout[at : at + 1] == "^" else 1)
    code = layout[at:end]
    if not code.strip() or len(code) != end - at:
        raise LayoutError(layout, start, "a `%` without a directive", "write `%%` for a per cent sign")
    text = layout[start:end]
    found = _find_time(layout, start, word) if code == "t" and word else _find(code, word)
    if found is None:
        raise LayoutError(layout, start, f"unknown directive `{text}`", _hint(code, word))
    is_original = found.is_original
    meaning, rank = found.meaning, found.rank
    if side and (side == "<") != is_original:
        meaning = _PREFIXES[side] + meaning
    if code == "s":
        # What was answered in the end counts, whatever the server tried first.
        meaning, rank = ("status", {"<": -1, "": 0, ">": 1}[side])
    elif side:
        rank += 1 if side == ">" else -1
    field = Field(
        name=meaning,
        meaning=meaning,
        label=found.label,
        kind=found.kind,
        directive=text,
        escape=Escape.BACKSLASH if found.kind.is_free and found.kind.may_hold_spaces else Escape.NONE,
        rank=rank,
        is_optional=has_statuses,
    )
    return end, field


def _read_modifiers(layout: str, start: int) -> _Modifiers:
    """What stands between the `%` and the directive's letter, in any order (mod_log_config.c, parse_log_item)."""
    at, word, side, has_statuses = start + 1, None, "", False
    while at < len(layout):
        sign = layout[at]
        if sign == "{":
            close = layout.find("}", at)
            if close < 0:
                raise LayoutError(layout, at, "a `{` that is not closed")
            word, at = layout[at + 1 : close], close + 1
        elif sign in _PREFIXES:
            side, at = sign, at + 1
        elif sign in "!,0123456789":
            has_statuses, at = True, at + 1
        else:
            break
    return _Modifiers(at, word, side, has_statuses)


def _find(code: str, word: str | None) -> Directive | None:
    if not word:
        return PLAIN.get(code)
    if code in WORDED:
        return WORDED[code].get(word.lower())
    if code not in NAMED:
        return None
    prefix, label = NAMED[code]
    name = (word if code in _CASED else word.lower()).replace("-", "_")
    if code == "i" and name in HEADERS:
        return Directive(HEADERS[name][0], HEADERS[name][1], kinds.TEXT)
    return Directive(prefix + name if prefix else apart("header_", name), label.format(word), kinds.TEXT)


def _find_time(layout: str, start: int, word: str) -> Directive:
    text, meaning = word, "time"
    for begin, name in (("begin", "time"), ("end", "end_time")):
        if word == begin or word.startswith(f"{begin}:"):
            text, meaning = word[len(begin) + 1 :], name
    if not text:
        return Directive(meaning, "time", kinds.TIME)
    try:
        return Directive(meaning, "time", compile_time(text))
    except StrftimeError as error:
        place = layout.index("{", start) + 1 + len(word) - len(text) + error.place
        raise LayoutError(layout, place, error.fault) from None


def _hint(code: str, word: str | None) -> str:
    if word and code in WORDED:
        return "in its braces go " + ", ".join(f"`{known}`" for known in WORDED[code])
    if word and code in PLAIN:
        return f"`%{code}` takes no braces"
    if code in NAMED:
        return f"name what it is of, as `%{{Name}}{code}`"
    return "known are " + " ".join(f"%{known}" for known in (*PLAIN, *(f"{{}}{named}" for named in NAMED)))
