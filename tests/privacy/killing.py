"""A batch of a pipeline in a process of its own, which dies at a step."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

from m2cli.runs.run import run_pipeline
from tests.forks import CONTEXT

if TYPE_CHECKING:
    from datetime import datetime

    from m2cli.pipeline import PipelineRule
    from tests.runs.rebuild.killing import Target


def _run_until(rule: PipelineRule, now: datetime, target: Target) -> None:
    seen: Counter[str] = Counter()

    def at(step: str) -> None:
        seen[step] += 1
        if target == (step, seen[step]):
            os.kill(os.getpid(), signal.SIGKILL)

    run_pipeline(rule, now=lambda: now, at=at, is_flush=True)


def kill_run(rule: PipelineRule, now: datetime, target: Target) -> None:
    """Run a batch that flushes, up to `target`."""
    process = CONTEXT.Process(target=_run_until, args=(rule, now, target))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"{target} was not reached"
