"""What a log format is once it is compiled: fields, what stands between them, and what m2 makes of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import UsageError
from m2cli.logs.formats.kinds import IDENT, USER, Escape, Kind
from m2cli.logs.formats.options import FieldRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Shape(Enum):
    """How the lines of a format are taken apart."""

    TEXT = "text"
    DELIMITED = "delimited"
    """W3C: columns that a line of the log itself names."""
    JSON = "json"


class Wrapper(Enum):
    """What may stand around each line of a log, put there by whoever carried it."""

    NONE = ""
    SYSLOG = "syslog"
    DOCKER = "docker"
    CRI = "cri"


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a format.

    `name` is what its column is called while lines are read, `meaning` the standard name of what it says, which several
    fields of a format may share: of those the one with the highest `rank` that says anything counts. `directive` is how
    the layout writes it.
    """

    name: str
    meaning: str
    label: str
    kind: Kind
    directive: str
    escape: Escape = Escape.NONE
    rank: int = 0
    is_optional: bool = False
    """Whether `-` may stand in its place, as for `%400r`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it gives."""
        return tuple(f"{self.name}_{group}" if group else self.name for group in self.kind.groups)


class Piece(NamedTuple):
    """A field and the text before it; the quotes around it, where it has them, are not part of that."""

    before: str
    field: Field
    is_quoted: bool


Token = str | Field
"""A layout is a row of texts, which stand as they are, and fields."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LogFormat:
    """One log format: `layout` is how a server's configuration spells it, `about` where that is laid down.

    Two are equal if they are one: what is compiled from a format is remembered by it.
    """

    name: str
    layout: str
    about: str = ""
    pieces: tuple[Piece, ...] = ()
    tail: str = ""
    """What stands after the last field."""
    shape: Shape = Shape.TEXT
    is_lenient: bool = False
    """Whether several spaces may stand for one: Jetty writes two where the user is missing."""
    separator: str = " "
    """Of delimited lines."""
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of JSON: where in the object each field is, by the field's name; a number is a place in a list."""
    wrapper: Wrapper = Wrapper.NONE
    options: FieldRule = field(default_factory=FieldRule)
    others: tuple[LogFormat, ...] = ()
    """Formats that lines which do not fit this one are tried with, in order."""
    has_absolute_urls: bool = False
    """Whether URLs name scheme, host and port, even if it is the usual one: load balancers of Amazon."""
    heading: str = ""
    """How a line begins that names the columns: it is no line of the log."""
    header: str | None = None
    """The `#Fields` line in force, for formats whose columns are named in the log; empty before there is one."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields in order."""
        return tuple(piece.field for piece in self.pieces)

    @property
    def can_be_bundled(self) -> bool:
        """Whether lines of several logs can be read together: not if each log names its own columns."""
        return self.header is None and all(other.header is None for other in self.others)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that lines are taken apart into."""
        return tuple(column for each in self.fields for column in each.columns)

    def find(self, *meanings: str) -> list[Field]:
        """The fields that say any of `meanings`, the ones to believe first: by place in `meanings`, then by rank."""
        found = [each for each in self.fields if each.meaning in meanings]
        return sorted(found, key=lambda each: (meanings.index(each.meaning), -each.rank))

    def with_options(self, options: FieldRule) -> LogFormat:
        """This format and all that it is tried with, read by `options`."""
        return replace(self, options=options, others=tuple(other.with_options(options) for other in self.others))


# Standard names that m2 makes something of: no header, column or variable of another's making may be called so.
RESERVED = frozenset(
    (
        *(
            "time",
            "original_time",
            "final_time",
            "end_time",
            "original_end_time",
            "final_end_time",
            "request",
            "method",
        ),
        *("url", "path", "original_path", "final_path", "query", "protocol", "status", "bytes", "bytes_sent", "user"),
        *("ident", "session_id", "uid_got", "uid_set", "client_ip", "remote_ip", "remote_host", "peer_ip", "peer_host"),
        *("proxy_protocol_ip", "duration", "rest", "all"),
    )
)


def apart(prefix: str, name: str) -> str:
    """`name`, which somebody gave to a header or a variable; with `prefix` if it is a standard name of m2's.

    >>> apart("header_", "x_forwarded_for"), apart("header_", "status")
    ('x_forwarded_for', 'header_status')
    """
    return prefix + name if name in RESERVED else name


def name_fields(tokens: Iterable[Token]) -> list[Token]:
    """`tokens` in which every field gives columns of its own: a second `status` is `status_2`."""
    seen: Counter[str] = Counter()
    named: list[Token] = []
    for token in tokens:
        if isinstance(token, str):
            named.append(token)
            continue
        stem = "".join(char if char.isascii() and (char.isalnum() or char == "_") else "_" for char in token.name)
        stem = stem if stem[:1].isalpha() else f"f_{stem}"
        seen[stem] += 1
        number = seen[stem]
        named.append(replace(token, name=stem if number == 1 else f"{stem}__{number}"))
    return named


def join_pieces(tokens: Sequence[Token]) -> tuple[tuple[Piece, ...], str]:
    """The pieces of `tokens`, and the text after the last; raises `UsageError` where there is no field."""
    texts: list[str] = [""]
    fields: list[Field] = []
    for token in tokens:
        if isinstance(token, str):
            texts[-1] += token
        else:
            fields.append(token)
            texts.append("")
    if not fields:
        raise UsageError("the format has no field")
    quoted = [before.endswith('"') and after.startswith('"') for before, after in pairwise(texts)]
    pieces, was_quoted = [], False
    for before, each, is_quoted in zip(texts, fields, quoted, strict=False):
        text = before.removeprefix('"') if was_quoted else before
        pieces.append(Piece(text.removesuffix('"') if is_quoted else text, each, is_quoted))
        was_quoted = is_quoted
    return tuple(pieces), texts[-1].removeprefix('"') if was_quoted else texts[-1]


def has_shifting_user(log_format: LogFormat) -> bool:
    """Whether a line with one more word in front could pass for one of `log_format`: the user may hold spaces."""
    kinds = [each.kind for each in log_format.fields]
    return any(one is IDENT and other is USER for one, other in pairwise(kinds))
