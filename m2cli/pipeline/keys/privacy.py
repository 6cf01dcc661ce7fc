"""Settings of the pseudonymous twin: [anonymize]."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from m2cli.pipeline.keys.key import Key, check_hosts
from m2cli.pipeline.kinds import DURATION, FLAG, PATH, TEXT, TEXTS
from m2cli.privacy.rule import PrivacyRule

if TYPE_CHECKING:
    from collections.abc import Callable

_anonymize = partial(Key, section="anonymize")
# Of [anonymize]: the fields of a `PrivacyRule` that these names are added to.
PASSING = (
    "paths",
    "parameters",
    "own_hosts",
    "entity_types",
    "event_types",
    "hooks",
    "reasons",
    "attributes",
    "caseless",
)


def _check_passing(name: str) -> Callable[[Any], object]:
    return lambda names: PrivacyRule().allowing(**{name: names})


PRIVACY_KEYS = (
    _anonymize(
        name="lake",
        kind=PATH,
        sample='"anonymous"',
        meaning="The folder of the pseudonymous lake; each batch adds its visits to it.",
    ),
    _anonymize(
        name="salts",
        kind=PATH,
        default="/etc/m2/salts",
        meaning="The folder of the salts, one file a year, of the user who runs the pipeline.",
    ),
    _anonymize(
        name="salt_command",
        kind=TEXT,
        sample='"vault kv get -field=salt shop/{year}"',
        meaning="In its place: a command that prints the salt of `{year}`, run without a shell.",
    ),
    _anonymize(
        name="create",
        kind=FLAG,
        default="false",
        sample="true",
        meaning="Whether the salt of a year that has begun is made where it is missing.",
    ),
    _anonymize(
        name="paths",
        kind=TEXTS,
        sample='["/product/{id}", "/account/*", "/static/**"]',
        check=_check_passing("paths"),
        meaning="Paths of the shop's pages that pass besides `/`: with the id, or with `*` or `**` in its place.",
    ),
    _anonymize(
        name="parameters",
        kind=TEXTS,
        sample='["page"]',
        check=_check_passing("parameters"),
        meaning="Parameters of URLs whose values pass, besides `utm_source`, `utm_medium` and `utm_campaign`.",
    ),
    _anonymize(
        name="own_hosts",
        kind=TEXTS,
        sample='["shop.example"]',
        check=check_hosts,
        meaning="Hosts whose referrers keep path and parameters, besides those of [causes].",
    ),
    _anonymize(
        name="entity_types",
        kind=TEXTS,
        sample='["article"]',
        check=_check_passing("entity_types"),
        meaning="Types of entities whose ids pass, besides product, banner, list and campaign.",
    ),
    _anonymize(
        name="event_types",
        kind=TEXTS,
        sample='["wish"]',
        check=_check_passing("event_types"),
        meaning="Types of events that pass besides m2's own; others become `other`.",
    ),
    _anonymize(
        name="hooks",
        kind=TEXTS,
        sample='["zoom"]',
        check=_check_passing("hooks"),
        meaning="Hooks that pass besides add_to_cart and product_page; others become `other`.",
    ),
    _anonymize(
        name="reasons",
        kind=TEXTS,
        sample='["seasonal"]',
        check=_check_passing("reasons"),
        meaning="Reasons that pass besides m2's own and the usual ones; others become `other`.",
    ),
    _anonymize(
        name="attributes",
        kind=TEXTS,
        sample='["colour"]',
        check=_check_passing("attributes"),
        meaning="Names of attributes that pass with their values; by default none.",
    ),
    _anonymize(
        name="caseless",
        kind=TEXTS,
        sample='["customer"]',
        check=_check_passing("caseless"),
        meaning="Of customer, session and visitor those whose ids differ in case alone and mean the same.",
    ),
    _anonymize(
        name="cause_reach",
        kind=DURATION,
        default="90d",
        check=lambda reach: PrivacyRule(cause_reach=reach),
        meaning="How far before an effect its cause is looked for in the visits of another year.",
    ),
)
