"""Every directive and every variable has a field, and a layout that is none is shown with the place."""

from __future__ import annotations

import pytest

from m2cli.errors import UnknownNameError, UsageError
from m2cli.logs.fields.times import find_time
from m2cli.logs.formats import FORMATS, find_format
from m2cli.logs.formats.apache import NAMED, PLAIN, WORDED, compile_apache
from m2cli.logs.formats.model import Shape
from m2cli.logs.formats.nginx import PREFIXES, VARIABLES, compile_nginx
from m2cli.logs.formats.strftime import COMPOSED, CONVERSIONS, SPECIAL
from m2cli.logs.parsers.grammar import find_steps, line_pattern
from m2cli.logs.parsers.plan import describe_plan, make_plan
from tests.logs.test_round_trip import frame_of

APACHE = [
    *(f"%{code}" for code in PLAIN),
    *(f"%{{{word}}}{code}" for code, words in WORDED.items() for word in words),
    *(f"%{{Any-Name}}{code}" for code in NAMED),
    *(f"%{{%{sign}}}t" for sign in (*CONVERSIONS, *COMPOSED)),
    *(f"%{{{begin}{word}}}t" for word in SPECIAL for begin in ("", "begin:", "end:")),
    *(
        "%400,501{User-Agent}i",
        "%!200,304,302{Referer}i",
        "%<s",
        "%>s",
        "%<U",
        "%>T",
        "%<{ms}T",
        "%%",
        "%{}t",
        "%{end}t",
    ),
]
NGINX = [*VARIABLES, *(f"{prefix}x_any" for prefix in PREFIXES), "own_of_a_map"]


@pytest.mark.parametrize("directive", APACHE)
def test_every_directive_of_apache_can_be_compiled(directive: str) -> None:
    log_format = compile_apache(f'"%h" {directive} end')
    frame = frame_of(["x"])
    assert not frame["line"].str.contains(line_pattern(log_format)).any()
    assert find_steps(log_format)
    assert make_plan(log_format).parts
    assert describe_plan(log_format)


@pytest.mark.parametrize("variable", NGINX)
def test_every_variable_of_nginx_can_be_compiled(variable: str) -> None:
    log_format = compile_nginx(f'$remote_addr "${variable}" ${{{variable}}}')
    assert not frame_of(["x"])["line"].str.contains(line_pattern(log_format)).any()
    assert [each.directive for each in log_format.fields[1:]] == [f"${variable}", f"${{{variable}}}"]


def test_a_field_that_is_said_twice_has_columns_of_its_own_twice() -> None:
    assert compile_apache("%s %s %>s").columns == ("status", "status__2", "status__3")


def test_a_header_that_is_called_as_something_of_m2s_own_is_kept_apart() -> None:
    names = [each.meaning for each in compile_apache("%{Status}i %{Time}i %{X-Y}i").fields]
    assert names == ["header_status", "header_time", "x_y"]


def test_the_layout_may_be_written_as_in_the_configuration() -> None:
    assert compile_apache(r"%h \"%r\"\t%>s").columns == compile_apache('%h "%r"\t%>s').columns


@pytest.mark.parametrize(
    ("layout", "place"),
    [("%h %", 3), ("%h %{x", 4), ("%h %{%Q}t", 5), ("%h %{c}b", 3), ("$remote_addr $", 13), ("$a ${b", 3)],
)
def test_a_caret_stands_under_the_mistake(layout: str, place: int) -> None:
    with pytest.raises(UsageError) as refused:
        find_format(layout)
    shown, caret = str(refused.value).splitlines()[-2:]
    assert shown.strip() == layout
    assert caret.index("^") == place + 2


def test_a_name_that_is_none_has_the_nearest_as_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `cloudfront`"):
        find_format("cloudfrnt")


@pytest.mark.parametrize("name", FORMATS)
def test_names_are_taken_in_any_case(name: str) -> None:
    assert find_format(name.upper()) is find_format(name)


@pytest.mark.parametrize("name", ["combined", "common", "combinedio", "vhost_common"])
def test_formats_of_most_logs_are_split_without_a_regular_expression(name: str) -> None:
    assert describe_plan(find_format(name)) == "split at quotes and spaces"


def test_every_text_format_with_a_name_has_a_plan() -> None:
    assert all(make_plan(each).parts for each in FORMATS.values() if each.shape is Shape.TEXT)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"::1 - - [17/May/2015:10:05:03 +0200] x 2020-01-01T00:00:00", "2015-05-17 08:05:03"),
        (b"1.2.3.4:5 [06/Feb/2009:12:14:14.655] x", "2009-02-06 12:14:14"),
        (b"2026-11-20\t09:14:02\tAMS1", "2026-11-20 09:14:02"),
        (b"h2 2026-11-20T22:20:00.186641Z app", "2026-11-20 22:20:00"),
        (b'{"time":"2026-11-20T10:00:00+01:00"}', "2026-11-20 09:00:00"),
        (b"1795133001.505     46 192.0.2.33", "2026-11-20 00:03:21"),
        (b'{"level":"info","ts":1795133001.5241,"x":1}', "2026-11-20 00:03:21"),
        (b'"1795133001505123","192.0.2.55"', "2026-11-20 00:03:21"),
        (b"no time", None),
        (b"[31/Feb/2015:10:05:03 +0200]", None),
    ],
)
def test_parts_are_called_by_the_time_of_their_first_line_whatever_its_format(
    line: bytes, expected: str | None
) -> None:
    found = find_time(line)
    assert (found and f"{found:%Y-%m-%d %H:%M:%S}") == expected
