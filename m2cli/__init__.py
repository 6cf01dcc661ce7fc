"""m2 in a notebook: frames in, frames out; the same code that the verbs run.

>>> import polars as pl, m2cli
>>> events = pl.read_parquet("sample_data/events.parquet")  # doctest: +SKIP
>>> named = m2cli.assign_visitors(events, m2cli.VisitorRule()).events  # doctest: +SKIP
>>> m2cli.sessionize(named).visits  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2cli.files.find import find_files
    from m2cli.files.read import read_event_files
    from m2cli.files.rule import FileRule
    from m2cli.lake.scan import scan_lake
    from m2cli.logs.read import LogRule, read_access_log
    from m2cli.stages.causes import CauseRule, derive_causes
    from m2cli.stages.enrich import EnrichRule, enrich
    from m2cli.stages.redaction import RedactionRule, redact
    from m2cli.stages.trace import trace_causes
    from m2cli.stages.visitors import VisitorRule, assign_visitors
    from m2cli.visits import (
        VisitRule,
        VisitState,
        Watermark,
        assign_visits,
        closing_time,
        count_reused_ids,
        declare_partitions,
        flush_time,
        gather,
        list_open_visits,
        no_partitions,
        plan_partitions,
        sessionize,
        split_late,
    )

# Where each name lives; it is imported when it is used, so that `m2 --help` need not load polars.
_HOMES = {
    "CauseRule": "m2cli.stages.causes",
    "EnrichRule": "m2cli.stages.enrich",
    "FileRule": "m2cli.files.rule",
    "LogRule": "m2cli.logs.read",
    "RedactionRule": "m2cli.stages.redaction",
    "VisitRule": "m2cli.visits",
    "VisitState": "m2cli.visits",
    "VisitorRule": "m2cli.stages.visitors",
    "Watermark": "m2cli.visits",
    "assign_visitors": "m2cli.stages.visitors",
    "assign_visits": "m2cli.visits",
    "closing_time": "m2cli.visits",
    "count_reused_ids": "m2cli.visits",
    "declare_partitions": "m2cli.visits",
    "derive_causes": "m2cli.stages.causes",
    "enrich": "m2cli.stages.enrich",
    "find_files": "m2cli.files.find",
    "flush_time": "m2cli.visits",
    "gather": "m2cli.visits",
    "list_open_visits": "m2cli.visits",
    "no_partitions": "m2cli.visits",
    "plan_partitions": "m2cli.visits",
    "read_access_log": "m2cli.logs.read",
    "read_event_files": "m2cli.files.read",
    "redact": "m2cli.stages.redaction",
    "scan_lake": "m2cli.lake.scan",
    "sessionize": "m2cli.visits",
    "split_late": "m2cli.visits",
    "trace_causes": "m2cli.stages.trace",
}

__all__ = [
    "CauseRule",
    "EnrichRule",
    "FileRule",
    "LogRule",
    "RedactionRule",
    "VisitRule",
    "VisitState",
    "VisitorRule",
    "Watermark",
    "assign_visitors",
    "assign_visits",
    "closing_time",
    "count_reused_ids",
    "declare_partitions",
    "derive_causes",
    "enrich",
    "find_files",
    "flush_time",
    "gather",
    "list_open_visits",
    "no_partitions",
    "plan_partitions",
    "read_access_log",
    "read_event_files",
    "redact",
    "scan_lake",
    "sessionize",
    "split_late",
    "trace_causes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `m2cli` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
