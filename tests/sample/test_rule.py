"""What may be asked of the generator."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from m2cli.errors import ExitCode, UsageError
from m2cli.runs.sample import make_sample
from m2cli.sample.rule import SampleRule

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"events": 0}, "`events` is 0; it must be from 1"),
        ({"events": 10**10}, "`events` is 10000000000"),
        ({"days": 0}, "`days` is 0"),
        ({"seed": -1}, "`seed` is -1"),
        ({"sources": 0}, "`sources` is 0"),
        ({"start_date": date(1960, 1, 1)}, "`start_date` is 1960"),
        ({"format": "acces-log"}, "unknown format `acces-log`; did you mean `access-log`?"),
        ({"malformed": 3}, "only access logs have lines"),
        ({"malformed": -1, "format": "access-log"}, "`malformed` is -1"),
    ],
)
def test_a_rule_out_of_range_says_what_it_takes(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        SampleRule(**asked)
    assert said in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_too_few_events_for_the_traps_say_how_many_it_takes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`events` is 100; the traps alone are \d+: ask for more"):
        make_sample(tmp_path / "shop", SampleRule(events=100))
    assert not (tmp_path / "shop").exists()
