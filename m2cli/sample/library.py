"""Every script of a sample as two frames: one row a script, one row a scene."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.sample.catalogue import KINDS
from m2cli.sample.draws import Dice, make_key
from m2cli.sample.scenes import DELAYS, NONE, UNKNOWN, Scene, Script
from m2cli.sample.traps import TRAPS
from m2cli.sample.walks import Walk, write_robot, write_visit

if TYPE_CHECKING:
    from m2cli.sample.rule import SampleRule

VISITS, ROBOTS, TRAP_VARIANTS = 256, 32, 4
"""How many scripts there are of each sort; what products they are about differs from journey to journey."""

UNKNOWN_OFFSET = 2**40
"""Beyond the number of every event: the cause that is not in the data."""


class Library(NamedTuple):
    """The scripts in this order: everyday visits, robots, then `TRAP_VARIANTS` of each of `traps`.

    `scripts`: `begin` (row of its first scene), `length`, `longest` (µs), `is_watched`, `is_robot`, `trap`.
    `scenes`: what an event has of its script; `cause` and `root` as numbers within the script.
    """

    scripts: pl.DataFrame
    scenes: pl.DataFrame
    traps: tuple[str, ...]


def write_library(rule: SampleRule) -> Library:
    """All scripts for a seed and a format."""
    return _write(rule.seed, is_log=rule.is_log)


@lru_cache(maxsize=4)
def _write(seed: int, *, is_log: bool) -> Library:
    dice = Dice(make_key(seed, "scripts"))
    traps = [trap for trap in TRAPS if trap.is_in_logs or not is_log]
    scripts = [write_visit(Walk(dice, is_log=is_log)) for _ in range(VISITS)]
    scripts += [write_robot(dice, is_log=is_log) for _ in range(ROBOTS)]
    scripts += [trap.write(Walk(dice, is_log=is_log)) for trap in traps for _ in range(TRAP_VARIANTS)]
    scenes = [_scene_row(script, n) for script in scripts for n in range(len(script.scenes))]
    return Library(_list_scripts(scripts), _list_scenes(scenes), tuple(trap.name for trap in traps))


def _list_scripts(scripts: list[Script]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "length": [len(script.scenes) for script in scripts],
            "longest": [script.longest for script in scripts],
            "is_watched": [script.is_watched for script in scripts],
            "is_robot": [script.is_robot for script in scripts],
        }
    ).with_columns(begin=pl.col("length").cum_sum() - pl.col("length"))


def _scene_row(script: Script, n: int) -> dict[str, object]:
    scene: Scene = script.scenes[n]
    kind, has_link = KINDS[scene.kind], scene.method is not None
    has_name = kind.entity_type is not None and scene.event_type != "request"
    referrer = KINDS[scene.referrer[0]] if scene.referrer else None
    root = NONE if script.is_watched else script.find_root(n)
    return {
        "row": n,
        "same_as": n if scene.same_as == NONE else scene.same_as,
        "gap_from": scene.gap[0],
        "gap_range": scene.gap[1] - scene.gap[0],
        "delay_from": DELAYS[scene.delay][0],
        "delay_range": DELAYS[scene.delay][1] - DELAYS[scene.delay][0],
        "is_prompt": scene.delay == "prompt",
        "shift": scene.shift,
        "cause": {NONE: None, UNKNOWN: UNKNOWN_OFFSET}.get(scene.cause, scene.cause),
        "root": None if root == NONE else root,
        "is_known": scene.is_known,
        "slot": scene.slot,
        "size": kind.size,
        "thing": kind.offset,
        "has_link": has_link,
        "has_name": has_name,
        "referrer_slot": scene.referrer[1] if scene.referrer else 0,
        "referrer_size": referrer.size if referrer else 1,
        "referrer_thing": referrer.offset if referrer else None,
        "event_type": scene.event_type,
        "method": scene.method,
        "status": scene.status,
        "entity_type": kind.entity_type if has_name else None,
        "hook": scene.hook,
        "reason": scene.reason,
        "position": scene.position,
        "quantity": scene.quantity,
        "currency": scene.currency,
    }


def _list_scenes(rows: list[dict[str, object]]) -> pl.DataFrame:
    numbers = {
        "status": pl.Int32,
        "position": pl.Int32,
        "quantity": pl.Int64,
        "root": pl.Int64,
        "cause": pl.Int64,
    }
    scenes = pl.DataFrame(rows, schema_overrides=numbers, infer_schema_length=None)
    texts = [name for name, dtype in scenes.schema.items() if dtype == pl.Null]
    return scenes.with_columns(pl.col(texts).cast(pl.String))
