"""A pipeline verified: what it needs can be had, and its lake, its snapshot and its ledger say the same."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from m2cli.errors import ExitCode, M2Error
from m2cli.lake.layout import OWN_FOLDER, SNAPSHOT
from m2cli.lake.snapshot import read_head
from m2cli.runs.batch.broker import Broker
from m2cli.runs.batch.site import LEDGER, refuse_foreign
from m2cli.runs.opened import open_pipelines_ledger
from m2cli.runs.progress import Step, tell_nobody
from m2cli.runs.reach import (
    Finding,
    check_database,
    check_outlets,
    check_places,
    check_salts,
    check_source,
    count_places,
)
from m2cli.runs.reconcile import RESTORE, reconcile

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from m2cli.pipeline import PipelineRule
    from m2cli.runs.progress import Tell


@dataclass
class CheckFacts:
    """What was looked at, and what was found."""

    looked_at: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        """The findings that are more than warnings."""
        return [finding for finding in self.findings if finding.code]

    @property
    def exit_code(self) -> ExitCode:
        """1 if data is not as it should be, else 2 for a setting, else 3 for what is out of reach, else 0."""
        return min((finding.code for finding in self.faults), default=ExitCode.OK)


class NotAsItShouldBeError(M2Error):
    """What `m2 check` ends with if it has found anything but warnings."""

    def __init__(self, facts: CheckFacts) -> None:
        self.facts, self.exit_code = facts, facts.exit_code
        count = len(facts.faults)
        super().__init__(
            "1 thing is not as it should be" if count == 1 else f"{count:,} things are not as they should be"
        )


def check_pipeline(
    pipeline: PipelineRule,
    *,
    now: datetime,
    is_deep: bool = False,
    tell: Tell = tell_nobody,
    wait: Callable[[], None] = lambda: None,
) -> CheckFacts:
    """Verify all of `pipeline` that can be; nothing is changed, and nothing is left.

    While the lake is held against the ledger its lock is held, so that runs wait; `wait` is called where it is waited
    for. With `is_deep` all rows of the lake are read as well, which no run waits for. Raises `UsageError` for a lake
    that is another's.
    """
    facts = CheckFacts()
    facts.looked_at.append(_count(count_places(pipeline), "place to write", "places to write"))
    facts.findings += check_places(pipeline)
    facts.findings += check_database(pipeline)
    facts.findings += check_salts(pipeline, now)
    path = pipeline.lake / OWN_FOLDER / LEDGER
    with closing(Broker(pipeline)) as broker, ExitStack() as stack:
        ledger = None
        with suppress(M2Error):  # told of below
            ledger = stack.enter_context(open_pipelines_ledger(pipeline))
        for source in pipeline.sources:
            facts.looked_at.append(f"the source {source.name}")
            facts.findings += check_source(source, now, broker, ledger)
        facts.looked_at += [f"the topic {name}" for name in (pipeline.topics.names if pipeline.topics else ())]
        facts.findings += check_outlets(pipeline, broker, ledger)
    facts.findings = list(dict.fromkeys(facts.findings))  # a cluster that is away hinders all that is there
    if path.exists():
        tell(Step("ledger", 0, None, "bytes"))
        facts.looked_at.append("the ledger")
        facts.findings += reconcile(pipeline, facts.looked_at, is_deep=is_deep, tell=tell, wait=wait)
    elif (pipeline.lake / SNAPSHOT).exists() and read_head(pipeline.lake).pipeline == pipeline.name:
        facts.findings.append(Finding(f"`{path}` is gone; {RESTORE}", ExitCode.DATA))
    else:
        refuse_foreign(pipeline.lake)
        facts.findings.append(Finding("there is no lake yet; the first `m2 run` makes it", ExitCode.OK))
    return facts


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
