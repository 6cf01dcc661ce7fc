"""Settings of the pipeline as a whole: [pipeline]."""

from __future__ import annotations

from functools import partial

from m2cli.pipeline.keys.key import Key
from m2cli.pipeline.kinds import DURATION, PATH, REJECT_LIMIT, SIZE, TEXT
from m2cli.pipeline.rule import (
    check_every,
    check_memory,
    check_metrics,
    check_name,
    check_time,
)

_pipeline = partial(Key, section="pipeline")

PIPELINE_KEYS = (
    _pipeline(
        name="name",
        kind=TEXT,
        sample='"shop"',
        is_required=True,
        check=check_name,
        meaning="What the pipeline is called, and its batches after it: 1 to 60 letters, digits, `-` and `_`.",
    ),
    _pipeline(name="lake", kind=PATH, sample='"lake"', is_required=True, meaning="The folder that the visits go to."),
    _pipeline(
        name="memory",
        kind=SIZE,
        default="2GiB",
        check=check_memory,
        meaning="What a run may take, at least 256MiB; beyond it, it works in pieces, by way of the disk.",
    ),
    _pipeline(
        name="max_rejects",
        kind=REJECT_LIMIT,
        sample='"1%"',
        meaning="A batch with more rejects than this does not commit: a number, or a share of what was read.",
    ),
    _pipeline(name="log", kind=PATH, sample='"shop.log"', meaning="A file that gets one line a batch, for people."),
    _pipeline(
        name="json_log", kind=PATH, sample='"shop.ndjson"', meaning="A file that gets one line a batch, as JSON."
    ),
    _pipeline(
        name="metrics",
        kind=PATH,
        sample='"m2_shop.prom"',
        check=check_metrics,
        meaning="A file for node exporter's textfile collector, written anew after each batch; ends in `.prom`.",
    ),
    _pipeline(
        name="grace",
        kind=DURATION,
        default="1h",
        check=check_time,
        meaning="How long a replaced file stays for those who read by an earlier snapshot.",
    ),
    _pipeline(
        name="lake_every",
        kind=DURATION,
        default="15m",
        check=check_every,
        meaning="How often `m2 run --follow` writes to the lake; to the topics it writes every second.",
    ),
)
