"""Runs m2 as a person would, in a folder of its own, and shows what that person sees."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.forks import run_forked

ROOT = Path(__file__).parents[2]
GOLDENS = Path(__file__).parent / "goldens"
M2 = str(Path(sys.executable).with_name("m2"))


# Takes from root what would let it read everything; from others, who have it not, nothing.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
# A mount of the process's own: a disk of 16 kB at `full`.
ON_A_FULL_DISK = (
    "unshare",
    "--mount",
    "--map-root-user",
    "sh",
    "-c",
    'mount -t tmpfs -o size=16k none full && "$0" "$@"',
)


def can_run(prefix: tuple[str, ...], folder: Path) -> bool:
    """Whether this system lets a command be run that way."""
    (folder / "full").mkdir(exist_ok=True)
    try:
        done = subprocess.run([*prefix, "true"], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def run_m2(
    *args: str, folder: Path, stdin: bytes = b"", prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """What `m2 ARGS` does in `folder`; behind a `prefix`, in an interpreter of its own."""
    if not prefix:
        return run_forked(args, folder, stdin)
    return subprocess.run([*prefix, M2, *args], cwd=folder, input=stdin, capture_output=True, check=False)


def show(done: subprocess.CompletedProcess[bytes], folder: Path) -> str:
    """Exit code, stdout and stderr, apart; without what no two runs have in common."""
    out, err = (_settle(stream.decode(), folder) for stream in (done.stdout, done.stderr))
    return f"exit code {done.returncode}\n--- stdout\n{out}--- stderr\n{err}"


def _settle(text: str, folder: Path) -> str:
    text = text.replace(str(folder.resolve()), "FOLDER").replace(str(ROOT), "ROOT")
    text = re.sub(r"(?m)^(time +).*$", r"\1SECONDS, RATE", text)
    return text if not text or text.endswith("\n") else text + "\n"


def compare_with_golden(name: str, text: str) -> None:
    """Updating a golden is changing the interface: run with M2_UPDATE_GOLDENS=1, and read the difference."""
    golden = GOLDENS / f"{name}.txt"
    if os.environ.get("M2_UPDATE_GOLDENS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
