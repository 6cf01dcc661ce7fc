"""The table of log formats: each format's name, how a server is told to write it, and its fields in order.

A format is a row of `FORMATS`; a field is a `Field`, and how a field is written is a `Kind`: a pattern, and
what can be wrong with it. All patterns are those of Rust's regex crate, which is what Polars has. The exact
parser (`grammar.py`) is made from the table; a format may also have a fast one (`fast.py`), which has to
agree with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from m2cli.errors import UnknownNameError

# English whatever the locale: servers write them with tables of their own, not with strftime
# (apr_month_snames).
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

DATE = rf"[0-9]{{2}}/(?:{'|'.join(MONTHS)})/(?:19|20|21)[0-9]{{2}}"
"""A date as in `17/May/2015`; years outside 1900 to 2199 come from garbage, not from a clock."""
CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)"
"""The time of day; second 60 is a leap second."""
ZONE = "[+-](?:[01][0-9]|2[0-3])[0-5][0-9]"
"""The offset from UTC as in `-0130`."""
_TIME_SHAPE = rf"[0-9]{{2}}/(?:{'|'.join(MONTHS)})/[0-9]{{4}}:[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}} [+-][0-9]{{4}}"
NO_SUCH_TIME = "there is no such time from 1900 to 2199"
_INSIDE_QUOTES = r'(?:[^"\\]|\\.)*'


class Kind(NamedTuple):
    """How a field is written.

    `pattern` has one named group for each column that the field gives, `{name}` standing for the field's
    name; `faults` are patterns that have to match where the field begins, each with the reason of the reject
    if it does not.
    """

    pattern: str
    faults: tuple[tuple[str, str], ...] = ()


TOKEN = Kind(r"(?P<{name}>[^ ]+)")
# The one token that may hold spaces: Apache does not quote %u, and escapes quotes and control characters in
# it only (server/util.c, ap_escape_logitem). `grammar.py` allows them only where the identity is `-`:
# otherwise the host in front of a vhost_combined line would shift all fields by one, unnoticed.
USER = Kind(r"(?P<{name}>[^ ].*?)")
TIME = Kind(
    rf"\[(?P<date>{DATE}):(?P<clock>{CLOCK}) (?P<zone>{ZONE})\]",
    faults=(
        (r"\[", "no {label} in brackets after the user"),
        (rf"\[{_TIME_SHAPE}\]", "the {label} in brackets is not like 17/May/2015:10:05:03 +0000"),
        (rf"\[{DATE}:{CLOCK} {ZONE}\]", NO_SUCH_TIME),
    ),
)
QUOTED = Kind(
    rf'"(?P<{{name}}>{_INSIDE_QUOTES})"',
    faults=(
        ('"', "the {label} is not opened by a quote"),
        (f'"{_INSIDE_QUOTES}"', "the {label} is not closed by a quote"),
        (f'"{_INSIDE_QUOTES}"(?: |$)', "the {label} has a quote in it that is not escaped"),
    ),
)
# `-` for a status that is none (mod_log_config.c, pfmt); 000 and 499 are nginx's, for who hung up.
STATUS = Kind(
    r"(?P<{name}>[0-9]{3}|-)",
    faults=(("(?:[0-9]{3}|-)(?: |$)", "the {label} is not a number of three digits"),),
)
# %b writes `-` where nothing was sent; 18 digits are what an Int64 surely holds.
SIZE = Kind(r"(?P<{name}>[0-9]{1,18}|-)", faults=(("(?:[0-9]{1,18}|-)(?: |$)", "the {label} is not a number"),))


class Field(NamedTuple):
    """One field of a format: the column it gives, its name in a reject's reason, and how it is written."""

    name: str
    label: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class LogFormat:
    """One log format: `layout` is how a server's configuration spells it, `about` where that is laid down."""

    name: str
    layout: str
    about: str
    fields: tuple[Field, ...]
    is_common_like: bool = False
    """Whether the fast parser takes it: the seven fields of common, then quoted fields only."""

    @cached_property
    def quoted(self) -> tuple[str, ...]:
        """The names of the quoted fields, in order."""
        return tuple(field.name for field in self.fields if field.kind is QUOTED)


_COMMON = (
    Field("host", "address", TOKEN),  # an address, or a name where HostnameLookups is on
    Field("ident", "identity", TOKEN),
    Field("user", "user", USER),
    Field("time", "time", TIME),
    Field("request", "request", QUOTED),
    Field("status", "status", STATUS),
    Field("bytes", "size", SIZE),
)
_COMBINED = (*_COMMON, Field("referrer", "referrer", QUOTED), Field("user_agent", "user agent", QUOTED))

FORMATS = {
    log_format.name: log_format
    for log_format in (
        LogFormat(
            name="combined",
            layout='%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
            about="Apache's and nginx' default: httpd.apache.org/docs/2.4/mod/mod_log_config.html#examples",
            fields=_COMBINED,
            is_common_like=True,
        ),
        LogFormat(
            name="common",
            layout='%h %l %u %t "%r" %>s %b',
            about="the NCSA's: httpd.apache.org/docs/2.4/mod/mod_log_config.html#examples",
            fields=_COMMON,
            is_common_like=True,
        ),
    )
}


def find_format(name: str) -> LogFormat:
    """The format called `name`.

    >>> find_format("common").quoted
    ('request',)

    Raises `UnknownNameError` for a name that is not in the table; the message offers the nearest.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise UnknownNameError("log format", name, FORMATS) from None
