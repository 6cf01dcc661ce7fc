"""How hypothesis searches (`M2_HYPOTHESIS_PROFILE=soak` for thousands of examples), and the Kafka of a test run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kafka.broker import Broker

# Without a deadline: the first call of a column function is slow, and the machine may be busy.
settings.register_profile("default", max_examples=100, deadline=None, print_blob=True)
settings.register_profile("soak", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("M2_HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those first that wait for brokers to die and to come back: others are worked on meanwhile."""
    items.sort(key=lambda item: "own_broker" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """An Apache Kafka that all processes of a test run share; it starts when the first one asks for it."""
    from tests.kafka.broker import Broker

    of_this_process = tmp_path_factory.getbasetemp()
    of_the_run = of_this_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_this_process
    with Broker(of_the_run / "kafka").used() as broker:
        yield broker


@pytest.fixture(scope="session")
def mortal_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """An Apache Kafka of this process's own."""
    from tests.kafka.broker import Broker

    with Broker(tmp_path_factory.mktemp("mortal") / "kafka").used() as broker:
        yield broker


@pytest.fixture
def own_broker(mortal_broker: Broker) -> Broker:
    """An Apache Kafka of the test's own, to be killed and halted; what it had from other tests it still has."""
    mortal_broker.revive()
    return mortal_broker
