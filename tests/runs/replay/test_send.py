"""The pace of a tape that is sent: as many events as were due by then, and none before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from m2cli.files.tape import Tape
from m2cli.kafka import KafkaRule, TopicPartition
from m2cli.runs.replay.send import PaceRule, _Sender

BEGIN = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp())
RATE, SECONDS = 50_000, 60
NO_SINK: Any = None


@pytest.mark.parametrize("speed", [0.5, 1.0, 60.0])
def test_the_pace_is_exact_to_one_event_at_any_moment(speed: float) -> None:
    ends = [RATE * (place + 1) for place in range(SECONDS)]
    times = range(BEGIN + 1, BEGIN + SECONDS + 1)
    tape = Tape(pieces=(), row_count=RATE * SECONDS, partitions=("s",), times=times, ends=ends)
    pace = PaceRule(kafka=KafkaRule(bootstrap_servers=("a:1",)), topic="t", speed=speed)
    sender = _Sender(NO_SINK, tape, pace, "group", TopicPartition("t", 0))
    first = sender._find_time(0)
    for step in range(1_001):
        seconds = SECONDS / speed * step / 1_000
        assert abs(sender._find_due(first, seconds) - tape.row_count * step / 1_000) <= 1
