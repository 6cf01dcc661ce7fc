"""Which of a format's fields its events are made of: nothing else of a line has to be taken out of it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from m2cli.logs.fields.assemble import list_meanings
from m2cli.logs.fields.extracts import list_sources
from m2cli.logs.fields.times import MEANINGS

if TYPE_CHECKING:
    from m2cli.logs.formats.model import Field, LogFormat


@lru_cache(maxsize=1024)
def list_used(log_format: LogFormat) -> tuple[Field, ...]:
    """The fields of `log_format` that an event, as its options ask for it, says anything of."""
    meanings = {*MEANINGS, *list_meanings(log_format)}
    sources = list_sources(log_format)
    return tuple(each for each in log_format.fields if each.meaning in meanings or each in sources)


@lru_cache(maxsize=1024)
def name_used(log_format: LogFormat) -> frozenset[str]:
    """The columns of these fields."""
    return frozenset(column for each in list_used(log_format) for column in each.columns)
