"""The settings that kafka-python gets, and what its errors mean."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from m2cli.kafka.errors import NoLibraryError

if TYPE_CHECKING:
    from m2cli.kafka.rule import KafkaRule

# Without crc32c every message is summed in Python, ten times slower; the codecs are what topics are compressed with.
_NEEDED = {
    "kafka": "kafka-python",
    "crc32c": "crc32c",
    "lz4": "lz4",
    "snappy": "python-snappy",
    "zstandard": "zstandard",
}
_INSTALL = "kafka-python[crc32c,lz4,snappy,zstd]"
_RECONNECT_MOST = 1_000  # milliseconds between two tries to connect


def make_python_settings(rule: KafkaRule) -> dict[str, Any]:
    """What every object of kafka-python is made with. Raises `NoLibraryError` if a package is missing."""
    for module, package in _NEEDED.items():
        if find_spec(module) is None:
            raise NoLibraryError("kafka-python", package, _INSTALL)
    # What it has to say of interest it raises; Python would print the rest to stderr.
    logging.getLogger("kafka").addHandler(logging.NullHandler())
    timeout = int(rule.timeout.total_seconds() * 1000)
    return {
        "bootstrap_servers": list(rule.bootstrap_servers),
        "client_id": "m2",
        "bootstrap_timeout_ms": timeout,
        "request_timeout_ms": timeout,
        "reconnect_backoff_max_ms": _RECONNECT_MOST,
        "security_protocol": rule.security_protocol,
        "sasl_mechanism": rule.sasl_mechanism,
        "sasl_plain_username": rule.sasl_username,
        "sasl_plain_password": rule.sasl_password,
        "ssl_cafile": rule.ssl_cafile,
        "ssl_certfile": rule.ssl_certfile,
        "ssl_keyfile": rule.ssl_keyfile,
    }


def describe_python_error(error: BaseException) -> str:
    """What went wrong, in one line."""
    said = str(error).partition(": Request '")[0].strip().splitlines()  # which it repeats whole, with its response
    return said[0] if said else type(error).__name__
