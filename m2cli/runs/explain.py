"""Why a visit begins and ends where it does: the silences around it, the limit that was met, who closed it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from m2cli.errors import M2Error
from m2cli.lake.layout import OWN_FOLDER, has_ledger
from m2cli.lake.scan import scan_lake
from m2cli.lake.snapshot import BrokenLakeError
from m2cli.ledger import open_ledger
from m2cli.runs.batch.facts import BatchFacts
from m2cli.runs.batch.plan import Plan
from m2cli.runs.batch.site import LEDGER
from m2cli.visits import VisitRule

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.ledger import LedgerBatch

_VISIT = ("visit_id", "visitor_id", "start_time", "end_time", "event_count", "end_reason", "continues_visit_id")
_MISSED = ("event_id", "event_time", "late_by", "late_reason")


class UnknownVisitError(M2Error):
    """A visit id that no visit of the lake has."""

    def __init__(self, visit_id: str, lake: Path) -> None:
        self.visit_id, self.lake = visit_id, lake
        super().__init__(
            f"no visit `{visit_id}` in the lake `{lake}`; one that is open is in no file yet, and "
            "`m2 query --pipeline` shows it"
        )


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """The visit of the same visitor before or after, and the silence between the two."""

    visit_id: str
    time: datetime
    """Its last event, or its first."""
    silence: timedelta


@dataclass(frozen=True, kw_only=True)
class Missed:
    """An event that would have been in the visit, or beside it, had it not come late."""

    event_id: str | None
    event_time: datetime
    late_by: timedelta
    late_reason: str


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The batch that closed a visit."""

    batch_id: str
    plan_time: datetime
    W: datetime | None
    is_flush: bool


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What is known of the bounds of a visit; `closed` is None where no ledger says so."""

    visit_id: str
    visitor_id: str
    start_time: datetime
    end_time: datetime
    event_count: int
    end_reason: str
    continues_visit_id: str | None
    inactivity: timedelta
    max_duration: timedelta
    is_rule_known: bool
    """Whether the limits are those that it was made by, and not only those of m2."""
    before: Neighbour | None
    after: Neighbour | None
    limit: str
    """The limit that came first: inactivity or max_duration."""
    limit_time: datetime
    """The last moment at which an event could have belonged to it."""
    closed: Closed | None
    missed: tuple[Missed, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can have it: times as ISO 8601, durations in seconds."""
        return {name: _to_json(value) for name, value in asdict(self).items()}


def explain_visit(visit_id: str, lake: Path) -> Explained:
    """Why the visit `visit_id` of `lake` begins and ends where it does.

    Raises `UnknownVisitError` if there is none, `UnreadableSourceError` where there is no lake.
    """
    tables = scan_lake(lake)
    is_it = pl.col("visit_id") == visit_id
    found = _collect(lake, tables.visits.filter(is_it).select(_VISIT))
    if found.is_empty():
        raise UnknownVisitError(visit_id, lake)
    visit = found.row(0, named=True)
    is_visitors = pl.col("visitor_id") == visit["visitor_id"]
    others = _collect(lake, tables.visits.filter(is_visitors, ~is_it).select(_VISIT).sort("start_time"))
    batches = _list_batches(lake)
    closing, rule, is_known = _find_closing(visit, batches)
    silent, longest = visit["end_time"] + rule.inactivity, visit["start_time"] + rule.max_duration
    reach = rule.inactivity
    near = pl.col("event_time").is_between(visit["start_time"] - reach, visit["end_time"] + reach)
    late = _collect(lake, tables.late.filter(is_visitors, near).select(_MISSED).sort("event_time"))
    return Explained(
        **visit,
        inactivity=rule.inactivity,
        max_duration=rule.max_duration,
        is_rule_known=is_known,
        before=_find_before(visit, others),
        after=_find_after(visit, others),
        limit="max_duration" if longest < silent else "inactivity",
        limit_time=min(silent, longest),
        closed=closing,
        missed=tuple(Missed(**row) for row in late.iter_rows(named=True)),
    )


def _find_before(visit: dict[str, Any], others: pl.DataFrame) -> Neighbour | None:
    before = others.filter(pl.col("end_time") <= visit["start_time"])
    if before.is_empty():
        return None
    last = before.sort("end_time").row(-1, named=True)
    return Neighbour(visit_id=last["visit_id"], time=last["end_time"], silence=visit["start_time"] - last["end_time"])


def _find_after(visit: dict[str, Any], others: pl.DataFrame) -> Neighbour | None:
    after = others.filter(pl.col("start_time") >= visit["end_time"])
    if after.is_empty():
        return None
    first = after.row(0, named=True)
    return Neighbour(
        visit_id=first["visit_id"], time=first["start_time"], silence=first["start_time"] - visit["end_time"]
    )


def _list_batches(lake: Path) -> list[LedgerBatch]:
    if not has_ledger(lake):
        return []
    with open_ledger(lake / OWN_FOLDER / LEDGER) as ledger:
        return ledger.list_batches(kinds=["run"])


def _find_closing(visit: dict[str, Any], batches: list[LedgerBatch]) -> tuple[Closed | None, VisitRule, bool]:
    """The first batch whose W was past the visit's limit, by the rule of its own plan; and that rule."""
    rule, is_known = VisitRule(), False
    for batch in batches:
        plan, W = Plan.from_json(batch.plan), BatchFacts.from_json(batch.facts).W
        rule, is_known = plan.visit, True
        limit_time = min(visit["end_time"] + rule.inactivity, visit["start_time"] + rule.max_duration)
        if W is not None and limit_time < W:
            closed = Closed(batch_id=batch.batch_id, plan_time=batch.plan_time, W=W, is_flush=plan.is_flush)
            return closed, rule, is_known
    return None, rule, is_known


def _collect(lake: Path, rows: pl.LazyFrame) -> pl.DataFrame:
    try:
        return rows.collect()
    except (OSError, pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
        raise BrokenLakeError(lake, error) from error


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _to_json(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_to_json(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.total_seconds() if isinstance(value, timedelta) else value
