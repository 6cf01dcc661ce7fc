"""What a small log becomes does not depend on how many others are read with it."""

from __future__ import annotations

import gzip
import os
from codecs import BOM_UTF8
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m2cli.logs import bundles
from m2cli.logs.blocks import Block
from m2cli.logs.bundles import Portion, bundle_portions
from m2cli.logs.read import LogRule, open_access_log
from tests.logs.reading import COMBINED, ORIGIN, PLANNED, assert_adds_up, gather, logs_of

if TYPE_CHECKING:
    from pathlib import Path

    from m2cli.events import Intake

SMALL = Block(b"a\n" * 100, 0, is_whole=True)
BIG = Block(b"a\n" * 100_000, 0, is_whole=True)


def write_logs(folder: Path, texts: list[bytes]) -> list[Path]:
    """Files whose origins all differ, each begun by a line of its own."""
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"log{number}.log"
        path.write_bytes(text)
        os.utime(path, (1_000_000 + number,) * 2)
        paths.append(path)
    return paths


def read_logs(paths: list[Path], rule: LogRule) -> list[Intake]:
    intakes = list(open_access_log(paths, rule, arrival_time=PLANNED).read())
    assert_adds_up(intakes)
    return intakes


def begin(text: bytes, number: int) -> bytes:
    return b"log %d\n%s" % (number, text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=16, deadline=None)
@given(
    texts=st.lists(logs_of(COMBINED), min_size=2, max_size=4).map(lambda texts: list(map(begin, texts, range(4)))),
    max_line_size=st.sampled_from([60, 1 << 20]),
)
def test_logs_read_together_become_what_each_becomes_alone(
    tmp_path: Path, texts: list[bytes], max_line_size: int
) -> None:
    paths, rule = write_logs(tmp_path, texts), LogRule(max_line_size=max_line_size)
    events, rejects = gather(read_logs(paths, rule))
    log = open_access_log(paths, rule, arrival_time=PLANNED)
    alone_events, alone_rejects = gather([intake for part in log.parts for intake in read_logs([part.file.path], rule)])
    assert events.to_dicts() == alone_events.select(events.columns).to_dicts()
    assert rejects.equals(alone_rejects)


def test_many_small_logs_are_parsed_at_a_time(tmp_path: Path) -> None:
    paths = write_logs(tmp_path, [begin(COMBINED[0], number) for number in range(200)])
    (intake,) = read_logs(paths, LogRule())
    assert (len(intake.events), len(intake.rejects)) == (200, 200)
    assert set(intake.rejects["line_number"]) == {1}
    assert set(intake.events["position_in_source"]) == {6, 7, 8}
    assert intake.events["part_id"].n_unique() == intake.events["source"].n_unique() == 200


def test_a_big_log_between_small_ones_is_read_in_its_place(tmp_path: Path) -> None:
    sizes = [1, 1, 2_000, 1, 1]
    texts = [
        b"".join(COMBINED[0].replace(b"/May/2015", b"/May/20%02d" % year) + b"\n" for _ in range(size)) + b"no line"
        for year, size in enumerate(sizes)
    ]
    intakes = read_logs(write_logs(tmp_path, texts), LogRule())
    assert [len(intake.events) for intake in intakes] == [2, 2_000, 2]
    assert gather(intakes)[1]["line_number"].to_list() == [2, 2, 2_001, 2, 2]


def test_a_byte_order_mark_is_no_part_of_the_first_line_of_any_log(tmp_path: Path) -> None:
    texts = [BOM_UTF8 + COMBINED[0].replace(b"2015", b"20%02d" % year) for year in range(3)]
    events, _ = gather(read_logs(write_logs(tmp_path, texts), LogRule()))
    assert events["ip"].to_list() == ["192.0.2.7"] * 3
    assert events["position_in_source"].to_list() == [3] * 3


def test_a_cut_log_between_others_is_told_by_its_own_line_numbers(tmp_path: Path) -> None:
    texts = [COMBINED[0].replace(b"2015", b"20%02d" % year) + b"\n" for year in range(3)]
    texts[1] = gzip.compress(texts[1])[:-1]
    events, rejects = gather(read_logs(write_logs(tmp_path, texts), LogRule()))
    assert events["event_time"].dt.year().to_list() == [2000, 2001, 2002]
    assert rejects.select("line_number", "reason").rows() == [(2, "the compressed data ends early")]


def in_bundles(blocks: list[Block], max_line_size: int = 1 << 20) -> list[list[Block]]:
    portions = [Portion(block, ORIGIN, 0) for block in blocks]
    return [[portion.block for portion in bundle] for bundle in bundle_portions(portions, max_line_size)]


ALONE = {
    "a big part": BIG,
    "a piece of a part": Block(b"a\n", 0),
    "a line that is none": Block(b"", 0, "cut"),
    "a part with a byte order mark": Block(BOM_UTF8 + b"a", 0, is_whole=True),
}


@pytest.mark.parametrize("block", ALONE.values(), ids=ALONE.keys())
def test_what_is_no_small_part_is_alone(block: Block) -> None:
    assert in_bundles([SMALL, SMALL, block, SMALL]) == [[SMALL, SMALL], [block], [SMALL]]


def test_a_part_in_which_a_line_may_be_too_long_is_alone() -> None:
    assert in_bundles([SMALL, SMALL], max_line_size=200) == [[SMALL], [SMALL]]
    assert in_bundles([SMALL, SMALL], max_line_size=201) == [[SMALL, SMALL]]


def test_a_bundle_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_BUNDLE_SIZE", 500)
    assert in_bundles([SMALL] * 5) == [[SMALL] * 2, [SMALL] * 2, [SMALL]]
