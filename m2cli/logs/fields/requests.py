"""What a request line asked for, and whether what was answered is a page."""

from __future__ import annotations

import polars as pl

from m2cli.events import PAGE

REQUEST = "request"

USUAL_PROTOCOLS = ("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/3.0", "HTTP/2", "HTTP/3")
"""Protocols that say nothing, and are dropped; any other is kept as the attribute `protocol`."""
_USUAL_METHODS = ("GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "PROPFIND", "CONNECT")

# RFC 9110 5.6.2: a method is a token. What lies between it and the protocol is the URL, spaces and all.
_REQUEST = (
    r"(?s)^(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]+) +(?P<url>[^ ](?:.*[^ ])?) +"
    r"(?P<protocol>[A-Za-z]+/[0-9]+(?:\.[0-9]+)?) *$"
)

# What a page is made of, or fetches by itself: Matomo's STATIC_EXTENSIONS (log-analytics, import_logs.py) and
# AWStats' NotPageList, and what browsers have learnt to load since. Documents to read or to keep (html, php,
# pdf, txt, zip) are not in it.
ASSETS = (
    *("css", "js", "mjs", "map", "wasm", "class", "swf", "json", "webmanifest", "xml", "rss"),
    *("png", "jpg", "jpeg", "gif", "bmp", "ico", "svg", "svgz", "webp", "avif", "tif", "tiff"),
    *("woff", "woff2", "ttf", "otf", "eot"),
    *("mp3", "mp4", "m4a", "m4v", "ogg", "ogv", "oga", "wav", "webm", "m3u8", "ts", "vtt"),
)
_ASSET = rf"^[^?#]*\.(?i-u:{'|'.join(ASSETS)})(?:[?#]|$)"


def split_request(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with its `request` replaced by `method`, `url` and `protocol` (String).

    The protocol is null where it is a usual one. A request that is not "METHOD URL PROTOCOL" (the first bytes
    of a TLS handshake, one cut short) is a request all the same: `url` is then its whole text, the others are
    null.
    """
    request = pl.col("request")
    parts = frame.select(request.str.splitn(" ", 3).struct.rename_fields(["method", "url", "protocol"]).struct.unnest())
    is_usual = (
        parts.select(
            pl.col("protocol").is_in(USUAL_PROTOCOLS) & pl.col("method").is_in(_USUAL_METHODS) & (pl.col("url") != "")
        )
        .to_series()
        .fill_null(value=False)
    )
    parts = parts.with_columns(pl.lit(None, pl.String).alias("protocol"))
    if not is_usual.all():
        odd = frame.filter(~is_usual).select(request).select(_split_any(request))
        parts = _replace_rows(parts, ~is_usual, odd)
    return frame.drop("request").hstack(parts)


def _split_any(request: pl.Expr) -> list[pl.Expr]:
    parts = request.str.extract_groups(_REQUEST).struct
    protocol = parts.field("protocol")
    return [
        parts.field("method"),
        pl.coalesce(parts.field("url"), request).alias("url"),
        pl.when(~protocol.is_in(USUAL_PROTOCOLS)).then(protocol).alias("protocol"),
    ]


def _replace_rows(frame: pl.DataFrame, is_replaced: pl.Series, rows: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the rows of `is_replaced` taken from `rows`, in order."""
    which = pl.select(pl.when(is_replaced).then(is_replaced.cum_sum() - 1)).to_series()
    return frame.select(
        pl.when(is_replaced).then(rows.get_column(name).gather(which)).otherwise(pl.col(name)).alias(name)
        for name in frame.columns
    )


def name_event_type() -> pl.Expr:
    """`page` for a GET answered 2xx or 304 that is no asset, else `request` (DESIGN 3.4).

    Reads `method`, `url` and `status`; adds `event_type`.
    """
    status = pl.col("status")
    is_answered = status.is_between(200, 299) | (status == 304)
    is_page = (pl.col("method") == "GET") & is_answered & ~pl.col("url").str.contains(_ASSET)
    return pl.when(is_page).then(pl.lit(PAGE)).otherwise(pl.lit(REQUEST)).alias("event_type")
