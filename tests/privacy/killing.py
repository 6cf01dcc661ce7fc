"""A batch or a rebuild of a pipeline in a process of its own, which dies at a step."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

from m2cli.runs.rebuild.work import rebuild_dates
from m2cli.runs.run import run_pipeline
from tests.forks import CONTEXT

if TYPE_CHECKING:
    from datetime import datetime

    from m2cli.pipeline import PipelineRule
    from m2cli.runs.rebuild.rule import RebuildRule
    from tests.runs.rebuild.killing import Target


def _run_until(rule: PipelineRule, now: datetime, target: Target, rebuild: RebuildRule | None) -> None:
    seen: Counter[str] = Counter()

    def at(step: str) -> None:
        seen[step] += 1
        if target == (step, seen[step]):
            os.kill(os.getpid(), signal.SIGKILL)

    if rebuild:
        rebuild_dates(rule, rebuild, now=lambda: now, at=at)
    else:
        run_pipeline(rule, now=lambda: now, at=at, is_flush=True)


def kill_run(rule: PipelineRule, now: datetime, target: Target, rebuild: RebuildRule | None = None) -> None:
    """Run a batch that flushes, or a rebuild, up to `target`."""
    process = CONTEXT.Process(target=_run_until, args=(rule, now, target, rebuild))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"{target} was not reached"
