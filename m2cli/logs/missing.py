"""Text that a plan knows of and does not read: out of sight, in no file any more, or of a part that was taken out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from m2cli.logs.known import KnownFile, KnownPart
    from m2cli.logs.listing import Hidden, Listing
    from m2cli.logs.sights import Knowledge, Sight


class Unseen(NamedTuple):
    """Known files that lie where nothing can be looked at now.

    `unread` are the sources that have unread text in them, `warnings` those of the listing, which say so.
    """

    files: tuple[KnownFile, ...]
    unread: frozenset[str]
    warnings: tuple[str, ...]


def find_unseen(listing: Listing, knowledge: Knowledge) -> Unseen:
    """What lies in the hidden places of `listing`. Files that were read to their end hold nothing back."""
    files = _find_hidden(listing, knowledge)
    unread: set[str] = set()
    warnings = {warning: warning for warning in listing.warnings}
    for place, hidden in files.items():
        if sizes := _measure_unread(hidden, knowledge):
            unread |= sizes.keys()
            texts = ", ".join(f"{size:,} bytes of `{source}`" for source, size in sorted(sizes.items()))
            warnings[place.warning] = (
                f"{place.warning}; it holds the watermark back, as {texts} that were seen there are not read; "
                "to do without them, put an empty folder there"
            )
    return Unseen(
        tuple(file for hidden in files.values() for file in hidden), frozenset(unread), tuple(warnings.values())
    )


def _find_hidden(listing: Listing, knowledge: Knowledge) -> dict[Hidden, list[KnownFile]]:
    seen = {file.path for file in listing.files}
    hidden: defaultdict[Hidden, list[KnownFile]] = defaultdict(list)
    for path, file in knowledge.files.items() if listing.hidden else ():
        places = (place for place in listing.hidden if Path(path).is_relative_to(place.path))
        if path not in seen and (place := next(places, None)):
            hidden[place].append(file)
    return hidden


def _measure_unread(files: Iterable[KnownFile], knowledge: Knowledge) -> dict[str, int]:
    """How many bytes of each source were seen in `files` and not read, if there are any."""
    by_part: dict[str, tuple[str, int]] = {}
    for file in files:
        part = knowledge.find_part(file)
        if part and not part.is_excluded and file.seen_size > part.position:
            size = max(file.seen_size - part.position, by_part.get(part.part_id, ("", 0))[1])
            by_part[part.part_id] = part.source, size
    sizes: defaultdict[str, int] = defaultdict(int)
    for source, size in by_part.values():
        sizes[source] += size
    return sizes


def find_lost(sights: Iterable[Sight], knowledge: Knowledge, waiting: Iterable[KnownFile]) -> list[str]:
    """What was seen of parts, was not read, and cannot be read now; but for parts that are in files `waiting`."""
    there: defaultdict[str, int] = defaultdict(int)
    parts: dict[str | None, KnownPart | None] = {}
    for sight in sights:
        if sight.part:
            parts[sight.part.part_id] = sight.part
            there[sight.part.part_id] = max(there[sight.part.part_id], sight.text_size)
    passed = {file.part_id for file in waiting}
    lost = []
    for file in sorted(knowledge.files.values(), key=lambda file: (-file.seen_size, file.path)):
        known = parts[file.part_id] if file.part_id in parts else knowledge.find_part(file)
        if not known or known.is_excluded or known.part_id in passed:
            continue
        size = file.seen_size - max(known.position, there[known.part_id])
        if size > 0:
            passed.add(known.part_id)
            seen = f"{size:,} bytes that were seen in `{file.path}` before they could be read"
            lost.append(f"{seen} are in no file that can be read now")
    return lost


def describe_grown(part: KnownPart, files: Sequence[Sight], knowledge: Knowledge) -> Iterator[str]:
    """A warning if `part`, which `files` hold, was taken out and has more text than it was seen to have."""
    longest = max(files, key=lambda file: file.text_size)
    if not part.is_excluded or not longest.is_opened or longest.text_size <= part.position:
        return
    seen = (file.seen_size for file in knowledge.files.values() if file.part_id == part.part_id)
    if longest.text_size > max(seen, default=0):
        yield f"`{longest.file.path}` was taken out by a rebuild, and what it has now is not read"
