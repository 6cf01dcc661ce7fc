"""What a server writes from a format is read back by it, whatever the format, and by either parser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2cli.logs.formats.apache import compile_apache
from m2cli.logs.formats.nginx import compile_nginx
from m2cli.logs.formats.options import FieldRule
from m2cli.logs.parse import Place, parse_block
from m2cli.logs.parsers.explain import take_apart
from m2cli.logs.parsers.fast import split_fast
from m2cli.logs.parsers.grammar import split_exact
from tests.logs.reading import ORIGIN, assert_adds_up
from tests.logs.writing import Written, written_lines

if TYPE_CHECKING:
    from m2cli.logs.formats.model import LogFormat

# Half of what a property takes by default, for each of two servers.
OF_ONE_SERVER = settings(max_examples=settings.default.max_examples // 2)
COMPILE = {"apache": compile_apache, "nginx": compile_nginx}


def frame_of(lines: list[str]) -> pl.DataFrame:
    count = len(lines)
    return pl.DataFrame(
        {
            "line": lines,
            "line_number": range(1, count + 1),
            "position_in_source": range(count),
            "is_odd_text": [False] * count,
        }
    )


@pytest.mark.parametrize("server", COMPILE)
def test_what_is_written_from_a_format_is_read_back_by_it(server: str) -> None:
    @given(written_lines(server))
    @settings(OF_ONE_SERVER, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
    def is_read_back(written: tuple[str, list[str], list[list[Written]]]) -> None:
        layout, lines, rows = written
        log_format = COMPILE[server](layout)
        intake = parse_block("\n".join(lines).encode(), Place(log_format, ORIGIN, 0), max_line_size=1 << 20)
        assert_adds_up([intake])
        times = iter(intake.events.get_column("event_time").to_list())
        for line, row in zip(lines, rows, strict=True):
            if line.startswith("#") or not line.strip(" \t"):
                continue
            taken = take_apart(line, log_format)
            assert taken.fault is None, (layout, line)
            values = {found.field.directive: found.value for found in taken.fields}
            for each in row[1:]:
                assert values[each.directive] == each.value, (layout, line, each)
            assert taken.time == next(times) == as_utc(row[0].value), (layout, line)
        assert next(times, None) is None
        assert_both_parsers_agree(lines, log_format)

    is_read_back()


def as_utc(value: object) -> datetime:
    assert isinstance(value, datetime)
    return value.astimezone(UTC)


def assert_both_parsers_agree(lines: list[str], log_format: LogFormat) -> None:
    frame = frame_of(lines)
    for each in (log_format, log_format.with_options(FieldRule(keep=("all",)))):
        assert_the_parsers_of_one_agree(frame, each)


def assert_the_parsers_of_one_agree(frame: pl.DataFrame, log_format: LogFormat) -> None:
    taken, declined = split_fast(frame, log_format)
    assert len(taken) + len(declined) == len(frame)
    took = frame.join(taken, on="position_in_source", how="semi", maintain_order="left")
    exact, bad = split_exact(took, log_format)
    assert bad.is_empty(), bad
    assert exact.select(taken.columns).equals(taken), (log_format.layout, exact, taken)


def splice(text: str, at: int, cut: int, insert: str) -> str:
    at %= len(text) + 1
    return text[:at] + insert + text[at + cut :]


TELLING = st.sampled_from(['"', " ", "-", "[", "]", "|", "\t", ",", ":", "?", "9", '" "', " - ", "", "\\", "é", "#"])


@pytest.mark.parametrize("server", COMPILE)
def test_what_the_fast_parser_takes_it_takes_as_the_exact_one_whatever_became_of_the_line(server: str) -> None:
    edits = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 4), TELLING), min_size=1, max_size=3)

    @given(written_lines(server), st.lists(edits, min_size=4, max_size=4))
    @settings(OF_ONE_SERVER, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
    def agrees(
        written: tuple[str, list[str], list[list[Written]]], mutations: list[list[tuple[int, int, str]]]
    ) -> None:
        layout, lines, _ = written
        mutated = []
        for line, edits_of_line in zip(lines, mutations, strict=False):
            text = line
            for edit in edits_of_line:
                text = splice(text, *edit)
            mutated.append(text.replace("\n", ""))
        assert_both_parsers_agree([*lines, *mutated], COMPILE[server](layout))

    agrees()


@pytest.mark.parametrize("sign", ["|", ",", ";", "\t"])
@pytest.mark.parametrize("variable", ["upstream_addr", "remote_addr", "request_uri", "uri", "args", "status"])
def test_a_field_that_ends_at_a_sign_does_not_hold_it(variable: str, sign: str) -> None:
    log_format = compile_nginx(f"${variable}{sign}$msec")
    values = ["10.0.0.1", f"{sign}10.0.0.1", f"10.0{sign}0.1", "#10.0.0.1", "#", "a b", " ", "", "200", "/a?b", "?b"]
    lines = [f"{value}{sign}1795133001.505" for value in values]
    assert_both_parsers_agree([*lines, "#", "", " "], log_format)
    taken, _ = split_fast(frame_of(lines), log_format)
    assert {lines[place] for place in taken["position_in_source"]} & set(lines[3:5]) == set()
