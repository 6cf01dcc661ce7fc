"""What m2 adds to each event about its client: country, robot or not, browser, device."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from m2cli.stages.browsers import ROBOT_DEVICE, name_browsers, name_devices
from m2cli.stages.countries import CountryRule, add_country
from m2cli.stages.distinct import code_values
from m2cli.stages.robots import are_robots


@dataclass(frozen=True, kw_only=True)
class EnrichRule:
    """How clients are described."""

    country: CountryRule = field(default_factory=CountryRule)


def enrich(events: pl.DataFrame, rule: EnrichRule) -> pl.DataFrame:
    """`events` with `country` where they have an `ip`, and with what `add_client` adds; DESIGN 6.1.

    Raises `UnreadableSourceError` when the database of countries cannot be read.
    """
    return events.pipe(add_country, rule.country).pipe(add_client)


def add_client(events: pl.DataFrame) -> pl.DataFrame:
    """`events` with `is_robot` (Boolean), `browser` and `device` (String); unchanged without `user_agent`.

    None of them is null where there is a user agent. Where it is null, an event with an `ip` and without
    `session_id` is a robot's: the server saw a client that neither named itself, as every browser does, nor
    kept a cookie. Any other null means that the source does not record user agents (an order system, a
    shop's own server), and nothing is said about the client.
    """
    if "user_agent" not in events.columns:
        return events
    agents = code_values(events["user_agent"])
    robots = are_robots(agents.values)
    described = events.with_columns(
        agents.spread(robots).alias("is_robot"),
        agents.spread(name_browsers(agents.values)).alias("browser"),
        agents.spread(name_devices(agents.values, robots)).alias("device"),
    )
    if not agents.codes.has_nulls() or "ip" not in events.columns:
        return described
    has_cookie = pl.col("session_id").is_not_null() if "session_id" in events.columns else pl.lit(value=False)
    is_nameless = pl.col("user_agent").is_null() & pl.col("ip").is_not_null() & ~has_cookie
    return described.with_columns(
        is_robot=pl.when(is_nameless).then(pl.lit(value=True)).otherwise("is_robot"),
        device=pl.when(is_nameless).then(pl.lit(ROBOT_DEVICE)).otherwise("device"),
    )
