"""The fast parser of text formats: lines without escapes or oddities, by columns; it declines all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.logs.parsers.plan import NO_HASH, Cut, Plan, forget_groups, list_groups, make_plan

if TYPE_CHECKING:
    from m2cli.logs.formats.model import LogFormat
    from m2cli.logs.parsers.words import Word


class FastSplit(NamedTuple):
    """What became of lines: those taken, split into the columns that are asked for, and those declined."""

    taken: pl.DataFrame
    declined: pl.DataFrame


def split_fast(lines: pl.DataFrame, log_format: LogFormat) -> FastSplit:
    """`lines` of a text format that are written as servers write most lines.

    Takes a line if it has no backslash (so all of it is UTF-8, see `lines.py`), as many quotes as the format has, and
    between them what `Kind.strict` says. `taken` has the columns of `grammar.split_exact`, `declined` those of
    `lines`.
    """
    plan = make_plan(log_format)
    names = [f"part {number}" for number in range(len(plan.parts))]
    line = pl.col("line")
    if plan.does_split_at_quotes:
        # `split_exact` of Polars forgets what is left over; the regular expression of the exact parser takes
        # thrice as long.
        split = line.str.splitn('"', len(names)).struct.rename_fields(names).struct.unnest()
    else:
        split = line.alias(names[0])
    columns = lines.select("line", "position_in_source", split)
    grouped = [
        pl.col(name).str.extract_groups(part.check).alias(name)
        for name, part in zip(names, plan.parts, strict=True)
        if isinstance(part, Cut) and part.is_groups
    ]
    columns = columns.with_columns(*grouped) if grouped else columns
    is_taken = columns.select(_is_taken(plan, names)).to_series().fill_null(value=False)
    columns = columns.drop("line")
    if is_taken.all():
        return FastSplit(_cut_parts(columns, plan, names), lines.clear())
    return FastSplit(_cut_parts(columns.filter(is_taken), plan, names), lines.filter(~is_taken))


def _is_taken(plan: Plan, names: list[str]) -> pl.Expr:
    line = pl.col("line")
    checks = [~line.str.contains("\\", literal=True)]
    first = plan.parts[0]
    if not isinstance(first, Cut) or NO_HASH not in first.check:
        checks.append(~line.str.starts_with("#") & line.str.contains("[^ \t]"))
    for name, part in zip(names, plan.parts, strict=True):
        if isinstance(part, tuple) and not isinstance(part, Cut):
            checks.append(pl.col(name) == part[0])
        elif isinstance(part, Cut) and part.is_groups:
            checks.append(pl.col(name).struct.field(part.anchor).is_not_null())
        elif isinstance(part, Cut):
            checks.append(pl.col(name).str.contains(forget_groups(part.check)))
    last = plan.parts[-1]
    if plan.does_split_at_quotes and isinstance(last, Cut) and "[^ " in last.check:
        checks.append(~line.str.count_matches('"', literal=True).ge(len(names)))  # what is left over has no quote
    return pl.all_horizontal(checks)


def _cut_parts(columns: pl.DataFrame, plan: Plan, names: list[str]) -> pl.DataFrame:
    taken: list[pl.Expr | pl.Series] = []
    for name, part in zip(names, plan.parts, strict=True):
        text = pl.col(name)
        if isinstance(part, str):
            taken += [text.alias(part)] if part else []
        elif isinstance(part, Cut) and part.is_groups:
            taken += [text.struct.field(column) for column in list_groups(part)]
        elif isinstance(part, Cut) and part.words:
            taken += _cut_words(columns.get_column(name), part)
        elif isinstance(part, Cut):
            taken += [text.str.slice(place, size).alias(column) for column, place, size in part.fixed]
            taken += _cut_middle(columns, text, part)
    return columns.select("position_in_source", pl.lit(value=False).alias("is_odd_text"), *taken)


def _cut_middle(columns: pl.DataFrame, text: pl.Expr, part: Cut) -> list[pl.Expr | pl.Series]:
    if not part.used & set(part.middle):
        return []
    middle = text.str.slice(part.start) if part.start else text
    middle = middle.str.head(-part.end) if part.end else middle
    if len(part.middle) == 1:
        return [middle.alias(part.middle[0])]
    texts = columns.select(middle).to_series()
    first, *others = part.middle
    dashes = " -" * len(others)
    if texts.str.ends_with(dashes).all():  # nobody is logged in: a fifth of the time
        dash = pl.Series("-", ["-"]).new_from_index(0, len(texts))
        found = [texts.str.head(-len(dashes)).alias(first), *(dash.alias(name) for name in others)]
    else:
        fields = texts.str.splitn(" ", len(part.middle)).struct
        found = [fields.field(f"field_{number}").alias(name) for number, name in enumerate(part.middle)]
    return [each for each in found if each.name in part.used]


def _cut_words(text: pl.Series, part: Cut) -> list[pl.Series]:
    text = text.str.replace_all("  +", " ") if part.may_have_gaps else text
    words = text.str.splitn(" ", part.words[-1].number + 2).struct
    return [each for word in part.words for each in _cut_word(words.field(f"field_{word.number}"), word)]


def _cut_word(text: pl.Series, word: Word) -> list[pl.Series]:
    if word.pattern:
        groups = text.str.extract_groups(word.pattern).struct
        return [groups.field(name) for name in groups.fields]
    text = text.str.slice(word.start) if word.start else text
    text = text.str.head(-word.end) if word.end else text
    return [
        (text if (at, size) == (0, None) else text.str.slice(at, size)).alias(name) for name, at, size in word.slices
    ]
