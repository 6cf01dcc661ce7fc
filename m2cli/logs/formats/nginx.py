r"""nginx' log_format: the table of its variables, and from a layout such as `$remote_addr [$time_local]` the format.

The variables are those that can stand in log_format (nginx.org/en/docs/varindex.html), and those that the ingress
controller of Kubernetes adds. A variable that is in no table is one that a configuration has made itself, with `set` or
`map`: it is taken as a text, by its own name.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from m2cli.errors import UsageError
from m2cli.logs.formats import kinds
from m2cli.logs.formats.kinds import Escape, Kind
from m2cli.logs.formats.model import Field, LogFormat, Piece, Shape, Token, apart, join_pieces, name_fields
from m2cli.logs.formats.patterns import LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT = "default"
ESCAPES = {DEFAULT: Escape.BACKSLASH, "json": Escape.JSON, "none": Escape.NONE}


class Variable(NamedTuple):
    """What a variable holds: its standard name, its name in reasons, how, and how far to believe it."""

    meaning: str
    label: str
    kind: Kind
    rank: int = 0


def _own(kind: Kind, *names: str) -> dict[str, Variable]:
    """Variables whose standard name is their own."""
    return {name: Variable(name, name.replace("_", " "), kind) for name in names}


VARIABLES: Mapping[str, Variable] = {
    "remote_addr": Variable("remote_ip", "address", kinds.ADDRESS),
    "binary_remote_addr": Variable("binary_remote_addr", "address", kinds.TEXT),
    "realip_remote_addr": Variable("peer_ip", "connection's address", kinds.ADDRESS),
    "realip_remote_port": Variable("peer_port", "connection's port", kinds.PORT),
    "proxy_protocol_addr": Variable("proxy_protocol_ip", "address by the PROXY protocol", kinds.ADDRESS),
    "the_real_ip": Variable("client_ip", "client's address", kinds.ADDRESS),
    "remote_user": Variable("user", "user", kinds.USER),
    "time_local": Variable("time", "time", kinds.CLF_TIME),
    "time_iso8601": Variable("time", "time", kinds.ISO_TIME, 1),
    "msec": Variable("time", "time", kinds.EPOCH, 2),
    "request": Variable("request", "request", kinds.REQUEST),
    "request_method": Variable("method", "method", kinds.METHOD),
    "request_uri": Variable("url", "URL", kinds.URL),
    "uri": Variable("path", "path", kinds.TEXT),
    "document_uri": Variable("path", "path", kinds.TEXT, -1),
    "args": Variable("query", "query", kinds.TEXT),
    "query_string": Variable("query", "query", kinds.TEXT, -1),
    "server_protocol": Variable("protocol", "protocol", kinds.PROTOCOL),
    "status": Variable("status", "status", kinds.STATUS),
    "body_bytes_sent": Variable("bytes", "size", kinds.SIZE),
    "bytes_sent": Variable("bytes_sent", "size with headers", kinds.SIZE),
    "bytes_received": Variable("bytes_received", "size of the request", kinds.SIZE),
    "request_length": Variable("bytes_received", "size of the request", kinds.SIZE, 1),
    "request_time": Variable("duration", "duration", kinds.SECONDS),
    "session_time": Variable("duration", "duration", kinds.SECONDS, -1),
    "http_referer": Variable("referrer", "referrer", kinds.TEXT),
    "http_user_agent": Variable("user_agent", "user agent", kinds.TEXT),
    "http_cookie": Variable("cookie", "cookies", kinds.TEXT),
    "http_host": Variable("host", "host", kinds.TEXT, 1),
    "host": Variable("host", "host", kinds.TEXT),
    "server_addr": Variable("server_ip", "server's address", kinds.ADDRESS),
    "req_id": Variable("request_id", "request's id", kinds.WORD),
    "request_id": Variable("request_id", "request's id", kinds.WORD),
    "pid": Variable("process_id", "process", kinds.INTEGER),
    "connection": Variable("connection_id", "connection", kinds.INTEGER),
    "connection_requests": Variable("connection_request_count", "number of requests", kinds.INTEGER),
    "pipe": Variable("pipe", "sign of pipelining", kinds.SIGN),
    "content_length": Variable("content_length", "length of the content", kinds.SIZE),
    **_own(
        kinds.PORT, "remote_port", "server_port", "proxy_protocol_port", "proxy_protocol_server_port", "service_port"
    ),
    **_own(kinds.ADDRESS, "proxy_protocol_server_addr"),
    **_own(kinds.SECONDS, "connection_time"),
    **_own(kinds.INTEGER, "tcpinfo_rtt", "tcpinfo_rttvar", "tcpinfo_snd_cwnd", "tcpinfo_rcv_space", "limit_rate"),
    **_own(kinds.DECIMAL, "gzip_ratio"),
    **_own(
        kinds.WORD,
        *(
            "scheme",
            "https",
            "hostname",
            "server_name",
            "is_args",
            "request_completion",
            "nginx_version",
            "http2",
            "http3",
        ),
        *("invalid_referer", "limit_conn_status", "limit_req_status", "namespace", "ingress_name", "service_name"),
        *(
            "request_port",
            "is_request_port",
            "quic",
            "uid_reset",
            "msie",
            "protocol",
            "ssl_session_reused",
            "ssl_early_data",
        ),
        *("proxy_host", "proxy_port", "proxy_upstream_name", "proxy_alternative_upstream_name", "secure_link"),
    ),
    **_own(
        kinds.TEXT,
        *(
            "uid_got",
            "uid_set",
            "content_type",
            "request_body",
            "request_body_file",
            "request_filename",
            "document_root",
        ),
        *("realpath_root", "proxy_add_x_forwarded_for", "ssl_protocol", "ssl_cipher", "ssl_ciphers", "ssl_curve"),
        *("ssl_curves", "ssl_alpn_protocol", "ssl_server_name", "ssl_session_id", "ssl_sigalg", "ssl_sigalgs"),
        *(
            "ssl_client_cert",
            "ssl_client_escaped_cert",
            "ssl_client_fingerprint",
            "ssl_client_i_dn",
            "ssl_client_raw_cert",
        ),
        *(
            "ssl_client_i_dn_legacy",
            "ssl_client_s_dn",
            "ssl_client_s_dn_legacy",
            "ssl_client_serial",
            "ssl_client_v_end",
        ),
        *(
            "ssl_client_v_remain",
            "ssl_client_v_start",
            "ssl_client_verify",
            "ssl_client_sigalg",
            "ssl_preread_protocol",
        ),
        *("ssl_preread_alpn_protocols", "ssl_preread_server_name", "ancient_browser", "modern_browser", "date_gmt"),
        *("date_local", "fastcgi_path_info", "fastcgi_script_name", "jwt_payload", "memcached_key", "slice_range"),
        *("spdy", "spdy_request_priority", "connections_active", "connections_reading", "connections_waiting"),
        *("connections_writing", "secure_link_expires", "session_log_id", "session_log_binary_id", "otel_trace_id"),
        *("otel_span_id", "otel_parent_id", "otel_parent_sampled", "mqtt_preread_clientid", "mqtt_preread_username"),
    ),
    **_own(
        kinds.LIST,
        *(
            "upstream_addr",
            "upstream_status",
            "upstream_response_time",
            "upstream_connect_time",
            "upstream_header_time",
        ),
        *("upstream_first_byte_time", "upstream_session_time", "upstream_queue_time", "upstream_response_length"),
        *("upstream_bytes_received", "upstream_bytes_sent", "upstream_cache_status", "upstream_cache_age"),
        *("upstream_last_server_name",),
    ),
}
# With any name behind them: what stands before it in the standard one.
PREFIXES: Mapping[str, str] = {
    "http_": "",
    "sent_http_": "response_",
    "sent_trailer_": "response_trailer_",
    "cookie_": "cookie_",
    "arg_": "query_",
    "upstream_http_": "upstream_response_",
    "upstream_cookie_": "upstream_cookie_",
    "upstream_trailer_": "upstream_trailer_",
    "geoip_": "geoip_",
    "geoip2_": "geoip2_",
    "jwt_claim_": "jwt_claim_",
    "jwt_header_": "jwt_header_",
    "proxy_protocol_tlv_": "proxy_protocol_tlv_",
}
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def compile_nginx(layout: str, *, name: str = "", about: str = "", escape: str = DEFAULT) -> LogFormat:
    """The format that nginx' log_format `layout` describes; a JSON object if it is written as one.

    `escape` is as in `log_format name escape=...`. Raises `LayoutError` for a dollar without a name.
    """
    name = name or layout
    if (paths := _find_paths(layout)) is not None:
        return _compile_json(layout, paths, name, about)
    tokens = name_fields(_read(layout, ESCAPES[escape]))
    try:
        pieces, tail = join_pieces(tokens)
    except UsageError as error:
        raise LayoutError(layout, 0, str(error)) from None
    return LogFormat(name=name, layout=layout, about=about, pieces=pieces, tail=tail)


def find_variable(name: str) -> Variable:
    """What the variable `name` holds; one that nginx does not know is a text of that name."""
    if name in VARIABLES:
        return VARIABLES[name]
    for prefix in sorted(PREFIXES, key=len, reverse=True):
        if name.startswith(prefix) and len(name) > len(prefix):
            own = name[len(prefix) :]
            return Variable(PREFIXES[prefix] + own if PREFIXES[prefix] else apart("header_", own), name, kinds.TEXT)
    return Variable(apart("variable_", name), name, kinds.TEXT)


def is_known(name: str) -> bool:
    """Whether nginx, one of its modules or the ingress controller has the variable `name`."""
    return name in VARIABLES or any(name.startswith(prefix) for prefix in PREFIXES)


def _read(layout: str, escape: Escape) -> Iterator[Token]:
    at = 0
    while at < len(layout):
        if layout[at] != "$":
            end = layout.find("$", at)
            end = len(layout) if end < 0 else end
            yield layout[at:end]
            at = end
            continue
        found = _VARIABLE.match(layout, at)
        if not found:
            raise LayoutError(layout, at, "a `$` without the name of a variable")
        yield make_field(found[1] or found[2], found[0], escape)
        at = found.end()


def make_field(variable: str, directive: str, escape: Escape) -> Field:
    """The field that `variable` is, written as `directive`."""
    meaning, label, kind, rank = find_variable(variable)
    may_be_escaped = kind.is_free and (kind.is_text or kind.may_hold_spaces)
    return Field(
        name=meaning,
        meaning=meaning,
        label=label,
        kind=kind,
        directive=directive,
        escape=escape if may_be_escaped else Escape.NONE,
        rank=rank,
        is_optional=kind in (kinds.ADDRESS, kinds.ISO_TIME) and meaning != "remote_ip",
    )


def _find_paths(layout: str) -> dict[str, tuple[str, ...]] | None:
    """Where in a JSON object each variable stands, if `layout` is such an object; None if it is not."""
    if not layout.lstrip().startswith("{"):
        return None
    quoted = _VARIABLE.sub(lambda found: f"@{found[1] or found[2]}@", layout)
    # A number stands without quotes; in the layout it is a name, which is no JSON.
    quoted = re.sub(r"(?<=[:,\[])(\s*)@(\w+)@(?=\s*[,}\]])", r'\1"@\2@"', quoted)
    try:
        document = json.loads(quoted)
    except ValueError:
        return None
    return dict(_walk(document, ()))


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _walk(below, (*path, key))
    elif isinstance(value, str) and (found := re.fullmatch(r"@(\w+)@", value)):
        yield found[1], path


def _in_object(field: Field) -> Field:
    return replace(field, kind=kinds.ANY_TIME) if field.kind.type == "time" else field


def _compile_json(layout: str, paths: Mapping[str, tuple[str, ...]], name: str, about: str) -> LogFormat:
    fields = name_fields(_in_object(make_field(variable, f"${variable}", Escape.NONE)) for variable in paths)
    pieces = tuple(Piece("", each, is_quoted=False) for each in fields if isinstance(each, Field))
    places = {piece.field.name: path for piece, path in zip(pieces, paths.values(), strict=True)}
    return LogFormat(name=name, layout=layout, about=about, pieces=pieces, shape=Shape.JSON, paths=places)
