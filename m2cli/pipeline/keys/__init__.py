"""The table of settings: every key of a pipeline's TOML file, how it is written, its default and its meaning."""

from m2cli.pipeline.keys.kafka import KAFKA_KEYS
from m2cli.pipeline.keys.key import Key
from m2cli.pipeline.keys.pipeline import PIPELINE_KEYS
from m2cli.pipeline.keys.privacy import PASSING, PRIVACY_KEYS
from m2cli.pipeline.keys.rules import RULE_KEYS
from m2cli.pipeline.keys.sources import ACCESS_LOG, EVENTS, KAFKA, SOURCE_KEYS

KEYS = (*PIPELINE_KEYS, *SOURCE_KEYS, *RULE_KEYS, *KAFKA_KEYS, *PRIVACY_KEYS)
SECTIONS = {
    section: {key.name: key for key in KEYS if key.section == section}
    for section in dict.fromkeys(key.section for key in KEYS)
}
SOURCE = "source"


def header(section: str) -> str:
    """How a section is written: `[visit]`; `[[source]]`, of which there may be many."""
    return f"[[{section}]]" if section == SOURCE else f"[{section}]"


__all__ = ["ACCESS_LOG", "EVENTS", "KAFKA", "KEYS", "PASSING", "SECTIONS", "SOURCE", "Key", "header"]
