"""What plans that were given up were to read, and what follows them no longer finds: it is said, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m2cli.runs.batch.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from m2cli.ledger import Ledger


def describe_lost(ledger: Ledger, plan: Plan, unread: Collection[str], without: Collection[str]) -> tuple[str, ...]:
    """What is lost of the input of batches that were dropped since the last commit, if `plan` follows them.

    Of the partitions in `unread`, input is left for a later plan, so nothing of them counts as lost; nor does a file
    at a path of `without`, which is there and damaged.
    """
    dropped = [(batch.batch_id, Plan.from_json(batch.plan)) for batch in ledger.list_dropped()]
    if not dropped:
        return ()
    reached = {part.part_id: part.position for part in ledger.list_parts()} | _reach(plan)
    spared = (*unread, *without)
    lost = {text: None for batch_id, given_up in dropped for text in _describe(batch_id, given_up, reached, spared)}
    return tuple(lost)


def _reach(plan: Plan) -> dict[str, int]:
    """How far the parts of `plan` will have been read."""
    ranges = {each.part_id: each.end for planned in plan.inputs for each in planned.ranges}
    return ranges | {each.part_id: each.size for planned in plan.inputs for each in planned.files}


def _describe(batch_id: str, plan: Plan, reached: dict[str, int], spared: Collection[str]) -> Iterator[str]:
    for planned in plan.inputs:
        for each in planned.ranges:
            size = each.end - max(each.start, reached.get(each.part_id, 0))
            if size > 0 and each.source not in spared:
                yield f"{size:,} bytes of `{each.path}` that {batch_id} was to read are in no file any more"
        for file in planned.files:
            if file.part_id not in reached and not {planned.source_name, file.path} & set(spared):
                yield f"`{file.path}`, which {batch_id} was to take, is in no file any more"
