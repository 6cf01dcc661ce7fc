"""What a command takes: seconds of the processor, seconds on the wall, memory."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

_CACHE = Path(__file__).parents[2] / "build" / "bench"
# As m2 is when it is installed: compiled once, which takes longer than an empty batch.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "PYTHONPYCACHEPREFIX": str(_CACHE / "compiled")
}


class Spent(NamedTuple):
    """What a process took: seconds of the processor, seconds on the wall, bytes at most.

    Linux counts the memory of who started it as well, until it is itself: here some 150 MiB.
    """

    cpu: float
    wall: float
    peak: int


def spend(*command: str, folder: Path | None = None) -> Spent:
    """Run a command, in `folder` if one is named, to its end, which has to be a good one."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        said = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{said.decode()}")
    return Spent(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss * 1024)
