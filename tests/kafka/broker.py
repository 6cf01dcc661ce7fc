"""Apache Kafka for tests: one broker for all workers of a test run, and brokers of a test's own to be killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from m2cli.kafka import KafkaRule, TopicPartition, open_client
from tests.kafka.certificates import HOST, write_certificates
from tests.kafka.packages import describe_server, find_java, format_storage, list_jars

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROJECT = Path(__file__).parents[2]
_STARTED_WITHIN = 60.0  # seconds; 2 on a machine that does nothing else
# Compiling for speed takes longer than the tests; the collector for small heaps.
_FRUGAL = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class Broker:
    """A broker whose files are in `folder`; it runs for as long as anybody has used it and not let go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def port(self) -> int:
        return int((self.folder / "port").read_text())

    @property
    def address(self) -> str:
        """The bootstrap server."""
        return f"127.0.0.1:{self.port}"

    @property
    def guarded_address(self) -> str:
        """The same where it wants TLS, by the certificate of `authority`, and a name and a password."""
        return f"{HOST}:{(self.folder / 'guarded_port').read_text()}"

    @property
    def authority(self) -> str:
        return str(self.folder / "authority.pem")

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    @contextmanager
    def used(self) -> Iterator[Self]:
        """The broker, started if it is not; whoever is the last to let it go ends it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "users").open("ab") as users:
            with (self.folder / "starting").open("ab") as starting:
                fcntl.flock(starting, fcntl.LOCK_EX)
                fcntl.flock(users, fcntl.LOCK_SH)
                self.revive()
            yield self

    def start(self) -> None:
        """Start the broker, on the port and with the topics that it had, if it had any."""
        java = [find_java(), *_FRUGAL, "-cp", os.pathsep.join(map(str, list_jars()))]
        data = self.folder / "data"
        if not data.exists():
            shutil.copytree(format_storage(java), data)
            port, controller_port, guarded_port = _find_ports(3)
            write_certificates(self.folder)
            (self.folder / "server.properties").write_text(
                describe_server(data, port=port, controller_port=controller_port, guarded_port=guarded_port)
            )
            (self.folder / "guarded_port").write_text(str(guarded_port))
            (self.folder / "port").write_text(str(port))
        command = [*java, "kafka.Kafka", str(self.folder / "server.properties")]
        guard = [sys.executable, "-m", "tests.kafka.guard", str(self.folder), *command]
        with (self.folder / "broker.log").open("ab") as log:
            subprocess.run(guard, cwd=_PROJECT, stdout=log, stderr=log, start_new_session=True, check=True)
        self._wait()
        # The first one who asks for a group's coordinator waits until its topic is made.
        with open_client(KafkaRule(bootstrap_servers=(self.address,))) as client:
            client.read_commit("nobody", [TopicPartition("nothing", 0)])

    def revive(self) -> None:
        """Start the broker if it was killed."""
        if not (self.folder / "pid").exists():
            self.start()

    def kill(self) -> None:
        """End the broker as a power cut would; `start` brings it back."""
        self._signal(signal.SIGKILL)
        while (self.folder / "pid").exists():
            time.sleep(0.02)

    @contextmanager
    def halted(self) -> Iterator[None]:
        """For the time of the block the broker is there and says nothing."""
        self._signal(signal.SIGSTOP)
        while not self._is_stopped():  # a thread at work is stopped a moment later, and may answer until then
            time.sleep(0.005)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _is_stopped(self) -> bool:
        """Whether every thread of the broker is."""
        try:
            told = [path.read_text() for path in Path(f"/proc/{self.pid}/task").glob("*/stat")]
        except OSError:  # a thread has just ended
            return False
        return all(each.rpartition(")")[2].split()[0] in "tT" for each in told)

    def _signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def _wait(self) -> None:
        """Until the broker answers."""
        deadline = time.monotonic() + _STARTED_WITHIN
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                if (self.folder / "pid").exists():
                    return
            time.sleep(0.05)
        raise RuntimeError(f"Apache Kafka did not start:\n{(self.folder / 'broker.log').read_text()[-4000:]}")


def _find_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
