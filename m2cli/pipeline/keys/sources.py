"""Settings of what is read: [[source]]."""

from __future__ import annotations

from functools import partial

from m2cli.files.rule import FileRule
from m2cli.logs.formats.options import FieldRule, parse_client
from m2cli.logs.read import LogRule
from m2cli.pipeline.keys.key import Key
from m2cli.pipeline.kinds import GLOBS, LITERAL, TABLE, TEXT, TEXTS
from m2cli.pipeline.rule import (
    EARLIEST,
    KafkaSource,
    check_paths,
    check_topic,
)

ACCESS_LOG, EVENTS, KAFKA = "access_log", "events", "kafka"


def _check_format(name: str) -> None:
    LogRule(format=name)


def _check_start(start: str) -> None:
    KafkaSource(name="", topic="any", start=start)


_source = partial(Key, section="source")

SOURCE_KEYS = (
    _source(
        name="type",
        kind=TEXT,
        sample='"access_log"',
        is_required=True,
        meaning="`access_log`: logs that are followed as they grow and rotate; "
        "`events`: event files, Parquet, NDJSON or CSV, each taken whole once it is complete; "
        "`kafka`: a topic of Avro or JSON messages.",
    ),
    _source(
        name="paths",
        kind=GLOBS,
        sample='["logs/access.log*"]',
        is_required=True,
        of_types=(ACCESS_LOG, EVENTS),
        check=check_paths,
        meaning="Files, folders and globs, one or a list; what is not there yet is waited for.",
    ),
    _source(
        name="topic",
        kind=TEXT,
        sample='"measurements"',
        is_required=True,
        of_types=(KAFKA,),
        check=check_topic,
        meaning="The topic; each of its partitions is one of the pipeline's.",
    ),
    _source(
        name="name",
        kind=TEXT,
        sample='"web"',
        meaning="What the source is called, and `source` in the events of files that say none; "
        "by default its first path as written, or its topic.",
    ),
    _source(
        name="start",
        kind=TEXT,
        default=EARLIEST,
        of_types=(KAFKA,),
        check=_check_start,
        meaning="Where a partition begins of which nothing was read yet: `earliest` or `latest`.",
    ),
    _source(
        name="format",
        kind=LITERAL,
        default="combined",
        of_types=(ACCESS_LOG,),
        check=_check_format,
        meaning="How the log's lines are written: a name of `m2 formats`, Apache's LogFormat or nginx' log_format as "
        "it stands there, dollars and all; several, one a line, are tried in turn.",
    ),
    _source(
        name="keep",
        kind=TEXTS,
        sample='["duration", "host"]',
        of_types=(ACCESS_LOG,),
        check=lambda keep: FieldRule(keep=keep),
        meaning="Fields that go to `attributes`, by their [standard names](../formats.md); or `all`.",
    ),
    _source(
        name="cookies",
        kind=TABLE,
        sample='{ session_id = "SID" }',
        of_types=(ACCESS_LOG,),
        check=lambda cookies: FieldRule(cookies=cookies),
        meaning="The event's column, or an attribute, and the cookie that it is filled from.",
    ),
    _source(
        name="queries",
        kind=TABLE,
        sample='{ entity_id = "pid" }',
        of_types=(ACCESS_LOG,),
        check=lambda queries: FieldRule(queries=queries),
        meaning="The event's column, or an attribute, and the URL's parameter that it is filled from.",
    ),
    _source(
        name="client_ip",
        kind=TEXT,
        sample='"x_forwarded_for:trusted=10.0.0.0/8"',
        of_types=(ACCESS_LOG,),
        check=parse_client,
        meaning="The field that proxies add the client's address to, and the networks of one's own proxies.",
    ),
    _source(
        name="map",
        kind=TABLE,
        sample='{ event_time = "ts" }',
        of_types=(EVENTS, KAFKA),
        check=lambda mapping: FileRule(mapping=mapping),
        meaning="The event's column, and the file's that holds it, where the names differ.",
    ),
    _source(
        name="time_zone",
        kind=TEXT,
        default="UTC",
        of_types=(ACCESS_LOG, EVENTS),
        check=lambda zone: FileRule(time_zone=zone),
        meaning="The zone of times that name none.",
    ),
)
