"""What is told of each batch to those who look later: a line for people, a line of JSON, counters for Prometheus."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from m2cli.errors import UnwritableSinkError
from m2cli.lake.write import explain_unwritable
from m2cli.runs.batch.facts import BatchFacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from m2cli.ledger import Ledger, LedgerBatch
    from m2cli.pipeline import PipelineRule

# Sums over all batches: the fact, the metric, what it says.
_COUNTERS = (
    ("read_count", "m2_lines_total", "Lines or rows read."),
    ("event_count", "m2_events_total", "Events taken in."),
    ("reject_count", "m2_rejects_total", "Lines or rows that could not become an event."),
    ("ignored_count", "m2_ignored_total", "Blank lines and directives."),
    ("late_count", "m2_late_events_total", "Events that came behind the watermark."),
    ("duplicate_count", "m2_duplicates_total", "Copies of events that were kept."),
    ("closed_event_count", "m2_closed_events_total", "Events of visits that have ended."),
    ("visit_count", "m2_visits_total", "Visits that have ended."),
    ("redacted_count", "m2_redacted_total", "Secrets that were replaced before anything was written."),
)


def report_batch(pipeline: PipelineRule, ledger: Ledger, batch: LedgerBatch) -> list[UnwritableSinkError]:
    """Tell of `batch`, which is committed, in the log, the log of JSON lines and the metrics that the pipeline names.

    Returns why one of them could not be written; the others are.
    """
    facts = BatchFacts.from_json(batch.facts)
    failures = []
    for path, write, describe in (
        (pipeline.log, _append, partial(describe_batch, batch, facts)),
        (pipeline.json_log, _append, partial(_to_json, pipeline, batch, facts)),
        (pipeline.metrics, _replace, partial(_join_metrics, pipeline, ledger, batch, facts)),
    ):
        try:
            if path:
                write(path, describe())
        except UnwritableSinkError as error:
            failures.append(error)
    return failures


def _to_json(pipeline: PipelineRule, batch: LedgerBatch, facts: BatchFacts) -> str:
    named = {"pipeline": pipeline.name, "batch_id": batch.batch_id, "kind": batch.kind}
    times = {"plan_time": batch.plan_time.isoformat(), "end_time": batch.end_time and batch.end_time.isoformat()}
    return json.dumps(named | times | facts.to_json())


def _join_metrics(pipeline: PipelineRule, ledger: Ledger, batch: LedgerBatch, facts: BatchFacts) -> str:
    return "\n".join(describe_metrics(pipeline.name, ledger, batch, facts)) + "\n"


def describe_batch(batch: LedgerBatch, facts: BatchFacts) -> str:
    """One line for people."""
    parts = [
        f"{batch.end_time or batch.plan_time:%Y-%m-%d %H:%M:%S}Z {batch.batch_id}",
        batch.kind if batch.kind != "run" else "",
        f"read {facts.read_count:,}",
        f"rejects {facts.reject_count:,}" if facts.reject_count else "",
        f"late {facts.late_count:,}" if facts.late_count else "",
        f"duplicates {facts.duplicate_count:,}" if facts.duplicate_count else "",
        f"redacted {facts.redacted_count:,}" if facts.redacted_count else "",
        f"visits {facts.visit_count:,}",
        f"open {facts.open_visit_count:,}",
        f"W {facts.W:%Y-%m-%d %H:%M:%S}Z" if facts.W else "W none",
        f"{facts.seconds:.1f} s",
        *(f"warning: {text}" for text in facts.warnings),
    ]
    return "  ".join(filter(None, parts))


def describe_metrics(name: str, ledger: Ledger, batch: LedgerBatch, facts: BatchFacts) -> Iterator[str]:
    """The lines of a file for node exporter's textfile collector."""
    label = f'{{pipeline="{name}"}}'
    sums = ledger.sum_facts([fact for fact, _, _ in _COUNTERS])
    for fact, metric, help_text in _COUNTERS:
        yield from _metric(metric, "counter", help_text, f"{label} {sums[fact]}")
    end_time = batch.end_time or batch.plan_time
    gauges = (
        ("m2_batches_total", "counter", "Batches committed.", ledger.count_batches()),
        ("m2_open_visits", "gauge", "Visits that are open.", facts.open_visit_count),
        ("m2_carried_events", "gauge", "Events of open visits.", facts.carried_out_count),
        ("m2_last_batch_timestamp_seconds", "gauge", "When the last batch was committed.", end_time.timestamp()),
        ("m2_last_batch_duration_seconds", "gauge", "How long the last batch took.", facts.seconds),
        ("m2_last_batch_warnings", "gauge", "What the last batch warned of.", len(facts.warnings)),
    )
    for metric, kind, help_text, value in gauges:
        yield from _metric(metric, kind, help_text, f"{label} {value}")
    if facts.W:
        help_text = "W: every visit that ended before it is in the lake."
        yield from _metric("m2_watermark_timestamp_seconds", "gauge", help_text, f"{label} {facts.W.timestamp()}")


def _metric(metric: str, kind: str, help_text: str, sample: str) -> Iterator[str]:
    yield f"# HELP {metric} {help_text}"
    yield f"# TYPE {metric} {kind}"
    yield metric + sample


def _append(path: Path, line: str) -> None:
    with explain_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(line.replace("\n", " ") + "\n")


def _replace(path: Path, text: str) -> None:
    """The collector reads `*.prom` at any moment, so it finds the old file or the new one, whole."""
    unfinished = path.with_name(path.name + ".unfinished")
    with explain_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
