"""Whether a format can be read as it was asked for: it says when, and has the fields that were named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m2cli.errors import UsageError
from m2cli.logs.fields.assemble import list_kept
from m2cli.logs.fields.extracts import check_extracts
from m2cli.logs.fields.times import plan_time
from m2cli.logs.formats.model import Shape
from m2cli.logs.formats.options import check_keep

if TYPE_CHECKING:
    from m2cli.logs.formats.model import LogFormat


def check_format(log_format: LogFormat) -> None:
    """Raise `UsageError` for a format without a time, or without a field that its options name.

    What a log itself names its columns by, and what several formats have together, is not known before it is read.
    """
    for each in (log_format, *log_format.others):
        if each.shape is not Shape.DELIMITED and plan_time(each) is None:
            hint = "add `%t` in Apache, `$time_local` or `$msec` in nginx; every event has a time"
            raise UsageError(f"the format `{each.name}` does not say when, to the second; {hint}")
    for each in log_format.others:
        if each.shape is Shape.DELIMITED:
            hint = "leave it out" if log_format.shape is Shape.DELIMITED else "name it first"
            raise UsageError(f"of `{each.name}`, whose logs name their own columns, there is one in a log; {hint}")
        if each.wrapper is not log_format.wrapper:
            hint = "the wrapper of the first is taken off every line, so write it before all or none of them"
            raise UsageError(f"`{log_format.name}` and `{each.name}` are not carried alike; {hint}")
    if log_format.shape is Shape.DELIMITED or log_format.others:
        return
    check_keep(log_format.options.keep, list_kept(log_format))
    check_extracts(log_format)
