"""The settings that librdkafka gets, and what its errors mean."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from m2cli.kafka.errors import NoLibraryError

if TYPE_CHECKING:
    from m2cli.kafka.rule import KafkaRule

_INSTALL = "m2cli[librdkafka]"
_RECONNECT_MOST = 1_000  # milliseconds between two tries to connect


class Complaints:
    """What librdkafka last complained of by itself: why a call that only timed out has done so."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, error: Any) -> None:
        """Note an error of librdkafka's."""
        from confluent_kafka import KafkaError

        # That all brokers are down follows from what was said before, which says why.
        if not self.last or error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  # its public name
            self.last = error.str()

    def explain(self, error: BaseException) -> str:
        """`error` in one line, with what was complained of where it says no more than that it took too long."""
        said = describe_rdkafka_error(error)
        return f"{said} ({self.last})" if self.last and self.last not in said else said


def make_rdkafka_settings(rule: KafkaRule, complaints: Complaints) -> dict[str, Any]:
    """What every object of librdkafka is made with. Raises `NoLibraryError` if it is not installed."""
    if find_spec("confluent_kafka") is None:
        raise NoLibraryError("librdkafka", "confluent-kafka", _INSTALL)
    silent = logging.getLogger("m2cli.kafka.librdkafka")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    timeout = int(rule.timeout.total_seconds() * 1000)
    settings = {
        "bootstrap.servers": ",".join(rule.bootstrap_servers),
        "client.id": "m2",
        "socket.timeout.ms": timeout,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": _RECONNECT_MOST,
        "security.protocol": rule.security_protocol,
        "sasl.mechanism": rule.sasl_mechanism,
        "sasl.username": rule.sasl_username,
        "sasl.password": rule.sasl_password,
        "ssl.ca.location": rule.ssl_cafile,
        "ssl.certificate.location": rule.ssl_certfile,
        "ssl.key.location": rule.ssl_keyfile,
        "error_cb": complaints,
        "logger": silent,
    }
    return {name: value for name, value in settings.items() if value is not None}


def describe_rdkafka_error(error: BaseException) -> str:
    """What went wrong, in one line."""
    inner = error.args[0] if error.args else error
    said = str(inner.str() if hasattr(inner, "str") else inner).strip().splitlines()
    return said[0] if said else type(error).__name__
