"""What passes the privacy filter: everything by name, nothing by default but what can say nothing of a person."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING

from m2cli.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

# DESIGN 3.1: the types that m2 itself knows.
EVENT_TYPES = frozenset({"enter", "page", "request", "show", "seen", "click", "add_to_cart", "purchase", "event"})
# What is about a thing that the shop has, and is the same for everybody who looks at it.
ENTITY_TYPES = frozenset({"product", "banner", "list", "campaign"})
# Types whose name passes; their ids do not: a search term is what somebody wrote.
_NAMED_ONLY = frozenset({"page", "search term"})
HOOKS = frozenset({"add_to_cart", "product_page"})
REASONS = frozenset(
    {
        *("search", "social", "campaign", "link", "direct"),  # of roots, by m2
        *("recommendation", "bestseller", "also_bought", "product_page"),
    }
)
PARAMETERS = frozenset({"utm_source", "utm_medium", "utm_campaign"})
CASELESS = ("customer", "session", "visitor")
_PLACEHOLDER = re.compile(r"\{[A-Za-z_]\w*\}")
_SEGMENT = re.compile(r"[^/?#%;{}*\s]+")


@dataclass(frozen=True, kw_only=True)
class PrivacyRule:
    """Which values pass as they are. Identifiers never do, and what is not named here does not either.

    Raises `UsageError` for a path that is no pattern, `UnknownNameError` for a field that has no case.
    """

    paths: tuple[str, ...] = ("/",)
    """Paths of the shop's own pages: `/product/{id}` passes with the id, `/account/*` with `*` in that place,
    `/static/**` with whatever is below as `**`. Compared decoded and without regard to case."""
    parameters: frozenset[str] = PARAMETERS
    """Parameters of queries that pass with their values, as long as these are a plain word or number."""
    own_hosts: frozenset[str] = frozenset()
    """The shop's own hosts, of which referrers keep path and query by the two above; others keep the host alone."""
    entity_types: frozenset[str] = ENTITY_TYPES
    """Types of entities whose ids pass."""
    event_types: frozenset[str] = EVENT_TYPES
    """Types of events; others become `other`."""
    hooks: frozenset[str] = HOOKS
    reasons: frozenset[str] = REASONS
    attributes: frozenset[str] = frozenset()
    """Names of attributes that pass with their values."""
    caseless: frozenset[str] = frozenset()
    """Of customer, session and visitor those whose ids differ in case alone and mean the same."""
    cause_reach: timedelta = timedelta(days=90)
    """How far before an effect its cause is looked for in the visits of another year."""

    def __post_init__(self) -> None:
        for path in self.paths:
            check_path(path)
        for name in self.caseless:
            if name not in CASELESS:
                raise UnknownNameError("field without case", name, CASELESS)
        if not timedelta(0) <= self.cause_reach <= timedelta(days=36_525):
            raise UsageError(
                f"`cause_reach` is {self.cause_reach}; it must be zero or more and at most a hundred years"
            )
        lowered = {"parameters", "own_hosts"}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, frozenset):
                names = {name.lower() for name in value} if each.name in lowered else value
                object.__setattr__(self, each.name, frozenset(names))

    @property
    def known_entity_types(self) -> frozenset[str]:
        """The types of entities that pass as such."""
        return self.entity_types | _NAMED_ONLY

    def allowing(self, **more: Iterable[str]) -> PrivacyRule:
        """This rule with more names in the fields that are called so."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, added in more.items():
            values[name] = type(values[name])([*values[name], *added])
        return PrivacyRule(**values)


def check_path(path: str) -> None:
    """Raise `UsageError` unless `path` is a pattern of paths."""
    hint = "write it as `/product/{id}`, `/account/*` or `/static/**`"
    if not path.startswith("/"):
        raise UsageError(f"`{path}` is no pattern of paths; {hint}")
    segments = path[1:].split("/") if path != "/" else []
    for number, segment in enumerate(segments):
        is_last = number == len(segments) - 1
        is_pattern = segment == "*" or (segment == "**" and is_last) or (segment == "" and is_last)
        if not (is_pattern or _PLACEHOLDER.fullmatch(segment) or _SEGMENT.fullmatch(segment)):
            raise UsageError(f"`{segment}` in `{path}` is no part of a pattern of paths; {hint}")
