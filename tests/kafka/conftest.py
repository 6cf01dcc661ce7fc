"""A broker for all tests, both clients, and topics that no other test has."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from m2cli.kafka import LIBRARIES, KafkaRule, open_client
from tests.kafka.cluster import Admin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from m2cli.kafka import Client
    from tests.kafka.broker import Broker


@pytest.fixture(scope="session", params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """Each of the client libraries in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def rule(library: str, kafka_broker: Broker) -> KafkaRule:
    """The broker of all tests, by one of the libraries."""
    return KafkaRule(bootstrap_servers=(kafka_broker.address,), library=library)


@pytest.fixture(scope="session")
def client(rule: KafkaRule) -> Iterator[Client]:
    """A client for the broker of all tests."""
    with open_client(rule) as client:
        yield client


@pytest.fixture
def make_topic(client: Client) -> Callable[..., str]:
    """Makes a topic with a name of its own."""

    def make(partition_count: int = 1, **settings: str) -> str:
        topic = f"topic-{uuid.uuid4().hex[:12]}"
        named = {name.replace("_", "."): value for name, value in settings.items()}
        assert client.create_topic(topic, partition_count=partition_count, settings=named)
        return topic

    return make


@pytest.fixture
def own_rule(library: str, own_broker: Broker) -> KafkaRule:
    """The broker of the test's own, by one of the libraries, with little patience."""
    return KafkaRule(bootstrap_servers=(own_broker.address,), library=library, timeout=timedelta(seconds=2))


@pytest.fixture(scope="session")
def admin(kafka_broker: Broker) -> Iterator[Admin]:
    """The owner of the broker of all tests."""
    admin = Admin(kafka_broker.address)
    yield admin
    admin.close()


@pytest.fixture
def transactional_id() -> str:
    """An id that no other test writes with."""
    return f"m2-{uuid.uuid4().hex[:12]}"
