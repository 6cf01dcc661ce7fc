"""A cluster that wants TLS and a password: reached by both clients, and who is not let in is told why."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import ExitCode
from m2cli.kafka import SASL_MECHANISMS, BrokerAwayError, KafkaRule, TopicPartition, open_client, open_sink
from tests.kafka.certificates import write_certificates
from tests.kafka.cluster import number_messages, read_values

if TYPE_CHECKING:
    from tests.kafka.broker import Broker
    from tests.kafka.cluster import Admin

M2 = str(Path(sys.executable).with_name("m2"))


def make_rule(broker: Broker, library: str, mechanism: str = "PLAIN") -> KafkaRule:
    return KafkaRule(
        bootstrap_servers=(broker.guarded_address,),
        library=library,
        security_protocol="SASL_SSL",
        sasl_mechanism=mechanism,
        sasl_username="m2",
        sasl_password="secret",
        ssl_cafile=broker.authority,
    )


@pytest.mark.parametrize("mechanism", SASL_MECHANISMS)
def test_messages_go_in_and_out(
    kafka_broker: Broker, library: str, admin: Admin, transactional_id: str, mechanism: str
) -> None:
    if mechanism != "PLAIN":
        admin.set_password("m2", mechanism, "secret")
        time.sleep(0.5)
    rule, topic = make_rule(kafka_broker, library, mechanism), f"guarded-{transactional_id}"
    with open_client(rule) as client:
        assert client.create_topic(topic)
        with open_sink(rule, transactional_id) as sink:
            sink.begin()
            sink.send(topic, number_messages(range(10)))
            sink.commit(transactional_id, {TopicPartition(topic, 0): 10}, "all")
        with open_client(KafkaRule(bootstrap_servers=(kafka_broker.address,))) as plain:
            assert len(read_values(plain, topic)) == 10
        found = client.read_commit(transactional_id, [TopicPartition(topic, 0)])
        assert found[TopicPartition(topic, 0)].metadata == "all"
        facts = client.describe_topic(topic)
        assert facts is not None
        pieces = client.read_ranges(topic, {0: (0, facts.partitions[0].end_offset)})  # type: ignore[dict-item]  # a Range
        assert sum(piece.messages.height for piece in pieces) == 10


# kafka-python leaves the sockets of connections that come to nothing to the collector.
hung_up = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@hung_up
def test_who_has_the_wrong_password_is_told_so_and_the_password_is_not_shown(
    kafka_broker: Broker, library: str
) -> None:
    rule = replace(make_rule(kafka_broker, library), sasl_password="not-the-secret", timeout=timedelta(seconds=3))
    with pytest.raises(BrokerAwayError, match=r"(?i)authentication|password right") as refused:
        open_client(rule)
    assert refused.value.exit_code is ExitCode.UNREACHABLE
    assert "not-the-secret" not in str(refused.value)
    gc.collect()


@hung_up
def test_a_server_that_nobody_trusted_has_signed_is_not_talked_to(
    kafka_broker: Broker, library: str, tmp_path: Path
) -> None:
    write_certificates(tmp_path)
    stranger = replace(
        make_rule(kafka_broker, library), ssl_cafile=str(tmp_path / "authority.pem"), timeout=timedelta(seconds=3)
    )
    with pytest.raises(BrokerAwayError, match=r"(?i)certificate"):
        open_client(stranger)
    gc.collect()


def test_a_person_reaches_it_by_flags_and_the_environment(kafka_broker: Broker, library: str, tmp_path: Path) -> None:
    command = [M2, "ingest", "kafka", "nowhere", "--bootstrap-server", kafka_broker.guarded_address, "--peek", "1"]
    command += ["--library", library, "--security-protocol", "SASL_SSL", "--sasl-mechanism", "PLAIN"]
    command += ["--sasl-username", "m2", "--ssl-cafile", kafka_broker.authority]
    environment = {"M2_KAFKA_SASL_PASSWORD": "secret", "PATH": ""}
    told = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "there is no topic `nowhere`" in told.stderr
    assert told.returncode == ExitCode.UNREACHABLE
