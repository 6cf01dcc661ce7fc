"""What stands inside fields: cookies, by the header or by what was set, and parameters of queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.errors import UsageError
from m2cli.logs.fields.escapes import decode_query
from m2cli.logs.fields.values import read_value
from m2cli.logs.formats.patterns import escape_pattern

if TYPE_CHECKING:
    from m2cli.logs.formats.model import Field, LogFormat


def list_extracts(log_format: LogFormat) -> dict[str, pl.Expr]:
    """The values that the options of `log_format` ask for, by the column or attribute they go to."""
    options = log_format.options
    cookies = {column: _find_cookie(log_format, name) for column, name in options.cookies.items()}
    queries = {column: _find_parameter(log_format, name) for column, name in options.queries.items()}
    return cookies | queries


def list_sources(log_format: LogFormat) -> list[Field]:
    """The fields that the options of `log_format` take something out of, beside the URL."""
    options = log_format.options
    found = [each for name in options.cookies.values() for each in _of_cookie(log_format, name)]
    found += log_format.find("cookie", "response_set_cookie") if options.cookies else []
    found += [each for name in options.queries.values() for each in log_format.find(f"query_{name}")]
    return found + (log_format.find(options.client.field) if options.client else [])


def check_extracts(log_format: LogFormat) -> None:
    """Raise `UsageError` where a cookie or a parameter is asked for and the format has no field that may hold it."""
    options = log_format.options
    for name in options.cookies.values():
        if not (_of_cookie(log_format, name) or log_format.find("cookie", "response_set_cookie")):
            hint = f"log it as `%{{{name}}}C` in Apache or `$cookie_{name}` in nginx"
            raise UsageError(f"the format `{log_format.name}` has no field for the cookie `{name}`; {hint}")
    if options.queries and not log_format.find("request", "url", "path", "query"):
        raise UsageError(f"the format `{log_format.name}` has no URL to take a parameter from")
    if options.client and not log_format.find(options.client.field):
        known = ", ".join(f"`{each.meaning}`" for each in log_format.fields)
        raise UsageError(f"the format `{log_format.name}` has no field `{options.client.field}`; it has {known}")


def _of_cookie(log_format: LogFormat, name: str) -> list[Field]:
    # nginx asks for a cookie in any case, and in a variable a hyphen cannot stand.
    wanted = {f"cookie_{name}", f"cookie_{name.replace('-', '_')}", f"cookie_{name.lower()}"}
    return [each for each in log_format.fields if each.meaning in wanted]


def _find_cookie(log_format: LogFormat, name: str) -> pl.Expr:
    """The cookie that the browser sent; or if it had none, the one it was given: a first hit and the next are one's."""
    sign = escape_pattern(name)
    values = [read_value(each) for each in _of_cookie(log_format, name)]
    values += [
        read_value(each).str.extract(rf'(?:^|[;,]) ?{sign}="?([^;,"]+)', 1)
        for each in log_format.find("cookie", "response_set_cookie")
    ]
    return pl.coalesce(values) if values else pl.lit(None, pl.String)


def _find_parameter(log_format: LogFormat, name: str) -> pl.Expr:
    sign = escape_pattern(name)
    value = pl.col("event url").str.extract(rf"^[^?#]*\?(?:[^#]*&)?{sign}=([^&#]*)", 1)
    own = [read_value(each) for each in log_format.find(f"query_{name}")]
    text = pl.coalesce(value, *own).map_batches(decode_query, return_dtype=pl.String)
    return pl.when(text != "").then(text)
