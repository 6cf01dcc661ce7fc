"""What a person may say about a Kafka cluster: where it is, how to be let in, how long to wait for it."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from m2cli.errors import UnknownNameError, UnreadableSourceError, UsageError

LIBRARIES = ("kafka-python", "librdkafka")
SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_LAST_PORT = 65_535
_SLACK = timedelta(seconds=5)
_SERVER = re.compile(r"(?:[^\s:,/\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class KafkaRule:
    """How a Kafka cluster is reached.

    `bootstrap_servers`: `host:port`, one or more of the cluster's. `library`: the client, `kafka-python` or, for
    volume, `librdkafka`. `timeout`: how long a cluster may say nothing before it counts as away; a transaction has
    as long again to be committed. The password is in no repr.

    Raises `UnknownNameError` and `UsageError` for what cannot be.
    """

    bootstrap_servers: tuple[str, ...]
    library: str = "kafka-python"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    timeout: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        if not self.bootstrap_servers:
            raise UsageError("a Kafka cluster needs at least one server; write it as `host:9092`")
        for server in self.bootstrap_servers:
            if not _SERVER.fullmatch(server) or int(server.rpartition(":")[2]) > _LAST_PORT:
                raise UsageError(f"`{server}` is not a server of Kafka; write it as `host:9092`")
        for kind, name, known in (
            ("Kafka library", self.library, LIBRARIES),
            ("security protocol", self.security_protocol, SECURITY_PROTOCOLS),
            ("SASL mechanism", self.sasl_mechanism or SASL_MECHANISMS[0], SASL_MECHANISMS),
        ):
            if name not in known:
                raise UnknownNameError(kind, name, known)
        self._check_sasl()
        self._check_tls()
        if self.timeout < _SHORTEST:
            raise UsageError("a cluster needs at least 1 second to answer; write `timeout` as `30s`")

    @property
    def slack(self) -> timedelta:
        """What a call that has no limit, or goes beyond its own, is given on top: for short timeouts as much again."""
        return min(self.timeout, _SLACK)

    @property
    def patience(self) -> timedelta:
        """How long a call is waited for that should end within the timeout by itself."""
        return self.timeout + self.slack

    @property
    def has_sasl(self) -> bool:
        """Whether m2 says who it is by name and password."""
        return self.security_protocol.startswith("SASL")

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    def check_files(self) -> None:
        """Raise `UnreadableSourceError` for a file of certificates that cannot be read; no library says so."""
        for path in filter(None, (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile)):
            try:
                with Path(path).open("rb"):
                    pass
            except OSError as error:
                raise UnreadableSourceError(path, (error.strerror or str(error)).lower()) from error
        if self.ssl_cafile:
            try:
                ssl.create_default_context(cafile=self.ssl_cafile)
            except ssl.SSLError as error:
                raise UnreadableSourceError(self.ssl_cafile, "it holds no certificate in PEM") from error

    def _check_sasl(self) -> None:
        given = [self.sasl_mechanism, self.sasl_username, self.sasl_password]
        if self.has_sasl and not all(given):
            raise UsageError(
                f"`{self.security_protocol}` needs all of `sasl_mechanism`, `sasl_username` and `sasl_password`"
            )
        if not self.has_sasl and any(given):
            raise UsageError(
                f"`{self.security_protocol}` takes no name and password; write `security_protocol` as `SASL_SSL`"
            )

    def _check_tls(self) -> None:
        if not self.has_tls and any([self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile]):
            raise UsageError(
                f"`{self.security_protocol}` takes no certificates; write `security_protocol` as `SSL` or `SASL_SSL`"
            )
        if bool(self.ssl_certfile) != bool(self.ssl_keyfile):
            raise UsageError("`ssl_certfile` and `ssl_keyfile` come together")
