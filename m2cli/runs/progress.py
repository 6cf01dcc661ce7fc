"""How a run tells how far it is: plain facts, for whoever draws them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Step(NamedTuple):
    """How much of what is done."""

    what: str
    done: int
    total: int | None
    unit: str
    """bytes, events or visits."""
    at: str = ""
    """The event time that has been reached, where that says more than a number."""


Tell = Callable[[Step], None]


def tell_nobody(_step: Step) -> None:
    """The progress of a run that nobody watches."""
