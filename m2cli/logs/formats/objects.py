"""Logs of JSON objects, one a line: Caddy's, Traefik's, nginx', and any by a mapping of standard names to keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m2cli.errors import UnknownNameError, UsageError
from m2cli.logs.formats import kinds
from m2cli.logs.formats.model import Field, LogFormat, Piece, Shape, name_fields
from m2cli.logs.formats.nginx import find_variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from m2cli.logs.formats.kinds import Kind

PREFIX = "json:"
_KINDS: Mapping[str, Kind] = {
    "time": kinds.ANY_TIME,
    "remote_ip": kinds.ADDRESS,
    "client_ip": kinds.ADDRESS,
    "request": kinds.REQUEST,
    "status": kinds.STATUS,
    "bytes": kinds.SIZE,
    "bytes_sent": kinds.SIZE,
    "duration": kinds.SECONDS,
    "method": kinds.METHOD,
    "protocol": kinds.PROTOCOL,
}
# What a mapping may also say: the event's own names.
_OWN_NAMES = {"event_time": "time", "ip": "remote_ip", "customer_id": "user", "referer": "referrer"}
_NAMES = (
    *("time", "remote_ip", "client_ip", "user", "session_id", "request", "method", "url", "path", "query", "protocol"),
    *("status", "bytes", "referrer", "user_agent", "host", "cookie", "duration"),
)


def compile_object(
    keys: Iterable[tuple[str, str, Kind | None, int]], *, name: str, about: str = "", layout: str = ""
) -> LogFormat:
    """The format of objects with those `keys`: standard name, path with dots between keys, kind, rank."""
    rows = list(keys)
    fields = name_fields(
        Field(
            name=meaning,
            meaning=meaning,
            label=meaning.replace("_", " "),
            kind=kind or _KINDS.get(meaning, kinds.TEXT),
            directive=path,
            rank=rank,
        )
        for meaning, path, kind, rank in rows
    )
    pieces = tuple(Piece("", each, is_quoted=False) for each in fields if isinstance(each, Field))
    paths = {piece.field.name: tuple(row[1].split(".")) for piece, row in zip(pieces, rows, strict=True)}
    return LogFormat(name=name, layout=layout or name, about=about, pieces=pieces, shape=Shape.JSON, paths=paths)


def compile_mapping(text: str) -> LogFormat:
    """The format of a mapping such as `json:time=ts,ip=client.address,url=request.path,status=code`.

    Raises `UsageError` for one without a time, `UnknownNameError` for a name that is none of the event's.
    """
    rows: list[tuple[str, str, Kind | None, int]] = []
    for pair in text.removeprefix(PREFIX).split(","):
        name, equals, path = pair.strip().partition("=")
        if not (equals and name and path):
            raise UsageError(f"`{pair}` of `{text}` is not like `url=request.path`: NAME=KEY")
        name = _OWN_NAMES.get(name, name)
        if name not in _NAMES:
            raise UnknownNameError("name in a mapping", name, (*_NAMES, *_OWN_NAMES))
        rows.append((name, path, None, 0))
    if not any(name == "time" for name, *_ in rows):
        raise UsageError(f"`{text}` says nothing of the time; add `time=` and its key")
    return compile_object(rows, name=text, layout=text, about="by a mapping of standard names to keys")


def _rows(*pairs: str, ranked: Iterable[str] = ()) -> list[tuple[str, str, Kind | None, int]]:
    found = [(*pair.split("=", 1), None, 0) for pair in pairs]
    found += [(*pair.split("=", 1), None, -1 - rank) for rank, pair in enumerate(ranked)]
    return found  # type: ignore[return-value]  # a pair has two halves


_HEADERS = {"Referer": "referrer", "User-Agent": "user_agent", "Cookie": "cookie", "X-Forwarded-For": "x_forwarded_for"}
CADDY = compile_object(
    [
        *_rows(
            *(
                "time=ts",
                "client_ip=request.client_ip",
                "remote_ip=request.remote_ip",
                "remote_port=request.remote_port",
            ),
            *(
                "user=user_id",
                "method=request.method",
                "url=request.uri",
                "host=request.host",
                "protocol=request.proto",
            ),
            *("status=status", "bytes=size", "bytes_received=bytes_read", "duration=duration", "logger=logger"),
            *(f"{meaning}=request.headers.{header}.0" for header, meaning in _HEADERS.items()),
            "response_set_cookie=resp_headers.Set-Cookie.0",
        ),
        ("remote_ip", "request.remote_addr", kinds.ADDRESS_OR_PORT, -1),  # before 2.5, with its port
    ],
    name="caddy",
    about="Caddy's JSON: caddyserver.com/docs/caddyfile/directives/log",
)
TRAEFIK = compile_object(
    [
        *_rows(
            *(
                "time=StartUTC",
                "remote_ip=ClientHost",
                "remote_port=ClientPort",
                "user=ClientUsername",
                "url=RequestPath",
            ),
            *("method=RequestMethod", "protocol=RequestProtocol", "scheme=RequestScheme", "host=RequestHost"),
            *("status=DownstreamStatus", "bytes=DownstreamContentSize", "router=RouterName", "service=ServiceName"),
            *(f"{meaning}=request_{header}" for header, meaning in _HEADERS.items()),
            *("entry_point=entryPointName", "request_count=RequestCount", "server_url=ServiceURL", "trace_id=TraceId"),
            "response_set_cookie=downstream_Set-Cookie",
            ranked=("time=StartLocal", "time=time"),
        ),
        ("duration", "Duration", kinds.NANOS, 0),
        ("origin_duration", "OriginDuration", kinds.NANOS, 0),
        ("overhead_duration", "Overhead", kinds.NANOS, 0),
    ],
    name="traefik_json",
    about="Traefik's JSON, whose durations are nanoseconds: doc.traefik.io/traefik/observability/access-logs/",
)
_OF_NGINX = (
    *("remote_addr", "remote_user", "request", "request_method", "request_uri", "args", "server_protocol", "status"),
    *(
        "body_bytes_sent",
        "bytes_sent",
        "request_length",
        "request_time",
        "http_referer",
        "http_user_agent",
        "http_host",
    ),
    *("host", "http_cookie", "http_x_forwarded_for", "request_id", "scheme", "server_name", "upstream_response_time"),
    *("upstream_addr", "upstream_status", "upstream_cache_status", "uid_got", "uid_set", "ssl_protocol", "ssl_cipher"),
)
ANY_OBJECT = compile_object(
    [
        *(
            (find_variable(name).meaning, name, find_variable(name).kind, find_variable(name).rank)
            for name in _OF_NGINX
        ),
        *_rows(
            ranked=(
                *("time=time_iso8601", "time=@timestamp", "time=timestamp", "time=time", "time=ts", "time=datetime"),
                *("time=time_local", "time=msec", "time=date", "client_ip=client_ip", "client_ip=clientip"),
                *("remote_ip=remote_ip", "remote_ip=ip", "remote_ip=client", "remote_ip=remote_host", "remote_ip=c_ip"),
                *("user=user", "user=username", "method=method", "method=verb", "url=url", "url=uri", "url=path"),
                *("protocol=protocol", "status=status_code", "status=response", "status=response_code", "bytes=bytes"),
                *(
                    "bytes=size",
                    "bytes=response_size",
                    "referrer=referrer",
                    "referrer=referer",
                    "user_agent=user_agent",
                ),
                *("user_agent=useragent", "user_agent=agent", "user_agent=http_agent", "duration=duration"),
                *("session_id=session_id", "host=hostname", "x_forwarded_for=x_forwarded_for"),
            )
        ),
    ],
    name="json",
    about="objects with the keys that most people choose, as nginx' variables; others by `json:time=ts,url=...`",
)
