r"""How the fields of a log line are written: a table of kinds, each with its patterns and what can be wrong with it.

All patterns are those of Rust's regex crate, which is what Polars has.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

# English whatever the locale: servers write %t with tables of their own, not with strftime (apr_month_snames).
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

DATE = rf"[0-9]{{2}}/(?:{'|'.join(MONTHS)})/(?:19|20|21)[0-9]{{2}}"
"""A date as in `17/May/2015`; years outside 1900 to 2199 come from garbage, not from a clock."""
CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)"
"""The time of day; second 60 is a leap second."""
ZONE = "[+-](?:[01][0-9]|2[0-3])[0-5][0-9]"
"""The offset from UTC as in `-0130`."""
DAY = "(?:19|20|21)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
"""A date as in `2015-05-17`."""
_TIME_SHAPE = rf"[0-9]{{2}}/(?:{'|'.join(MONTHS)})/[0-9]{{4}}:[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}} [+-][0-9]{{4}}"
NO_SUCH_TIME = "there is no such time from 1900 to 2199"


class Escape(Enum):
    """How a server writes what is no plain text in a field."""

    NONE = "none"
    BACKSLASH = r"\xhh and \n, as Apache and nginx"
    JSON = r"\n and \u00hh, as JSON"
    PERCENT = "%hh"
    PLUS = "a plus for a space"
    PLUS_PERCENT = "%hh, and a plus for a space"
    DOUBLE_PERCENT = "%25hh, twice encoded"
    ENCODED_PERCENT = "%25 for a per cent sign"
    DOUBLED_QUOTES = "a quote twice"


class Kind(NamedTuple):
    """How a field is written.

    `pattern` has one named group for each column that the field gives: `{name}`, and `{name}_` with each of
    `groups`. `strict` is what the fast parser takes, where that is less. `faults` are patterns that have to match
    where the field begins, each with the reason of the reject if it does not. `type` is what it is to a person.
    """

    type: str
    pattern: str
    strict: str = ""
    faults: tuple[tuple[str, str], ...] = ()
    groups: tuple[str, ...] = ("",)
    width: int | None = None
    """Of how many characters every value that `strict` takes is; None: they differ."""
    is_text: bool = False
    """Whether it may hold anything: how it ends is said by what stands after it."""
    may_hold_spaces: bool = False
    unit: str = ""
    """For durations: s, ms, us, ns."""
    slices: tuple[tuple[str, int, int], ...] = ()
    """Where in a value of `width` characters each group is: the group, its place and its length."""

    @property
    def taken(self) -> str:
        """What the fast parser takes."""
        return self.strict or self.pattern

    @property
    def is_free(self) -> bool:
        """Whether, between quotes, it may be any text."""
        return self.groups == ("",) and (self.is_text or self.may_hold_spaces or "[^ ]+" in self.pattern)


def _number(type_: str, pattern: str, *, unit: str = "", width: int | None = None, strict: str = "") -> Kind:
    fault = "the {label} is not a number" if width is None else "the {label} is not a number of three digits"
    return Kind(
        type_,
        f"(?P<{{name}}>{pattern})",
        f"(?P<{{name}}>{strict})" if strict else "",
        faults=((f"(?:{pattern})(?:[^0-9.]|$)", fault),),
        unit=unit,
        width=width,
    )


WORD = Kind("word", "(?P<{name}>[^ ]+)")
TEXT = Kind("text", "(?P<{name}>.*?)", "(?P<{name}>[^ ]+?)", is_text=True, may_hold_spaces=True)
# The one token that may hold spaces: Apache does not quote %u, and escapes quotes and control characters in
# it only (server/util.c, ap_escape_logitem). `grammar.py` allows them only where the identity is `-`: otherwise the
# host in front of a vhost_combined line would shift all fields by one, unnoticed.
USER = Kind("text", "(?P<{name}>[^ ].*?)", "(?P<{name}>[^ ]+)", may_hold_spaces=True)
IDENT = Kind("word", "(?P<{name}>[^ ]+)", "(?P<{name}>-)")
CLF_TIME = Kind(
    "time",
    rf"(?P<{{name}}_date>{DATE}):(?P<{{name}}_clock>{CLOCK}) (?P<{{name}}_zone>{ZONE})",
    faults=(
        (_TIME_SHAPE, "the {label} is not like 17/May/2015:10:05:03 +0000"),
        (f"{DATE}:{CLOCK} {ZONE}", NO_SUCH_TIME),
    ),
    groups=("date", "clock", "zone"),
    width=26,
    slices=(("date", 0, 11), ("clock", 12, 8), ("zone", 21, 5)),
    may_hold_spaces=True,
)
TIME = Kind(
    "time",
    rf"\[{CLF_TIME.pattern}\]",
    faults=(
        (r"\[", "no {label} in brackets after the {previous}"),
        (rf"\[{_TIME_SHAPE}\]", "the {label} in brackets is not like 17/May/2015:10:05:03 +0000"),
        (rf"\[{DATE}:{CLOCK} {ZONE}\]", NO_SUCH_TIME),
    ),
    groups=("date", "clock", "zone"),
    width=28,
    slices=(("date", 1, 11), ("clock", 13, 8), ("zone", 22, 5)),
    may_hold_spaces=True,
)
ISO_TIME = Kind(
    "time",
    rf"(?P<{{name}}_day>{DAY})[T ](?P<{{name}}_clock>{CLOCK})"
    r"(?P<{name}_rest>(?:[.,][0-9]{1,9})?(?: ?(?:Z|[+-][0-9]{2}:?[0-9]{2}))?)",
    rf"(?P<{{name}}_day>{DAY})T(?P<{{name}}_clock>{CLOCK})"
    r"(?P<{name}_rest>(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)",
    faults=((rf"{DAY}[T ]{CLOCK}", "the {label} is not like 2015-05-17T10:05:03Z"),),
    groups=("day", "clock", "rest"),
)
ISO_DAY = Kind(
    "date",
    f"(?P<{{name}}_day>{DAY})",
    faults=((DAY, "the {label} is not like 2015-05-17"),),
    groups=("day",),
    width=10,
    slices=(("day", 0, 10),),
)
DAY_CLOCK = Kind(
    "time of day",
    rf"(?P<{{name}}_clock>{CLOCK})(?P<{{name}}_rest>(?:\.[0-9]{{1,9}})?)",
    faults=((CLOCK, "the {label} is not like 10:05:03"),),
    groups=("clock", "rest"),
)
# HAProxy's %t and %tr: 06/Feb/2009:12:14:14.655, of the machine's own zone (configuration.txt, 8.2.3).
CLF_MILLIS = Kind(
    "time",
    rf"(?P<{{name}}_date>{DATE}):(?P<{{name}}_clock>{CLOCK})(?P<{{name}}_rest>\.[0-9]{{3}})",
    faults=((rf"{DATE}:{CLOCK}\.[0-9]{{3}}", "the {label} is not like 17/May/2015:10:05:03.250"),),
    groups=("date", "clock", "rest"),
    width=24,
    slices=(("date", 0, 11), ("clock", 12, 8), ("rest", 20, 4)),
)
_EPOCH = "[0-9]{1,10}(?:[.][0-9]{1,9})?"
EPOCH = Kind("time", f"(?P<{{name}}>{_EPOCH})", faults=((_EPOCH, "the {label} is not seconds since 1970"),), unit="s")
EPOCH_MILLIS = _number("time", "[0-9]{1,13}", unit="ms")
EPOCH_MICROS = _number("time", "[0-9]{1,16}", unit="us")

# `-` for a status that is none (mod_log_config.c, pfmt); 000 and 499 are nginx's, for who hung up.
STATUS = Kind(
    "status",
    r"(?P<{name}>[0-9]{3}|-)",
    "(?P<{name}>[0-9]{3})",
    faults=(("(?:[0-9]{3}|-)(?:[^0-9]|$)", "the {label} is not a number of three digits"),),
    width=3,
    slices=(("", 0, 3),),
)
# %b writes `-` where nothing was sent; 18 digits are what an Int64 surely holds.
SIZE = Kind(
    "bytes", r"(?P<{name}>[0-9]{1,18}|-)", faults=(("(?:[0-9]{1,18}|-)(?:[^0-9.]|$)", "the {label} is not a number"),)
)
INTEGER = _number("number", "-?[0-9]{1,18}|-")
HEX = Kind(
    "number", "(?P<{name}>[0-9A-Fa-f]{1,16}|-)", faults=(("[0-9A-Fa-f-]", "the {label} is no hexadecimal number"),)
)
DECIMAL = _number("number", r"-?[0-9]{1,18}(?:\.[0-9]{1,9})?|-")
_DURATION = r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?|-"
SECONDS = _number("duration", _DURATION, unit="s")
MILLIS = _number("duration", _DURATION, unit="ms")
MICROS = _number("duration", _DURATION, unit="us")
NANOS = _number("duration", _DURATION, unit="ns")
PORT = _number("port", "[0-9]{1,5}|-")
ADDRESS = Kind("address", "(?P<{name}>[^ ]+)")
ADDRESS_PORT = Kind(
    "address and port",
    r"(?P<{name}_address>\[[^ \]]*\]|[^ ]+?)(?::(?P<{name}_port>[0-9]{1,5}))?",
    r"(?P<{name}_address>\[[^ \]]*\]|[^ ]+?)(?::(?P<{name}_port>[0-9]{1,5}))?",
    groups=("address", "port"),
)
# Of version 4 with a port, of version 6 without one or in brackets: what Go makes of a connection.
ADDRESS_OR_PORT = Kind("address, perhaps with a port", "(?P<{name}>[^ ]+)")
REQUEST = Kind("request line", "(?P<{name}>.*?)", "(?P<{name}>[^ ]+?)", is_text=True, may_hold_spaces=True)
PATH = Kind("path", "(?P<{name}>[^?]*?)", "(?P<{name}>[^ ?]*?)", may_hold_spaces=True)
QUERY = Kind("query", r"(?P<{name}>(?:\?.*?)?)", r"(?P<{name}>(?:\?[^ ]*?)?)", may_hold_spaces=True)
URL = Kind("path and query", "(?P<{name}>.*?)", "(?P<{name}>[^ ]+?)", is_text=True, may_hold_spaces=True)
METHOD = Kind("method", "(?P<{name}>[^ ]+)")
PROTOCOL = Kind("protocol", "(?P<{name}>[^ ]+)")
SIGN = Kind("sign", "(?P<{name}>[^ ])", width=1, slices=(("", 0, 1),))
# nginx lists upstream servers with ", ", and groups of them with " : ", where one was asked after another.
LIST = Kind("list", "(?P<{name}>[^ ]+(?: : [^ ]+|, ?[^ ]+)*?)", "(?P<{name}>[^ ,]+)", may_hold_spaces=True)
# Whatever stands behind the fields that a format has had for long: some get new ones every few years.
REST = Kind("further fields", "(?P<{name}>(?: .*)?)", may_hold_spaces=True)
# HAProxy's captured headers, of the request and of the response, each list only if there is one to capture.
CAPTURES = Kind("captured headers", r"(?P<{name}>(?:\{[^}]*\} ){0,2})", may_hold_spaces=True)
SIGNED = Kind(
    "number",
    r"(?P<{name}>[+-]?[0-9]{1,18}|-)",
    faults=((r"(?:[+-]?[0-9]{1,18}|-)(?:[^0-9]|$)", "the {label} is not a number"),),
)
SIGNED_STATUS = Kind(
    "status",
    r"(?P<{name}>-1|[0-9]{3}|-)",
    faults=((r"(?:-1|[0-9]{3}|-)(?:[^0-9]|$)", "the {label} is not a number of three digits"),),
)
SIGNED_MILLIS = SIGNED._replace(type="duration", unit="ms")
TAB_WORD = Kind("word", "(?P<{name}>[^\t]*)")
# As JSON has it: of whatever shape, and taken apart when it is read.
ANY_TIME = Kind("time", "(?P<{name}>.*?)", is_text=True, may_hold_spaces=True)

BY_NAME = {
    "word": WORD,
    "text": TEXT,
    "request": REQUEST,
    "url": URL,
    "path": PATH,
    "query": QUERY,
    "method": METHOD,
    "protocol": PROTOCOL,
    "user": USER,
    "address": ADDRESS,
    "address_port": ADDRESS_PORT,
    "status": STATUS,
    "signed_status": SIGNED_STATUS,
    "size": SIZE,
    "number": INTEGER,
    "signed": SIGNED,
    "decimal": DECIMAL,
    "list": LIST,
    "clf": CLF_TIME,
    "clf_millis": CLF_MILLIS,
    "iso": ISO_TIME,
    "epoch": EPOCH,
    "micros_since_1970": EPOCH_MICROS,
    "any_time": ANY_TIME,
    "s": SECONDS,
    "ms": MILLIS,
    "signed_ms": SIGNED_MILLIS,
    "us": MICROS,
    "ns": NANOS,
    "rest": REST,
    "captures": CAPTURES,
}
"""What a kind is called in m2's own layouts."""
