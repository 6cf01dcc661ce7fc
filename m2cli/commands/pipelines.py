"""The argument that names a pipeline, and the options that override its settings, for all verbs that take one."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from m2cli.commands.options import PATH
from m2cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from m2cli.pipeline import PipelineRule

P = ParamSpec("P")
R = TypeVar("R")

pipeline_argument = click.argument("pipeline", type=PATH, metavar="PIPELINE")


def override_options(command: Callable[..., R]) -> Callable[..., R]:
    """`--set`, `--lake` and `--memory`; the command gets `overrides`, by section and key, in their place."""

    @click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a setting: `visit.inactivity=20m`."
    )
    @click.option("--lake", metavar="LAKE", help="Override the pipeline's `lake`.")
    @click.option("--memory", metavar="SIZE", help="Override the pipeline's `memory`: `2GiB`.")
    @functools.wraps(command)
    def with_overrides(*args: Any, settings: tuple[str, ...], lake: str | None, memory: str | None, **kwargs: Any) -> R:
        return command(
            *args, overrides=_parse(settings, {"lake": lake and str(Path(lake).absolute()), "memory": memory}), **kwargs
        )

    return with_overrides


def load(path: Path, overrides: Mapping[str, str] | None = None) -> PipelineRule:
    """The pipeline at `path`, its settings filled from the environment and overridden."""
    from m2cli.pipeline import load_pipeline

    return load_pipeline(path, overrides=overrides or {}, environment=os.environ)


def _parse(settings: tuple[str, ...], of_pipeline: Mapping[str, str | None]) -> dict[str, str]:
    overrides = {f"pipeline.{name}": value for name, value in of_pipeline.items() if value is not None}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"`{setting}` is no setting; write it as `visit.inactivity=20m`")
        overrides[key.strip()] = value
    return overrides
