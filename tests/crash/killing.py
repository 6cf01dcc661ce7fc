"""A diary lived through by processes that are killed, each going on where the last one died."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from m2cli.errors import ExitCode
from m2cli.process import run_and_exit
from tests.crash.diaries import DIARIES, STEP
from tests.forks import CONTEXT
from tests.pipelines_runs.shop import START, describe_ledger, list_lake

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.connection import Connection
    from pathlib import Path
    from typing import Any

    from tests.crash.diaries import Diary
    from tests.pipelines_runs.shop import Shop


class Target(NamedTuple):
    """Where a process dies: at a step of the run after a moment."""

    moment: int
    step: str


class Life(NamedTuple):
    """What one process does: it goes on with the diary `name` in `folder` up to a moment, and dies at `target`."""

    folder: Path
    name: str
    first: int
    has_happened: bool
    """Whether the first moment is in the folder already, and only its run is missing."""
    last: int
    target: Target | None = None
    budget: int | None = None
    run_counts: tuple[int, ...] = ()
    """How many times to run after each moment; once if nothing is said."""
    signal: int = signal.SIGKILL
    """What it dies of."""
    file_size: int | None = None
    """How large a file of the last moment's run may become: a disk that is full at so many bytes."""


def _begin(life: Life, pipe: Connection) -> None:
    """As the process of a verb begins and ends."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # a file, which may be full as well
    run_and_exit(lambda: _live(life, pipe))


def _live(life: Life, pipe: Connection) -> None:
    if life.budget:
        _shrink(life.budget)
    diary = DIARIES[life.name]
    for number in range(life.first, life.last + 1):
        shop = diary.open(life.folder, number)
        if number > life.first or not life.has_happened:
            diary.moments[number](shop)
        pipe.send((number, ""))
        if life.file_size is not None and number == life.last:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (life.file_size, life.file_size))
        for _ in range(life.run_counts[number] if life.run_counts else 1):
            shop.run(is_flush=number in diary.flushes, at=_Watch(number, life, pipe))


class _Watch:
    """Tells the parent of each step, and dies at the target."""

    def __init__(self, number: int, life: Life, pipe: Connection) -> None:
        self._number, self._life, self._pipe = number, life, pipe

    def __call__(self, step: str) -> None:
        self._pipe.send((self._number, step))
        if self._life.target == (self._number, step):
            os.kill(os.getpid(), self._life.signal)


def _shrink(budget: int) -> None:
    """Let batches go by way of the disk, `budget` bytes of events at a time, and few files stand in a manifest."""
    from m2cli.lake import manifests, publish
    from m2cli.runs.batch import carry, cut, work

    work.budget_events = lambda _memory: budget  # type: ignore[assignment]
    carry._UNPACKED = 0.5  # of files that are hardly more than a footer
    cut._LEAST_GATHERED = 10
    publish.TAIL_LIMIT, publish.MANIFEST_LIMIT, manifests.MANIFEST_LIMIT = 4, 8, 8


class Lived(NamedTuple):
    """How a process ended, and what it told of moments and their steps."""

    exit_code: int | None
    told: list[tuple[int, str]]

    @property
    def moment(self) -> int | None:
        """The last moment that has happened; None if it died before the first."""
        return self.told[-1][0] if self.told else None


def live(life: Life, *, kill_after: float | None = None) -> Lived:
    """A process that lives `life`; killed so many seconds after its first moment, if it still lives then."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_begin, args=(life, theirs))
    process.start()
    theirs.close()
    told: list[tuple[int, str]] = []
    with ours:
        try:
            if kill_after is not None:
                told.append(ours.recv())
                process.join(kill_after)
                process.kill()
            while True:
                told.append(ours.recv())
        except EOFError:
            process.join()
    return Lived(process.exitcode, told)


def record(folder: Path, name: str, budget: int | None) -> list[Target]:
    """All steps of an undisturbed life, each once a moment, in order."""
    lived = live(Life(folder, name, 0, has_happened=False, last=len(DIARIES[name].moments) - 1, budget=budget))
    assert lived.exit_code == 0
    shutil.rmtree(folder)
    return list(dict.fromkeys(Target(*told) for told in lived.told if told[1]))


def choose_targets(steps: list[Target], most: int, seed: int) -> list[Target]:
    """Every step at up to `most` moments, in order."""
    dice = random.Random(seed)
    chosen: set[Target] = set()
    for step in dict.fromkeys(target.step for target in steps):
        moments = [target for target in steps if target.step == step]
        chosen.update(dice.sample(moments, min(most, len(moments))))
    return [target for target in steps if target in chosen]


class Survivor:
    """The folder of a diary, and how far its processes have come."""

    def __init__(self, folder: Path, name: str, budget: int | None = None) -> None:
        self.folder, self.name, self.budget = folder, name, budget
        self.diary: Diary = DIARIES[name]
        self.first, self.has_happened = 0, False
        self.kill_count = 0

    @property
    def shop(self) -> Shop:
        return self.diary.open(self.folder, len(self.diary.moments) - 1)

    def die_at(self, target: Target, by: int = signal.SIGKILL) -> None:
        """Go on until a process comes to `target`, and dies of the signal `by`."""
        lived = live(self._life(target.moment, target)._replace(signal=by))
        expected = -signal.SIGKILL if by == signal.SIGKILL else ExitCode.INTERRUPTED
        assert lived.exit_code == expected, f"{target} was not reached"
        self._note(lived)

    def fail_with_files_of(self, size: int, moment: int) -> int | None:
        """Go on to a moment after which no file may have more than `size` bytes; how the run ended."""
        lived = live(self._life(moment)._replace(file_size=size))
        self._note(lived)
        return lived.exit_code

    def die_after(self, seconds: float) -> None:
        self._note(live(self._life(len(self.diary.moments) - 1), kill_after=seconds))

    def live_to(self, last: int) -> None:
        """Go on, undisturbed, to the run after a moment."""
        lived = live(self._life(last))
        assert lived.exit_code == 0
        self.first, self.has_happened = last + 1, False

    def finish(self) -> None:
        """Go on, undisturbed, to the end."""
        self.live_to(len(self.diary.moments) - 1)

    def _life(self, last: int, target: Target | None = None) -> Life:
        return Life(self.folder, self.name, self.first, self.has_happened, last, target, self.budget)

    def _note(self, lived: Lived) -> None:
        self.kill_count += lived.exit_code == -signal.SIGKILL
        if lived.moment is not None:
            self.first, self.has_happened = lived.moment, True

    def assert_as_undisturbed(self) -> None:
        """The lake has the very files of one whose runs nobody killed, and the ledger says the same of them."""
        found, ledger = list_lake(self.shop), describe_ledger(self.shop)
        batches = self.shop.batches()
        shutil.rmtree(self.folder)
        run_counts = count_by_moment([batch.plan_time for batch in batches], len(self.diary.moments))
        last = len(self.diary.moments) - 1
        lived = live(Life(self.folder, self.name, 0, False, last, None, self.budget, run_counts))
        assert lived.exit_code == 0
        undisturbed = list_lake(self.shop)
        assert found.keys() == undisturbed.keys()
        assert [name for name in found if found[name] != undisturbed[name]] == []
        assert ledger == describe_ledger(self.shop)


def count_by_moment(plan_times: Iterable[Any], moment_count: int) -> tuple[int, ...]:
    counts = Counter((time - START) // STEP - 1 for time in plan_times)
    return tuple(counts[number] for number in range(moment_count))
