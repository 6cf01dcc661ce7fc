"""The sample that is kept in `sample_data/`; `python -m tests.sample.committed` makes it anew."""

from __future__ import annotations

import shutil
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from m2cli.runs.sample import SampleFacts, make_sample
from m2cli.sample.rule import SampleRule

FOLDER = Path(__file__).parents[2] / "sample_data"
EVENTS = SampleRule(events=6_000, days=2, start_date=date(2025, 12, 30), seed=7)
LOG = SampleRule(
    events=3_000, days=2, start_date=date(2025, 12, 30), seed=7, format="access-log", sources=1, malformed=7
)

README = """\
# Sample data

Two days of a shop, the last of 2025, made by `m2 sample`, with the truth about them.

    m2 sample shop --events 6000 --days 2 --start 2025-12-30 --seed 7
    m2 sample logs --events 3000 --days 2 --start 2025-12-30 --seed 7 --as access-log \\
      --sources 1 --malformed 7

`events.parquet` is `shop/events` in one file, `access.log` is `logs/logs/web-0.access.log`.

| file | what it is |
|---|---|
| `events.parquet` | {event_count} events of {visitor_count} visitors, in order of arrival, four partitions |
| `access.log` | {log_count} combined lines of {log_visitor_count} visitors, {malformed} that are none |
| `truth/all/` | the visits and roots of all events: what `m2 sessionize` finds, which sorts everything |
| `truth/on_time/` | the same without the events that are late at a bound of five minutes: what batches find |
| `truth/access_log/` | both for `access.log`: visitors by address and user agent, no roots |

In `truth/*/events.parquet` an event is named by `source` and `position_in_source` (of a log line: its
byte offset); `start_time` is that of its visit, null where it is in none (a copy; a late event in `on_time`).
`root_event_id` is null where the causes end in an orphan or go in a ring. `visitor_id` is the session
cookie, or, where there is none, `address user-agent`.
In `truth/*/visits.parquet`, `is_closed` says that the input alone closed the visit, before any flush.

## A purchase and its causes

{chains}
## What is in it

| | events | log |
|---|---|---|
{counts}

The journeys made to meet an edge of the rules, by what they meet:

| edge | events | log |
|---|---|---|
{traps}
"""


def make(folder: Path) -> None:
    """Make `sample_data/` as `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        shop, logs = Path(scratch, "shop"), Path(scratch, "logs")
        facts, log_facts = make_sample(shop, EVENTS), make_sample(logs, LOG)
        folder.mkdir(parents=True, exist_ok=True)
        events = pl.read_parquet(shop / "events")
        events.write_parquet(folder / "events.parquet")
        shutil.copyfile(logs / "logs" / "web-0.access.log", folder / "access.log")
        shutil.rmtree(folder / "truth", ignore_errors=True)
        shutil.copytree(shop / "truth", folder / "truth")
        shutil.copytree(logs / "truth", folder / "truth" / "access_log")
    (folder / "README.md").write_text(_describe(events, facts, log_facts))


def _describe(events: pl.DataFrame, facts: SampleFacts, log_facts: SampleFacts) -> str:
    by_id = {event["event_id"]: event for event in events.iter_rows(named=True)}
    counts = {name: (facts.counts[name], log_facts.counts.get(name, "")) for name in facts.counts}
    traps = {name: (facts.traps[name], log_facts.traps.get(name, "")) for name in facts.traps}
    return README.format(
        event_count=f"{facts.event_count:,}",
        visitor_count=facts.visitor_count,
        log_count=f"{log_facts.event_count:,}",
        log_visitor_count=log_facts.visitor_count,
        malformed=LOG.malformed,
        chains="\n".join(_show_chain(by_id, event_id) for event_id in pick_purchases(by_id)),
        counts="\n".join(f"| {name.replace('_', ' ')} | {a} | {b} |" for name, (a, b) in counts.items()),
        traps="\n".join(f"| {name.replace('_', ' ')} | {a} | {b} |" for name, (a, b) in traps.items()),
    )


def find_chain(by_id: dict[str, dict[str, Any]], event_id: str | None) -> list[dict[str, Any]]:
    """The event and its causes, the root last."""
    chain = []
    while event_id is not None:
        chain.append(by_id[event_id])
        event_id = by_id[event_id]["cause_id"]
    return chain


def pick_purchases(by_id: dict[str, dict[str, Any]]) -> list[str]:
    """Two purchases to show: one of the third recommendation of eight, one with causes of another day."""
    bought = [event for event in by_id.values() if event["event_type"] == "purchase"]
    chains = {event["event_id"]: find_chain(by_id, event["event_id"]) for event in bought}
    in_order = [event["event_id"] for event in sorted(bought, key=lambda event: event["event_time"])]
    recommended = (n for n in in_order if any((c["reason"], c["position"]) == ("recommendation", 3) for c in chains[n]))
    across = (n for n in in_order if chains[n][0]["event_time"].date() != chains[n][-1]["event_time"].date())
    return [next(recommended), next(across)]


def _show_chain(by_id: dict[str, dict[str, Any]], event_id: str) -> str:
    lines = []
    for event in find_chain(by_id, event_id):
        words = [event[name] for name in ("event_type", "entity_type", "entity_id", "hook", "reason")]
        place = f"position {event['position']}" if event["position"] else None
        money = f"{event['amount']} {event['currency']}" if event["amount"] else None
        what = " ".join(str(word) for word in [*words, place, money] if word is not None)
        lines.append(f"    {event['event_time']:%m-%d %H:%M:%S}  {event['event_id']}  {what}")
    return "\n".join([f"`m2 trace {event_id}`:", "", *lines, ""])


if __name__ == "__main__":
    make(FOLDER)
