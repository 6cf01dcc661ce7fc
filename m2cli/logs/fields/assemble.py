"""From the columns that a line was taken apart into to the columns of the event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import EVENT_SCHEMA, TEXTS
from m2cli.logs.fields.clients import find_clients
from m2cli.logs.fields.escapes import OF_ALL, decode_columns
from m2cli.logs.fields.extracts import list_extracts
from m2cli.logs.fields.requests import USUAL_PROTOCOLS, name_event_type, split_request
from m2cli.logs.fields.values import null_if_none, read_value
from m2cli.logs.formats import kinds
from m2cli.logs.formats.options import ALL, is_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from m2cli.logs.formats.model import Field, LogFormat

NOT_UTF8 = "not UTF-8"
"""The value of the attribute `encoding` where bytes of a line, or bytes escaped in what is read, are not UTF-8."""
# What says where the client is, the one to believe first: a proxy's own finding, then the address that the server saw.
ADDRESSES = ("client_ip", "remote_ip", "remote_host", "peer_ip", "peer_host", "proxy_protocol_ip")
# nginx' userid module: what the browser sent; or at a first hit, what it was given.
UIDS = ("uid_got", "uid_set")
_USUAL_PORT = r"^(?:(https://[^/?#]+):443|(http://[^/?#]+):80)(/|\?|#|$)"
# What Amazon's write for a request that they could not read: neither method nor path, and their own host and port.
_UNREAD_REQUEST = r"^- https?://[^ /]*- ?-?$"
_OF_EVENT = frozenset(
    {
        "request",
        "method",
        "url",
        "path",
        "query",
        "status",
        "bytes",
        "referrer",
        "user_agent",
        "user",
        "time",
        "session_id",
    }
)
_ALWAYS = ("ident", "protocol")
_FURTHER = "rest"  # what a format has that m2 does not know yet


def assemble_events(parts: pl.DataFrame, log_format: LogFormat) -> pl.DataFrame:
    """The event's columns of `parts`: the columns of `log_format`, `is_odd_text`, and those that are passed on.

    Adds those of `event_type`, `session_id`, `customer_id`, `ip`, `user_agent`, `method`, `url`, `status`, `bytes`,
    `referrer` that the format says, `attributes` where a line has any, and what the format's options ask for.
    """
    parts = decode_columns(parts, log_format.fields, "is_odd_text", OF_ALL)
    events = _split_requests(parts, log_format)
    columns = {
        "ip": _first(log_format, *ADDRESSES),
        "customer_id": _first(log_format, "user", none=('""',)),  # Apache's empty user
        "user_agent": _first(log_format, "user_agent"),
        "referrer": _first(log_format, "referrer"),
        "status": _number(log_format, pl.Int32, "status"),
        "bytes": _number(log_format, pl.Int64, "bytes", "bytes_sent"),
        "session_id": _first(log_format, "session_id", *UIDS),
    }
    events = events.with_columns(value.alias(f"event {name}") for name, value in columns.items() if value is not None)
    extracts = {} if log_format.options.is_plain else list_extracts(log_format)
    if extracts:
        events = events.with_columns(
            value.alias(f"event {name}") for name, value in extracts.items() if is_column(name)
        )
    if log_format.options.client and log_format.find(log_format.options.client.field):
        events = events.with_columns(find_clients(events, log_format).alias("event ip"))
    attributes = _name_attributes(log_format, {name: value for name, value in extracts.items() if not is_column(name)})
    events = events.with_columns(*_collect_attributes(events, attributes))
    found = [name.removeprefix("event ") for name in events.columns if name.startswith("event ")]
    events = events.drop(found, strict=False).rename({f"event {name}": name for name in found})
    for name in ("status", "method", "url"):
        if name not in events.columns:
            events = events.with_columns(pl.lit(None, EVENT_SCHEMA[name]).alias(name))
    return events.with_columns(name_event_type())


def _first(log_format: LogFormat, *meanings: str, none: tuple[str, ...] = ()) -> pl.Expr | None:
    """The first of the fields with any of `meanings` that says something; None if there is no such field."""
    values = [read_value(each, none) for each in log_format.find(*meanings)]
    if not values:
        return None
    return values[0] if len(values) == 1 else pl.coalesce(values)


def _number(log_format: LogFormat, dtype: type[pl.DataType], *meanings: str) -> pl.Expr | None:
    numbers = [pl.col(each.name).cast(dtype, strict=False) for each in log_format.find(*meanings)]
    if not numbers:
        return None
    return numbers[0] if len(numbers) == 1 else pl.coalesce(numbers)


def _split_requests(parts: pl.DataFrame, log_format: LogFormat) -> pl.DataFrame:
    """`parts` with `event method`, `event url` and `usual protocol`, which is null where it is a usual one."""
    request = _first(log_format, "request")
    if request is not None:
        if log_format.has_absolute_urls:
            request = pl.when(~request.str.contains(_UNREAD_REQUEST)).then(request)
        split = split_request(parts.select(request.alias("request")))
        if log_format.has_absolute_urls:
            split = split.with_columns(pl.col("url").str.replace(_USUAL_PORT, "${1}${2}${3}"))
        parts = parts.hstack(split.select("method", "url", "protocol").rename(_REQUEST_NAMES))
    protocol = _first(log_format, "protocol")
    unusual = None if protocol is None else pl.when(~protocol.is_in(USUAL_PROTOCOLS)).then(protocol)
    found = {
        "event method": _first(log_format, "method"),
        "event url": _join_url(log_format),
        "unusual protocol": unusual,
    }
    if request is not None:  # whose word goes before that of the others
        found = {name: pl.coalesce(name, value) for name, value in found.items() if value is not None}
    none = pl.lit(None, pl.String)
    return parts.with_columns((none if value is None else value).alias(name) for name, value in found.items())


_REQUEST_NAMES = {"method": "event method", "url": "event url", "protocol": "unusual protocol"}


def _join_url(log_format: LogFormat) -> pl.Expr | None:
    url = _first(log_format, "url")
    if url is not None:
        return url
    path, query = _first(log_format, "path", "original_path", "final_path"), _first(log_format, "query")
    if path is None:
        return None
    if query is None:
        return path
    query = query.str.strip_prefix("?").fill_null("")  # Apache's %q has it
    return pl.when(query == "").then(path).otherwise(pl.concat_str(path, query, separator="?"))


def list_kept(log_format: LogFormat) -> list[str]:
    """The standard names of what `log_format` says beyond the event's own columns."""
    used = [
        each.meaning for meanings in (ADDRESSES, ("bytes", "bytes_sent")) for each in log_format.find(*meanings)[:1]
    ]
    meanings = dict.fromkeys(each.meaning for each in log_format.fields)
    return [name for name in meanings if name not in {*_OF_EVENT, *_ALWAYS, *used, _FURTHER}]


