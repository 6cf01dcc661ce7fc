"""How a person says what access logs are written like, and what is wanted of their fields."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from m2cli.commands.options import PATH, complete

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from m2cli.logs.formats.options import FieldRule

R = TypeVar("R")
_NAMES = (
    *("combined", "common", "vhost_combined", "vhost_common", "combinedio", "nginx", "w3c", "cloudfront", "alb", "elb"),
    *("s3", "haproxy", "squid", "traefik", "cloudstorage", "caddy", "traefik_json", "json"),
)


class LogOptions(NamedTuple):
    """What the options of access logs say."""

    formats: tuple[str, ...]
    config: Path | None
    keep: tuple[str, ...]
    cookies: tuple[str, ...]
    queries: tuple[str, ...]
    client_ip: str | None

    def find_layout(self, logs: Sequence[str]) -> str | None:
        """The formats that are named for `logs`, or that the server's configuration settles, one a line."""
        from m2cli.errors import UsageError

        if self.config is None:
            return "\n".join(self.formats) or None
        if self.formats:
            raise UsageError("`--config` and `--log-format` both say how lines are written; give one of them")
        from m2cli.logs.formats.configs import read_config

        return read_config(self.config).choose(logs)

    def make_rule(self, time_zone: str) -> FieldRule:
        """What is made of the fields."""
        from m2cli.logs.formats.options import FieldRule, parse_client, parse_pairs

        return FieldRule(
            keep=tuple(name for names in self.keep for name in names.split(",")),
            cookies=parse_pairs("--cookie", self.cookies),
            queries=parse_pairs("--query", self.queries),
            client=None if self.client_ip is None else parse_client(self.client_ip),
            time_zone=time_zone,
        )


def log_options(command: Callable[..., R]) -> Callable[..., R]:
    """The options that say how access logs are read; the command gets `log_options` in their place."""

    @click.option(
        "--log-format",
        "formats",
        multiple=True,
        metavar="FORMAT",
        shell_complete=complete(*_NAMES),
        help="A name (`m2 formats` lists them), Apache's LogFormat or nginx' log_format; by default told by the first "
        "lines. Several: each line is tried with one after the other.",
    )
    @click.option("--config", type=PATH, metavar="FILE", help="The nginx.conf or httpd.conf that settles the format.")
    @click.option(
        "--keep", multiple=True, metavar="FIELD", help="A field to keep in `attributes`, by its standard name; or all."
    )
    @click.option(
        "--cookie", "cookies", multiple=True, metavar="COLUMN=NAME", help="A column, and the cookie it is filled from."
    )
    @click.option(
        "--query", "queries", multiple=True, metavar="COLUMN=NAME", help="A column, and the parameter of the URL."
    )
    @click.option(
        "--client-ip",
        metavar="FIELD[:trusted=NETS]",
        help="The field that proxies add the client's address to, and the networks of one's own proxies.",
    )
    @functools.wraps(command)
    def with_options(*args: Any, **kwargs: Any) -> R:
        own = LogOptions(**{name: kwargs.pop(name) for name in LogOptions._fields})
        return command(*args, log_options=own, **kwargs)

    return with_options
