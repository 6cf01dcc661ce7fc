"""What nothing is made of is not taken out of a line, and no event is any other for that."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from polars.testing import assert_frame_equal

from m2cli.logs.fields import used
from m2cli.logs.fields.used import name_used
from m2cli.logs.formats import FORMATS, find_format
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.parse import Place, parse_block
from tests.logs.reading import ORIGIN
from tests.logs.test_mutated_lines import OPTIONS, lines_of, mutate

if TYPE_CHECKING:
    import polars as pl


@pytest.mark.parametrize("options", [FieldRule(), OPTIONS], ids=["plain", "all that can be asked for"])
@pytest.mark.parametrize("name", FORMATS)
def test_events_are_what_they_are_when_all_is_taken_out(
    name: str, options: FieldRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(3)
    lines = lines_of(name)
    data = b"\n".join([*lines, *(mutate(draw.choice(lines[-2:]), draw) for _ in range(60))])
    log_format = replace(find_format(name), options=options)
    few = parse_block(data, Place(log_format, ORIGIN, 0), max_line_size=1 << 20)
    monkeypatch.setattr(used, "list_used", lambda log_format: log_format.fields)
    every = parse_block(data, Place(replace(log_format), ORIGIN, 0), max_line_size=1 << 20)
    assert _without_encoding(few.events) == _without_encoding(every.events)
    assert_frame_equal(few.rejects, every.rejects)


def _without_encoding(events: pl.DataFrame) -> list[dict[str, object]]:
    """Without the mark of bytes that are no text: what is not looked at has none."""
    rows = []
    for event in events.to_dicts():
        attributes = event.pop("attributes", None) or {}
        rows.append(event | {"attributes": {name: text for name, text in attributes.items() if name != "encoding"}})
    return rows


def test_little_of_a_long_line_is_looked_at() -> None:
    assert name_used(find_format("alb")) == {
        *("time_day", "time_clock", "time_rest", "remote_ip_address", "remote_ip_port", "request", "user_agent"),
        *("status", "bytes_sent"),
    }
    kept = find_format("alb").with_options(FieldRule(keep=("trace_id",)))
    assert name_used(kept) - name_used(find_format("alb")) == {"trace_id"}
