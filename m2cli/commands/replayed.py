"""What `m2 replay` shows of a replay: five lines for a person, all of it as JSON, and a table of rules."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from m2cli.settings import format_duration
from m2cli.texts import escape_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from m2cli.runs.replay.compare import Aside, Comparison
    from m2cli.runs.replay.run import Replay, What
    from m2cli.runs.replay.verdict import Verdict

_LABEL_WIDTH = 11


def list_json(replayed: Replay) -> list[str]:
    """All that is known of a replay."""
    from m2cli.output.terminal import escape_json

    rule = {
        name: format_duration(getattr(replayed.rule.visit, name)) for name in replayed.rule.visit.__dataclass_fields__
    }
    found = {"rule": rule, "every": format_duration(replayed.rule.every)} | replayed.verdict.to_dict()
    if replayed.measures:
        found["what_if"] = replayed.measures
    return [escape_json(line) for line in json.dumps(found, indent=2).splitlines()]


def format_measures(found: Sequence[dict[str, Any]]) -> list[str]:
    """A table of what rules make of the same events, a row each."""
    import polars as pl

    from m2cli.output.table import format_table

    columns = (
        "rule",
        "inactivity",
        "max duration",
        "visits",
        "events a visit",
        "mean",
        "median",
        "purchases",
        "cut off",
    )
    rows = [
        (
            *(each[name] for name in ("rule", "inactivity", "max_duration")),
            f"{each['visit_count']:,}",
            f"{each['events_per_visit'] or 0:,.2f}",
            *(_format_seconds(each[name]) for name in ("mean_seconds", "median_seconds")),
            *(f"{each[name]:,}" for name in ("purchase_count", "cut_off_count")),
        )
        for each in found
    ]
    texts = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return list(format_table(texts, is_number=[place > 2 for place in range(len(columns))]))


def _format_seconds(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))


def describe(replayed: Replay, what: What) -> list[str]:
    """Five lines, and a table where another rule was tried."""
    verdict, rule = replayed.verdict, replayed.rule
    return [
        escape_text(f"{label:<{_LABEL_WIDTH}} {sentence}")
        for label, sentence in (
            ("replay", _describe_replay(verdict, what, rule.every)),
            ("live", _describe_live(replayed)),
            ("at once", _describe_comparison(verdict.one_shot)),
            ("DuckDB", _describe_proof(replayed)),
            ("verdict", "the same" if verdict.is_same else "NOT the same"),
        )
    ] + (["", *format_measures(replayed.measures)] if replayed.measures else [])


def _describe_replay(verdict: Verdict, what: What, every: timedelta) -> str:
    day = f" for {what.day}" if what.day else ""
    counts = [
        f"{verdict.visit_count:,} visits",
        f"{verdict.late_count:,} late",
        f"{verdict.duplicate_count:,} duplicates",
    ]
    if verdict.reject_count:
        counts.append(f"{verdict.reject_count:,} rejects")
    batches = f"{verdict.batch_count:,} batches, every {format_duration(every)}"
    return f"{verdict.event_count:,} events{day} in {batches}: {', '.join(counts)}"


def _describe_live(replayed: Replay) -> str:
    live = replayed.verdict.live
    if live is None:
        return "nothing to hold it against: it ran by another rule" if replayed.today.is_live else "nothing ran live"
    text = _describe_comparison(live.visits)
    aside = ", ".join(
        filter(None, (_describe_aside(live.late, "late"), _describe_aside(live.duplicates, "duplicates")))
    )
    return f"{text}; {aside}" if aside else text


def _describe_comparison(found: Comparison) -> str:
    counts = (
        f"{found.same_count:,} visits the same",
        *(
            f"{count:,} {what}"
            for count, what in (
                (found.other_boundaries_count, "with other boundaries"),
                (found.other_totals_count, "with other totals"),
                (found.missing_count, "missing"),
                (found.extra_count, "extra"),
            )
            if count
        ),
    )
    why = ", ".join(f"{reason}: {count:,}" for reason, count in found.reasons.items())
    return ", ".join(counts) + (f" ({why})" if why else "")


def _describe_aside(found: Aside, what: str) -> str:
    parts = [
        f"{count:,} {what} only {where} ({reason})"
        for where, reasons in (("live", found.only_live), ("in the replay", found.only_replay))
        for reason, count in reasons.items()
    ]
    return ", ".join(parts)


def _describe_proof(replayed: Replay) -> str:
    proof, visit = replayed.verdict.proof, replayed.rule.visit
    inactivity, longest = format_duration(visit.inactivity), format_duration(visit.max_duration)
    good = f"no silence above {inactivity} inside a visit, none up to it between two, none over {longest}"
    faults = [
        f"{count:,} {what}"
        for count, what in (
            (proof.gap_count, f"silences above {inactivity} inside a visit"),
            (proof.cut_count, f"visits parted by no more than {inactivity}"),
            (proof.long_count, f"events beyond {longest}"),
            (proof.torn_count, "visits torn apart"),
            (abs(proof.missing_count), "events " + ("missing" if proof.missing_count > 0 else "too many")),
        )
        if count
    ]
    if not proof.is_once and not proof.missing_count:
        faults.append("other events than went in")
    return ", ".join(faults) or f"{good}, every event once"
