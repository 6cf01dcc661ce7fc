"""m2 in a notebook: frames in, frames out; the same code that the verbs run.

>>> import m2cli
>>> made = m2cli.sessionize(events)  # doctest: +SKIP
>>> made.visits.group_by("country").len()  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2cli.lake.scan import scan_lake
    from m2cli.stages.trace import trace_causes
    from m2cli.visits import (
        VisitRule,
        VisitState,
        Watermark,
        assign_visits,
        gather,
        sessionize,
        split_late,
    )

# Where each name lives; it is imported when it is used, so that `m2 --help` need not load polars.
_HOMES = {
    "VisitRule": "m2cli.visits",
    "VisitState": "m2cli.visits",
    "Watermark": "m2cli.visits",
    "assign_visits": "m2cli.visits",
    "gather": "m2cli.visits",
    "scan_lake": "m2cli.lake.scan",
    "sessionize": "m2cli.visits",
    "split_late": "m2cli.visits",
    "trace_causes": "m2cli.stages.trace",
}

__all__ = [
    "VisitRule",
    "VisitState",
    "Watermark",
    "assign_visits",
    "gather",
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
