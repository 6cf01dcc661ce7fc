"""A limit to how long a call may take, for those of a library that have none."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

P = ParamSpec("P")
T = TypeVar("T")


def call_within(timeout: timedelta, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `call` returns or raises. Raises `TimeoutError` if that takes longer than `timeout`.

    Then the call goes on by itself, in a thread that does not keep the process alive: who gives up on a Kafka client
    shuts it out by opening another one.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  # it is raised where it is waited for
            outcome.set_exception(error)

    Thread(target=run, name="m2-kafka", daemon=True).start()
    try:
        return outcome.result(timeout.total_seconds())
    except TimeoutError:
        if outcome.done():  # the call's own
            raise
        raise TimeoutError(f"no answer within {timeout.total_seconds():g} s") from None
