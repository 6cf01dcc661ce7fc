"""Settings of what is made of events: [visit], [visitor], [country], [causes], [redaction]."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from m2cli.pipeline.keys.key import Key, check_hosts
from m2cli.pipeline.kinds import DURATION, LITERALS, PATH, TEXT, TEXTS
from m2cli.pipeline.rule import (
    check_time,
)
from m2cli.stages.redaction import RedactionRule
from m2cli.stages.visitors import VisitorRule
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from collections.abc import Callable


def _check_visit(name: str) -> Callable[[Any], object]:
    return lambda value: VisitRule(**{name: value})


def _check_names(names: tuple[str, ...]) -> None:
    RedactionRule(names=frozenset(names))


_visit = partial(Key, section="visit", kind=DURATION)

RULE_KEYS = (
    _visit(
        name="inactivity",
        default="30m",
        check=_check_visit("inactivity"),
        meaning="A silence of more than this ends a visit.",
    ),
    _visit(
        name="max_duration",
        default="12h",
        check=_check_visit("max_duration"),
        meaning="An event more than this after the first of its visit starts the next visit.",
    ),
    _visit(
        name="max_out_of_orderness",
        default="5m",
        check=_check_visit("max_out_of_orderness"),
        meaning="How far behind the latest event of its partition an event may be; one further behind is late.",
    ),
    _visit(
        name="idle_after",
        default="1h",
        check=_check_visit("idle_after"),
        meaning="A partition with nothing new for this long no longer holds the others' visits open.",
    ),
    _visit(
        name="max_ahead",
        default="10m",
        check=check_time,
        meaning="An event further ahead of its arrival than this is a reject: `from_the_future`.",
    ),
    Key(
        section="visitor",
        name="by",
        kind=TEXT,
        default="default",
        check=lambda by: VisitorRule(by=by),
        meaning="Who a visitor is: `default` (session cookie, else address and user agent), `session`, or `ip`.",
    ),
    Key(
        section="country",
        name="database",
        kind=PATH,
        sample='"countries.mmdb"',
        meaning="An MMDB file to take countries from; by default the registries' own assignments.",
    ),
    Key(
        section="causes",
        name="own_hosts",
        kind=TEXTS,
        sample='["shop.example"]',
        check=check_hosts,
        meaning="The shop's own hosts, whose subdomains are its own too; by default those whose pages were visited.",
    ),
    Key(
        section="redaction",
        name="names",
        kind=TEXTS,
        sample='["voucher"]',
        check=_check_names,
        meaning="Parameters that hold secrets, besides those that are [redacted by default](redaction.md).",
    ),
    Key(
        section="redaction",
        name="patterns",
        kind=LITERALS,
        sample="{ loyalty = 'LC-[0-9]{8}' }",
        check=lambda patterns: RedactionRule(patterns=patterns),
        meaning="Regular expressions of what else is a secret, wherever it stands, by the name that it is counted by.",
    ),
)
