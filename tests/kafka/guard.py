"""Runs a broker for as long as anybody uses it, whatever becomes of them: who does holds a shared lock.

It goes on by itself, as nobody's child: whoever started it may be gone before the others.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

_LOOKED_EVERY = 0.1  # seconds


def main(folder: Path, command: list[str]) -> None:
    """Start `command` in `folder`, write its number to `pid`, and stop it when the last lock on `users` is let go."""
    with (
        (folder / "broker.log").open("ab") as log,
        (folder / "users").open("ab") as users,
        subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as broker,
    ):
        (folder / "pid.unfinished").write_text(str(broker.pid))
        (folder / "pid.unfinished").rename(folder / "pid")
        while broker.poll() is None and not _is_free(users.fileno()):
            time.sleep(_LOOKED_EVERY)
        (folder / "pid").unlink(missing_ok=True)
        broker.kill()


def _is_free(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__" and not os.fork():
    main(Path(sys.argv[1]), sys.argv[2:])
