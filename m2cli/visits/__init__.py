"""The kernel: visits out of events, by event time alone. It needs polars and the event, nothing else of m2."""

from m2cli.visits.assign import Assigned, assign_visits, closing_time, flush_time, list_open_visits
from m2cli.visits.bounded import Sessionized, sessionize
from m2cli.visits.gather import Gathered, count_reused_ids, gather
from m2cli.visits.late import SplitLate, split_late
from m2cli.visits.rules import VisitRule
from m2cli.visits.state import VisitState
from m2cli.visits.watermarks import Watermark, declare_partitions, no_partitions, plan_partitions

__all__ = [
    "Assigned",
    "Gathered",
    "Sessionized",
    "SplitLate",
    "VisitRule",
    "VisitState",
    "Watermark",
    "assign_visits",
    "closing_time",
    "count_reused_ids",
    "declare_partitions",
    "flush_time",
    "gather",
    "list_open_visits",
    "no_partitions",
    "plan_partitions",
    "sessionize",
    "split_late",
]
