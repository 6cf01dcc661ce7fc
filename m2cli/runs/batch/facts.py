"""What a batch came to: the counts that must add up, and what is told of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from m2cli.errors import NotConservedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMES = ("W", "open_until", "first_event_time", "last_event_time")


@dataclass(frozen=True, kw_only=True)
class BatchFacts:
    """One batch in numbers; the ledger keeps them. Raises `NotConservedError` if they do not add up (DESIGN 5.3)."""

    read_count: int = 0
    """Lines or rows."""
    event_count: int = 0
    reject_count: int = 0
    ignored_count: int = 0
    """Blank lines and directives."""
    carried_in_count: int = 0
    """Events that the batch before left: pending, and tagged in open visits."""
    closed_event_count: int = 0
    """Events of the visits that this batch wrote."""
    late_count: int = 0
    duplicate_count: int = 0
    carried_out_count: int = 0
    added_count: int = 0
    """Events of a rebuild that came out of late events, rejects or logs named to it."""
    excluded_count: int = 0
    """Events that a rebuild took out of the lake."""
    visit_count: int = 0
    open_visit_count: int = 0
    open_until: datetime | None = None
    """When the last of the open visits ends, if nothing more comes."""
    id_reused_count: int = 0
    W: datetime | None = None
    is_sent: bool = False
    """Whether its tagged events and ends of visit are in topics."""
    first_event_time: datetime | None = None
    last_event_time: datetime | None = None
    reject_reasons: Mapping[str, int] = field(default_factory=dict)
    redacted_count: int = 0
    """Secrets that were replaced."""
    redacted: Mapping[str, int] = field(default_factory=dict)
    """The same by what they are: a listed name, a pattern's, a card, userinfo; the commonest first."""
    late_reasons: Mapping[str, int] = field(default_factory=dict)
    late_parts: Mapping[str, int] = field(default_factory=dict)
    """The parts most of whose events came late, with how many did: logs that were forgotten, perhaps."""
    warnings: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    seconds: float = 0.0

    def __post_init__(self) -> None:
        kept = self.event_count + self.reject_count + self.ignored_count
        if kept != self.read_count:
            raise NotConservedError(
                f"{self.read_count:,} lines were read, but {self.event_count:,} events, {self.reject_count:,} rejects "
                f"and {self.ignored_count:,} ignored are {kept:,}: {abs(self.read_count - kept):,} "
                f"{'are missing' if kept < self.read_count else 'too many'}"
            )
        came = self.event_count + self.carried_in_count
        went = self.closed_event_count + self.late_count + self.duplicate_count + self.carried_out_count
        went += self.excluded_count
        if came != went:
            raise NotConservedError(
                f"{self.event_count:,} events and {self.carried_in_count:,} carried in are {came:,}, but "
                f"{self.closed_event_count:,} in closed visits, {self.late_count:,} late, {self.duplicate_count:,} "
                f"duplicates, {self.excluded_count:,} taken out and {self.carried_out_count:,} carried out are "
                f"{went:,}: {abs(came - went):,} {'are missing' if went < came else 'too many'}"
            )

    def to_json(self) -> dict[str, Any]:
        """What the ledger keeps."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> BatchFacts:
        """The facts that the ledger kept."""
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in kept.items() if name in known}
        values |= {name: datetime.fromisoformat(values[name]) for name in _TIMES if values.get(name)}
        values |= {name: tuple(values[name]) for name in ("warnings", "passed_over") if name in values}
        return cls(**values)
