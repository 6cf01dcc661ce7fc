"""The stages again, event by event and in plain loops, from DESIGN alone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

Event = dict[str, str | None]


def visitor_of(event: Mapping[str, str | None], by: str) -> Hashable:
    """What makes this event's visitor the same as another's; None: nothing does."""
    if by == "ip":
        return event.get("ip") or None
    if by == "session":
        return event.get("session_id") or None
    for name in ("visitor_id", "session_id"):
        if event.get(name):
            return event[name]
    return (event["ip"], event.get("user_agent")) if event.get("ip") else None


def page_of(url: str | None) -> tuple[str, str] | None:
    """Host and path with query of a URL; the host of a path is empty."""
    if not url:
        return None
    if url.startswith(("/", "?")):
        whole = url.partition("#")[0]
        return "", whole if whole.startswith("/") else "/" + whole
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return parts.hostname, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def derive_causes(
    events: Iterable[Event],
    own_hosts: frozenset[str],
    known_hosts: Mapping[str, str],
) -> list[tuple[str | None, str | None]]:
    """Cause and reason of each event; `known_hosts` are the search engines and social networks that occur."""
    derived: list[tuple[str | None, str | None]] = []
    earlier: list[Event] = []
    for event in events:
        cause, reason = event["cause_id"], event["reason"]
        if event["event_type"] == "page":
            if cause is None:
                found = _cause_of(event, earlier, own_hosts, known_hosts)
                cause = found["event_id"] if found else None
                if found is None and reason is None:
                    reason = _reason_of(event, own_hosts, known_hosts)
            earlier.append(event)
        derived.append((cause, reason))
    return derived


def _is_own(host: str, own_hosts: frozenset[str], known_hosts: Mapping[str, str]) -> bool:
    if not own_hosts:
        return host not in known_hosts
    return host == "" or any(host == own or host.endswith("." + own) for own in own_hosts)


def _cause_of(
    event: Event, earlier: list[Event], own_hosts: frozenset[str], known_hosts: Mapping[str, str]
) -> Event | None:
    referrer = page_of(event["referrer"])
    if referrer is None or not _is_own(referrer[0], own_hosts, known_hosts):
        return None
    for page in reversed(earlier):
        shown = page_of(page["url"])
        if page["visit_id"] == event["visit_id"] and shown in {referrer, ("", referrer[1])}:
            return page
    return None


def _reason_of(event: Event, own_hosts: frozenset[str], known_hosts: Mapping[str, str]) -> str:
    if "utm_source=" in (event["url"] or ""):
        return "campaign"
    referrer = page_of(event["referrer"])
    if referrer is None:
        return "direct"
    if _is_own(referrer[0], own_hosts, known_hosts):
        return "link"
    return known_hosts.get(referrer[0], "link")
