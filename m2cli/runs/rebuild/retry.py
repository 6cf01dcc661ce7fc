"""Rejects tried again: the same text by the settings of today."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from m2cli.events import EVENT_SCHEMA
from m2cli.files.find import examine_file
from m2cli.files.read import FileRule, read_events
from m2cli.logs.blocks import TOO_LONG
from m2cli.logs.parse import Origin, Place, name_events, parse_block
from m2cli.logs.streams import DAMAGED, ENDS_EARLY
from m2cli.pipeline import AccessLogSource, EventsSource
from m2cli.runs.batch.broker import Broker
from m2cli.runs.batch.contents import make_log_rule
from m2cli.runs.rebuild.rewrite import FROM_ROW, join_rows
from m2cli.stages.rejects import FROM_THE_FUTURE
from m2cli.stages.visitors import NO_VISITOR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from m2cli.files.find import EventFile
    from m2cli.pipeline import PipelineRule

# Where a line came from is said by its reject.
_ORIGIN = ("source", "part_id", "position_in_source", "arrival_time")
_OF_FILE = ("source", "part_id", "file", "arrival_time")
_MOST_LINE = 16 << 20
_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)
# What was an event before it was a reject: the text is the event, as m2 has written it.
_WERE_EVENTS = (FROM_THE_FUTURE, NO_VISITOR)
# Of these the end is not there, and what is there may look like a line.
_PARTIAL = (TOO_LONG, ENDS_EARLY, DAMAGED)
_NOTHING = {name: EVENT_SCHEMA[name] for name in ("event_time", "event_type", *_ORIGIN)} | {FROM_ROW: pl.UInt32}


def retry_rejects(
    rejects: pl.DataFrame, pipeline: PipelineRule, log_parts: Collection[str], scratch: Path
) -> pl.DataFrame:
    """The events that `rejects` (REJECT_SCHEMA, and `from_row`) have become by now, with their `from_row`.

    Lines of `log_parts` are tried with the formats of the pipeline's logs, rows of event files with the maps of its
    event files; the first that fits counts. Each event is where it would be, had it been read so at first. A record
    of a CSV file cannot be tried again, for its header is not there; nor a line of which the end
    is not there.
    `scratch` is a folder for a while.
    """
    was_event = pl.col("reason").is_in(_WERE_EVENTS)
    is_object = pl.col("raw").str.starts_with("{").fill_null(value=False)
    is_line = pl.col("part_id").is_in(list(log_parts)).fill_null(value=False)
    is_message = pl.col("source").is_in(_list_partitions(rejects, pipeline)) & ~was_event
    can_be_line = is_line & ~was_event & ~pl.col("reason").is_in(_PARTIAL) & pl.col("raw").is_not_null()
    tried = [
        _retry_events(rejects.filter(was_event & is_object), scratch),
        _retry_rows(rejects.filter(~was_event & ~is_line & ~is_message & is_object), pipeline, scratch),
        _retry_messages(rejects.filter(is_message), pipeline),
        _retry_lines(rejects.filter(can_be_line), pipeline),
    ]
    return join_rows(tried, _NOTHING)


def _list_partitions(rejects: pl.DataFrame, pipeline: PipelineRule) -> list[str]:
    """The sources of `rejects` that are partitions of the pipeline's topics."""
    topics = {source.topic for source in pipeline.topic_sources}
    return [source for source in rejects["source"].unique().drop_nulls() if source.rpartition("-")[0] in topics]


def _retry_messages(rejects: pl.DataFrame, pipeline: PipelineRule) -> pl.DataFrame:
    """The messages of topics that can be read by the schemas that are known today."""
    if not rejects.height:
        return join_rows([], _NOTHING)
    from m2cli.avro.raws import decode_raw

    found = []
    with closing(Broker(pipeline)) as broker:
        for source in pipeline.topic_sources:
            mine = rejects.filter(pl.col("source").str.replace(r"-\d+$", "") == source.topic)
            messages = mine.select("source", "position_in_source", "arrival_time", value=decode_raw(mine["raw"]))
            events = broker.decode(messages, source).events
            rows = mine.select("source", "position_in_source", FROM_ROW)
            found.append(events.join(rows, on=["source", "position_in_source"], how="left", maintain_order="left"))
    return join_rows(found, _NOTHING)


