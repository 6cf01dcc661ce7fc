"""The truth is exact: what the generator says of its events is what DESIGN 4 makes of the files it wrote."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest

from m2cli.runs.sample import make_sample
from m2cli.sample.rule import SampleRule
from tests.twins.sample_twin import TwinTruth, find_truth, place_of, revenue_of, visitor_of

if TYPE_CHECKING:
    from pathlib import Path

LINE = re.compile(
    rb'(?P<ip>\S+) - - \[(?P<time>[^]]+)\] "(?P<method>\w+) (?P<url>\S+) HTTP/1.1" (?P<status>\d+)'
    rb' (?P<bytes>\d+|-) "(?P<referrer>[^"]*)" "(?P<user_agent>[^"]*)"'
)
RULES = {
    "a day of events": SampleRule(events=6_000),
    "another seed": SampleRule(events=6_000, seed=11),
    "three days": SampleRule(events=6_000, seed=11, days=3),
    "the new year in one partition": SampleRule(events=6_000, seed=5, start_date=date(2025, 12, 31), sources=1),
    "a dozen partitions": SampleRule(events=6_000, seed=5, sources=12),
    "ndjson": SampleRule(events=6_000, seed=7, format="ndjson"),
    "access logs": SampleRule(events=4_000, seed=7, format="access-log"),
    "access logs with other lines": SampleRule(events=4_000, seed=7, format="access-log", sources=2, malformed=7),
}


class Made(NamedTuple):
    directory: Path
    rule: SampleRule
    events: list[dict[str, Any]]
    twins: dict[str, TwinTruth]


@pytest.fixture(scope="module", params=RULES.values(), ids=RULES)
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("sample") / "shop"
    make_sample(directory, request.param)
    events = read_events(directory, request.param)
    twins = {name: find_truth(events, on_time=name == "on_time") for name in ("all", "on_time")}
    return Made(directory, request.param, events, twins)


@pytest.mark.parametrize("name", ["all", "on_time"])
def test_the_truth_of_visits_is_that_of_the_twin(sample: Made, name: str) -> None:
    twin = sample.twins[name]
    said = pl.read_parquet(sample.directory / "truth" / name / "visits.parquet").sort("visitor_id", "start_time")
    assert said.rows(named=True) == sorted(
        _visit_rows(twin, "flush" if name == "on_time" else "end_of_input"),
        key=lambda row: (row["visitor_id"], row["start_time"]),
    )


@pytest.mark.parametrize("name", ["all", "on_time"])
def test_the_truth_of_events_is_that_of_the_twin(sample: Made, name: str) -> None:
    directory, rule, events, twins = sample
    twin = twins[name]
    said = pl.read_parquet(directory / "truth" / name / "events.parquet")
    assert said.height == rule.events
    by_place = {(row["source"], row["position_in_source"]): row for row in said.iter_rows(named=True)}
    assert by_place == {place_of(event): _event_row(event, twin, rule) for event in events}


def _visit_rows(twin: TwinTruth, nothing_later: str) -> list[dict[str, Any]]:
    rows = []
    for visit in twin.visits:
        types = [event["event_type"] for event in visit.events]
        revenue, currency = revenue_of(visit)
        rows.append(
            {
                "visitor_id": visit.visitor,
                "start_time": visit.start,
                "end_time": visit.end,
                "event_count": len(visit.events),
                **{f"{name}_count": types.count(name) for name in ("page", "show", "click", "purchase")},
                "end_reason": twin.end_reason(visit, nothing_later),
                "is_closed": twin.is_closed(visit),
                "continues_start_time": visit.continues,
                "revenue": revenue,
                "currency": currency,
            }
        )
    return rows


def _event_row(event: dict[str, Any], twin: TwinTruth, rule: SampleRule) -> dict[str, Any]:
    place = place_of(event)
    row = {
        "source": event["source"],
        "part_id": "0",
        "position_in_source": event["position_in_source"],
        "visitor_id": visitor_of(event),
        "start_time": twin.start_of.get(place),
        "is_duplicate": place in twin.duplicates,
        "is_late": place in twin.late,
    }
    roots = {"root_event_id": twin.root_of.get(place), "is_orphan": place in twin.orphans}
    return row if rule.is_log else row | {"event_id": event["event_id"]} | roots


def read_events(directory: Path, rule: SampleRule) -> list[dict[str, Any]]:
    """The events as plain rows, from the files alone."""
    if rule.is_log:
        return [event for log in sorted((directory / "logs").iterdir()) for event in _read_log(log)]
    if rule.format == "ndjson":
        frame = pl.concat(pl.read_ndjson(path, infer_schema_length=None) for path in (directory / "events").iterdir())
        times = pl.col("event_time", "arrival_time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us")
        return frame.with_columns(times, pl.col("amount").cast(pl.Decimal(18, 4))).rows(named=True)
    return pl.read_parquet(directory / "events").rows(named=True)


def _read_log(path: Path) -> list[dict[str, Any]]:
    events, offset = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        if (match := LINE.fullmatch(line.rstrip(b"\n"))) and not line.startswith(b"77.160.1.2 "):
            event: dict[str, Any] = {name: value.decode() for name, value in match.groupdict().items()}
            time = datetime.strptime(event.pop("time"), "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
            is_page = event["method"] == "GET" and event["status"] == "200" and "/static/" not in event["url"]
            place = {"source": path.name.split(".")[0], "part_id": "0", "position_in_source": offset}
            events.append(event | place | {"event_time": time, "event_type": "page" if is_page else "request"})
        offset += len(line)
    return events
