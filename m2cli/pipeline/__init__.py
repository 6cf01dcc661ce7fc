"""The settings of a pipeline: one TOML file, read into frozen rules, or refused with the line that is wrong."""

from m2cli.pipeline.lines import PipelineError
from m2cli.pipeline.load import load_pipeline
from m2cli.pipeline.rule import (
    AccessLogSource,
    EventsSource,
    FileSource,
    KafkaSource,
    PipelineRule,
    Source,
    TapeSource,
    TopicsRule,
)

__all__ = [
    "AccessLogSource",
    "EventsSource",
    "FileSource",
    "KafkaSource",
    "PipelineError",
    "PipelineRule",
    "Source",
    "TapeSource",
    "TopicsRule",
    "load_pipeline",
]
