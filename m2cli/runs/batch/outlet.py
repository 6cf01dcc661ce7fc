"""Where what a batch makes final goes besides the lake: to topics (`topics.py`), or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from m2cli.kafka import PlannedOffsets
    from m2cli.visits import Assigned


class Outlet(Protocol):
    """Where the events and visits of a step go as soon as they are final."""

    def begin(self, step: int) -> None:
        """Begin with a step."""

    def send(self, assigned: Assigned, W: datetime | None) -> None:
        """Send the events that W has made final, and the ends of the visits that it has closed."""

    def commit(self, offsets: Iterable[PlannedOffsets]) -> None:
        """Commit what was sent, and that `offsets` have been read."""


class Nowhere:
    """The outlet of a pipeline that writes no topics."""

    def begin(self, step: int) -> None:
        """Nothing is begun."""

    def send(self, assigned: Assigned, W: datetime | None) -> None:
        """Nothing is sent."""

    def commit(self, offsets: Iterable[PlannedOffsets]) -> None:
        """Nothing is committed."""
