"""Logs that name their own columns: in whatever pieces they are read, and wherever reading goes on."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import polars as pl
import pytest

from m2cli.logs.parsers.delimited import find_last_header
from m2cli.logs.read import LogRule, read_access_log
from tests.logs.lines_of_formats import CLOUDFRONT, IIS
from tests.logs.reading import PLANNED, gather

if TYPE_CHECKING:
    from pathlib import Path

LOG = IIS + IIS.replace(b"2026-11-20", b"2026-11-21") + b"2026-11-21 stray\n"


@pytest.mark.parametrize("block_size", [64, 200, 513, 1 << 20])
def test_columns_hold_until_they_are_named_anew_whatever_the_blocks(block_size: int) -> None:
    whole, rejects = gather(list(read_access_log(BytesIO(LOG), LogRule(format="w3c"), arrival_time=PLANNED)))
    rule = LogRule(format="w3c", block_size=block_size, max_line_size=1 << 12)
    events, others = gather(list(read_access_log(BytesIO(LOG), rule, arrival_time=PLANNED)))
    assert events.select(sorted(whole.columns)).sort("position_in_source").equals(whole.select(sorted(whole.columns)))
    assert others.select("line_number", "reason").equals(rejects.select("line_number", "reason"))
    assert (len(whole), len(rejects)) == (6, 3)


def test_each_of_several_logs_has_columns_of_its_own(tmp_path: Path) -> None:
    """Small logs are read together, but not these."""
    for number in range(3):
        (tmp_path / f"{number}.log").write_bytes(IIS.replace(b"2026-11-20", b"2026-11-1%d" % number))
    (tmp_path / "9.log").write_bytes(b"2026-11-19 10:00:00 10.0.0.5 GET / - 443 - 192.0.2.10 x - 200 0 0 46\n")
    events, rejects = gather(
        list(read_access_log(sorted(tmp_path.iterdir()), LogRule(format="w3c"), arrival_time=PLANNED))
    )
    assert len(events) == 9
    assert set(rejects["reason"]) == {
        "the line has fewer fields than `#Fields` names",
        "there is no line `#Fields` before it",
    }


def test_a_log_is_told_by_its_head_and_read_with_it() -> None:
    events, rejects = gather(list(read_access_log(BytesIO(CLOUDFRONT), LogRule(format="auto"), arrival_time=PLANNED)))
    assert (len(events), len(rejects)) == (1, 0)


def test_the_last_header_is_found_wherever_it_stands() -> None:
    assert find_last_header(b"#Fields: a\nx\n#Fields: b\r\ny\n") == "#Fields: b"
    assert find_last_header(b"\xef\xbb\xbf#Fields: a\nx\n") == "#Fields: a"
    assert find_last_header(b"x #Fields: a\n") is None


def test_texts_in_quotes_are_taken_as_one() -> None:
    data = b'#Fields: date time cs-uri-stem cs(User-Agent)\n2026-11-20 10:00:00 /a "Agent ""x"" 1"\n'
    events, _ = gather(list(read_access_log(BytesIO(data), LogRule(format="w3c"), arrival_time=PLANNED)))
    assert events.select(pl.col("user_agent")).item() == 'Agent "x" 1'