def list_meanings(log_format: LogFormat) -> set[str]:
    """The standard names of what `assemble_events` looks at, beside the time and what options take out of fields."""
    kept = log_format.options.keep
    of_event = {*_OF_EVENT, *_ALWAYS, *ADDRESSES, *UIDS, "bytes_sent", "original_path", "final_path"}
    return of_event | set(list_kept(log_format) if ALL in kept else kept)


def _name_attributes(log_format: LogFormat, extracts: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
    named = {"protocol": pl.col("unusual protocol")}
    if log_format.find("ident"):
        named = {"ident": null_if_none(log_format.find("ident")[0].name), **named}
    kept = log_format.options.keep
    wanted = list_kept(log_format) if ALL in kept else kept
    for name in wanted:
        value = _first(log_format, name)
        if value is not None:
            named[name] = value.cast(pl.String)
            named |= _name_ports(log_format.find(name), name)
    return named | dict(extracts) | {"encoding": pl.when("is_odd_text").then(pl.lit(NOT_UTF8))}


def _name_ports(fields: list[Field], name: str) -> dict[str, pl.Expr]:
    if fields[0].kind.groups != kinds.ADDRESS_PORT.groups:
        return {}
    return {f"{name.removesuffix('_ip')}_port": pl.col(fields[0].columns[1])}


def _collect_attributes(events: pl.DataFrame, named: Mapping[str, pl.Expr]) -> list[pl.Series]:
    """The column `attributes`, or nothing if no row has any."""
    row = pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")
    entries = pl.concat(
        events.select(row, pl.lit(name).alias("key"), value.alias("value")).filter(pl.col("value").is_not_null())
        for name, value in named.items()
    )
    if entries.is_empty():
        return []
    # Forty times as fast as a list of structs for every row, most of which have none.
    filled = (
        entries.sort("row", maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg(pl.struct("key", "value").alias("attributes"))
    )
    which = pl.Series([None], dtype=pl.UInt32).new_from_index(0, len(events))
    which = which.scatter(filled.get_column("row"), range(len(filled)))
    return [filled.get_column("attributes").cast(TEXTS).gather(which).alias("event attributes")]
