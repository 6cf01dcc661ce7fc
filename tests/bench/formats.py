"""How many lines a second `m2 ingest access-log` makes events of, for each format with a name, beside what else can.

GoAccess makes a report of those formats that it knows; apachelogs takes single lines of combined apart, on one core,
and far fewer of them. Either is left out where it is not installed.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.logs.lines_of_formats import LINES

ROUNDS = 3
LINE_COUNT = 1_000_000
OF_APACHELOGS = 20_000
M2 = str(Path(sys.executable).with_name("m2"))
# What GoAccess calls the formats that both have.
GOACCESS = {
    "combined": "COMBINED",
    "common": "COMMON",
    "vhost_combined": "VCOMBINED",
    "squid": "SQUID",
    "alb": "AWSALB",
    "elb": "AWSELB",
    "s3": "AWSS3",
    "cloudfront": "CLOUDFRONT",
    "caddy": "CADDY",
    "traefik": "TRAEFIKCLF",
}
FEWEST = 150_000
_AGENTS = [
    f"Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0" for version in range(60)
]


def write_log(name: str, count: int, path: Path) -> None:
    """`count` lines like the first good ones of the tests, each with an address, a clock and a path of its own."""
    draw = random.Random(7)
    lines = LINES[name].decode().splitlines()
    heads = [line for line in lines if line.startswith(("#", '"time_micros"'))]
    line = next(each for each in lines if each not in heads)
    if name in ("w3c", "cloudfront"):
        heads = heads[: 1 + next(number for number, head in enumerate(heads) if head.startswith("#Fields"))]
    with path.open("w") as log:
        log.writelines(f"{head}\n" for head in heads)
        for number in range(count):
            second = number * 86_000 // count
            text = line.replace("192.0.2.", f"10.{draw.randrange(9)}.{draw.randrange(250)}.", 1)
            clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
            text = re.sub(r"(?<=[:T\t ])\d\d:\d\d:\d\d", clock, text, count=1)
            text = re.sub(r"1795133\d{3}", str(1795133000 + second), text, count=1)
            text = text.replace("Mozilla/5.0 (X11)", draw.choice(_AGENTS), 1)
            log.write(re.sub(r"(?<=[ /\"t])/(?=[a-z])", f"/n{draw.randrange(5000)}/", text, count=1) + "\n")


class Measured(NamedTuple):
    """What a process took: wall time and processor time in seconds, and the most memory in bytes."""

    wall: float
    cpu: float
    peak: int


def bench_formats(folder: Path, cache: Path, rounds: int = ROUNDS) -> None:
    """Print lines a second for each format, beside GoAccess and apachelogs in the same run.

    Ratios are of wall time; where other processes share the machine, those of processor time wobble less.
    """
    logs = cache / "formats"
    logs.mkdir(exist_ok=True)
    print("\nformats: lines a second, events written as Parquet; GoAccess: a report")
    slowest = ("", float("inf"))
    for name in LINES:
        log = logs / f"{name}.{LINE_COUNT}.log"
        if not log.exists():
            write_log(name, LINE_COUNT, log)
        own, theirs = _compare(name, log, folder, rounds)
        rate = LINE_COUNT / own.wall
        slowest = min(slowest, (name, rate), key=lambda each: each[1])
        beside = (
            f"  {theirs.wall / own.wall:5.1f} x GoAccess ({theirs.cpu / own.cpu:.1f} x by processor)" if theirs else ""
        )
        beside += _describe_apachelogs(log, rate) if name == "combined" else ""
        per_core = LINE_COUNT / own.cpu
        print(f"  {name:<16} {rate:>10,.0f}/s  {per_core:>9,.0f}/s a core  {own.peak >> 20:>4} MiB{beside}", flush=True)
    print(f"  slowest: {slowest[0]}, {slowest[1] / FEWEST:.1f} x the floor of {FEWEST:,}/s")


def _compare(name: str, log: Path, folder: Path, rounds: int) -> tuple[Measured, Measured | None]:
    out, report = folder / "out", folder / "report.json"
    own = [M2, "ingest", "access-log", str(log), "-o", str(out), "--log-format", name, "--quiet"]
    theirs = ["goaccess", str(log), f"--log-format={GOACCESS.get(name)}", "-o", str(report), "--no-progress"]
    has_peer = name in GOACCESS and shutil.which("goaccess") is not None
    took: list[Measured] = []
    peers: list[Measured] = []
    for number in range(rounds):
        shutil.rmtree(out, ignore_errors=True)
        took.append(_measure(own))
        if has_peer and not number:  # it takes ten times as long, and wobbles less
            with suppress(subprocess.CalledProcessError):  # of some lines it says that they are none of its format
                peers.append(_measure(theirs))
    return _median(took), _median(peers) if peers else None


def _median(took: list[Measured]) -> Measured:
    wall, cpu, peak = zip(*took, strict=True)
    return Measured(statistics.median(wall), statistics.median(cpu), max(peak))


def _measure(command: list[str]) -> Measured:
    start = time.perf_counter()
    # Without a terminal, GoAccess reads whatever its stdin is besides the file.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measured(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def _describe_apachelogs(log: Path, rate: float) -> str:
    try:
        from apachelogs import COMBINED, LogParser  # type: ignore[import-not-found]  # a peer, where it is installed
    except ImportError:
        return ""
    parser = LogParser(COMBINED)
    with log.open() as lines:
        some = [line for line, _ in zip(lines, range(OF_APACHELOGS), strict=False)]
    start = time.perf_counter()
    for line in some:
        parser.parse(line)
    other = OF_APACHELOGS / (time.perf_counter() - start)
    return f"  {rate / other:5.0f} x apachelogs ({other:,.0f}/s)"
