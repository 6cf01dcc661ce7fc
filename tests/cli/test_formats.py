"""What a person sees of log formats: the list, a format explained, what is refused; and a pipeline that follows one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.command import compare_with_golden, run_m2, show
from tests.logs.lines_of_formats import ALB, CADDY, COMBINED, IIS

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D'
CASES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "formats": (b"", ("formats",)),
    "formats_explain_combined": (b"", ("formats", "explain", "combined")),
    "formats_explain_a_layout": (
        b"",
        ("formats", "explain", '$remote_addr [$time_iso8601] "$request" $upstream_addr $own'),
    ),
    "formats_explain_a_sample": (COMBINED, ("formats", "explain", "combined", "--sample", "x.log")),
    "formats_explain_a_line_that_does_not_fit": (
        COMBINED,
        ("formats", "explain", LAYOUT, "--sample", "x.log", "--lines", "1"),
    ),
    "formats_explain_without_a_time": (COMBINED, ("formats", "explain", "%h %l", "--sample", "x.log", "--lines", "1")),
    "formats_explain_what_is_told": (CADDY, ("formats", "explain", "auto", "--sample", "x.log", "--lines", "2")),
    "formats_explain_a_format_in_two_ages": (ALB, ("formats", "explain", "alb", "--sample", "x.log")),
    "formats_explain_columns_of_the_log": (IIS, ("formats", "explain", "w3c", "--sample", "x.log", "--lines", "2")),
    "formats_explain_an_unknown_directive": (b"", ("formats", "explain", '%h %t %{Referer}y "%r"')),
    "formats_explain_auto_without_a_log": (b"", ("formats", "explain", "auto")),
    "ingest_with_a_format_without_a_time": (
        COMBINED,
        ("ingest", "access-log", "x.log", "-o", "out", "--log-format", "%h %r"),
    ),
    "ingest_with_several_formats": (
        COMBINED * 4 + CADDY,
        ("ingest", "access-log", "x.log", "-o", "out", "--log-format", "combined", "--log-format", "caddy"),
    ),
    "ingest_a_log_of_several_formats": (COMBINED * 4 + CADDY, ("ingest", "access-log", "x.log", "-o", "out")),
    "ingest_a_log_of_no_format": (b"one\ntwo\n", ("ingest", "access-log", "x.log", "-o", "out")),
    "sessionize_json_logs": (CADDY, ("sessionize", "x.log", "-o", "lake")),
    "ingest_into_what_is_called_like_a_file": (COMBINED, ("ingest", "access-log", "x.log", "-o", "out.ndjson")),
    "ingest_with_two_words_for_the_format": (
        COMBINED,
        ("ingest", "access-log", "x.log", "-o", "out", "--log-format", "combined", "--config", "nginx.conf"),
    ),
    "ingest_with_no_such_network": (
        COMBINED,
        ("ingest", "access-log", "x.log", "-o", "out", "--client-ip", "x_forwarded_for:trusted=10.0.0.1/8"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_person_sees(name: str, tmp_path: Path) -> None:
    log, args = CASES[name]
    (tmp_path / "x.log").write_bytes(log)
    compare_with_golden(name, show(run_m2(*args, folder=tmp_path), tmp_path))


def test_a_log_that_names_its_columns_is_followed_where_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        '[pipeline]\nname = "p"\nlake = "lake"\n[[source]]\ntype = "access_log"\npaths = "x.log"\nformat = "w3c"\n'
        'keep = "duration"\n'
    )
    lines = IIS.splitlines(keepends=True)
    ends = [4, 5, len(lines)]  # the second batch begins in the middle of what the first header names
    for begin, end in zip([0, *ends], ends, strict=False):
        with (tmp_path / "x.log").open("ab") as log:
            log.write(b"".join(lines[begin:end]))
        flush = ("--flush",) if end == ends[-1] else ()
        done = run_m2("run", "p.toml", *flush, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    query = "SELECT url, attributes['duration'] AS duration FROM events ORDER BY event_time"
    found = run_m2("query", query, "--lake", "lake", "--format", "csv", folder=tmp_path).stdout.decode()
    assert found.splitlines() == [
        "url,duration",
        "/basket/default.aspx?id=7&x=%20,0.046",
        "/login,15.032",
        "/later.html,",
    ]


SECRETS = b"""\
192.0.2.1 - - [01/Oct/2026:09:00:00 +0000] "GET /a?token=tulip HTTP/1.1" 200 5 "SID=tulip" "Bearer tulip" tulip
192.0.2.1 - - [01/Oct/2026:09:00:00 +0000] "GET /a?token=tulip HTTP/1.1" 200 5 "Authorization: tulip" rose
"""


def test_what_is_explained_is_shown_as_it_would_be_kept(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(SECRETS)
    layout = '%h %l %u %t "%r" %>s %b "%{Cookie}i" "%{Authorization}i" %{SID}C'
    shown = run_m2("formats", "explain", layout, "--sample", "x.log", folder=tmp_path).stdout.decode()
    assert "tulip" not in shown
    for said in ("/a?token=[redacted]", "SID=[redacted]", "authorization  [redacted]", "cookie_SID     [redacted]"):
        assert said in shown
    *_, line, caret = shown.splitlines()
    assert line[caret.index("^") :].startswith("rose")  # where the quoted text should be
    undated = layout.replace("%t", "[%{x}i]")
    shown = run_m2("formats", "explain", undated, "--sample", "x.log", folder=tmp_path).stdout.decode()
    assert "tulip" not in shown
    assert "%{SID}C            [redacted]" in shown
