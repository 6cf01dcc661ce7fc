"""The format of a log is told by its first lines, and how sure that is."""

from __future__ import annotations

import json
from io import BytesIO

import pytest

from m2cli.logs.formats import find_format
from m2cli.logs.parsers.detect import detect_format, is_json_log
from m2cli.logs.read import LogRule, open_access_log
from tests.logs.lines_of_formats import LINES
from tests.logs.reading import PLANNED, shared

# What cannot be told from another that comes first, and is read as it is.
SAME = {"nginx": "combined"}


@pytest.mark.parametrize("name", LINES)
def test_a_log_is_of_the_format_that_its_lines_are_of(name: str) -> None:
    detection = detect_format(LINES[name])
    assert detection.log_format.name == SAME.get(name, name)
    assert detection.is_sure


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        (b"Nov 20 10:00:00 web1 nginx[77]: ", "syslog+combined"),
        (b"<190>Nov  2 10:00:00 web1 nginx: ", "syslog+combined"),
        (b"2026-11-20T10:00:00.123456+01:00 web1 nginx: ", "syslog+combined"),
        (b'<165>1 2026-11-20T22:14:15.003Z web1 nginx 77 - [a@1 b="c"] ', "syslog+combined"),
        (b"2026-11-20T00:17:09.669794202Z stdout F ", "cri+combined"),
    ],
)
def test_what_carried_a_log_is_taken_off_its_lines(prefix: bytes, name: str) -> None:
    data = b"".join(prefix + line for line in LINES["combined"].splitlines(keepends=True))
    detection = detect_format(data)
    assert (detection.log_format.name, detection.fitting_count) == (name, 3)


def test_lines_in_the_objects_of_a_container_are_told() -> None:
    data = b"".join(
        json.dumps({"log": line.decode(), "stream": "stdout"}).encode() + b"\n"
        for line in LINES["haproxy"].splitlines(keepends=True)
    )
    assert detect_format(data).log_format.name == "docker+haproxy"
    assert is_json_log(data)


def test_several_formats_in_one_log_are_all_told_the_commonest_first() -> None:
    data = LINES["common"] * 20 + LINES["vhost_combined"] * 5 + LINES["alb"] * 3
    detection = detect_format(data)
    names = [detection.log_format.name, *(each.name for each in detection.log_format.others)]
    assert list(dict.fromkeys(names)) == ["common", "alb", "vhost_combined"]
    assert detection.fitting_count == detection.line_count == 31


def test_text_and_json_in_one_log_are_both_told() -> None:
    for data in (LINES["common"] * 9 + LINES["caddy"] * 2, LINES["common"] + LINES["caddy"] * 9):
        log_format = detect_format(data).log_format
        assert {log_format.name, *(each.name for each in log_format.others)} == {"common", "caddy"}


@pytest.mark.parametrize("other", ["combined", "caddy"])
def test_lines_of_another_format_in_a_log_that_names_its_columns_are_told(other: str) -> None:
    for data in (LINES["w3c"] * 3 + LINES[other] * 9, LINES[other] * 9 + LINES["w3c"] * 3):
        detection = detect_format(data)
        assert [each.name for each in (detection.log_format, *detection.log_format.others)] == ["w3c", other]
        log = open_access_log(BytesIO(data), LogRule(format="auto"), arrival_time=PLANNED)
        (intake,) = log.read()
        assert len(intake.events) == detection.fitting_count
        assert dict(intake.format_counts) == {"w3c": 9, other: detection.fitting_count - 9}


def test_of_a_log_that_names_its_columns_as_many_lines_are_looked_at_as_of_others() -> None:
    lines = LINES["cloudfront"].splitlines(keepends=True)
    data = b"".join((*lines[:2], *([lines[2]] * 500)))
    assert detect_format(data).describe() == "cloudfront, as all of the first 200 lines are"


def test_a_log_of_one_format_is_not_called_after_a_log_of_several() -> None:
    several = detect_format(LINES["common"] + LINES["vhost_combined"]).log_format
    assert detect_format(LINES["common"], several).log_format.name == "common"
    assert not detect_format(LINES["common"], several).log_format.others


def test_what_carries_a_format_carries_its_older_forms_too() -> None:
    log_format = find_format("syslog+alb")
    assert log_format.others
    assert {(each.name, each.wrapper) for each in log_format.others} == {("syslog+alb", log_format.wrapper)}
    LogRule(format="syslog+alb\nsyslog+combined")


def test_a_log_of_no_format_is_read_as_combined_and_that_is_not_sure() -> None:
    detection = detect_format(b"one\ntwo\nthree\n")
    assert not detection.is_sure
    assert detection.describe() == (
        "combined, though none of the first 3 lines is of it or of any format that m2 knows"
    )


def test_events_are_no_log() -> None:
    assert not is_json_log(b'{"event_time":"2026-11-20T10:00:00Z","url":"/","method":"GET"}\n')
    assert not is_json_log(b'{"id":1,"name":"x"}\n')
    assert is_json_log(LINES["caddy"])


def test_a_real_log_is_told() -> None:
    detection = detect_format(shared("apache-combined-10k/apache_logs").read_bytes()[: 1 << 16])
    assert detection.describe() == "combined, as all of the first 200 lines are"
