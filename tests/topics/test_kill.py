"""Whatever is killed whenever, m2 or the broker: every tagged event and end of visit is in the topics exactly once."""

from __future__ import annotations

import random
import time
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from m2cli.errors import ExitCode
from tests.topics.market import Life, Market, assert_said_once, live, make_events

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kafka.broker import Broker


def die_at_steps(market: Market, *, is_following: bool, most: int, times: int = 1, every: int = 1) -> int:
    """Live on through slices of events, killed at each step that a process comes to; how often that was."""
    market.send(make_events(0))
    life = Life(market.place, is_following=is_following, seconds=60.0, settings=market.settings)
    recorded = live(life._replace(step_count=2))
    assert recorded.exit_code == 0
    steps = list(dict.fromkeys(recorded.steps))
    kills = 0
    for number, (step, nth) in enumerate(((step, nth) for nth in range(times) for step in steps[:most:every]), start=1):
        market.send(make_events(number))
        lived = live(life._replace(step=step, nth=nth, seconds=20.0))
        assert lived.was_killed or nth, f"{step} was not reached: {lived}"
        kills += lived.was_killed
    return kills


def finish(market: Market) -> None:
    market.run(is_flush=True)
    assert_said_once(market)


def test_killed_at_every_step_a_batch_is_said_once(kafka_broker: Broker, tmp_path: Path) -> None:
    market = Market.open(tmp_path, kafka_broker.address)
    assert die_at_steps(market, is_following=False, most=99) >= 18
    finish(market)


def test_killed_at_every_step_a_followed_pipeline_says_all_once(kafka_broker: Broker, tmp_path: Path) -> None:
    market = Market.open(tmp_path, kafka_broker.address)
    assert die_at_steps(market, is_following=True, most=99) >= 16
    finish(market)


def die_any_time(market: Market, count: int, seed: int) -> int:
    dice, kills = random.Random(seed), 0
    for number in range(count):
        market.send(make_events(number))
        is_following = dice.random() < 0.5
        life = Life(market.place, is_following=is_following, seconds=5.0, settings=market.settings)
        lived = live(life, kill_after=dice.uniform(0, 0.5))
        kills += lived.was_killed
    return kills


def test_killed_at_any_time_all_is_said_once(kafka_broker: Broker, tmp_path: Path) -> None:
    market = Market.open(tmp_path, kafka_broker.address)
    assert die_any_time(market, 12, seed=1)
    finish(market)


def lose_the_broker(market: Market, broker: Broker, count: int, seed: int) -> None:
    """Kill the broker while a process is at work: it ends with 3, or did not need it any more."""
    dice = random.Random(seed)
    for number in range(count):
        market.send(make_events(number))

        def kill(after: float = dice.uniform(0.2, 1.2)) -> None:
            time.sleep(after)
            broker.kill()

        killer = Thread(target=kill)
        lived = live(Life(market.place), meanwhile=killer.start)
        killer.join()
        said = (market.place.folder / "said").read_text().splitlines()[-1:]
        assert lived.exit_code in (ExitCode.OK, ExitCode.UNREACHABLE), (lived, said)
        broker.start()


def test_a_broker_that_dies_costs_nothing(own_broker: Broker, tmp_path: Path) -> None:
    market = Market.open(tmp_path, own_broker.address, timeout=2.0)
    lose_the_broker(market, own_broker, 5, seed=1)
    finish(market)


@pytest.mark.soak
@pytest.mark.parametrize("library", ["kafka-python", "librdkafka"])
@pytest.mark.parametrize("seed", range(4))
def test_killed_five_hundred_times_all_is_said_once(
    kafka_broker: Broker, tmp_path: Path, seed: int, library: str
) -> None:
    market = Market.open(tmp_path, kafka_broker.address, library=library)
    die_any_time(market, 63, seed)
    finish(market)
