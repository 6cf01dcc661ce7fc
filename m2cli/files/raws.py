"""Rejected records of a CSV without their secrets, which a header names and not the record itself (DESIGN 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from m2cli.files.csv_records import TOO_FEW, TOO_MANY, count_fields, split_fields
from m2cli.stages.redaction import SECRET_NAMES, RedactionRule, redact_texts
from m2cli.stages.secret_spans import REDACTED, is_secret_name

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_NAME = 60  # of a column, in a message


def redact_records(records: pl.DataFrame, header: Sequence[str], separator: str) -> pl.Series:
    """The text of `records` (text, reason) with `[redacted]` for each field that the header calls a secret.

    A record of another number of fields than the header has its secrets elsewhere, so all is blanked from the
    first place where one can be: fields that are too few may lack before it. Where quotes are wrong, the
    fields before the first are all that can be counted.
    """
    text, sign = pl.col("text"), pl.lit(separator)
    secrets = [place for place, name in enumerate(header) if is_secret_name(name, SECRET_NAMES)]
    if not secrets:
        return _redact_doubled(records["text"])
    is_secret = pl.int_range(pl.len()).is_in(secrets) & (pl.element() != separator)
    blanked = split_fields(text, separator).list.eval(
        pl.when(is_secret).then(sign + REDACTED).otherwise(pl.element())
    )  # fmt: skip
    countable = pl.when(pl.col("reason").is_in([TOO_MANY, TOO_FEW])).then(count_fields(separator))
    field_count = countable.otherwise(text.str.extract(r'^([^"]*)').str.count_matches(separator, literal=True) + 1)
    missing_count = (pl.lit(len(header), pl.Int64) - field_count.cast(pl.Int64)).clip(0)
    # A separator inside quotes counts too, which blanks more than is needed and never less.
    kept = (sign + text).str.split(separator).list.head((secrets[0] - missing_count).clip(0) + 1)
    cut = (kept.list.join(separator) + sign + REDACTED).str.strip_prefix(separator)
    whole = blanked.list.join("").str.strip_prefix(separator)
    return _redact_doubled(records.select(pl.when(pl.col("reason").is_null()).then(whole).otherwise(cut)).to_series())


def redact_names(names: Sequence[str]) -> list[str]:
    """Columns' names for a message: what is no CSV has a line of its data where a header should be.

    No longer than a name is, and none behind the first with a secret in it, which the separator may have cut.
    """
    clean = redact_texts(pl.Series(names, dtype=pl.String), RedactionRule()).to_list()
    tainted = next((place for place, name in enumerate(names) if clean[place] != name), len(names))
    return [name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "..." for name in clean[: tainted + 1]]


def _redact_doubled(texts: pl.Series) -> pl.Series:
    """Secrets in JSON inside a field, whose quotes are doubled: escaped as JSON's own, they are found."""
    escaped = texts.str.replace_all('""', '\\"', literal=True)
    redacted = redact_texts(escaped, RedactionRule())
    is_changed = redacted.ne_missing(escaped)
    return pl.select(
        pl.when(is_changed).then(redacted.str.replace_all('\\"', '""', literal=True)).otherwise(texts)
    ).to_series()
