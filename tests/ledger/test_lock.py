"""One run of a pipeline at a time, one writer of a lake at a time; a lock dies with its process, whatever ends it."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import ExitCode, UnwritableSinkError
from m2cli.ledger import LockedError, hold_lock
from tests.forks import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from pathlib import Path


def _hold(path: Path, pipe: Connection) -> None:
    with hold_lock(path, "the pipeline `shop`"):
        pipe.send(os.getpid())
        pipe.poll(None)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[BaseProcess]:
    """A process that holds the lock at `lock` until it is let go."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_hold, args=(tmp_path / "lock", theirs))
    process.start()
    assert ours.recv() == process.pid
    yield process
    process.kill()
    process.join()
    ours.close()


def test_a_lock_that_another_process_holds_is_refused_at_once_with_its_number(
    tmp_path: Path, holder: BaseProcess
) -> None:
    with pytest.raises(LockedError) as refused, hold_lock(tmp_path / "lock", "the pipeline `shop`"):
        pass
    text = f"the pipeline `shop` is held by another run (process {holder.pid}); nothing was done"
    assert (str(refused.value), refused.value.exit_code) == (text, ExitCode.LOCKED)


def test_a_lock_dies_with_its_process_even_when_that_is_killed(tmp_path: Path, holder: BaseProcess) -> None:
    holder.kill()
    holder.join()
    assert holder.exitcode == -signal.SIGKILL
    with hold_lock(tmp_path / "lock", "the pipeline `shop`"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_who_waits_is_told_so_once_and_gets_the_lock_when_it_is_let_go(tmp_path: Path, holder: BaseProcess) -> None:
    waited: list[str] = []
    timer = threading.Timer(0.5, holder.kill)

    def wait() -> None:
        waited.append("waiting")
        timer.start()

    with hold_lock(tmp_path / "lock", "the lake `lake`", wait=wait):
        holder.join()
        assert waited == ["waiting"]


def test_a_lock_is_free_again_after_its_block_even_if_that_fails(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="fails"), hold_lock(tmp_path / "lock", "the pipeline `shop`"):
            raise ValueError("fails")


def test_nobody_waits_for_a_lock_that_is_free(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock", "the lake `lake`", wait=lambda: pytest.fail("waited")):
        pass


def test_a_lock_that_cannot_be_made_is_an_unwritable_sink(tmp_path: Path) -> None:
    with pytest.raises(UnwritableSinkError, match="no such file"), hold_lock(tmp_path / "no" / "lock", "it"):
        pass
