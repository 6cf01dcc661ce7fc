"""Processes of the tests' own, forked by a server that has imported what they need and computed nothing.

A fork takes a few ms, where a new interpreter takes half a second to a second to import what a verb works with.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from m2cli.cli import VERBS, main

CONTEXT = multiprocessing.get_context("forkserver")
# One list for all tests of a run: there is one server, and the last list that it is given before it starts counts.
CONTEXT.set_forkserver_preload(
    [
        *(f"m2cli.commands.{verb.name}" for verb in VERBS),
        *("m2cli.output.formats", "m2cli.runs.follow", "m2cli.runs.query", "m2cli.runs.sessionize", "m2cli.runs.trace"),
        *("m2cli.runs.anonymize.lake", "m2cli.runs.anonymize.pipe", "m2cli.runs.audit.lake", "m2cli.runs.check"),
        *("m2cli.runs.status", "m2cli.runs.rebuild.work", "m2cli.runs.audit.inputs", "m2cli.runs.expire"),
        *(
            "duckdb",
            "pyarrow.parquet",
            "kafka",
            "pytest",
            "ua_parser_builtins.lazy",
            "tests.crash.killing",
            "tests.topics.market",
        ),
        *("tests.lake.test_batch_kill", "tests.privacy.killing", "tests.runs.rebuild.killing"),
    ]
)
_OUT, _ERR, _IN = "out", "err", "in"


def run_forked(
    args: tuple[str, ...], folder: Path, stdin: bytes = b"", user: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """What `m2 ARGS` does in `folder`, in a process of its own with this one's environment; of another `user`."""
    with tempfile.TemporaryDirectory(prefix="m2-fork-") as name:
        streams = Path(name)
        (streams / _IN).write_bytes(stdin)
        process = CONTEXT.Process(target=_begin, args=(args, folder, streams, dict(os.environ), user))
        process.start()
        process.join()
        out, err = ((streams / each).read_bytes() for each in (_OUT, _ERR))
    assert process.exitcode is not None
    return subprocess.CompletedProcess(["m2", *args], process.exitcode, out, err)


def _begin(args: tuple[str, ...], folder: Path, streams: Path, environment: dict[str, str], user: int | None) -> None:
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    for number, name in enumerate((_IN, _OUT, _ERR)):
        flags = os.O_RDONLY if name == _IN else os.O_WRONLY | os.O_CREAT
        descriptor = os.open(streams / name, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for as long as the process lives
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    sys.argv = ["m2", *args]
    main()