def _retry_lines(rejects: pl.DataFrame, pipeline: PipelineRule) -> pl.DataFrame:
    """The lines that fit any format of the pipeline's logs; the first one that a line fits."""
    found: list[pl.DataFrame] = []
    for rule in [make_log_rule(each) for each in pipeline.sources if isinstance(each, AccessLogSource)]:
        text = rejects["raw"] + "\n"
        # Only where a line begins counts here; where it is from is said by its reject.
        nowhere = Origin(source="", part_id="", file="", arrival_time=_ANY_TIME)
        place = Place(rule.log_format, nowhere, 0)
        intake = parse_block("".join(text).encode(), place, max_line_size=_MOST_LINE)
        ends = text.str.len_bytes().cast(pl.Int64).cum_sum()
        which = ends.search_sorted(intake.events["position_in_source"], side="right")
        origin = rejects.select(*_ORIGIN, FROM_ROW).gather(which)
        events = intake.events.drop(_ORIGIN, strict=False).hstack(origin)
        found.append(events.with_columns(name_events(pl.col("part_id") + "-")))
        rejects = rejects.filter(~rejects[FROM_ROW].is_in(events[FROM_ROW].implode()))
    return join_rows(found, _NOTHING)


def _retry_rows(rejects: pl.DataFrame, pipeline: PipelineRule, scratch: Path) -> pl.DataFrame:
    """The rows that fit any of the maps of the pipeline's event files, file by file: it says what rows do not."""
    found: list[pl.DataFrame] = []
    for source in (each for each in pipeline.sources if isinstance(each, EventsSource)):
        rule = FileRule(mapping=source.mapping, time_zone=source.time_zone)
        for _, of_file in rejects.group_by(_OF_FILE, maintain_order=True):
            found += _read_rows(of_file, rule, scratch)
        done = join_rows(found, _NOTHING)[FROM_ROW]
        rejects = rejects.filter(~pl.col(FROM_ROW).is_in(done.implode()))
    return join_rows(found, _NOTHING)


def _retry_events(rejects: pl.DataFrame, scratch: Path) -> pl.DataFrame:
    """What was refused as an event, as it was."""
    return join_rows(_read_rows(rejects, FileRule(), scratch), _NOTHING)


def _read_rows(rejects: pl.DataFrame, rule: FileRule, scratch: Path) -> Iterator[pl.DataFrame]:
    """The rows of one file, read again; a row's place is what it says itself, else its line in the file."""
    if not rejects.height:
        return
    path = scratch / "rejects.ndjson"
    path.write_text("".join(rejects["raw"] + "\n"), encoding="utf-8")
    name = rule.mapping.get("position_in_source", "position_in_source")
    says_place = rejects["raw"].str.json_path_match(f'$["{name}"]').is_not_null()
    place = pl.when(says_place).then(None).otherwise(rejects["line_number"] - 1)
    rows = rejects.select(FROM_ROW, "line_number", place=place)
    done = 0
    for piece in read_events(_as_file(path, rejects), rule, arrival_time=_arrival_time(rejects)):
        # The rows that were read are all but those that are rejects once more.
        here = rows.slice(done, piece.read_count)
        is_reject = pl.int_range(done + 1, done + here.height + 1, eager=True).is_in(
            piece.rejects["line_number"].implode()
        )
        read = here.filter(~is_reject)
        yield piece.events.with_columns(
            pl.coalesce(read["place"], "position_in_source").alias("position_in_source"), read[FROM_ROW]
        )
        done += piece.read_count
    path.unlink()


def _as_file(path: Path, rejects: pl.DataFrame) -> EventFile:
    """The file at `path` in the place of that which `rejects` come from."""
    return replace(
        examine_file(path),
        source=rejects["source"][0] or "",
        part_id=rejects["part_id"][0],
        modification_time=_arrival_time(rejects),
    )


def _arrival_time(rejects: pl.DataFrame) -> datetime:
    arrived: datetime | None = rejects["arrival_time"][0]
    return arrived or _ANY_TIME
