"""Causes: from any event up to its root, and the shows that competed with what was chosen (DESIGN 3.3).

Everything is done on row numbers: each event is linked to the row of its cause, and paths of any length are
unfolded by doubling (the cause of the cause of 2, 4, 8 ... steps), so that a long chain costs no more passes
than a short one and a cycle cannot hang.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from m2cli.events import SHOW

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT, ORPHAN, CYCLE = "root", "orphan", "cycle"

_ROW = pl.UInt32


class Paths(NamedTuple):
    """What `unfold_causes` finds: the rows on the paths, and one row for each path."""

    steps: pl.DataFrame
    ends: pl.DataFrame


def trace_causes(events: pl.DataFrame, event_ids: Iterable[str]) -> pl.DataFrame:
    """The events on the way from each event with one of `event_ids` up its causes, one row a step.

    Reads `event_id`, `cause_id`, `event_time` and, where there is one, `visitor_id`. Returns the columns of
    `events` after these: `trace` (the number of the path, from 0, in the order of `events`), `step` (0 is the
    event asked for, 1 its cause, and so on up) and `end`, the same for all steps of a path: `root` (the last
    has no cause), `orphan` (its cause is not in the data) or `cycle` (its cause is on the path already). An
    id that occurs more than once has a path for each time; one that does not occur has none.

    >>> events = pl.DataFrame({"event_id": ["a", "b"], "cause_id": [None, "a"], "event_time": [1, 2]})
    >>> trace_causes(events, ["b"])["event_id"].to_list()
    ['b', 'a']
    """
    is_asked = pl.col("event_id").is_in(pl.Series(list(event_ids), dtype=pl.String).implode())
    starts = events.select(pl.arg_where(is_asked)).to_series()
    paths = unfold_causes(events, find_causes(events), starts)
    steps = paths.steps.join(paths.ends.select("trace", "end"), on="trace", how="left", maintain_order="left")
    return steps.select("trace", "step", "end").hstack(events.gather(steps["row"]))


def find_causes(events: pl.DataFrame) -> pl.Series:
    """The row number of each event's cause in `events`; null for a root and for an orphan.

    Where an id occurs more than once, the cause is, in this order: the event itself if it names itself, the
    visitor's latest event of that id that is not after the effect, the visitor's earliest after it, anyone's
    latest not after it, anyone's earliest after it; of several at the same time the first row.
    """
    effects = events.lazy().select("cause_id", effect=_row_number())
    causes = _take(events, "event_id").with_columns(row=_row_number()).drop_nulls("event_id")
    if not causes["event_id"].is_duplicated().any():
        keys = causes.lazy().select(cause_id="event_id", cause="row")
        joined = effects.join(keys, on="cause_id", how="left", maintain_order="left").collect()
        return joined["cause"].rename("cause_row")
    return _find_among_reused(_take(events, "cause_id").with_columns(effect=_row_number()), causes)


def _take(events: pl.DataFrame, name: str) -> pl.DataFrame:
    visitor = pl.col("visitor_id") if "visitor_id" in events.columns else pl.lit(None, pl.String)
    columns = [name] if name == "event_id" else [name, "event_id"]
    return events.select(*columns, "event_time", visitor_id=visitor)


def _row_number() -> pl.Expr:
    return pl.int_range(pl.len(), dtype=_ROW)


def _find_among_reused(effects: pl.DataFrame, causes: pl.DataFrame) -> pl.Series:
    """`find_causes` where ids occur more than once: each rule in turn, for those still without a cause."""
    is_own = pl.col("cause_id") == pl.col("event_id")
    found = [effects.filter(is_own).select("effect", cause="effect")]
    rest = effects.filter(~is_own.fill_null(value=False), pl.col("cause_id").is_not_null())
    candidates = causes.rename({"event_id": "cause_id", "row": "cause"})
    for keys in (["visitor_id", "cause_id"], ["cause_id"]):
        first = candidates.drop_nulls(keys).unique([*keys, "event_time"], keep="first", maintain_order=True)
        for strategy in ("backward", "forward"):
            matched = rest.sort("event_time", maintain_order=True).join_asof(
                first.select(*keys, "event_time", "cause").sort("event_time", maintain_order=True),
                on="event_time",
                by=keys,
                strategy=strategy,
                check_sortedness=False,
            )
            found.append(matched.drop_nulls("cause").select("effect", "cause"))
            rest = matched.filter(pl.col("cause").is_null()).drop("cause")
    links = pl.concat(found)
    none = pl.repeat(None, n=effects.height, dtype=_ROW, eager=True)
    return none.scatter(links["effect"], links["cause"]).rename("cause_row")


def unfold_causes(events: pl.DataFrame, cause_row: pl.Series, starts: pl.Series) -> Paths:
    """The paths from the rows `starts` of `events` up, by the links of `find_causes`.

    `steps`: `trace`, `step`, `row`, by trace and step; `ends`: `trace`, `row` (where it starts), `top` (the
    row of the last step), `step_count`, `end`, `missing_cause_id` (of an orphan).
    """
    links = _double(cause_row)
    heights = _count_steps(cause_row, links)
    starts = starts.cast(_ROW)
    trace = pl.int_range(len(starts), dtype=_ROW, eager=True)
    step_count = heights.gather(starts)
    wanted = pl.DataFrame({"trace": trace, "row": starts, "step": pl.int_ranges(0, step_count, dtype=_ROW, eager=True)})
    steps = wanted.explode("step") if wanted.height else wanted.clear().with_columns(step=pl.lit(0, _ROW))
    steps = steps.with_columns(row=_climb(steps["row"], steps["step"], links)).select("trace", "step", "row")
    top = _climb(starts, step_count - 1, links)
    cause_id = events["cause_id"].gather(top)
    has_link = cause_row.gather(top).is_not_null()
    end = pl.when(has_link).then(pl.lit(CYCLE)).when(cause_id.is_null()).then(pl.lit(ROOT)).otherwise(pl.lit(ORPHAN))
    ends = pl.DataFrame({"trace": trace, "row": starts, "top": top, "step_count": step_count}).with_columns(
        end=end, missing_cause_id=pl.when(~has_link).then(cause_id)
    )
    return Paths(steps, ends)


def _double(cause_row: pl.Series) -> list[pl.Series]:
    """The links of 1, 2, 4 ... steps, until all paths have ended, or must be cycles: longer than all rows."""
    links = [cause_row.cast(_ROW)]
    while links[-1].is_not_null().any() and 1 << (len(links) - 1) < len(cause_row):
        links.append(links[-1].gather(links[-1]))
    return links


def _climb(rows: pl.Series, steps: pl.Series, links: list[pl.Series]) -> pl.Series:
    """The row that lies `steps` above each of `rows`."""
    frame = pl.DataFrame({"row": rows, "step": steps.cast(_ROW)})
    for power, link in enumerate(links):
        is_taken = (pl.col("step") // (1 << power)) % 2 == 1
        frame = frame.with_columns(row=pl.when(is_taken).then(link.gather(frame["row"])).otherwise("row"))
    return frame["row"]


def _count_steps(cause_row: pl.Series, links: list[pl.Series]) -> pl.Series:
    """How many different rows lie on the path up from each row, itself included."""
    cycling = links[-1].drop_nulls().unique()
    if not len(cycling):
        return _count_above(links) + 1
    # Where paths end in cycles: up to the first row of the cycle, then once around it.
    rows = pl.int_range(len(cause_row), dtype=_ROW, eager=True)
    is_cycling = rows.is_in(cycling.implode())
    open_links = _double(pl.select(pl.when(~is_cycling).then(links[0])).to_series())
    above = _count_above(open_links)
    first = _climb(rows, above, open_links)
    return above + _count_cycles(cycling, links).gather(first)


def _count_above(links: list[pl.Series]) -> pl.Series:
    """How many links lead up from each row, where none leads into a cycle."""
    count = links[0].is_not_null().cast(_ROW)
    for link in links[:-1]:
        count = count + count.gather(link).fill_null(0)
    return count


def _count_cycles(cycling: pl.Series, links: list[pl.Series]) -> pl.Series:
    """For every row of a graph: the length of the cycle that it lies on, 1 where it lies on none."""
    least = pl.int_range(len(links[0]), dtype=_ROW, eager=True)
    for link in links:
        other = least.gather(link)
        least = pl.select(pl.min_horizontal(least, other)).to_series()
    lengths = pl.DataFrame({"row": cycling, "least": least.gather(cycling)}).with_columns(
        length=pl.len().over("least").cast(_ROW)
    )
    return pl.repeat(1, n=len(least), dtype=_ROW, eager=True).scatter(lengths["row"], lengths["length"])


def find_competitors(events: pl.DataFrame, cause_row: pl.Series, rows: pl.Series) -> pl.DataFrame:
    """The shows with the same cause as the event in each of `rows`, without that event: `row`, `competitor`.

    Both are row numbers of `events`, by `row`, then `competitor`. Shows of one missing cause compete as well;
    roots have no competitors.
    """
    chosen = _name_causes(events, cause_row).join(pl.DataFrame({"row": rows.cast(_ROW).unique()}), on="row", how="semi")
    shows = _name_causes(events, cause_row).filter(pl.col("event_type") == SHOW).rename({"row": "competitor"})
    pairs = chosen.join(shows, on=["cause_id", "cause_row"], nulls_equal=True)
    return pairs.filter(pl.col("row") != pl.col("competitor")).select("row", "competitor").sort("row", "competitor")


def count_competitors(events: pl.DataFrame, cause_row: pl.Series, rows: pl.Series) -> pl.Series:
    """How many rows `find_competitors` finds for each of `rows`, in their order."""
    keys = ["cause_id", "cause_row"]
    caused = _name_causes(events, cause_row)
    shows = caused.filter(pl.col("event_type") == SHOW).group_by(keys).agg(show_count=pl.len())
    counted = caused.join(shows, on=keys, how="left", nulls_equal=True).select(
        "row",
        competitors=pl.col("show_count").fill_null(0) - (pl.col("event_type") == SHOW).fill_null(value=False),
    )
    wanted = pl.DataFrame({"row": rows.cast(_ROW)}).join(counted, on="row", how="left", maintain_order="left")
    return wanted["competitors"].fill_null(0).cast(_ROW)


def _name_causes(events: pl.DataFrame, cause_row: pl.Series) -> pl.DataFrame:
    """The events that have a cause, with what tells causes apart: the id, and the row where it is there."""
    return events.select("cause_id", "event_type", cause_row=cause_row, row=_row_number()).filter(
        pl.col("cause_id").is_not_null()
    )
