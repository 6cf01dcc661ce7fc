"""Where in one text the secrets stand: values of listed names, userinfo of URLs, numbers of payment cards."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

REDACTED = "[redacted]"
# What is redacted under whatever name, as it is counted.
CARD, USERINFO = "payment card", "userinfo"

# What may follow a listed name: password_confirmation, password2, user[password], password[0].
TAIL = r"(?:[_.-]?(?:confirm(?:ation|ed)?|again|repeat(?:ed)?|verify|check|new|old|current|value|hash))?[0-9]*"
_BRACKETS = r"(?:\[[\w.-]{0,64}\]|\])*"
_LONG_NAME = 5
_LONGEST_NAME = 200

_PAIR = re.compile(r"(?<![\w.\[\]-])([\w.\[\]-]++)(\\*)([\"']?)[ \t]*+([=:])", re.ASCII)
_QUOTE = re.compile(r"\\*[\"']")
_QUERY_START = re.compile(r"[?#;&=]")
_MATRIX_END = re.compile(r"[/?]")
_QUERY_END = re.compile(
    r"""[&\#\r\n]
    | (?:;\s?|\s)(?=[\w.\[\]-]+=)  # the next pair, of a query or of cookies
    | \s(?=HTTP/[0-9])             # the end of a request line
    | (?<!\\)["'](?=[\s,;}\]>]|$)  # the end of a quoted text, and no apostrophe
    """,
    re.VERBOSE | re.ASCII,
)
_JSON_END = re.compile(r"[,}\]&\s]", re.ASCII)
_BRACKET = re.compile(r"[\[{}\]]")
_AUTHORITY = re.compile(r"(?:^|(?<=:))//")
_AUTHORITY_MARK = re.compile(r"[@/?#&;\s\"'<>]", re.ASCII)

_PURE_CARD = re.compile(r"(?<![0-9])[2-6][0-9]{12,18}(?![0-9])")
_GROUPED_DIGITS = re.compile(r"(?<![0-9])[0-9]{3,6}(?:[ +._-]{1,3}[0-9]{3,6})+(?![0-9])")
_GROUP = re.compile(r"[0-9]+")
_MOST_GROUPS = 6  # 19 digits in groups of three and more

_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})")
DECODINGS = 8


class Decoded(NamedTuple):
    """A text with its percent-escapes undone, and for each character where it came from."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    depths: Sequence[int] | None
    """How many decodings a character took: the levels of URL within URL. None: none took any."""

    def depth(self, at: int) -> int:
        """How many decodings the character at `at` took."""
        return self.depths[at] if self.depths else 0


class Span(NamedTuple):
    """A stretch of a text, from `start` to before `end`."""

    start: int
    end: int


class Secret(NamedTuple):
    """Where a secret stands, and what it is: its name on the list, `payment card` or `userinfo`."""

    span: Span
    name: str


def redact_one(text: str, names: frozenset[str], *, is_url: bool) -> str:
    """`text` with `[redacted]` for each secret in it; of a URL, card numbers only after its path."""
    return redact_spans(text, [secret.span for secret in find_secrets(text, names, is_url=is_url)])


def find_secrets(text: str, names: frozenset[str], *, is_url: bool) -> list[Secret]:
    """The secrets in `text` by the default list, with `names` in it; one within another is none of its own."""
    decoded, found = decode(text), list[Secret]()
    for secret in sorted(_secrets(decoded, names, is_url), key=lambda secret: (secret.span.start, -secret.span.end)):
        if not found or secret.span.end > found[-1].span.end:
            found.append(secret)
    return [secret._replace(span=_undecode(decoded, secret.span)) for secret in found]


def find_literals(text: str, literals: Collection[str]) -> Iterator[Span]:
    """Where one of `literals` stands in `text`, as it is or percent-decoded."""
    decoded = decode(text)
    for literal in filter(None, literals):
        for within in (text, decoded.text):
            place = within.find(literal)
            while place >= 0:
                span = Span(place, place + len(literal))
                yield span if within is text else _undecode(decoded, span)
                place = within.find(literal, place + 1)


def redact_spans(text: str, spans: Collection[Span]) -> str:
    """`text` with `[redacted]` in the place of `spans`."""
    pieces, done = [], 0
    for span in sorted(spans):
        if span.start >= done:
            pieces += [text[done : span.start], REDACTED]
        done = max(done, span.end)  # secrets may overlap: what lies between their ends goes too
    return "".join([*pieces, text[done:]])


def _undecode(decoded: Decoded, span: Span) -> Span:
    return Span(decoded.starts[span.start], decoded.ends[span.end - 1])


def is_secret_name(name: str, names: frozenset[str]) -> bool:
    """Whether a parameter of this name holds a secret."""
    return find_secret_name(name, names) is not None


@lru_cache(maxsize=65_536)
def find_secret_name(name: str, names: frozenset[str]) -> str | None:
    """Which of `names`, those listed, in lower case, makes a parameter of this name a secret; None if none does.

    Case does not matter, nor do `_`, `-` and `.` between the words. A listed name counts as the last words of
    another: `user_password`, `userPassword`, `user[password]`; also with an ending as in
    `password_confirmation` and `password2`. One of five letters or more counts at the end of a longer word
    too (`csrftoken`); a shorter one does not (`japan` is no `pan`).
    """
    found = _name_regex(names).search(name[-_LONGEST_NAME:])
    if found is None:
        return None
    words = _join_words(found[0])
    return max(listed for listed in names if words.startswith(_join_words(listed)))


def _join_words(name: str) -> str:
    return re.sub("[_.-]", "", name).lower()


def either_name(names: frozenset[str]) -> str:
    """The regex, Python's and Rust's, that matches any of `names`, or nothing where there are none."""
    words = [re.split(r"[_.-]+", name.strip("_.-")) for name in sorted(names, key=lambda name: (-len(name), name))]
    return "|".join(r"[_.-]?".join(re.escape(word) for word in parts) for parts in words) or r"[^\s\S]"


def decode(text: str) -> Decoded:
    """`text` decoded until nothing is left to decode, but eight times at most: no text shall take forever.

    A byte beyond ASCII becomes one character, whichever: no name and no separator is among them.
    """
    places = range(len(text))
    decoded = Decoded(text, places, range(1, len(text) + 1), None)
    for depth in range(1, DECODINGS + 1):
        if "%" not in decoded.text or not _ESCAPE.search(decoded.text):
            break
        decoded = _decode_once(decoded, depth)
    return decoded


def is_card_number(digits: str) -> bool:
    """Whether `digits` may be a payment card's number: 13 to 19 of them, Luhn's sum, an issuer of cards.

    ISO/IEC 7812: the numbers of banks' and travel cards begin with 2 to 6. Without that condition a tenth of
    all epoch times in milliseconds, which begin with 1, would be card numbers.
    """
    if not 13 <= len(digits) <= 19 or digits[0] not in "23456":
        return False
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


@lru_cache(maxsize=16)
def _name_regex(names: frozenset[str]) -> re.Pattern[str]:
    long_names = frozenset(name for name in names if len(name) >= _LONG_NAME)
    word_start = r"(?:(?<![A-Za-z0-9])|(?<=[a-z0-9])(?=[A-Z]))"
    either = rf"(?:{word_start}(?i:{either_name(names)})|(?i:{either_name(long_names)}))"
    return re.compile(rf"{either}(?i:{TAIL}){_BRACKETS}\Z", re.ASCII)


def _secrets(decoded: Decoded, names: frozenset[str], is_url: bool) -> Iterator[Secret]:  # noqa: FBT001 - private
    done = 0
    for pair in _PAIR.finditer(decoded.text):
        if pair.start() >= done and (name := find_secret_name(pair[1], names)):
            value = _value(decoded, pair, is_url)
            if value and value.end > value.start:
                done = value.end
                yield Secret(value, name)
    yield from (Secret(span, USERINFO) for span in _userinfo(decoded))
    query = _QUERY_START.search(decoded.text) if is_url else None
    start = 0 if not is_url else query.end() if query else len(decoded.text)
    yield from (Secret(span, CARD) for span in _cards(decoded.text, start))


def _value(decoded: Decoded, pair: re.Match[str], is_url: bool) -> Span | None:  # noqa: FBT001 - private
    """The value after a name: of `name=` in a query, of `"name":` in JSON, of `name: ` in a header's line."""
    text, depth = decoded.text, decoded.depth(pair.end() - 1)
    is_json = pair[4] == ":" and bool(pair[3])
    start = pair.end()
    if pair[4] == ":":
        if not is_json and (is_url or text[start : start + 1] != " "):
            return None
        start += len(text[start : start + 64]) - len(text[start : start + 64].lstrip())
    quote = _QUOTE.match(text, start)
    closing = _first(decoded, re.compile(rf"(?<!\\){re.escape(quote[0])}"), quote.end(), depth) if quote else None
    if quote and closing is not None:
        start = quote.end()
        if is_json:
            return Span(start, closing)
    return Span(start, _json_end(decoded, start, depth) if is_json else _query_end(decoded, start, depth, pair))


def _query_end(decoded: Decoded, start: int, depth: int, pair: re.Match[str]) -> int:
    """Where a value in a query ends; what is encoded deeper than its `=` belongs to it."""
    text = decoded.text
    end = _first(decoded, _QUERY_END, start, depth)
    if text[pair.start() - 1 : pair.start()] == ";" and not re.compile("[?&#=]").search(text, 0, pair.start()):
        # A parameter of the path: /cart;jsessionid=4F2A?page=2
        matrix_end = _first(decoded, _MATRIX_END, start, depth)
        end = min((place for place in (end, matrix_end) if place is not None), default=None)
    return len(text) if end is None else end


def _json_end(decoded: Decoded, start: int, depth: int) -> int:
    """Where a JSON value without quotes ends; of an array or object it is the last bracket."""
    text = decoded.text
    if text[start : start + 1] not in {"[", "{"}:
        end = _first(decoded, _JSON_END, start, depth)
        return len(text) if end is None else end
    level = 0
    for bracket in _BRACKET.finditer(text, start):
        level += 1 if bracket[0] in "[{" else -1
        if level == 0:
            return bracket.end()
    return len(text)


def _userinfo(decoded: Decoded) -> Iterator[Span]:
    """What stands between `//` and `@` (RFC 3986, 3.2.1), of URLs within URLs too."""
    for slashes in _AUTHORITY.finditer(decoded.text):
        start, depth, last = slashes.end(), decoded.depth(slashes.start()), None
        for mark in _AUTHORITY_MARK.finditer(decoded.text, start):
            mark_depth = decoded.depth(mark.start())
            if mark[0] == "@" and mark_depth <= depth:
                last = mark.start()
            elif mark[0] != "@" and (mark_depth < depth or (mark_depth == depth and mark[0] not in "&;")):
                break
        if last is not None and last > start:
            yield Span(start, last)


def _cards(text: str, start: int) -> Iterator[Span]:
    for found in _PURE_CARD.finditer(text, start):
        if is_card_number(found[0]):
            yield Span(*found.span())
    for run in _GROUPED_DIGITS.finditer(text, start):
        groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
        for first in range(len(groups)):
            for last in range(first + 1, min(first + _MOST_GROUPS, len(groups))):
                if is_card_number("".join(text[begin:end] for begin, end in groups[first : last + 1])):
                    yield Span(groups[first][0], groups[last][1])


def _first(decoded: Decoded, pattern: re.Pattern[str], start: int, depth: int) -> int | None:
    """Where `pattern` first matches no deeper than `depth`."""
    places = (found.start() for found in pattern.finditer(decoded.text, start))
    return next((place for place in places if decoded.depth(place) <= depth), None)


def _decode_once(decoded: Decoded, depth: int) -> Decoded:
    text = decoded.text
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    depths: list[int] = []
    done = 0
    for escape in _ESCAPE.finditer(text):
        at, end = escape.span()
        pieces += [text[done:at], chr(int(escape[1], 16))]
        starts += [*decoded.starts[done:at], decoded.starts[at]]
        ends += [*decoded.ends[done:at], decoded.ends[end - 1]]
        depths += [*(decoded.depths[done:at] if decoded.depths else [0] * (at - done)), depth]
        done = end
    pieces.append(text[done:])
    starts += decoded.starts[done:]
    ends += decoded.ends[done:]
    depths += decoded.depths[done:] if decoded.depths else [0] * (len(text) - done)
    return Decoded("".join(pieces), starts, ends, depths)
