"""What a person may say about a cluster is checked before anything is connected to, and a password is never shown."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from m2cli.errors import UnreadableSourceError, UsageError
from m2cli.kafka import LIBRARIES, BrokerAwayError, KafkaRule, NoLibraryError, open_client
from m2cli.kafka.python_settings import describe_python_error, make_python_settings
from m2cli.kafka.rdkafka_settings import Complaints, make_rdkafka_settings

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = ("one.example:9092", "[::1]:9093")
SASL = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "m2"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"bootstrap_servers": ()}, "at least one server"),
        ({"bootstrap_servers": ("one.example",)}, "`one.example` is not a server of Kafka; write it as `host:9092`"),
        ({"bootstrap_servers": ("kafka://one:9092",)}, "is not a server"),
        ({"bootstrap_servers": ("one:65536",)}, "is not a server"),
        ({"library": "kafka_python"}, "unknown Kafka library `kafka_python`; did you mean `kafka-python`?"),
        ({"security_protocol": "TLS"}, "unknown security protocol `TLS`"),
        ({"security_protocol": "SASL_PLAINTEXT"}, "needs all of `sasl_mechanism`"),
        (SASL, "needs all of `sasl_mechanism`, `sasl_username` and `sasl_password`"),
        ({"sasl_password": "secret"}, "takes no name and password"),
        ({"ssl_cafile": "ca.pem"}, "takes no certificates"),
        ({"security_protocol": "SSL", "ssl_keyfile": "key.pem"}, "come together"),
        ({"timeout": timedelta(milliseconds=10)}, "at least 1 second"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(said: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        KafkaRule(**{"bootstrap_servers": SERVERS} | said)
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_password_is_in_no_repr_and_reaches_both_libraries() -> None:
    rule = KafkaRule(bootstrap_servers=SERVERS, **SASL, sasl_password="secret", ssl_cafile="ca.pem")
    assert "secret" not in repr(rule)
    theirs = make_python_settings(rule)
    assert (theirs["bootstrap_servers"], theirs["sasl_plain_password"]) == (list(SERVERS), "secret")
    others = make_rdkafka_settings(rule, Complaints())
    assert (others["sasl.password"], others["ssl.ca.location"]) == ("secret", "ca.pem")
    assert others["bootstrap.servers"] == "one.example:9092,[::1]:9093"


def test_certificates_that_cannot_be_read_are_told_of_before_a_server_is_asked(tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    none.write_text("no certificate")
    for path, reason in ((tmp_path / "gone.pem", "no such file"), (none, "it holds no certificate in PEM")):
        rule = KafkaRule(bootstrap_servers=SERVERS, security_protocol="SSL", ssl_cafile=str(path))
        with pytest.raises(UnreadableSourceError, match=reason):
            open_client(rule)


def test_without_crc32c_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2cli.kafka.python_settings.find_spec", lambda name: None if name == "crc32c" else object())
    with pytest.raises(NoLibraryError, match=r"needs the package `crc32c`; `pip install 'kafka-python\[crc32c"):
        make_python_settings(KafkaRule(bootstrap_servers=SERVERS))


def test_without_the_extra_librdkafka_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m2cli.kafka.rdkafka_settings.find_spec", lambda _: None)
    with pytest.raises(NoLibraryError, match=r"pip install 'm2cli\[librdkafka\]'"):
        make_rdkafka_settings(KafkaRule(bootstrap_servers=SERVERS), Complaints())


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_certificate_of_ones_own_that_is_none_is_told_in_one_line(library: str, tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_text("no certificate")
    own = str(tmp_path / "own.pem")
    rule = KafkaRule(
        bootstrap_servers=("127.0.0.1:9",),
        library=library,
        security_protocol="SSL",
        ssl_certfile=own,
        ssl_keyfile=own,
        timeout=timedelta(seconds=1),
    )
    with pytest.raises(BrokerAwayError) as refused:
        open_client(rule)
    assert len(str(refused.value).splitlines()) == 1


def test_what_a_cluster_refused_is_quoted_whatever_else_went_wrong_in_between() -> None:
    make_python_settings(KafkaRule(bootstrap_servers=SERVERS))
    log = logging.getLogger("kafka.net.manager")
    for said in ("socket disconnected", "[Error 58] Authentication failed", "socket disconnected", "timed out"):
        log.warning("Bootstrap connection failed: %s", OSError(said))
    assert describe_python_error(OSError("Unable to bootstrap from [..]")) == "[Error 58] Authentication failed"
    make_python_settings(KafkaRule(bootstrap_servers=SERVERS))
    assert describe_python_error(OSError("Unable to bootstrap from [..]")) == "Unable to bootstrap from [..]"
