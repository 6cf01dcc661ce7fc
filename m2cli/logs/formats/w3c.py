"""W3C extended logs, IIS and CloudFront: the columns are named by `#Fields` in the log, and may change inside it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from m2cli.logs.formats import kinds
from m2cli.logs.formats.kinds import Escape, Kind
from m2cli.logs.formats.model import Field, LogFormat, Piece, Shape, apart, name_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = "#Fields:"


class Known(NamedTuple):
    """What a column holds: its standard name, how it is written, and how far to believe it."""

    meaning: str
    kind: Kind
    rank: int = 0


# www.w3.org/TR/WD-logfile.html, learn.microsoft.com/iis/configuration/system.applicationhost/sites/site/logfile, and
# docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html
KNOWN: Mapping[str, Known] = {
    "date": Known("time", kinds.ISO_DAY),
    "time": Known("time", kinds.DAY_CLOCK),
    "timestamp": Known("time", kinds.EPOCH, 1),
    "c-ip": Known("remote_ip", kinds.ADDRESS),
    "c-port": Known("remote_port", kinds.PORT),
    "c-country": Known("remote_country", kinds.WORD),
    "cs-username": Known("user", kinds.TEXT),
    "s-sitename": Known("site", kinds.TEXT),
    "s-computername": Known("server_name", kinds.TEXT),
    "s-ip": Known("server_ip", kinds.ADDRESS),
    "s-port": Known("server_port", kinds.PORT),
    "cs-method": Known("method", kinds.METHOD),
    "cs-uri": Known("url", kinds.URL),
    "cs-uri-stem": Known("path", kinds.TEXT),
    "cs-uri-query": Known("query", kinds.TEXT),
    "sc-status": Known("status", kinds.STATUS),
    "sc-substatus": Known("substatus", kinds.INTEGER),
    "sc-win32-status": Known("win32_status", kinds.INTEGER),
    "sc-bytes": Known("bytes_sent", kinds.SIZE),
    "cs-bytes": Known("bytes_received", kinds.SIZE),
    "time-taken": Known("duration", kinds.MILLIS),
    "time-to-first-byte": Known("first_byte_duration", kinds.SECONDS),
    "cs-version": Known("protocol", kinds.PROTOCOL),
    "cs-host": Known("host", kinds.TEXT),
    "cs(host)": Known("host", kinds.TEXT),
    "x-host-header": Known("host", kinds.TEXT, 1),
    "cs(user-agent)": Known("user_agent", kinds.TEXT),
    "cs(referer)": Known("referrer", kinds.TEXT),
    "cs(cookie)": Known("cookie", kinds.TEXT),
    "x-edge-request-id": Known("request_id", kinds.TEXT),
    "x-edge-location": Known("edge_location", kinds.TEXT),
    "x-edge-result-type": Known("edge_result", kinds.TEXT),
    "x-edge-response-result-type": Known("edge_response_result", kinds.TEXT),
    "x-edge-detailed-result-type": Known("edge_detailed_result", kinds.TEXT),
    "cs-protocol": Known("scheme", kinds.TEXT),
    "cs-protocol-version": Known("protocol", kinds.PROTOCOL),
}
# CloudFront encodes what it logs once more: %20 of a URL is %2520. Its durations are seconds, IIS' are milliseconds.
_CLOUDFRONT: Mapping[str, Escape] = {
    "user_agent": Escape.DOUBLE_PERCENT,
    "cookie": Escape.DOUBLE_PERCENT,
    "referrer": Escape.ENCODED_PERCENT,
    "query": Escape.ENCODED_PERCENT,
    "path": Escape.ENCODED_PERCENT,
}
# IIS writes a plus for a space in all but URLs, where a plus may be one.
_URLS = frozenset({"path", "query", "url", "referrer"})

W3C = LogFormat(
    name="w3c",
    layout=f"{FIELDS} date time c-ip cs-method cs-uri-stem ...",
    about="W3C extended, as IIS writes it; the log names its columns: www.w3.org/TR/WD-logfile.html",
    shape=Shape.DELIMITED,
    header="",
)
CLOUDFRONT = LogFormat(
    name="cloudfront",
    layout=f"{FIELDS} date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status ...",
    about="Amazon's: docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html",
    shape=Shape.DELIMITED,
    separator="\t",
    header="",
)


@lru_cache(maxsize=256)
def with_header(log_format: LogFormat, header: str) -> LogFormat:
    """`log_format` with the columns that `header`, the text of a `#Fields` line, names."""
    names = header.removeprefix(FIELDS).split()
    is_cloudfront = log_format.separator == "\t"
    fields = name_fields(_make_field(name, is_cloudfront=is_cloudfront) for name in names)
    pieces = tuple(
        Piece(log_format.separator if number else "", each, is_quoted=False)
        for number, each in enumerate(fields)
        if isinstance(each, Field)
    )
    return replace(log_format, pieces=pieces, header=header)


def _make_field(name: str, *, is_cloudfront: bool) -> Field:
    known = _find(name.lower())
    if is_cloudfront:
        escape = _CLOUDFRONT.get(known.meaning, Escape.NONE)
    else:
        escape = Escape.PLUS if known.kind is kinds.TEXT and known.meaning not in _URLS else Escape.NONE
    is_duration = is_cloudfront and known.kind is kinds.MILLIS
    return Field(
        name=known.meaning,
        meaning=known.meaning,
        label=name,
        kind=kinds.SECONDS if is_duration else known.kind,
        directive=name,
        escape=escape,
        rank=known.rank,
    )


def _find(name: str) -> Known:
    if name in KNOWN:
        return KNOWN[name]
    prefix = ""
    if name.startswith(("cs(", "sc(", "rs(", "sr(")) and name.endswith(")"):
        prefix = "" if name.startswith("cs") else "response_"
        name = name[3:-1]
    plain = "".join(char if char.isalnum() else "_" for char in name).strip("_")
    return Known(prefix + plain if prefix else apart("column_", plain), kinds.TEXT)
