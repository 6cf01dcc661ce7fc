"""What carries a log may put something around each line: syslog a prefix, containers a prefix or a JSON object."""

from __future__ import annotations

import polars as pl

from m2cli.logs.formats.model import Wrapper
from m2cli.logs.parsers.objects import split_objects

_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2})"
# RFC 3164 with or without its priority, and as rsyslog and journald write it to files; RFC 5424.
_SYSLOG = (
    rf"^(?:<[0-9]{{1,3}}>)?(?:(?:[A-Z][a-z]{{2}} [ 0-9][0-9] [0-9:]{{8}}|{_ISO}) [^ ]+ [^ :\[]+(?:\[[^\]]*\])?: ?"
    rf"|1 (?:{_ISO}|-) [^ ]+ [^ ]+ [^ ]+ [^ ]+ (?:-|(?:\[[^\]]*\])+) ?(?:\x{{FEFF}})?)(.*)$"
)
# github.com/kubernetes/design-proposals-archive, node/kubelet-cri-logging.md
_CRI = rf"^{_ISO} (?:stdout|stderr) [FP](?::[^ ]*)? (.*)$"
NOT_WRAPPED = {
    Wrapper.SYSLOG: "there is no prefix of syslog before the line",
    Wrapper.DOCKER: "the line is not in an object of Docker's",
    Wrapper.CRI: "there is no prefix of a container before the line",
}


def unwrap_lines(lines: pl.DataFrame, wrapper: Wrapper) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`lines` without what `wrapper` has put around each, and as they are those that have nothing around them."""
    if wrapper is Wrapper.DOCKER:
        # github.com/moby/moby, daemon/logger/jsonfilelog: the line with its end, the stream, the time.
        found, _ = split_objects(lines, {"log": ("log",)})
        inner = lines.join(found.select("position_in_source", "log"), on="position_in_source", maintain_order="left")
        inner = inner.with_columns(pl.col("log").str.strip_suffix("\n").str.strip_suffix("\r").alias("line")).drop(
            "log"
        )
    else:
        pattern = _SYSLOG if wrapper is Wrapper.SYSLOG else _CRI
        inner = lines.with_columns(pl.col("line").str.extract(pattern, 1))
    is_wrapped = inner["line"].is_not_null()
    wrapped = inner.filter(is_wrapped)
    return wrapped, lines.join(wrapped, on="position_in_source", how="anti", maintain_order="left")
