"""`m2 replay`: a day in minutes, every timeout as it would have been live."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from m2cli.commands.clusters import cluster_options, make_kafka_rule
from m2cli.commands.options import DATE, PATH, complete, console_options, duration_option
from m2cli.commands.options import DURATION as DURATION_TYPE
from m2cli.commands.replayed import describe, format_measures, list_json
from m2cli.commands.words import describe_rejects
from m2cli.errors import UnknownNameError, UsageError
from m2cli.process import hold_pages, open_stdout
from m2cli.settings import parse_mapping, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date
    from pathlib import Path
    from typing import Any

    from m2cli.console import Console
    from m2cli.runs.replay.rule import ReplayRule
    from m2cli.runs.replay.run import What
    from m2cli.runs.replay.send import PaceRule

_FORMATS = ("table", "json")
_LABEL_WIDTH = 11
_LARGEST_SEED = 2**63 - 1


def _limit_option(name: str, help_text: str) -> Callable[..., Any]:
    return click.option(name, type=DURATION_TYPE, metavar="DURATION", help=f"{help_text} [default: as it ran live]")


@click.command()
@click.argument("inputs", nargs=-1, type=click.Path(readable=False), metavar="[INPUT...]")
@click.option("--lake", type=PATH, metavar="LAKE", help="Replay what is in this lake, and hold it against it.")
@click.option("--date", "day", type=DATE, metavar="DATE", help="Of a lake, only the visits that touch this date (UTC).")
@duration_option("--every", timedelta(minutes=15), "How much time is between two batches.")
@_limit_option("--inactivity", "A silence of more than this ends a visit.")
@_limit_option("--max-duration", "An event later than this after the first starts the next visit.")
@_limit_option("--max-out-of-orderness", "Having seen time T, nothing before T minus this is expected.")
@_limit_option("--idle-after", "A partition with nothing new for this long holds nothing back.")
@click.option(
    "--visitor",
    default="default",
    show_default=True,
    metavar="RULE",
    shell_complete=complete("default", "session", "ip"),
    help="Who a visitor is: default, session or ip, as for `m2 sessionize`.",
)
@click.option("--outage", "outages", multiple=True, metavar="FROM-TO", help="No batch runs then: `10:00-11:00`, UTC.")
@click.option(
    "--late-partition", "lags", multiple=True, metavar="NAME=DURATION", help="This partition comes later: `web-3=20m`."
)
@duration_option("--shuffle", timedelta(0), "Move events out of order by up to this.")
@click.option(
    "--seed",
    type=click.IntRange(0, _LARGEST_SEED),
    default=7,
    show_default=True,
    help="Another seed shuffles otherwise.",
)
@click.option("--log-format", metavar="NAME", help="Format of access logs: combined (default), common.")
@click.option(
    "--map", "mapping", multiple=True, metavar="COLUMN=INPUT", help="An event's column and the input's that holds it."
)
@click.option("--time-zone", default="UTC", show_default=True, help="Zone of times that name none.")
@click.option(
    "--sweep", metavar="LIMIT=VALUES", help="No batches: what each value would make of it: `inactivity=10m,20m,30m`."
)
@click.option("--plot", type=PATH, metavar="FILE.svg", help="Draw what --sweep found in this file, too.")
@click.option("--to-kafka", "topic", metavar="TOPIC", help="No batches: send the events to this topic, as they came.")
@click.option(
    "--speed", type=float, metavar="FACTOR", help="Of --to-kafka: how many times as fast; 0: at once. [default: 1]"
)
@click.option("--shift", is_flag=True, help="Of --to-kafka: move event times so that the last is sent when it happens.")
@click.option("--restart", is_flag=True, help="Of --to-kafka: begin again, whatever an earlier run has sent.")
@cluster_options(is_required=False)
@click.option("--keep", type=PATH, metavar="DIR", help="Keep the lake and the ledger that are made, in this folder.")
@click.option("--memory", metavar="SIZE", help="How much memory to take: `2GiB`; half of the machine's by default.")
@click.option(
    "--format",
    "format_",
    default="table",
    show_default=True,
    metavar="FORMAT",
    shell_complete=complete(*_FORMATS),
    help="table or json.",
)
@console_options
def replay(  # noqa: PLR0913  # one parameter an option; they end in two rules
    *,
    inputs: tuple[str, ...],
    lake: Path | None,
    day: date | None,
    every: timedelta,
    inactivity: timedelta | None,
    max_duration: timedelta | None,
    max_out_of_orderness: timedelta | None,
    idle_after: timedelta | None,
    visitor: str,
    outages: tuple[str, ...],
    lags: tuple[str, ...],
    shuffle: timedelta,
    seed: int,
    log_format: str | None,
    mapping: tuple[str, ...],
    time_zone: str,
    sweep: str | None,
    plot: Path | None,
    topic: str | None,
    speed: float | None,
    shift: bool,
    restart: bool,
    cluster: dict[str, Any],
    keep: Path | None,
    memory: str | None,
    format_: str,
    console: Console,
) -> None:
    """Replay a day through batches on a virtual clock, and prove what comes of it.

    Events come in as they did when it ran live, by source, part, position and arrival time, which a pipeline's lake
    has; a line of a log, and what is in a lake that was made at once, arrives with the largest event time up to it in
    its partition. The batches are those of `m2 run`, in a ledger and a lake of their own: a live lake is only read.

    What comes of it is held against what ran live (as long as the rule is the same), against the kernel at once, and
    against DuckDB. Exit code 1: they are not the same.

    \b
    Examples:
      m2 replay --lake lake --date 2026-11-20 --every 15m
      m2 replay access.log access.log.1.gz --every 15m
      m2 replay access.log --inactivity 20m --max-duration 6h
      m2 replay --lake lake --date 2026-11-20 --sweep inactivity=10m,20m,30m,45m --plot sweep.svg
      m2 replay --lake lake --date 2026-11-20 --to-kafka test --speed 60 --shift --bootstrap-server localhost:9092
      m2 replay --lake lake --outage 10:00-11:00 --late-partition web-3=20m --shuffle 5m
    """
    hold_pages()

    from dataclasses import replace

    from m2cli.clock import elapsed_since, stopwatch
    from m2cli.runs.intake import IntakeRule
    from m2cli.runs.replay import run
    from m2cli.runs.replay.rule import FaultRule, parse_lag, parse_outage
    from m2cli.runs.replay.send import PaceRule
    from m2cli.runs.shards import default_memory
    from m2cli.stages.visitors import VisitorRule

    if format_ not in _FORMATS:
        raise UnknownNameError("format", format_, _FORMATS)
    what = run.What(
        lake=lake,
        day=day,
        inputs=inputs,
        intake=IntakeRule(log_format=log_format, mapping=parse_mapping(mapping), time_zone=time_zone),
        visitor=VisitorRule(by=visitor),
    )
    today, as_live = run.find_today(what)
    changes = {
        "inactivity": inactivity,
        "max_duration": max_duration,
        "max_out_of_orderness": max_out_of_orderness,
        "idle_after": idle_after,
    }
    rule = replace(
        as_live,
        every=every,
        visit=run.change_rule(as_live.visit, changes),
        faults=FaultRule(
            outages=tuple(map(parse_outage, outages)), lags=dict(map(parse_lag, lags)), shuffle=shuffle, seed=seed
        ),
        memory=default_memory() if memory is None else parse_size(memory),
    )
    if plot and not sweep:
        raise UsageError("`--plot` draws what `--sweep` finds; add `--sweep inactivity=10m,20m,30m`")
    if not topic and (speed is not None or shift or restart):
        raise UsageError("`--speed`, `--shift` and `--restart` are for `--to-kafka TOPIC`")
    if topic and sweep:
        raise UsageError("`--to-kafka` sends events, and `--sweep` measures them; ask for one of them")
    start = stopwatch()
    if topic:
        kafka = make_kafka_rule(cluster, os.environ)
        pace = PaceRule(
            kafka=kafka, topic=topic, speed=1.0 if speed is None else speed or None, is_shifted=shift, restarts=restart
        )
        _send(what, rule, pace, console)
        return
    if sweep:
        _sweep(what, rule, sweep, plot, is_json=format_ == "json", console=console)
        return
    with console.progress() as tell:
        replayed = run.replay(what, rule, today, keep=keep, tell=tell)
    if replayed.tally.read_count:
        console.summarize([("rejects", describe_rejects(replayed.tally))])
    _write(list_json(replayed) if format_ == "json" else describe(replayed, what))
    if keep:
        console.summarize([("kept", f"the lake {replayed.lake}, with its ledger")])
    seconds = max(elapsed_since(start), 1e-9)
    console.detail(f"{seconds:.1f} s, {replayed.verdict.event_count / seconds:,.0f} events/s")
    if not replayed.verdict.is_same:
        raise run.NotTheSameError(replayed.verdict)


def _write(lines: Sequence[str]) -> None:
    stream = open_stdout()
    stream.write("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
    stream.flush()


def _send(what: What, rule: ReplayRule, pace: PaceRule, console: Console) -> None:
    from time import sleep

    from m2cli.clock import now
    from m2cli.console import format_rate
    from m2cli.runs.intake import Tally
    from m2cli.runs.replay.run import send

    tally = Tally()
    with console.progress() as tell:
        facts = send(what, rule, pace, tally=tally, now=now, pause=sleep, tell=tell)
    if tally.read_count:
        console.summarize([("rejects", describe_rejects(tally))])
    rate = format_rate(facts.sent_count / max(facts.seconds, 1e-9), "events")
    before = f"; {facts.before_count:,} were there from an earlier run" if facts.before_count else ""
    console.summarize(
        [("sent", f"{facts.sent_count:,} events to {pace.topic} in {facts.seconds:.1f} s, {rate}{before}")]
    )


def _check_place(path: Path) -> None:
    """Raise `UnwritableSinkError` where `path` cannot be written: before the work, not after it."""
    from m2cli.lake.write import explain_unwritable

    is_there = path.exists()
    with explain_unwritable(path):
        path.open("ab").close()
        if not is_there:
            path.unlink()


def _sweep(  # noqa: PLR0913  # how it is shown, by keyword
    what: What, rule: ReplayRule, text: str, plot: Path | None, *, is_json: bool, console: Console
) -> None:
    from m2cli.lake.write import explain_unwritable
    from m2cli.output.plot import draw_bars, draw_svg
    from m2cli.runs.intake import Tally
    from m2cli.runs.replay.run import sweep
    from m2cli.runs.replay.what_if import parse_sweep

    if plot:
        _check_place(plot)
    tally = Tally()
    with console.progress() as tell:
        found = sweep(what, rule, parse_sweep(text, rule.visit), tally=tally, tell=tell)
    if tally.read_count:
        console.summarize([("rejects", describe_rejects(tally))])
    names = [each["rule"] for each in found]
    counts = [each["visit_count"] for each in found]
    groups = [("visits", names, counts, [f"{count:,}" for count in counts])]
    shares = [each["cut_off_count"] / (each["purchase_count"] or 1) for each in found]
    if any(each["purchase_count"] for each in found):
        groups.append(("purchases cut off from their root", names, shares, [f"{share:.2%}" for share in shares]))
    if is_json:
        _write(json.dumps(found, indent=2).splitlines())
    else:
        bars = [line for group in groups for line in ("", *draw_bars(*group))]
        _write([*format_measures(found), *bars])
    if plot:
        title = f"Visits by {text.partition('=')[0]}"
        with explain_unwritable(plot):
            plot.write_text(draw_svg(title, groups), encoding="utf-8")
