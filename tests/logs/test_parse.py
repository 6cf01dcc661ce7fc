"""Every line of any log becomes what the plain loop makes of it, whichever parser takes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2cli.events import EVENT_SCHEMA, REJECT_SCHEMA
from m2cli.logs.formats import find_format
from m2cli.logs.lines import IS_IGNORED, cut_lines
from m2cli.logs.parsers.fast import split_fast
from m2cli.logs.parsers.grammar import split_exact
from tests.logs.reading import COMBINED, COMMON, ORIGIN, assert_adds_up, logs_of, read, read_event
from tests.twins.logs_twin import IGNORED, REJECT, read_line, split_lines

FORMATS = [("combined", COMBINED), ("common", COMMON)]


def assert_as_the_twin(data: bytes, log_format: str) -> None:
    intake = read(data, log_format)
    assert_adds_up([intake])
    outcomes = [
        (number, offset, read_line(line, log_format)) for number, (offset, line) in enumerate(split_lines(data), 1)
    ]
    expected = [
        {"event_id": f"{ORIGIN.part_id}-{offset}", "position_in_source": offset, **outcome}
        for _, offset, outcome in outcomes
        if isinstance(outcome, dict)
    ]
    frame = intake.events if "attributes" in intake.events.columns else intake.events.with_columns(attributes=None)
    assert frame.select(expected[0].keys() if expected else []).to_dicts() == expected
    rejects = [(number, offset) for number, offset, outcome in outcomes if outcome == REJECT]
    assert intake.rejects.select("line_number", "position_in_source").rows() == rejects
    assert intake.ignored_count == sum(outcome == IGNORED for *_, outcome in outcomes)


@pytest.mark.parametrize(("log_format", "examples"), FORMATS, ids=["combined", "common"])
def test_the_examples_are_read_as_the_twin_reads_them(log_format: str, examples: tuple[bytes, ...]) -> None:
    for line in examples:
        assert_as_the_twin(line, log_format)
    assert_as_the_twin(b"\n".join(examples), log_format)


@given(logs_of(COMBINED))
def test_any_combined_log_is_read_as_the_twin_reads_it(data: bytes) -> None:
    assert_as_the_twin(data, "combined")


@given(logs_of(COMMON))
def test_any_common_log_is_read_as_the_twin_reads_it(data: bytes) -> None:
    assert_as_the_twin(data, "common")


@given(st.binary(max_size=300), st.sampled_from(["combined", "common"]))
def test_any_bytes_are_read_as_the_twin_reads_them(data: bytes, log_format: str) -> None:
    assert_as_the_twin(data, log_format)


@pytest.mark.parametrize(("log_format", "examples"), FORMATS, ids=["combined", "common"])
def test_the_fast_parser_declines_or_agrees_with_the_exact_one(log_format: str, examples: tuple[bytes, ...]) -> None:
    @given(logs_of(examples))
    def agrees(data: bytes) -> None:
        lines = cut_lines(data, 0)
        taken, declined = split_fast(lines, find_format(log_format))
        assert len(taken) + len(declined) == len(lines)
        took = lines.join(taken, on="position_in_source", how="semi")
        assert took.filter(IS_IGNORED).is_empty()
        exact, bad = split_exact(took, find_format(log_format))
        assert bad.is_empty()
        assert exact.select(taken.columns).equals(taken)

    agrees()


def test_the_fast_parser_takes_ordinary_lines() -> None:
    for log_format, examples in FORMATS:
        lines = cut_lines(b"\n".join(examples[:2]), 0)
        assert split_fast(lines, find_format(log_format)).declined.is_empty()


def test_events_and_rejects_have_the_columns_and_types_that_the_lake_has() -> None:
    events, rejects, *_ = read(b"\n".join((*COMBINED, b"no line")))
    assert dict(events.schema) == {name: EVENT_SCHEMA[name] for name in events.columns}
    assert events.columns == [name for name in EVENT_SCHEMA if name in events.columns]
    assert dict(rejects.schema) == REJECT_SCHEMA


def test_a_block_without_events_has_the_columns_of_one_with_events() -> None:
    assert read(b"no line\n").events.schema == read(COMBINED[0]).events.schema
    assert read(b"").events.schema == read(COMBINED[0]).events.schema


def test_common_has_no_column_for_what_it_does_not_say() -> None:
    assert not {"referrer", "user_agent", "session_id"} & set(read(COMMON[0], "common").events.columns)


def test_all_of_an_event_is_where_it_belongs() -> None:
    line = b'192.0.2.7 - joe [17/May/2015:10:05:03 +0200] "GET /a?b HTTP/1.1" 200 512 "http://x/" "Agent/1 (b)"'
    event = read_event(line)
    time, arrival = event.pop("event_time"), event.pop("arrival_time")
    assert f"{time:%Y-%m-%d %H:%M:%S.%f %z}" == "2015-05-17 08:05:03.000000 +0000"
    assert arrival == ORIGIN.arrival_time
    assert event == {
        "event_id": "20261122T120000Z-0-0",
        "event_type": "page",
        "customer_id": "joe",
        "ip": "192.0.2.7",
        "user_agent": "Agent/1 (b)",
        "method": "GET",
        "url": "/a?b",
        "status": 200,
        "bytes": 512,
        "referrer": "http://x/",
        "attributes": None,
        "source": "/logs/access.log",
        "part_id": "20261122T120000Z-0",
        "position_in_source": 0,
    }


def test_a_hyphen_is_no_address() -> None:
    line = b'- - - [01/Oct/2026:09:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "x"'
    assert read_event(line)["ip"] is None


def test_rows_keep_the_order_of_the_lines_when_both_parsers_had_some() -> None:
    data = b"\n".join(COMBINED * 5)
    positions = read(data).events.get_column("position_in_source")
    assert positions.is_sorted()
    assert positions.is_unique().all()


def test_a_line_of_a_megabyte_is_an_event() -> None:
    url = b"/" + b"a" * (1 << 20)
    assert read_event(COMBINED[0].replace(b"GET /", b"GET " + url))["url"] == url.decode()


def test_a_line_longer_than_allowed_is_a_reject_that_keeps_its_beginning() -> None:
    long = COMBINED[0].replace(b"GET /", b"GET /" + b"a" * 70_000)
    data = b"\n".join((COMBINED[0], long, COMBINED[1]))
    events, rejects, *_ = read(data, max_line_size=66_000)
    assert len(events) == 2
    assert rejects.select("line_number", "position_in_source", "reason").rows() == [
        (2, len(COMBINED[0]) + 1, "the line is too long")
    ]
    assert rejects.get_column("raw").item() == long[: 1 << 16].decode()


def test_what_no_line_has_is_no_attribute() -> None:
    assert "attributes" not in read(COMBINED[0]).events.columns
    assert read(b"\n".join(COMBINED[:3])).events.get_column("attributes").to_list() == [
        None,
        None,
        {"encoding": "not UTF-8"},
    ]


def test_all_attributes_of_a_line_are_kept_together() -> None:
    line = b'10.0.0.1 id joe [31/Dec/1999:12:00:00 +0000] "GET / ICY/9" 200 7 "-" "\\xff"'
    expected = {"ident": "id", "protocol": "ICY/9", "encoding": "not UTF-8"}
    assert read_event(line)["attributes"] == expected


def test_raw_text_of_a_reject_is_fit_for_a_terminal() -> None:
    raw = read("\x1b[31m\x07 caf\u00e9 \u202e \x9b \x7f\0".encode() + b"\xff\n").rejects.get_column("raw").item()
    assert raw == r"\x1b[31m\x07 café \xe2\x80\xae \xc2\x9b \x7f\x00\xff"
    assert raw.isprintable()


@given(st.binary(max_size=60))
def test_no_raw_text_holds_anything_that_is_not_printable(data: bytes) -> None:
    assert all(raw.isprintable() for raw in read(data).rejects.get_column("raw"))


def test_a_byte_order_mark_is_no_part_of_the_first_line_only() -> None:
    marked = b"\xef\xbb\xbf" + COMBINED[0]
    events, rejects, *_ = read(marked + b"\n" + marked)
    assert rejects.is_empty()
    assert events.get_column("ip").to_list() == ["192.0.2.7", "\ufeff192.0.2.7"]
    assert events.get_column("position_in_source").to_list() == [3, len(marked) + 1]
