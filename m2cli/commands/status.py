"""`m2 status`: how a pipeline stands."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from m2cli.commands.options import DATE, complete, console_options
from m2cli.commands.pipelines import load, override_options, pipeline_argument
from m2cli.commands.watermarks import list_watermarks
from m2cli.errors import UnknownNameError, UsageError
from m2cli.process import open_stdout
from m2cli.settings import parse_duration
from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from m2cli.console import Console
    from m2cli.pipeline import PipelineRule
    from m2cli.runs.status import Status

_FORMATS = ("table", "json")
_LABEL_WIDTH = 11
_CLEAR = "\x1b[H\x1b[2J"


def _parse_seconds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text).total_seconds()
    except UsageError:
        raise UsageError(f"`{text}` is no number of seconds; write `--watch` last, or as `--watch 5`") from None
    if not 0.1 <= seconds <= 86_400:
        raise UsageError(f"`--watch {text}` is out of range; it takes 0.1 to 86,400 seconds")
    return seconds


@click.command()
@pipeline_argument
@click.option(
    "--watch",
    is_flag=False,
    flag_value="2",
    is_eager=True,  # so that a pipeline that is taken for its value is told of, and not called missing
    callback=_parse_seconds,
    metavar="[SECONDS]",
    help="Say it again every 2 seconds, or so many, until Ctrl-C.",
)
@click.option("--watermarks", is_flag=True, help="How far watermarks lagged, what was late, which bound is enough.")
@click.option("--date", "day", type=DATE, metavar="DATE", help="With --watermarks: of this date only (UTC).")
@click.option(
    "--format",
    "format_",
    default="table",
    show_default=True,
    metavar="FORMAT",
    shell_complete=complete(*_FORMATS),
    help="table or json.",
)
@override_options
@console_options
def status(  # noqa: PLR0913  # one parameter an option
    *,
    pipeline: Path,
    watch: float | None,
    watermarks: bool,
    day: date | None,
    format_: str,
    overrides: dict[str, str],
    console: Console,
) -> None:
    """Show how a pipeline stands: open visits, watermarks, the last batches, what was read.

    It only reads, and may be asked while a run is at work. W is the moment up to which every visit that ended is in
    the lake; `holds W` is said of the partition that it waits for. `behind` is what is there and was not yet read.

    \b
    Examples:
      m2 status shop.toml
      m2 status shop.toml --watch
      m2 status shop.toml --format json
      m2 status shop.toml --watermarks --date 2026-11-20
    """
    if format_ not in _FORMATS:
        raise UnknownNameError("format", format_, _FORMATS)
    rule = load(pipeline, overrides)
    if day and not watermarks:
        raise UsageError("`--date` says of which day the watermarks are; add `--watermarks`")
    if watermarks and watch is not None:
        raise UsageError("`--watermarks` looks back, and there is nothing to watch; leave out `--watch`")
    if watermarks:
        lines = list_watermarks(rule, day, is_json=format_ == "json")
        _write("".join(f"{line}\n" for line in lines))
        return
    if watch is None:
        _show(rule, format_, prefix="")
        return
    try:
        while True:
            _show(rule, format_, prefix=_CLEAR if sys.stdout is not None and sys.stdout.isatty() else "", watched=True)
            time.sleep(watch)
    except KeyboardInterrupt:
        console.detail("watched until interrupted")  # that is how watching ends, and no failure


def _show(rule: PipelineRule, format_: str, *, prefix: str, watched: bool = False) -> None:
    from m2cli.output.terminal import escape_json
    from m2cli.runs.status import read_status

    found = read_status(rule)
    if format_ == "json":
        text = json.dumps(_to_json(asdict(found)), indent=None if watched else 2)
        lines = [escape_json(line) for line in text.splitlines()]
    else:
        lines = list(_describe(found, rule))
        if prefix:
            lines = lines[: shutil.get_terminal_size().lines - 1]
        elif watched:
            lines.append("")
    _write(prefix + "\n".join(lines) + "\n")


def _write(text: str) -> None:
    stream = open_stdout()
    stream.write(text.encode(errors="backslashreplace"))
    stream.flush()


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _to_json(each) for name, each in value.items()}
    if hasattr(value, "_asdict"):
        return _to_json(value._asdict())
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, Path) else value


def _describe(found: Status, rule: PipelineRule) -> Iterator[str]:
    for label, sentence in _list_facts(found, rule):
        yield escape_text(f"{label:<{_LABEL_WIDTH}} {sentence}")
    if found.sources:
        yield ""
        yield from _format_sources(found)
    if found.topics:
        yield ""
        yield from _format_topics(found)
    if found.partitions:
        yield ""
        yield from _format_partitions(found)
    if found.batches:
        yield ""
        yield from _format_batches(found)


def _list_facts(found: Status, rule: PipelineRule) -> Iterator[tuple[str, str]]:
    yield "pipeline", f"{found.pipeline}, into {found.lake}"
    yield "now", "a run is at work" if found.is_running else "no run is at work"
    for batch in found.unfinished:
        state = "" if batch.state == "planned" else ", committed and not yet shown"
        end = "" if found.is_running else f"; the next `m2 run {rule.path.name}` finishes it"
        steps = f", {batch.step_count:,} steps since" if batch.step_count > 1 else ""
        yield "unfinished", f"{batch.batch_id}, planned {_time(batch.plan_time)} UTC{steps}{state}{end}"
    if not found.batches:
        yield "batches", f"none yet; `m2 run {rule.path.name}` does the first"
    else:
        yield "W", _describe_watermark(found)
        yield "open", _describe_open(found)
        sums = found.totals
        kept = f"{sums['event_count']:,} events + {sums['reject_count']:,} rejects + {sums['ignored_count']:,} ignored"
        yield "lines", f"{sums['read_count']:,} read = {kept}"
        yield "events", _describe_events(found)
        if sums["redacted_count"]:
            yield "redacted", f"{sums['redacted_count']:,} secrets{_describe_last_redacted(found)}"
    for text in found.warnings:
        yield "warning", text


def _describe_watermark(found: Status) -> str:
    holding = [each.source for each in found.partitions if each.holds_back]
    active = sum(each.is_active for each in found.partitions)
    why = "no partition is active, so it stays"
    if holding:
        why = f"held back by {', '.join(holding)}" if active > 1 else f"of {holding[0]}"
    flushed = "; flushed" if found.flushed_to and found.flushed_to == found.W else ""
    return f"{_time(found.W)}{' UTC' if found.W else ''}, {why}{flushed}"


def _describe_open(found: Status) -> str:
    if not found.open_visit_count:
        return "no visit"
    until = f"; the last ends by {_time(found.open_until)} UTC" if found.open_until else ""
    visits = "1 visit" if found.open_visit_count == 1 else f"{found.open_visit_count:,} visits"
    events = "1 event" if found.open_event_count == 1 else f"{found.open_event_count:,} events"
    return f"{visits}, {events}{until}"


def _describe_events(found: Status) -> str:
    sums = found.totals
    excluded = f" + {sums['excluded_count']:,} taken out" if sums["excluded_count"] else ""
    return (
        f"{sums['event_count']:,} = {sums['closed_event_count']:,} in {sums['visit_count']:,} ended visits "
        f"+ {sums['late_count']:,} late + {sums['duplicate_count']:,} duplicates + {found.open_event_count:,} open"
        f"{excluded}"
    )


def _describe_last_redacted(found: Status) -> str:
    """Which they were in the last batch that had any."""
    last = next((batch for batch in reversed(found.batches) if batch.facts.redacted), None)
    if last is None:
        return ""
    return f"; in {last.batch_id}: " + ", ".join(f"{name} {count:,}" for name, count in last.facts.redacted.items())


def _format_sources(found: Status) -> Iterator[str]:
    columns = ("source", "files", "parts", "bytes read", "bytes behind")
    rows = [
        (each.name, *(f"{value:,}" for value in (each.file_count, each.part_count, each.read_bytes, each.behind_bytes)))
        for each in found.sources
    ]
    return _format(columns, rows, number_from=1)


def _format_topics(found: Status) -> Iterator[str]:
    columns = ("topic", "partitions", "offsets read", "offsets behind")
    rows = [
        (
            each.name,
            f"{each.partition_count:,}",
            f"{each.read_count:,}",
            "unknown" if each.behind_count is None else f"{each.behind_count:,}",
        )
        for each in found.topics
    ]
    return _format(columns, rows, number_from=1)


def _format_partitions(found: Status) -> Iterator[str]:
    columns = ("partition", "watermark", "latest event", "last input", "state")
    rows = [
        (
            each.source,
            _time(each.watermark),
            _time(each.latest_event_time),
            _time(each.last_input_time),
            ("holds W" if each.holds_back else "active") if each.is_active else "idle",
        )
        for each in found.partitions
    ]
    return _format(columns, rows, number_from=len(columns))


def _format_batches(found: Status) -> Iterator[str]:
    columns = ("batch", "kind", "committed", "read", "events", "late", "rejects", "visits", "seconds")
    rows = []
    for batch in found.batches:
        facts = batch.facts
        counts = (facts.read_count, facts.event_count, facts.late_count, facts.reject_count, facts.visit_count)
        numbers = (*(f"{count:,}" for count in counts), f"{facts.seconds:.1f}")
        rows.append((batch.batch_id, batch.kind, _time(batch.end_time), *numbers))
    return _format(columns, rows, number_from=3)


def _format(columns: Sequence[str], rows: Sequence[Sequence[str]], *, number_from: int) -> Iterator[str]:
    import polars as pl

    from m2cli.output.table import format_table

    texts = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return format_table(texts, is_number=[place >= number_from for place in range(len(columns))])


def _time(time_: datetime | None) -> str:
    return "none yet" if time_ is None else f"{time_:%Y-%m-%d %H:%M:%S}"
