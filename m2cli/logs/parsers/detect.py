"""Which format a log is of, by its first lines, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import polars as pl

from m2cli.logs.formats.find import find_format
from m2cli.logs.formats.model import LogFormat, Shape, Wrapper
from m2cli.logs.formats.named import FORMATS
from m2cli.logs.formats.w3c import CLOUDFRONT, FIELDS, W3C
from m2cli.logs.lines import IS_IGNORED, cut_lines
from m2cli.logs.parsers.grammar import line_pattern, match_exact
from m2cli.logs.parsers.split import read_lines
from m2cli.logs.parsers.wrappers import unwrap_lines

SAMPLE_SIZE = 200
"""So many lines are looked at."""
HEAD_SIZE = 1 << 16
FALLBACK = "combined"
_LEAST_SHARE = 0.02  # of the lines have to be of a format that is one of several


class Detection(NamedTuple):
    """The format that lines were found to be of, and how many of how many of them are."""

    log_format: LogFormat
    fitting_count: int
    line_count: int

    @property
    def is_sure(self) -> bool:
        """Whether most lines are of it."""
        return self.line_count == 0 or self.fitting_count * 2 >= self.line_count

    def describe(self) -> str:
        """What was found, for a person."""
        names = " and ".join(dict.fromkeys([self.log_format.name, *(each.name for each in self.log_format.others)]))
        if not self.fitting_count:
            which = f"none of the first {self.line_count} lines is" if self.line_count > 1 else "its first line is not"
            return f"{names}, though {which} of it or of any format that m2 knows"
        if self.line_count == 1:
            return f"{names}, as its first line is"
        which = "all" if self.fitting_count == self.line_count else f"{self.fitting_count}"
        return f"{names}, as {which} of the first {self.line_count} lines are"


def detect_format(head: bytes, likely: LogFormat | None = None) -> Detection:
    """The format of the log that begins with `head`; combined if it is of none that m2 knows by name.

    `likely` is it if all lines are of it: logs that are read together are mostly alike, and to try all formats takes
    twenty times as long as to try one.
    """
    cut = head.rfind(b"\n") + 1
    whole = cut_lines(head[:cut] if cut else head, 0)[: 2 * SAMPLE_SIZE]
    lines = whole.filter(~IS_IGNORED)[:SAMPLE_SIZE]
    if lines.is_empty():
        return Detection(_header_format(whole) or FORMATS[FALLBACK], 0, 0)
    if header_format := _header_format(whole):
        return _detect_others(whole, lines, header_format)
    if likely and _is_plain(likely) and _leave(lines, likely).is_empty():
        return Detection(likely, len(lines), len(lines))
    for wrapper in (Wrapper.NONE, Wrapper.DOCKER, Wrapper.SYSLOG, Wrapper.CRI):
        inner = lines if wrapper is Wrapper.NONE else unwrap_lines(lines, wrapper)[0]
        if len(inner) * 2 <= len(lines):
            continue
        if found := _cover(inner):
            formats = [_wrap(each, wrapper) for each, _ in found]
            counts = sum(count for _, count in found)
            return Detection(_join(formats), counts, len(lines))
    return Detection(FORMATS[FALLBACK], 0, len(lines))


def _detect_others(whole: pl.DataFrame, lines: pl.DataFrame, header_format: LogFormat) -> Detection:
    """What `lines` of a log are that names its columns, in `whole` with the headers: these, and formats of the rest."""
    last = lines["position_in_source"][-1]
    read = read_lines(whole.filter(pl.col("position_in_source") <= last), header_format)
    others = [] if read.left.is_empty() else _cover(read.left)
    count = len(read.events) + sum(count for _, count in others)
    return Detection(_join([header_format, *(each for each, _ in others)]), count, len(lines))


def _is_plain(log_format: LogFormat) -> bool:
    is_one = all(other.name == log_format.name for other in log_format.others)
    return is_one and log_format.wrapper is Wrapper.NONE and log_format.shape is not Shape.DELIMITED


def is_json_log(head: bytes) -> bool:
    """Whether a file that begins with `head` is an access log of JSON lines, and none of events."""
    first = head.partition(b"\n")[0]
    if not first.lstrip().startswith(b"{") or b'"event_time"' in first:
        return False
    detection = detect_format(head)
    is_json = detection.log_format.shape is Shape.JSON or detection.log_format.wrapper is Wrapper.DOCKER
    return is_json and detection.fitting_count > 0


def _header_format(lines: pl.DataFrame) -> LogFormat | None:
    headers = lines.filter(pl.col("line").str.starts_with(FIELDS))["line"]
    if headers.is_empty():
        return None
    rest = lines.filter(~IS_IGNORED)["line"]
    return CLOUDFRONT if "x-edge-location" in headers[0] or (len(rest) and "\t" in rest[0]) else W3C


@cache
def _wrap(log_format: LogFormat, wrapper: Wrapper) -> LogFormat:
    if wrapper is Wrapper.NONE:
        return log_format
    return find_format(f"{wrapper.value}+{log_format.name}")


def _join(formats: list[LogFormat]) -> LogFormat:
    first, *others = formats
    if not others:
        return first
    also = [each for other in others for each in (replace(other, others=()), *other.others)]
    return replace(first, others=(*first.others, *also))


def _cover(lines: pl.DataFrame) -> list[tuple[LogFormat, int]]:
    """Formats that together have most of `lines`, the commonest first, each with how many."""
    found: list[tuple[LogFormat, int]] = []
    rest, least = lines, max(1, round(len(lines) * _LEAST_SHARE))
    while not rest.is_empty():
        is_json = rest["line"].str.contains(r"^ *\{").sum() * 2 > len(rest)
        best = _find_best(rest, Shape.JSON if is_json else Shape.TEXT)
        if best[1] < least and found:  # what is left over of one shape may hide lines of the other
            best = _find_best(rest, Shape.TEXT if is_json else Shape.JSON)
        if best[1] < least:
            break
        found.append(best)
        rest = _leave(rest, best[0])
    return found


def _find_best(lines: pl.DataFrame, shape: Shape) -> tuple[LogFormat, int]:
    """The format of that `shape` which most of `lines` are of, of equals the one with more fields, and how many."""
    candidates = [each for each in FORMATS.values() if each.shape is shape]
    scores = [(len(lines) - len(_leave(lines, each)), len(each.fields), each) for each in candidates]
    count, _, best = max(scores, key=lambda score: (score[0], score[1] if shape is Shape.TEXT else 0))
    return best, count


def _leave(lines: pl.DataFrame, log_format: LogFormat) -> pl.DataFrame:
    """Those of `lines` that are neither of `log_format` nor of those that it is tried with."""
    for each in (log_format, *log_format.others):
        if lines.is_empty():
            return lines
        if each.shape is Shape.JSON:
            lines = read_lines(lines, each).left
            continue
        fits = lines["line"].str.contains(line_pattern(each))
        if fits.any():
            fitting, misfits = lines.filter(fits), lines.filter(~fits)
            lines = pl.concat([misfits, match_exact(fitting, each)[1]]).sort("position_in_source")
    return lines
