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


class _Complaints(logging.Handler):
    """What kafka-python only logs: why no connection comes about, when all that it raises is that time is up.

    Without a handler Python would print it to stderr.
    """

    last: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the error that `record` is about, unless what is kept says more: a refusal is tried again and again."""
        given = record.args if isinstance(record.args, tuple) else ()
        error = next((each for each in given if isinstance(each, BaseException)), None)
        if error is not None and _ONLY_LATE not in str(error) and (self.last is None or _says_little(self.last)):
            self.last = error


_COMPLAINTS = _Complaints(logging.WARNING)
_HUNG_UP = "socket disconnected"
_ONLY_LATE = "Unable to bootstrap"
_TIMED_OUT = "timed out"


def _says_little(error: BaseException) -> bool:
    """Whether `error` may only follow from another one."""
    return _HUNG_UP in str(error) or _TIMED_OUT in str(error)


def make_python_settings(rule: KafkaRule) -> dict[str, Any]:
    """What every object of kafka-python is made with. Raises `NoLibraryError` if a package is missing."""
    for module, package in _NEEDED.items():
        if find_spec(module) is None:
            raise NoLibraryError("kafka-python", package, _INSTALL)
    _COMPLAINTS.last = None
    logging.getLogger("kafka").addHandler(_COMPLAINTS)  # once, however often
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
    if _ONLY_LATE in str(error) and _COMPLAINTS.last is not None:
        error = _COMPLAINTS.last
    said = str(error).partition(": Request '")[0].strip().splitlines()  # which it repeats whole, with its response
    first = said[0] if said else type(error).__name__
    return f"{first}: are the security protocol, the name and the password right?" if _HUNG_UP in first else first
